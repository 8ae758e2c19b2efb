"""When an event that could not be delivered is tried again, and when it is given up."""

from dataclasses import dataclass

from longshore.domain.checks import Json
from longshore.domain.events.target import AGE_DEFAULT_SECONDS, TRIES_DEFAULT

#: Before the second try, at most, and before any.
FIRST_SECONDS = 1.0
LAST_SECONDS = 600.0

#: Why it was given up, in EventBridge's words.
MAXIMUM_RETRIES = "MaximumRetryAttempts"
MAXIMUM_AGE = "MaximumEventAgeInSeconds"
#: And in ours: to try it again would not help.
NOT_RETRYABLE = "NotRetryable"


class DeliveryFailed(Exception):
    """A target did not take an event."""

    def __init__(
        self, code: str, message: str, *, again: bool = True, retry_after: float = 0.0
    ) -> None:
        """Makes a failure.

        Args:
            code: constant, for programs.
            message: what is wrong.
            again: whether to try again can help.
            retry_after: how many seconds the target asks to be left alone.
        """
        super().__init__(message)
        self.code = code
        self.message = message
        self.again = again
        self.retry_after = retry_after


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often an event is tried again, and how old it may become meanwhile."""

    retries: int = TRIES_DEFAULT
    age_seconds: float = AGE_DEFAULT_SECONDS

    @classmethod
    def of(cls, target: Json) -> "RetryPolicy":
        """The policy of a target as it was given."""
        given = target.get("RetryPolicy", {})
        return cls(
            given.get("MaximumRetryAttempts", TRIES_DEFAULT),
            given.get("MaximumEventAgeInSeconds", AGE_DEFAULT_SECONDS),
        )


def pause(
    policy: RetryPolicy, failure: DeliveryFailed, tries: int, age: float, luck: float
) -> float | str:
    """For how many seconds to wait before the next try, or else why there is none.

    Args:
        policy: of the target.
        failure: of the latest try.
        tries: with the latest.
        age: seconds since the event was matched.
        luck: from 0 to 1, so that those that failed together do not come again together.
    """
    if not failure.again:
        return NOT_RETRYABLE
    if tries > policy.retries:
        return MAXIMUM_RETRIES
    longest = min(FIRST_SECONDS * 2.0 ** min(tries - 1, 30), LAST_SECONDS)
    seconds: float = max(longest * (0.5 + 0.5 * luck), failure.retry_after)
    if age + seconds > policy.age_seconds:
        return MAXIMUM_AGE
    return seconds


@dataclass(slots=True)
class Circuit:
    """Whether a target is left alone: after some failures in a row, and longer with each more."""

    failures: int = 0
    open_until: float = 0.0

    def succeeded(self) -> None:
        """The target took something."""
        self.failures, self.open_until = 0, 0.0

    def failed(self, now: float, retry_after: float = 0.0) -> None:
        """The target took nothing, of one event or of several at one time."""
        self.failures += 1
        if self.failures >= FAILURES_BEFORE_OPEN or retry_after:
            over = max(self.failures - FAILURES_BEFORE_OPEN, 0)
            pause = min(FIRST_SECONDS * 2.0 ** min(over, 30), OPEN_LAST_SECONDS)
            self.open_until = now + max(pause, min(retry_after, OPEN_LAST_SECONDS))

    def left(self, now: float) -> float:
        """For how many seconds it is left alone."""
        return max(self.open_until - now, 0.0)

    @property
    def is_probing(self) -> bool:
        """Whether it has failed so often that one event at a time is tried."""
        return self.failures >= FAILURES_BEFORE_OPEN


#: Failures in a row from which on a target is left alone for a while, and how long at most.
FAILURES_BEFORE_OPEN = 3
OPEN_LAST_SECONDS = 60.0
