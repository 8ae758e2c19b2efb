"""Queues with a fair-share policy: whose jobs go first, what is held and what is reserved."""

from collections import Counter
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.shapes import (
    NOW,
    a_job,
    a_queue,
    a_shape,
    a_snapshot,
    an_array,
    an_instance,
    instances,
)

from longshore.domain.fair_share import RUNNING_WEIGHT, Standing
from longshore.domain.placing.plan import HOLD_AFTER, plan
from longshore.domain.placing.shapes import (
    PlacingSnapshot,
    Plan,
    QueueEntry,
    QueueSharing,
    Shape,
    Waiting,
)
from longshore.domain.placing.sharing import first_in_turn

LONG = HOLD_AFTER + timedelta(seconds=1)
A = a_shape(1, share="a")
B = a_shape(2, share="b")


def sharing(
    *,
    a: float = 0,
    b: float = 0,
    weights: tuple[float, float] = (1, 1),
    cut: tuple[int, ...] = (),
    unread: dict[int, Waiting | None] | None = None,
    usable_vcpus: float | None = None,
) -> dict[str, QueueSharing]:
    """Shares that use so many vCPUs now."""
    standings = {"a": Standing(weights[0], running=a), "b": Standing(weights[1], running=b)}
    usable = None if usable_vcpus is None else int(usable_vcpus * 1000)
    return {"q": QueueSharing(standings, frozenset(cut), unread or {}, usable)}


def shares(snapshot: PlacingSnapshot, proposal: Plan) -> str:
    return "".join(snapshot.shapes[p.entry.shape_id].share for p in proposal.placements)


def test_shares_take_turns_although_one_was_first() -> None:
    snapshot = a_snapshot(
        [A, B],
        instances(1, vcpus=6),
        an_array(A, 1, end=100),
        a_job(B, 2),
        a_job(B, 3),
        sharing=sharing(),
    )
    proposal = plan(snapshot, NOW, 0)
    assert Counter(shares(snapshot, proposal)) == {"a": 4, "b": 2}
    assert shares(snapshot, proposal)[:4] == "abab"
    assert set(proposal.unplaced) == {A.shape_id}


def test_a_lower_weight_gets_more() -> None:
    snapshot = a_snapshot(
        [A, B],
        instances(1, vcpus=50),
        an_array(A, 1, end=100),
        an_array(B, 2, end=100),
        sharing=sharing(weights=(1, 4)),
    )
    assert Counter(shares(snapshot, plan(snapshot, NOW, 0))) == {"a": 40, "b": 10}


def test_who_used_less_lately_comes_first() -> None:
    snapshot = a_snapshot(
        [A, B],
        instances(1, vcpus=3),
        an_array(A, 1, end=100),
        an_array(B, 2, end=100),
        sharing=sharing(a=10),
    )
    assert shares(snapshot, plan(snapshot, NOW, 0)) == "bbb"


def test_children_go_in_index_order_across_turns() -> None:
    snapshot = a_snapshot(
        [A, B],
        instances(1, vcpus=6),
        an_array(A, 1, first=7, end=100),
        an_array(B, 2, end=3),
        sharing=sharing(),
    )
    placed = plan(snapshot, NOW, 0).placements
    assert [p.array_index for p in placed if p.entry.seq == 1] == [7, 8, 9]
    # What is taken of an entry is told of the entry as it is stored.
    assert {p.entry.next_index for p in placed if p.entry.seq == 1} == {7}


def test_priority_decides_within_a_share_and_not_between_shares() -> None:
    urgent = a_shape(3, share="a", priority=9)
    snapshot = a_snapshot(
        [A, B, urgent],
        instances(1, vcpus=4),
        a_job(A, 1),
        a_job(urgent, 2),
        a_job(B, 3),
        a_job(B, 4),
        sharing=sharing(),
    )
    assert [p.entry.seq for p in plan(snapshot, NOW, 0).placements] == [2, 3, 1, 4]


def test_a_retried_job_goes_first_among_its_equals() -> None:
    snapshot = a_snapshot(
        [A], instances(1, vcpus=1), a_job(A, 1), a_job(A, 5, retried=True), sharing=sharing()
    )
    assert [p.entry.seq for p in plan(snapshot, NOW, 0).placements] == [5]


