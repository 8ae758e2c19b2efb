"""What is said of attempts: by the agents that run them, and by the scheduler itself."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from longshore.domain.job.job import JobKey, host_terminated
from longshore.state.scheduler.attempt import LiveAttempt


@dataclass(frozen=True, slots=True)
class AttemptReport:
    """An attempt moved on: it runs, or it ended. `started_at` is None if no process ever ran."""

    key: JobKey
    attempt: int
    ended: bool
    started_at: datetime | None
    stopped_at: datetime | None = None
    exit_code: int | None = None
    reason: str | None = None
    status_reason: str | None = None
    #: Under which other nodes reach it; with the start of a node of a multi-node job.
    address: str | None = None
    #: Whose agent says so; None: the scheduler itself.
    instance_id: str | None = None
    #: Its instance was given up: nobody knows how it ended, if it has.
    is_lost: bool = False
    #: It never reached what runs containers, and never will there: it was no attempt.
    returned: bool = False


def failed_report(
    live: LiveAttempt, status_reason: str, reason: str | None = None
) -> AttemptReport:
    """What the scheduler says of an attempt that cannot go on."""
    return AttemptReport(
        live.key,
        live.attempt,
        ended=True,
        started_at=live.started_at,
        reason=reason,
        status_reason=status_reason,
    )


def lost_reports(lives: Iterable[LiveAttempt], now: datetime) -> list[AttemptReport]:
    """What the loss of their instance means for attempts: they ended, and nobody knows how."""
    return [
        AttemptReport(
            live.key,
            live.attempt,
            ended=True,
            started_at=live.started_at,
            stopped_at=now,
            status_reason=host_terminated(live.instance_id),
            is_lost=True,
        )
        for live in lives
    ]
