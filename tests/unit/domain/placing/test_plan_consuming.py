"""Jobs that need units of consumable resources, in plans and in rounds of them."""

import itertools
from collections import Counter
from dataclasses import replace
from datetime import timedelta

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
    placed,
)

from longshore.domain.catalogue import Catalogue, local_types
from longshore.domain.consumable import Resource, Stock, from_text, to_text, units_of
from longshore.domain.fair_share import Ledger, SharePolicy, Standing
from longshore.domain.job.job import JobKey
from longshore.domain.placing import round as placing_round
from longshore.domain.placing import words
from longshore.domain.placing.capping import Caps
from longshore.domain.placing.parking import Parking
from longshore.domain.placing.plan import plan
from longshore.domain.placing.round import Ground
from longshore.domain.placing.shapes import Placement, QueueEntry, QueueSharing, Shape
from longshore.domain.placing.waiting import EnvironmentFacts, Supply, Why

LATE = timedelta(minutes=5)
ROOMS = instances(2, vcpus=8, instance_type="local.host")


def a_stock(*, held: int = 0, total: int | None = 4, is_replenishable: bool = True) -> Stock:
    """Units of `x`."""
    stock = Stock()
    if total is not None:
        stock.resources["x"] = Resource(total, is_replenishable=is_replenishable)
    stock.hold((("x", held),) if held else ())
    return stock


def test_as_many_children_go_as_there_are_units_for() -> None:
    shape = a_shape(x=2)
    proposal = plan(
        a_snapshot([shape], ROOMS, an_array(shape, end=10), stock=a_stock(total=5)), NOW, 0
    )
    assert [index for _, index, _ in placed(proposal)] == [0, 1]
    assert proposal.starved == {1} == proposal.unplaced.keys()
    assert proposal.left == {"x": 1}


def test_smaller_ones_behind_go_ahead() -> None:
    large, small, free = a_shape(1, x=3), a_shape(2, x=1), a_shape(3)
    stock = a_stock(held=2)
    entries = a_job(large, 1), a_job(small, 2), a_job(free, 3)
    proposal = plan(a_snapshot([large, small, free], ROOMS, *entries, stock=stock), NOW, 0)
    assert [seq for seq, _, _ in placed(proposal)] == [2, 3]
    assert proposal.starved == {1}


def test_not_for_ever() -> None:
    """Units are kept for one that has waited long, also from other queues of its priority."""
    large, small = a_shape(1, x=3), a_shape(2, x=1, queue="other")
    entries = a_job(large, 1, waited=LATE), a_job(small, 2)
    behind = a_shape(2, x=1)
    snapshot = a_snapshot([large, behind], ROOMS, *entries, stock=a_stock(held=2))
    assert not plan(snapshot, NOW, 0).placements
    parked = a_snapshot(
        [large, small], ROOMS, entries[1], parked={large: LATE}, stock=a_stock(held=2)
    )
    for seed in range(3):
        proposal = plan(parked, NOW, seed)
        assert not proposal.placements
        assert proposal.held == {1}
        assert proposal.starved == {2}
    # What was kept is there for it once it is all that it needs.
    again = a_snapshot([large, small], ROOMS, *entries, parked={large: LATE}, stock=a_stock(held=1))
    for seed in range(3):
        assert [seq for seq, _, _ in placed(plan(again, NOW, seed))] == [1]


def test_nothing_is_kept_where_there_is_nothing() -> None:
    """Else all that waits would try again with each unit that is free again."""
    shape = a_shape(x=1)
    waiting = an_array(shape, end=9, waited=LATE)
    proposal = plan(a_snapshot([shape], ROOMS, waiting, stock=a_stock(held=4)), NOW, 0)
    assert proposal.starved == {1}
    assert not proposal.held


def test_nothing_is_kept_for_whom_waiting_does_not_help() -> None:
    large, small = a_shape(1, x=5), a_shape(2, x=1)
    entries = a_job(large, 1, waited=LATE), a_job(small, 2)
    snapshot = a_snapshot([large, small], ROOMS, *entries, stock=a_stock())
    assert [seq for seq, _, _ in placed(plan(snapshot, NOW, 0))] == [2]
    # So it is where no environment could ever hold it.
    never = a_snapshot(
        [a_shape(1, x=4), small],
        ROOMS,
        *entries,
        stock=a_stock(held=1),
        hopeless=[a_shape(1, x=4)],
    )
    assert [seq for seq, _, _ in placed(plan(never, NOW, 0))] == [2]