def test_a_share_whose_job_finds_no_room_is_passed_over() -> None:
    large = a_shape(3, share="a", vcpus=8)
    snapshot = a_snapshot(
        [A, B, large],
        instances(1, vcpus=4),
        a_job(large, 1),
        a_job(A, 2),
        an_array(B, 3, end=9),
        sharing=sharing(b=1),
    )
    proposal = plan(snapshot, NOW, 0)
    assert shares(snapshot, proposal) == "aabb"[1:] + "b"
    assert set(proposal.unplaced) == {large.shape_id, B.shape_id}


def test_other_queues_go_on_as_they_do() -> None:
    other = a_shape(4, queue="z")
    snapshot = a_snapshot(
        [A, B, other],
        instances(1, vcpus=3),
        a_job(A, 1),
        a_job(B, 2),
        a_job(other, 3),
        queues=[a_queue("q", priority=2), a_queue("z", priority=1)],
        sharing=sharing(),
    )
    assert shares(snapshot, plan(snapshot, NOW, 0)) == "ab"
    assert len(plan(snapshot, NOW, 0).placements) == 3


def test_a_full_plan_says_that_there_is_more() -> None:
    snapshot = a_snapshot([A, B], instances(1, vcpus=9), an_array(A, end=5), sharing=sharing())
    proposal = plan(snapshot, NOW, 0, limit=2)
    assert (len(proposal.placements), proposal.partial, proposal.unplaced) == (2, True, {})


# ---------------------------------------------------------------- nodes, and what is held


def test_a_multi_node_job_counts_with_all_its_nodes() -> None:
    nodes = a_shape(3, share="a", vcpus=2, nodes=2)
    rooms = [an_instance(f"i-{n}", vcpus=2, instance_type="t") for n in range(4)]
    snapshot = a_snapshot(
        [A, B, nodes],
        rooms,
        a_job(nodes, 1),
        a_job(A, 2),
        an_array(B, 3, end=9),
        sharing=sharing(),
    )
    assert shares(snapshot, plan(snapshot, NOW, 0)) == "aabbbb"


def test_instances_are_held_for_nodes_whose_turn_it_is_and_not_for_others() -> None:
    nodes = a_shape(3, share="a", vcpus=2, nodes=2)
    rooms = [an_instance(f"i-{n}", vcpus=2, instance_type="t") for n in range(1)]
    turn = a_snapshot([B, nodes], rooms, a_job(nodes, 1), a_job(B, 2), sharing=sharing(b=1))
    assert not plan(turn, NOW, 0).placements
    assert plan(turn, NOW, 0).held == {nodes.shape_id}
    not_turn = replace(turn, sharing=sharing(a=5))
    assert shares(not_turn, plan(not_turn, NOW, 0)) == "b"


def test_a_parked_shape_is_held_for_in_its_turn() -> None:
    nodes = a_shape(3, share="a", vcpus=2, nodes=2)
    rooms = [an_instance("i-0", vcpus=2, instance_type="t")]
    parked = a_snapshot([B, nodes], rooms, a_job(B, 2), parked={nodes: LONG}, sharing=sharing(b=1))
    assert not plan(parked, NOW, 0).placements
    later = replace(parked, sharing=sharing(a=9))
    assert shares(later, plan(later, NOW, 0)) == "b"
    # What was held for it stays, until it is placed.
    kept = replace(later, held=frozenset({nodes.shape_id}))
    assert not plan(kept, NOW, 0).placements


def test_only_one_single_job_is_held_for_at_a_time() -> None:
    large = [a_shape(n, share=share, vcpus=4) for n, share in ((3, "a"), (4, "b"))]
    snapshot = a_snapshot(
        [*large, A],
        instances(3, vcpus=4, free=1),
        *(a_job(s, s.shape_id, waited=LONG) for s in large),
        an_array(A, 5, end=9),
        sharing=sharing(),
    )
    assert plan(snapshot, NOW, 0).held == {3}
    # The other one of that kind has it once it is its turn.
    later = replace(snapshot, sharing=sharing(a=9), held=frozenset({3}))
    assert plan(later, NOW, 0).held == {4}
    # Nothing smaller waits: no room is taken from them bit by bit.
    alone = replace(snapshot, heads={"q": snapshot.heads["q"][:2]})
    assert not plan(alone, NOW, 0).held


