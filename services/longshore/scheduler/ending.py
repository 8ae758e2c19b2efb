"""Reports of agents: attempts that started and ended, and what that makes of their jobs."""

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from longshore.domain.job import (
    TIMED_OUT,
    AttemptEnd,
    JobKey,
    JobStatus,
    Stop,
    StopKind,
    Verdict,
    host_terminated,
    judge,
)
from longshore.domain.retry import ExitRule
from longshore.scheduler.changes import Changes
from longshore.scheduler.memory import Memory
from longshore.state import job_transition
from longshore.state.attempt import AttemptMove, LiveAttempt
from longshore.state.job_transition import JobDetails, JobMove
from longshore.state.pool import Connection
from longshore.state.ready import NewEntry

#: Jobs whose unchanging details are kept in memory.
DETAILS_KEPT = 20_000


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


class DetailsCache:
    """Unchanging details of jobs, those used last kept."""

    def __init__(self) -> None:
        self._known: OrderedDict[UUID, JobDetails] = OrderedDict()

    async def get(self, conn: Connection, job_ids: Iterable[UUID]) -> dict[UUID, JobDetails]:
        """Details of jobs by the id of the single job or parent."""
        wanted = set(job_ids)
        missing = wanted - self._known.keys()
        if missing:
            self._known.update(await job_transition.details(conn, missing))
        for job_id in wanted:
            self._known.move_to_end(job_id)
        found = {job_id: self._known[job_id] for job_id in wanted}
        while len(self._known) > DETAILS_KEPT:
            self._known.popitem(last=False)
        return found


async def apply_reports(
    conn: Connection,
    changes: Changes,
    memory: Memory,
    details: DetailsCache,
    reports: Iterable[AttemptReport],
) -> None:
    """Moves attempts and jobs as reported; what is known or no longer wanted is ignored."""
    pending = list(reports)
    asking = {
        live.key.job_id
        for r in pending
        if r.ended
        and (live := memory.live.get((r.key, r.attempt))) is not None
        and (r.exit_code != 0 or live.stop is not None)
        and live.attempt < live.attempts_max
    }
    known = await details.get(conn, asking) if asking else {}
    for report in pending:
        live = memory.live.get((report.key, report.attempt))
        if live is None:
            continue
        if report.started_at is not None and not live.running:
            _start(changes, memory, live, report.started_at)
        if report.ended:
            rules = known[live.key.job_id].rules if live.key.job_id in known else ()
            _end(changes, memory, live, report, tuple(ExitRule.from_json(r) for r in rules))


def _start(changes: Changes, memory: Memory, live: LiveAttempt, started_at: datetime) -> None:
    live.running = True
    live.started_at = started_at
    memory.watch_deadline(live)
    changes.attempt_moves[live.key, live.attempt] = AttemptMove(
        live.key, live.attempt, "RUNNING", started_at, None, None, None, None
    )
    changes.count(live.key, JobStatus.STARTING, JobStatus.RUNNING)
    changes.move(JobMove(live.key, JobStatus.RUNNING, started_at=started_at), live.attempt)


def _end(
    changes: Changes,
    memory: Memory,
    live: LiveAttempt,
    report: AttemptReport,
    rules: tuple[ExitRule, ...],
) -> None:
    end = AttemptEnd(report.exit_code, report.reason, report.status_reason or "", live.stop)
    verdict = judge(end, attempt=live.attempt, attempts_max=live.attempts_max, rules=rules)
    stopped_at = report.stopped_at or changes.now
    changes.attempt_moves[live.key, live.attempt] = AttemptMove(
        live.key,
        live.attempt,
        "ENDED",
        live.started_at,
        stopped_at,
        report.exit_code,
        report.reason,
        report.status_reason if live.stop is None else live.stop.reason,
    )
    before = JobStatus.RUNNING if live.running else JobStatus.STARTING
    changes.count(live.key, before, verdict.status)
    if verdict.status is JobStatus.RUNNABLE:
        _again(changes, live, verdict)
    else:
        changes.move(
            JobMove(
                live.key,
                verdict.status,
                verdict.status_reason,
                report.exit_code,
                report.reason,
                live.started_at,
                stopped_at,
            ),
            live.attempt,
        )
    memory.release(live)


def _again(changes: Changes, live: LiveAttempt, verdict: Verdict) -> None:
    """Puts a job to the front of its queue for its next attempt."""
    index = live.key.array_index
    changes.make_ready(
        NewEntry(live.job_queue, live.key.job_id, live.shape_id, live.seq, index, index + 1, -1)
    )
    changes.move(JobMove(live.key, JobStatus.RUNNABLE, verdict.status_reason), live.attempt)


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
        )
        for live in lives
    ]


def stop_overdue(changes: Changes, memory: Memory) -> None:
    """Tells attempts to stop whose time is over, or that of their instance."""
    for live in memory.overdue(changes.now):
        stop(changes, live, Stop(StopKind.TIMED_OUT, TIMED_OUT))
    for live in memory.on_gone_instances(changes.now):
        reason = host_terminated(live.instance_id)
        stop(changes, live, Stop(StopKind.HOST_TERMINATED, reason))


def stop(changes: Changes, live: LiveAttempt, why: Stop) -> None:
    """Tells an attempt to stop, unless an earlier stop of it stays."""
    if live.stop is None or live.stop.gives_way(why):
        live.stop = why
        changes.stops[live.key, live.attempt] = (live, why)