def test_no_instance_is_held_for_whom_lacks_units() -> None:
    large, small = a_shape(1, vcpus=8, x=3), a_shape(2, vcpus=1)
    rooms = [an_instance("i-0", vcpus=8, free=4)]
    entries = a_job(large, 1, waited=LATE), a_job(small, 2)
    snapshot = a_snapshot([large, small], rooms, *entries, stock=a_stock(held=2))
    assert [seq for seq, _, _ in placed(plan(snapshot, NOW, 0))] == [2]
    snapshot = a_snapshot([large, small], rooms, *entries, stock=a_stock())
    assert not plan(snapshot, NOW, 0).placements, "with its units it is held"


def test_a_multi_node_job_has_all_units_or_none() -> None:
    nodes = a_shape(1, vcpus=8, nodes=2, x=4)
    proposal = plan(a_snapshot([nodes], ROOMS, a_job(nodes), stock=a_stock(held=1)), NOW, 0)
    assert not proposal.placements
    assert proposal.starved == {1}
    proposal = plan(a_snapshot([nodes], ROOMS, a_job(nodes), stock=a_stock()), NOW, 0)
    assert len(proposal.placements) == 2
    assert proposal.left == {"x": 0}


def test_a_resource_that_is_gone_has_no_units() -> None:
    shape = a_shape(x=1)
    proposal = plan(a_snapshot([shape], ROOMS, a_job(shape), stock=a_stock(total=None)), NOW, 0)
    assert proposal.starved == {1}


def test_what_is_waited_for_is_told() -> None:
    some = a_stock(held=3)
    assert words.lacks_units(some.short_of((("x", 2), ("y", 1)))) == (
        "Waiting for 2 of x: 1 of 4 available. "
        "Waiting for 1 of y: there is no such consumable resource; create it."
    )
    assert words.lacks_units(some.short_of((("x", 5),))).endswith("more of it in all.")
    assert not some.short_of((("x", 1),))
    assert "kept for an earlier job" in words.lacks_units(())


def test_held_without_a_resource_counts_when_it_is_there_again() -> None:
    stock = a_stock(held=3, total=None)
    assert stock.available("x") == 0
    stock.resources["x"] = Resource(4)
    assert (stock.available("x"), stock.in_use("x")) == (1, 3)
    stock.resources["x"] = Resource(2)
    assert stock.available("x") == 0


_NAMES = st.from_regex(r"[0-9A-Za-z][0-9A-Za-z_-]{0,20}", fullmatch=True)


@given(st.dictionaries(_NAMES, st.integers(1, 2**63 - 1), max_size=10))
def test_needs_have_one_text(amounts: dict[str, int]) -> None:
    units = units_of(amounts.items())
    assert from_text(to_text(units)) == units
    assert to_text(units_of(reversed(amounts.items()))) == to_text(units)


# ---------------------------------------------------------------- rounds

CATALOGUE = Catalogue(local_types(vcpus=8, memory_mib=8_192, gpus=0, architecture="x86_64"))
FACTS = EnvironmentFacts(
    "ce", managed=True, enabled=True, valid=True, maxv_cpus=32, instance_types=("local",)
)
SHAPES = [
    a_shape(1, x=1),
    a_shape(2, vcpus=2, x=3),
    a_shape(3, vcpus=8, memory_mib=1024, nodes=2, x=2, y=1),
    a_shape(4),
    a_shape(5, queue="shared", share="a", x=1),
    a_shape(6, queue="shared", share="b", x=2, vcpus=3),
    a_shape(7, queue="shared", share="b", y=2),
    a_shape(8, queue="low", x=2),
]


