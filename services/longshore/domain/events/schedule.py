"""When a rule makes an event by itself: EventBridge's `rate` and `cron`, in UTC.

A schedule is due at times that follow from it alone, so whoever looks late finds the same ones. Of
those that were missed the latest is made up for, once.

See "Setting a schedule pattern for scheduled rules" in the EventBridge User Guide.
"""

import calendar
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Protocol

from longshore.domain.events.members import invalid

_RATE = re.compile(r"rate\(\s*([0-9]{1,9})\s+(minute|hour|day)(s?)\s*\)")
_CRON = re.compile(r"cron\(\s*(.*?)\s*\)", re.DOTALL)
#: Longest distance of a rate, about a century.
_RATE_MAX = timedelta(days=36_500)
_YEARS = (1970, 2199)
_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_WEEKDAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
_MINUTE = timedelta(minutes=1)

#: The days of a month that count, in order.
_Days = Callable[[int, int], Sequence[int]]


class Schedule(Protocol):
    """Times at which something is due."""

    def after(self, moment: datetime, due_at: datetime) -> datetime | None:
        """The first time after a moment, given one at which it was due; None if there is none."""

    def until(self, moment: datetime, due_at: datetime) -> datetime:
        """The last time up to a moment, which is not before the one at which it was due."""

    def first(self, moment: datetime) -> datetime | None:
        """The first time of one that is set at a moment."""


@dataclass(frozen=True, slots=True)
class Firing:
    """An event that a schedule makes, and when it makes the next."""

    at: datetime
    next_at: datetime | None


def firing(schedule: Schedule, due_at: datetime, now: datetime) -> Firing | None:
    """What is to be done at a time; None as long as nothing is due.

    Args:
        schedule: of the rule.
        due_at: when it was to make its next event.
        now: the time.
    """
    if now < due_at:
        return None
    return Firing(schedule.until(now, due_at), schedule.after(now, due_at))


def parse_schedule(text: str) -> Schedule:
    """Reads `rate(...)` or `cron(...)`.

    Raises:
        InvalidRequest: it is neither.
    """
    if match := _RATE.fullmatch(text):
        value, unit, plural = int(match[1]), match[2], bool(match[3])
        every = timedelta(**{f"{unit}s": value}) if value < 10**8 else _RATE_MAX + _MINUTE
        if value < 1 or (value == 1) == plural or every > _RATE_MAX:
            raise _refusal("a rate has a number from 1, and its unit in the plural from 2 on")
        return _Rate(every)
    if match := _CRON.fullmatch(text):
        return _cron(match[1])
    raise _refusal("it must be like rate(5 minutes) or cron(0 10 ? * MON-FRI *)")


def _refusal(why: str) -> Exception:
    return invalid(f"Parameter ScheduleExpression is not valid: {why}.", "ScheduleExpression")


