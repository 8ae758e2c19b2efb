"""When schedules are due."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longshore.domain.errors import InvalidRequest
from longshore.domain.events.schedule import Firing, firing, parse_schedule

NOW = datetime(2026, 3, 1, 0, 0, 30, tzinfo=UTC)  # A Sunday.


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def due(schedule: str, times: int = 3, after: datetime = NOW) -> list[str]:
    """The first times at which it is due."""
    parsed, found = parse_schedule(schedule), []
    moment = parsed.first(after)
    while moment is not None and len(found) < times:
        found.append(f"{moment:%Y-%m-%d %H:%M}")
        moment = parsed.after(moment, moment)
    return found


@pytest.mark.parametrize(
    ("cron", "times"),
    [
        ("0 10 ? * MON-FRI *", ["2026-03-02 10:00", "2026-03-03 10:00", "2026-03-04 10:00"]),
        ("0/20 * * * ? *", ["2026-03-01 00:20", "2026-03-01 00:40", "2026-03-01 01:00"]),
        ("5,10-20/5 0 * * ? *", ["2026-03-01 00:05", "2026-03-01 00:10", "2026-03-01 00:15"]),
        ("0 0 29 2 ? *", ["2028-02-29 00:00", "2032-02-29 00:00", "2036-02-29 00:00"]),
        ("0 0 ? 2 SAT#5 *", ["2048-02-29 00:00", "2076-02-29 00:00", "2116-02-29 00:00"]),
        ("0 0 L * ? *", ["2026-03-31 00:00", "2026-04-30 00:00", "2026-05-31 00:00"]),
        ("0 0 L-2 * ? *", ["2026-03-29 00:00", "2026-04-28 00:00", "2026-05-29 00:00"]),
        ("0 0 LW * ? *", ["2026-03-31 00:00", "2026-04-30 00:00", "2026-05-29 00:00"]),
        ("0 0 1W * ? *", ["2026-03-02 00:00", "2026-04-01 00:00", "2026-05-01 00:00"]),
        ("0 0 31W * ? *", ["2026-03-31 00:00", "2026-05-29 00:00", "2026-07-31 00:00"]),
        ("0 0 15W 8 ? 2026", ["2026-08-14 00:00"]),
        ("0 0 ? * 6L *", ["2026-03-27 00:00", "2026-04-24 00:00", "2026-05-29 00:00"]),
        ("0 0 ? * L *", ["2026-03-07 00:00", "2026-03-14 00:00", "2026-03-21 00:00"]),
        ("0 0 ? * 2#1 *", ["2026-03-02 00:00", "2026-04-06 00:00", "2026-05-04 00:00"]),
        ("0 0 ? * FRI-SUN *", ["2026-03-06 00:00", "2026-03-07 00:00", "2026-03-08 00:00"]),
        ("0 22-2/2 * * ? *", ["2026-03-01 02:00", "2026-03-01 22:00", "2026-03-02 00:00"]),
        ("0 0 1 jan,OCT ? 2026-2027", ["2026-10-01 00:00", "2027-01-01 00:00", "2027-10-01 00:00"]),
        ("0 0 31 4 ? *", []),
        ("0 0 1 1 ? 2025", []),
    ],
)
def test_cron(cron: str, times: list[str]) -> None:
    assert due(f"cron({cron})") == times


def test_rate() -> None:
    assert due("rate(1 hour)") == ["2026-03-01 01:00", "2026-03-01 02:00", "2026-03-01 03:00"]
    assert due("rate(2 days)", 1) == ["2026-03-03 00:00"]


@pytest.mark.parametrize("schedule", ["rate(7 minutes)", "cron(*/7 * * * ? *)"])
def test_of_those_that_were_missed_one_is_made_up_for(schedule: str) -> None:
    parsed = parse_schedule(schedule)
    first = at("2026-03-01 00:07")
    assert firing(parsed, first, first - timedelta(microseconds=1)) is None
    assert firing(parsed, first, first) == Firing(first, at("2026-03-01 00:14"))
    # An hour away: the last one, and on with the next.
    found = firing(parsed, first, at("2026-03-01 00:50"))
    assert found == Firing(at("2026-03-01 00:49"), at("2026-03-01 00:56"))


@pytest.mark.parametrize(
    "schedule",
    [
        *("", "rate", "rate(1)", "rate(5 minute)", "rate(1 minutes)", "rate(0 minutes)"),
        *("rate(-1 minute)", "rate(999999999 days)", "rate(1 second)", "rate(1 week)"),
        *("cron()", "cron(* * * * *)", "cron(* * * * * *)", "cron(* * ? * ? *)"),
        *("cron(60 * * * ? *)", "cron(* 24 * * ? *)", "cron(* * 0 * ? *)", "cron(* * * 13 ? *)"),
        *("cron(* * ? * 8 *)", "cron(* * ? * MON#6 *)", "cron(* * * * ? 2200)", "cron(,* * * ? *)"),
        *("cron(*/0 * * * ? *)", "cron(1- * * * ? *)", "cron(x * * * ? *)", "cron(* * XW * ? *)"),
        *("cron(* * * * ? 2030-2026)", "cron(٣ * * * ? *)", "cron(*/99999999999999 * * * ? *)"),
        *("cron(* * L-31 * ? *)", "cron(* * ? * XL *)", "at(2026-01-01T00:00:00)"),
    ],
)
def test_no_schedule(schedule: str) -> None:
    with pytest.raises(InvalidRequest, match="Parameter ScheduleExpression is not valid"):
        parse_schedule(schedule)


_FIELDS = st.tuples(
    st.sampled_from(["*", "0", "0/15", "59", "10-20/3", "50-10/7"]),
    st.sampled_from(["*", "0", "23", "8-18", "20-4/3"]),
    st.sampled_from(
        ["* * ?", "31 * ?", "L 2 ?", "? * MON", "? 2-4 3#5", "? * 5L", "15W 5,8 ?", "29 2 ?"]
    ),
    st.sampled_from(["*", "2026-2029", "2027/3"]),
)


@given(_FIELDS, st.integers(0, 4 * 366 * 24 * 60), st.integers(0, 400 * 24 * 60))
def test_forth_and_back_agree(fields: tuple[str, ...], begin: int, later: int) -> None:
    """The last time up to a moment is the one before the first time after it."""
    parsed = parse_schedule(f"cron({' '.join(fields)})")
    first = parsed.first(NOW + timedelta(minutes=begin))
    if first is None:
        return
    moment = first + timedelta(minutes=later)
    last, following = parsed.until(moment, first), parsed.after(moment, first)
    assert first <= last <= moment
    assert following is None or moment < following
    assert parsed.after(last, first) == following
    assert parsed.after(last - timedelta(seconds=1), first) == last