class World:
    """Production's rounds on four instances, with jobs that come and end in any order."""

    def __init__(self) -> None:
        self.stock = Stock({"x": Resource(4), "y": Resource(6, is_replenishable=False)})
        self.given_out = 0
        self.added = 6
        self.parking = Parking()
        self.ledger = Ledger()
        self.entries: list[QueueEntry] = []
        self.live: dict[JobKey, tuple[Shape, list[Placement]]] = {}
        self.now = NOW
        self._numbers = itertools.count(1)
        self._seed = 0
        self._freed: set[str] = set()

    def submit(self, shape: Shape, count: int) -> None:
        seq = next(self._numbers)
        entry = an_array(shape, seq, end=count) if not shape.nodes else a_job(shape, seq)
        self.entries.append(
            QueueEntry(
                entry.job_id,
                entry.shape_id,
                0,
                seq,
                entry.next_index,
                entry.end_index,
                self.now,
            )
        )

    def end(self, place: int) -> None:
        """One of the jobs that run ends."""
        if self.live:
            key = sorted(self.live)[place % len(self.live)]
            shape, placements = self.live.pop(key)
            self.stock.release(shape.units)
            self._freed.update(p.instance_id for p in placements)

    def change(self, name: str, total: int | None) -> None:
        """A user says how many there are, or that there is no such resource."""
        known = self.stock.resources.pop(name, None)
        if total is not None:
            is_replenishable = name == "x"
            if not is_replenishable:
                self.added += total - (known.total if known else 0)
            self.stock.resources[name] = Resource(total, is_replenishable=is_replenishable)
        self.parking.unpark_starved()

    def _rooms(self) -> list[tuple[str, int]]:
        used = Counter[str]()
        for shape, placements in self.live.values():
            for placement in placements:
                used[placement.instance_id] += 8 if shape.nodes else shape.need.vcpu_milli // 1000
        return [(f"i-{n}", 8 - used[f"i-{n}"]) for n in range(4)]

    def _ground(self) -> Ground:
        runnable = Counter[int]()
        for entry in self.entries:
            runnable[entry.shape_id] += entry.end_index - entry.next_index
        return Ground(
            {shape.shape_id: shape for shape in SHAPES},
            runnable,
            {name: (int(name != "low"), [FACTS]) for name in ("q", "shared", "low")},
            CATALOGUE,
            Supply(),
            {"shared": SharePolicy()},
            self.ledger,
            stock=self.stock,
        )

    def rounds(self) -> None:
        """Rounds until nobody tries any more, which must come soon."""
        for _ in range(60):
            if not self._round():
                return
        raise AssertionError("There is always another round.")

    def _round(self) -> bool:
        ground = self._ground()
        rooms = tuple(
            an_instance(name, vcpus=8, free=free, instance_type="local.host")
            for name, free in self._rooms()
        )
        freed = [
            (room.free, room.free == room.total)
            for room in rooms
            if room.instance_id in self._freed
        ]
        self._freed.clear()
        trying = placing_round.begin(ground, self.parking, self.now, freed)
        if not trying:
            return False
        shared = placing_round.turns(ground, self.parking, trying, self.now)
        heads = {
            queue: tuple(e for e in self.entries if e.shape_id in shapes)
            for queue, shapes in trying.items()
        }
        for queue, turn in shared.items():
            heads[queue] = tuple(e for e in self.entries if e.shape_id in turn.shape_ids)
        sharing = {queue: turn.sharing(frozenset()) for queue, turn in shared.items()}
        self._seed += 1
        before = self.stock.in_use("x")
        proposal = placing_round.propose(
            ground, self.parking, heads, sharing, rooms, self.now, self._seed
        )
        self.parking.take_in(proposal, ground.runnable)
        self._start(proposal.placements)
        for shape_id in [s for s in self.parking.parked if s not in self._ground().runnable]:
            self.parking.forget(shape_id)
        known = self.stock.resources.get("x")
        assert self.stock.in_use("x") <= max(known.total if known else 0, before)
        assert all(resource.total >= 0 for resource in self.stock.resources.values())
        assert all(free >= 0 for _, free in self._rooms())
        return True

    def _start(self, placements: list[Placement]) -> None:
        shapes = {shape.shape_id: shape for shape in SHAPES}
        by_job: dict[JobKey, list[Placement]] = {}
        for placement in placements:
            by_job.setdefault(placement.key.job, []).append(placement)
        for key, together in by_job.items():
            shape = shapes[together[0].entry.shape_id]
            assert len(together) == max(shape.nodes, 1)
            assert key not in self.live
            self.live[key] = shape, together
            self.stock.hold(shape.units)
            self.stock.use_up(dict(shape.units))
            self.given_out += dict(shape.units).get("y", 0)
        taken = {key.job_id: max(p.array_index for p in ps) for key, ps in by_job.items()}
        for key, together in by_job.items():
            taken[key.job_id] = max(taken[key.job_id], together[0].array_index)
        left = []
        for entry in self.entries:
            first = entry.next_index
            if entry.job_id in taken:
                first = entry.end_index if first == -1 else taken[entry.job_id] + 1
            if first < entry.end_index:
                left.append(
                    QueueEntry(
                        entry.job_id,
                        entry.shape_id,
                        entry.rank,
                        entry.seq,
                        first,
                        entry.end_index,
                        entry.ready_at,
                    )
                )
        self.entries = left


_STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("submit"), st.sampled_from(SHAPES), st.integers(1, 6)),
        st.tuples(st.just("end"), st.integers(0, 50), st.none()),
        st.tuples(st.just("x"), st.one_of(st.none(), st.integers(0, 6)), st.none()),
        st.tuples(st.just("y"), st.integers(0, 9), st.none()),
        st.tuples(st.just("wait"), st.integers(1, 90), st.none()),
    ),
    max_size=40,
)


@settings(max_examples=100, deadline=None)
@given(_STEPS)
def test_units_are_never_given_out_twice_and_all_jobs_come_to_their_end(
    steps: list[tuple[str, object, object]],
) -> None:
    """In any order of events."""
    world = World()
    for what, first, second in steps:
        match what, first, second:
            case "submit", Shape() as shape, int(count):
                world.submit(shape, count)
            case "end", int(place), _:
                world.end(place)
            case "wait", int(seconds), _:
                world.now += timedelta(seconds=seconds)
            case str(name), total, _:
                world.change(name, total)  # type: ignore[arg-type]
        world.rounds()
        held = Counter[str]()
        for shape, _ in world.live.values():
            held.update(dict(shape.units))
        assert held == world.stock.held
        left = world.stock.resources["y"].total
        assert left + world.given_out == world.added, "each unit that was used up, once"
    world.change("x", 4)
    world.change("y", 1_000)
    for _ in range(1_000):
        world.rounds()
        if not world.entries and not world.live:
            break
        assert world.live, f"nothing runs, and these wait for ever: {world.entries}"
        world.now += timedelta(seconds=20)
        world.end(0)
    assert not world.stock.held


def test_rounds_try_again_when_units_are_there() -> None:
    world = World()
    world.change("x", 1)
    world.submit(SHAPES[0], 2)
    world.rounds()
    assert len(world.live) == 1
    assert world.parking.starved == {1}
    ground = world._ground()
    seen = placing_round.look(ground, [1], (), (), world.parking.starved)
    (wait,) = placing_round.waits(ground, [1], seen).values()
    assert wait.why is Why.NO_UNITS
    assert words.code_of(wait.why) == "WAITING_FOR_CONSUMABLE_RESOURCE"
    assert words.waits(wait) == "Waiting for 1 of x: 0 of 1 available."
    assert not placing_round.begin(ground, world.parking, NOW, [(ROOMS[0].free, True)])
    world.end(0)
    world.rounds()
    assert len(world.live) == 1
    assert not world.entries


def test_a_queue_of_higher_priority_takes_units_first() -> None:
    high, low = a_shape(1, queue="high", x=4), a_shape(2, queue="low", x=4)
    queues = a_queue("high", priority=5), a_queue("low")
    entries = a_job(low, 1, waited=LATE), a_job(high, 2)
    snapshot = a_snapshot([high, low], ROOMS, *entries, queues=queues, stock=a_stock())
    assert [seq for seq, _, _ in placed(plan(snapshot, NOW, 0))] == [2]


# ---------------------------------------------------------------- with caps