@dataclass(frozen=True, slots=True)
class _Rate:
    every: timedelta

    def after(self, moment: datetime, due_at: datetime) -> datetime | None:
        """One distance after the last time."""
        return self.until(moment, due_at) + self.every

    def until(self, moment: datetime, due_at: datetime) -> datetime:
        """As many distances from `due_at` as have passed."""
        return due_at + self.every * ((moment - due_at) // self.every)

    def first(self, moment: datetime) -> datetime | None:
        """One distance later."""
        return moment + self.every


@dataclass(frozen=True, slots=True)
class _Cron:
    minutes: Sequence[int]
    hours: Sequence[int]
    days: _Days
    months: Sequence[int]
    years: Sequence[int]

    def first(self, moment: datetime) -> datetime | None:
        """The first time after a moment."""
        return next(self._from(moment.replace(second=0, microsecond=0) + _MINUTE), None)

    def after(self, moment: datetime, due_at: datetime) -> datetime | None:
        """The same, whatever was due."""
        del due_at
        return self.first(moment)

    def until(self, moment: datetime, due_at: datetime) -> datetime:
        """The last time up to a moment."""
        return next(self._back_from(moment), due_at)

    def _from(self, moment: datetime) -> Iterator[datetime]:
        for year in self.years:
            for month in self.months:
                if (year, month) < (moment.year, moment.month):
                    continue
                for day in self.days(year, month):
                    if date(year, month, day) >= moment.date():
                        yield from (t for t in self._times(year, month, day) if t >= moment)

    def _back_from(self, moment: datetime) -> Iterator[datetime]:
        for year in reversed(self.years):
            for month in reversed(self.months):
                if (year, month) > (moment.year, moment.month):
                    continue
                for day in reversed(self.days(year, month)):
                    if date(year, month, day) <= moment.date():
                        times = reversed(self._times(year, month, day))
                        yield from (t for t in times if t <= moment)

    def _times(self, year: int, month: int, day: int) -> list[datetime]:
        return [
            datetime(year, month, day, hour, minute, tzinfo=UTC)
            for hour in self.hours
            for minute in self.minutes
        ]


def _cron(text: str) -> _Cron:
    fields = text.split()
    if len(fields) != 6:
        raise _refusal(f"cron has 6 fields, and here are {len(fields)}")
    minutes, hours, of_month, months, of_week, years = (field.upper() for field in fields)
    if (of_month == "?") == (of_week == "?"):
        raise _refusal("one of day-of-month and day-of-week must be ?, and not both")
    return _Cron(
        _values(minutes, 0, 59),
        _values(hours, 0, 23),
        _days_of_month(of_month) if of_week == "?" else _days_of_week(of_week),
        _values(months, 1, 12, _MONTHS),
        _values(years, *_YEARS),
    )


def _values(field: str, least: int, most: int, names: Sequence[str] = ()) -> list[int]:
    """The values of a field: `*`, numbers and names, ranges, steps, with commas between."""
    found: set[int] = set()
    for part in field.split(","):
        span, slash, step = part.partition("/")
        if slash and not (step.isascii() and step.isdigit() and 1 <= int(step[:9]) <= most):
            raise _wrong(part)
        first, dash, last = ("*", "", "") if span == "*" else span.partition("-")
        begin = least if span == "*" else _value(first, least, most, names)
        end = most if slash or span == "*" else begin
        if dash:
            end = _value(last, least, most, names)
        if end < begin and least == _YEARS[0]:
            raise _wrong(part)
        size = most - least + 1
        for offset in range(0, (end - begin) % size + 1, int(step) if slash else 1):
            found.add((begin - least + offset) % size + least)
    return sorted(found)


def _value(text: str, least: int, most: int, names: Sequence[str] = ()) -> int:
    if text in names:
        return names.index(text) + 1
    if not (text.isascii() and text.isdigit() and len(text) <= 4 and least <= int(text) <= most):
        raise _wrong(text)
    return int(text)


def _wrong(part: str) -> Exception:
    return _refusal(f"{part[:64]!r} is not a value of its field")


def _days_of_month(field: str) -> _Days:
    """`L`, `L-3`, `LW`, `15W`, or values."""
    if field == "LW":
        return lambda year, month: [_weekday_near(year, month, _length(year, month))]
    if field == "L" or field.startswith("L-"):
        before = _value(field[2:], 1, 30) if field != "L" else 0
        return lambda year, month: _existing(year, month, _length(year, month) - before)
    if field.endswith("W"):
        near = _value(field[:-1], 1, 31)
        return lambda year, month: [
            _weekday_near(year, month, day) for day in _existing(year, month, near)
        ]
    values = _values(field, 1, 31)
    return lambda year, month: [day for day in values if day <= _length(year, month)]


def _days_of_week(field: str) -> _Days:
    """`L`, `6L`, `6#3`, or values; 1 is Sunday."""
    if "#" in field:
        text, _, number = field.partition("#")
        weekday, which = _value(text, 1, 7, _WEEKDAYS), _value(number, 1, 5)
        return lambda year, month: _existing(
            year, month, _first_of(year, month, weekday) + 7 * (which - 1)
        )
    if field.endswith("L") and field != "L":
        weekday = _value(field[:-1], 1, 7, _WEEKDAYS)
        return lambda year, month: [
            max(range(_first_of(year, month, weekday), _length(year, month) + 1, 7))
        ]
    values = _values("SAT" if field == "L" else field, 1, 7, _WEEKDAYS)
    return lambda year, month: sorted(
        day
        for weekday in values
        for day in range(_first_of(year, month, weekday), _length(year, month) + 1, 7)
    )


def _length(year: int, month: int) -> int:
    return calendar.monthrange(year, month)[1]


def _existing(year: int, month: int, day: int) -> list[int]:
    return [day] if 1 <= day <= _length(year, month) else []


def _first_of(year: int, month: int, weekday: int) -> int:
    """The first day of a month that is a weekday, 1 for Sunday."""
    return (weekday - 1 - date(year, month, 1).isoweekday() % 7) % 7 + 1


def _weekday_near(year: int, month: int, day: int) -> int:
    """The day from Monday to Friday that is nearest to one, in the same month."""
    is_weekday = date(year, month, day).isoweekday()
    if is_weekday == calendar.SATURDAY + 1:
        return day - 1 if day > 1 else day + 2
    if is_weekday == calendar.SUNDAY + 1:
        return day + 1 if day < _length(year, month) else day - 2
    return day