def test_what_was_held_goes_to_whose_turn_it_is_when_there_is_room() -> None:
    large = [a_shape(n, share=share, vcpus=4) for n, share in ((3, "a"), (4, "b"))]
    snapshot = a_snapshot(
        [*large, A],
        instances(1, vcpus=4),
        *(a_job(s, s.shape_id, waited=LONG) for s in large),
        an_array(A, 5, end=9),
        parked={large[0]: LONG},
        held=[large[0]],
        sharing=sharing(a=9),
    )
    assert [p.entry.seq for p in plan(snapshot, NOW, 0).placements] == [4]


# ---------------------------------------------------------------- reservation


def test_what_is_reserved_is_not_taken_and_said_so() -> None:
    snapshot = a_snapshot(
        [A, B],
        instances(1, vcpus=8),
        an_array(A, 1, end=9),
        a_job(B, 2),
        sharing=sharing(usable_vcpus=3),
    )
    proposal = plan(snapshot, NOW, 0)
    assert shares(snapshot, proposal) == "aba"
    assert proposal.reserved == set(proposal.unplaced) == {A.shape_id}
    assert not proposal.held


def test_less_than_nothing_may_be_left_of_what_is_usable() -> None:
    """As when the reservation of a live policy was raised."""
    snapshot = a_snapshot([A], instances(1, vcpus=8), a_job(A), sharing=sharing(usable_vcpus=-3))
    assert plan(snapshot, NOW, 0).reserved == {A.shape_id}


# ---------------------------------------------------------------- what was not read


def test_the_line_ends_where_it_is_not_known_who_is_next() -> None:
    """Share b, which was not read, has used 2 vCPUs: up to there it is certainly a's turn."""
    snapshot = a_snapshot(
        [A, B], instances(1, vcpus=8), an_array(A, 1, end=9), sharing=sharing(b=2, unread={2: None})
    )
    proposal = plan(snapshot, NOW, 0)
    assert 2 <= len(proposal.placements) <= 3
    assert proposal.partial
    assert not proposal.unplaced


def test_the_line_ends_where_more_of_a_shape_waits_than_was_read() -> None:
    snapshot = a_snapshot(
        [A, B], instances(1, vcpus=8), a_job(A, 1), an_array(B, 2, end=9), sharing=sharing(cut=(1,))
    )
    proposal = plan(snapshot, NOW, 0)
    assert shares(snapshot, proposal).startswith("ab")
    assert len(proposal.placements) <= 3
    assert proposal.partial


def test_what_was_not_read_and_is_of_a_kind_without_room_is_parked_unread() -> None:
    known = Waiting(2, NOW - LONG, 0, 7)
    snapshot = a_snapshot(
        [A, B],
        instances(1, vcpus=2),
        an_array(A, 1, end=9),
        sharing=sharing(b=9, unread={2: known}),
    )
    proposal = plan(snapshot, NOW, 0)
    assert shares(snapshot, proposal) == "aa"
    assert proposal.unplaced[2] == known
    assert not proposal.partial


def test_what_was_read_and_not_reached_is_parked_too() -> None:
    """Share b comes after share c, of which nothing was read; but there is room for neither."""
    c = a_shape(5, share="c")
    known = Waiting(5, NOW, 0, 9)
    standings = {name: Standing(running=vcpus) for name, vcpus in (("a", 0), ("b", 9), ("c", 5))}
    snapshot = a_snapshot(
        [A, B, c],
        instances(1, vcpus=2),
        an_array(A, 1, end=9),
        a_job(B, 2),
        sharing={"q": QueueSharing(standings, unread={5: known})},
    )
    proposal = plan(snapshot, NOW, 0)
    assert proposal.unplaced.keys() == {1, 2, 5}
    assert not proposal.partial