def test_a_cap_and_the_units_bound_what_goes_and_each_has_its_own_words() -> None:
    shape = a_shape(max_running=9, x=1)
    entry = an_array(shape, end=10, waited=LATE)
    for left, total, most in ((2, 5, 2), (5, 2, 2), (0, 5, 0), (5, 0, 0), (3, 3, 3)):
        snapshot = replace(
            a_snapshot([shape], ROOMS, entry, stock=a_stock(total=total)), left_of_arrays={1: left}
        )
        proposal = plan(snapshot, NOW, 0)
        assert len(proposal.placements) == most
        # What the cap holds back lacks nothing, and nothing is kept for it.
        is_short = total < left
        assert proposal.unplaced.keys() == proposal.starved == ({1} if is_short else set())
        assert not proposal.held


def test_of_arrays_that_are_alike_one_is_kept_units_for_and_all_lack_them() -> None:
    shapes = [a_shape(number, max_running=9, x=3) for number in (1, 2, 3)]
    entries = [an_array(shape, shape.shape_id, end=4, waited=LATE) for shape in shapes]
    snapshot = replace(
        a_snapshot(shapes, ROOMS, *entries, stock=a_stock(held=2)),
        left_of_arrays=dict.fromkeys((1, 2, 3), 9),
    )
    proposal = plan(snapshot, NOW, 0)
    assert not proposal.placements
    assert proposal.held == {1}
    assert proposal.unplaced.keys() == proposal.starved == {1, 2, 3}
    # With units for one it is that one.
    again = plan(replace(snapshot, stock=a_stock(held=1)), NOW, 0)
    assert [seq for seq, _, _ in placed(again)] == [1]
    assert again.starved == {1, 2, 3}


def test_the_place_of_a_job_for_which_units_are_kept_is_kept() -> None:
    """Else others would take each place as it comes, and it would wait for both for ever."""
    large, small = a_shape(1, x=4), a_shape(2)
    entries = a_job(large, 1, waited=LATE), an_array(small, 2, end=5)
    snapshot = a_snapshot([large, small], ROOMS, *entries, stock=a_stock(held=1))
    for left, most in ((1, 0), (2, 1), (9, 5)):
        proposal = plan(replace(snapshot, left_of_queues={"q": left}), NOW, 0)
        assert [seq for seq, _, _ in placed(proposal)] == [2] * most
        assert proposal.held == proposal.starved == {1}
    parking = Parking()
    parking.take_in(plan(replace(snapshot, left_of_queues={"q": 1}), NOW, 0), {1, 2})
    ground = Ground(
        {1: large, 2: small},
        {1: 1, 2: 5},
        {"q": (1, [FACTS])},
        Catalogue(),
        Supply(),
        caps=Caps({"q": 1}),
        stock=a_stock(held=1),
    )
    assert placing_round.hungry(ground, parking) == {}
    assert placing_round.capped(ground, parking)[2].is_kept
    # The place is there once the units are, also if another one comes before it.
    freed = replace(ground, stock=a_stock())
    assert 1 in placing_round.begin(freed, parking, NOW)["q"]
    heads = {"q": (an_array(small, 0, end=5), a_job(large, 1, waited=LATE))}
    last = placing_round.propose(freed, parking, heads, {}, tuple(ROOMS), NOW, 0)
    assert [seq for seq, _, _ in placed(last)] == [1]


def test_shares_go_on_where_a_cap_or_units_are_at_their_end() -> None:
    capped, starved, plain = (
        a_shape(1, share="a", max_running=9, x=1),
        a_shape(2, share="b", x=9),
        a_shape(3, share="c"),
    )
    standings = {share: Standing(1.0) for share in "abc"}
    entries = (
        an_array(capped, 1, end=9),
        a_job(starved, 2),
        an_array(plain, 3, end=9),
    )
    snapshot = replace(
        a_snapshot(
            [capped, starved, plain],
            ROOMS,
            *entries,
            sharing={"q": QueueSharing(standings)},
            stock=a_stock(),
        ),
        left_of_arrays={1: 2},
        left_of_queues={"q": 8},
    )
    proposal = plan(snapshot, NOW, 0)
    assert Counter(p.entry.shape_id for p in proposal.placements) == {1: 2, 3: 6}
    assert proposal.starved == {2}
    assert 1 not in proposal.unplaced
