"""Virtual time: whole microseconds since the simulation began, and a date to show decisions."""

from datetime import UTC, datetime, timedelta

#: Any date would do; decisions see differences alone.
EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def moment(microseconds: int) -> datetime:
    """The date of a point in virtual time."""
    return EPOCH + microseconds * _MICROSECOND


def since_epoch(at: datetime) -> int:
    """The point in virtual time of a date."""
    return (at - EPOCH) // _MICROSECOND


class Clock:
    """The time that everything in one simulation sees."""

    __slots__ = ("now", "us")

    def __init__(self) -> None:
        self.us = 0
        self.now = EPOCH

    def set(self, us: int) -> None:
        """Moves on."""
        self.us = us
        self.now = moment(us)

    def read(self) -> datetime:
        """The time as a date, for who wants a function."""
        return self.now
