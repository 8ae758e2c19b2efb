"""Fair share: usage that decays, scores, turns."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longshore.domain.fair_share import (
    Claim,
    Ledger,
    SharePolicy,
    Standing,
    Turns,
    Usage,
    in_turn,
)

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
WINDOW = 600


def after(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def test_weights_are_by_name_by_prefix_or_one() -> None:
    policy = SharePolicy(weights={"alice": 0.5, "team*": 2.0})
    assert policy.weight("alice") == 0.5
    assert policy.weight("teamA") == policy.weight("team") == 2.0
    assert policy.weight("alicia") == 1.0


def test_no_decay_means_the_shortest_window() -> None:
    assert SharePolicy(decay_seconds=0).window_seconds == 600
    assert SharePolicy(decay_seconds=30).window_seconds == 30


@pytest.mark.parametrize(
    ("reservation", "active", "usable"),
    [(50, 1, 50_000), (50, 2, 75_000), (50, 3, 87_500), (25, 2, 93_750), (0, 1, 100_000)],
)
def test_reservation_shrinks_with_active_shares(reservation: int, active: int, usable: int) -> None:
    """The examples of AWS's model."""
    assert SharePolicy(compute_reservation=reservation).usable(100_000, active) == usable


def test_reservation_of_an_idle_queue_is_as_for_its_first_share() -> None:
    assert SharePolicy(compute_reservation=50).usable(100_000, 0) == 50_000


def test_what_was_used_a_window_ago_counts_half() -> None:
    usage = Usage(NOON)
    usage.change(8_000, NOON, WINDOW)
    usage.change(-8_000, after(WINDOW), WINDOW)
    assert usage.average == pytest.approx(4)
    assert usage.average_at(after(2 * WINDOW), WINDOW) == pytest.approx(2)


def test_a_clock_that_is_set_back_changes_nothing() -> None:
    usage = Usage(NOON, average=3.0)
    usage.change(1_000, after(-500), WINDOW)
    assert (usage.average, usage.as_of) == (3.0, NOON)


@given(
    st.lists(
        st.tuples(st.integers(0, 64_000), st.floats(0, 5_000), st.floats(0, 5_000)),
        max_size=20,
    ),
    st.integers(1, 604_800),
)
def test_the_average_is_the_sum_over_all_attempts(
    attempts: list[tuple[int, float, float]], window: int
) -> None:
    """Kept incrementally it is what a scan over all attempts would find."""
    events = [(begin, milli) for milli, begin, _ in attempts]
    events += [(begin + lasting, -milli) for milli, begin, lasting in attempts]
    usage = Usage(NOON)
    for seconds, milli in sorted(events):
        usage.change(milli, after(seconds), window)
    end = 10_000.0
    expected = sum(
        milli / 1000 * (0.5 ** ((end - begin - lasting) / window) - 0.5 ** ((end - begin) / window))
        for milli, begin, lasting in attempts
    )
    assert usage.average_at(after(end), window) == pytest.approx(expected, abs=1e-6, rel=1e-6)
    assert usage.running_milli == 0


def test_a_share_is_active_for_its_window_and_a_little_longer() -> None:
    usage = Usage(NOON)
    assert not usage.is_recent(NOON, WINDOW)
    usage.change(1_000, NOON, WINDOW)
    assert usage.is_recent(after(1e6), WINDOW)
    usage.change(-1_000, after(10), WINDOW)
    assert usage.is_recent(after(10 + WINDOW), WINDOW)
    assert not usage.is_recent(after(10 + WINDOW + 301), WINDOW)
    assert not usage.is_negligible(after(10 + WINDOW), WINDOW)
    assert usage.is_negligible(after(1e5), WINDOW)


def test_a_newcomer_stands_before_all_others() -> None:
    policy = SharePolicy(weights={"cheap": 0.0001})
    ledger = Ledger({("q", "cheap"): Usage(NOON, 0.01, 0)})
    found = ledger.standings("q", policy, ["cheap", "new"], NOON)
    assert found["new"].score == 0.0 < found["cheap"].score


def test_a_ledger_knows_what_is_used_and_who_is_active() -> None:
    ledger, policy = Ledger(), SharePolicy(compute_reservation=50)
    ledger.change(("q", "a"), 3_000, NOON, policy)
    ledger.change(("q", "b"), 2_000, NOON, policy)
    ledger.change(("q", "b"), -2_000, after(1), policy)
    ledger.change(("z", "a"), 9_000, NOON, policy)
    assert ledger.in_use("q", policy, {"a", "c"}, after(1)) == (3_000, 3)
    assert ledger.in_use("q", policy, {"c"}, after(10_000)) == (3_000, 2)
    assert ledger.usable("q", policy, 8_000, {"c"}, after(10_000)) == 6_000 - 3_000


def test_turns_go_to_the_lowest_score_and_equal_ones_by_name() -> None:
    turns = Turns({"b": Standing(), "a": Standing(), "c": Standing(running=1.5)})
    order = []
    for _ in range(5):
        order.append(turns.share)
        turns.give(1_000)
    assert order == ["a", "b", "a", "b", "c"]


@given(
    st.dictionaries(st.text("abcdef", min_size=1, max_size=3), st.floats(0.01, 100), min_size=1),
    st.integers(1, 16_000),
)
def test_many_at_once_are_as_many_as_one_by_one(weights: dict[str, float], milli: int) -> None:
    """What `most` allows in one turn is never more than turn by turn would give."""
    standings = {share: Standing(weight) for share, weight in weights.items()}
    fast, slow = Turns(standings), Turns(standings)
    by_many, one_by_one = dict.fromkeys(weights, 0), dict.fromkeys(weights, 0)
    for _ in range(30):
        count = min(fast.most(milli), 10)
        by_many[fast.share] += count
        fast.give(count * milli)
        for _ in range(count):
            one_by_one[slow.share] += 1
            slow.give(milli)
    # Equal scores may come in another order.
    assert all(abs(by_many[share] - one_by_one[share]) <= 1 for share in weights)


def test_what_there_is_goes_out_by_weight() -> None:
    claims = [Claim("x", "one", 1_000, 500), Claim("y", "four", 2_000, 500)]
    standings = {"one": Standing(1.0), "four": Standing(4.0)}
    given_out = in_turn(claims, standings, 100_000)
    assert given_out == {"x": pytest.approx(80, abs=2), "y": pytest.approx(10, abs=1)}


def test_what_one_share_does_not_want_goes_to_others() -> None:
    claims = [Claim("x", "a", 1_000, 3), Claim("z", "a", 2_000, 2), Claim("y", "b", 1_000, 500)]
    assert in_turn(claims, {}, 100_000) == {"x": 3, "y": 93, "z": 2}


@given(
    st.lists(
        st.tuples(st.sampled_from("abcd"), st.integers(1, 9_000), st.integers(1, 50)), max_size=20
    ),
    st.integers(0, 300_000),
)
def test_nothing_is_left_over_while_something_waits(
    wants: list[tuple[str, int, int]], milli: int
) -> None:
    claims = [Claim(key, *want) for key, want in enumerate(wants)]
    given_out = in_turn(claims, {"a": Standing(0.5), "b": Standing(3.0, 7.0)}, milli)
    by_key = {claim.key: claim for claim in claims}
    assert all(0 < count <= by_key[key].count for key, count in given_out.items())
    spent = sum(by_key[key].milli * count for key, count in given_out.items())
    wanted = sum(claim.milli * claim.count for claim in claims)
    assert spent >= min(milli, wanted)
    assert spent <= milli + 9_000