def test_heads_are_read_of_those_who_come_first() -> None:
    shapes = {n: a_shape(n, share=f"s{n % 10}") for n in range(30)}
    standings = {f"s{n}": Standing(average=n) for n in range(10)}
    assert first_in_turn(shapes, range(30), standings, 5) == [0, 10, 20, 1, 11, 21]


# ---------------------------------------------------------------- properties


@st.composite
def snapshots(draw: st.DrawFn) -> PlacingSnapshot:
    numbers = st.integers(1, 4)
    shapes = [
        a_shape(
            n,
            vcpus=draw(numbers),
            share=draw(st.sampled_from("abc")),
            priority=draw(st.integers(0, 1)),
        )
        for n in range(1, draw(numbers) + 1)
    ]
    entries: list[QueueEntry] = []
    for seq in range(1, draw(st.integers(1, 8)) + 1):
        shape = draw(st.sampled_from(shapes))
        waited = timedelta(seconds=draw(st.integers(0, 120)))
        if draw(st.booleans()):
            entries.append(an_array(shape, seq, end=draw(st.integers(1, 9)), waited=waited))
        else:
            entries.append(a_job(shape, seq, waited=waited))
    rooms = [
        an_instance(f"i-{n}", vcpus=draw(st.integers(2, 8))) for n in range(draw(st.integers(0, 4)))
    ]
    standings = {
        share: Standing(draw(st.floats(0.1, 10)), draw(st.floats(0, 20))) for share in "abc"
    }
    usable = draw(st.none() | st.integers(-5, 30))
    one = QueueSharing(standings, usable_milli=None if usable is None else usable * 1000)
    return a_snapshot(shapes, rooms, *entries, sharing={"q": one})


@settings(max_examples=80, deadline=None)
@given(snapshots())
def test_what_holds_of_any_line(snapshot: PlacingSnapshot) -> None:
    proposal = plan(snapshot, NOW, 0)
    sharing = snapshot.sharing["q"]
    used = {share: one.usage for share, one in sharing.standings.items()}
    seen: set[tuple[int, int]] = set()
    total = 0
    waiting = Counter(
        {e.shape_id: 0 for e in snapshot.heads.get("q", ())}
        | Counter(
            {
                s: sum(e.end_index - e.next_index for e in snapshot.heads["q"] if e.shape_id == s)
                for s in snapshot.shapes
            }
        )
    )
    for p in proposal.placements:
        shape = snapshot.shapes[p.entry.shape_id]
        key = (p.entry.seq, p.array_index)
        assert key not in seen
        seen.add(key)
        # No share that could have had as much, and stood lower, was passed over.
        for other in snapshot.shapes.values():
            if other.need == shape.need and waiting[other.shape_id] and other.share != shape.share:
                mine, its = sharing.standings[shape.share], sharing.standings[other.share]
                if other.shape_id not in proposal.unplaced and not _outranked(
                    snapshot, other, waiting
                ):
                    assert used[shape.share] * mine.weight <= used[other.share] * its.weight + 1e-6
        used[shape.share] += shape.need.vcpu_milli / 1000 * RUNNING_WEIGHT
        total += shape.need.vcpu_milli
        waiting[shape.shape_id] -= 1
    if sharing.usable_milli is not None:
        assert total <= max(sharing.usable_milli, 0)
    left = {s for s, count in waiting.items() if count}
    assert left == set(proposal.unplaced)


def _outranked(snapshot: PlacingSnapshot, shape: Shape, waiting: Counter[int]) -> bool:
    """Whether other jobs of the share may come before those of the shape."""
    return any(
        one.share == shape.share and one.shape_id != shape.shape_id and waiting[one.shape_id]
        for one in snapshot.shapes.values()
    )


@pytest.mark.parametrize("seed", range(3))
def test_equal_arguments_give_equal_plans(seed: int) -> None:
    snapshot = a_snapshot(
        [A, B],
        instances(3, vcpus=3),
        an_array(A, 1, end=9),
        an_array(B, 2, end=9),
        sharing=sharing(),
    )
    assert plan(snapshot, NOW, seed) == plan(snapshot, NOW, seed)
