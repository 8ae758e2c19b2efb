"""Reports of agents: attempts that started and ended, and what that makes of their jobs.

What an agent says counts for the attempts on its own instance alone, and its times as far as they
can be: between placement and now, by the scheduler's clock. A report that fails all the same is set
aside, and its attempt ended as failed.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import structlog

from longshore.domain.job.job import (
    MAIN_NODE_ENDED,
    TIMED_OUT,
    AttemptEnd,
    JobStatus,
    Stop,
    StopKind,
    Verdict,
    host_terminated,
    judge,
)
from longshore.domain.job.retry import ExitRule
from longshore.scheduler.apart import note
from longshore.scheduler.changes import Changes
from longshore.scheduler.details import DetailsCache
from longshore.scheduler.isolating import Pass
from longshore.scheduler.memory import AttemptRef, Memory
from longshore.scheduler.report import AttemptReport, failed_report
from longshore.state.pool import Connection
from longshore.state.scheduler.attempt import AttemptMove, LiveAttempt, MainEnd
from longshore.state.scheduler.job_transition import JobMove
from longshore.state.scheduler.ready import NewEntry

log = structlog.get_logger()

#: Status reason of a job whose attempt was given back.
RETURNED = "Its instance gave it back before it started"
#: Status reason of an attempt whose report was set aside.
UNSTORABLE = "What the agent reported of the attempt could not be stored"


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of reports besides what they say."""

    #: Instances with an attempt that was ended although their agents do not know that.
    astray: set[str]
    #: Those for the next tick: the last ones.
    left: list[AttemptReport]


async def take_reports(
    this: Pass, details: DetailsCache, reports: Sequence[AttemptReport]
) -> Taken:
    """Moves attempts and jobs as reported, and what follows from that.

    An attempt whose report was set aside ends as failed. Where that fails as well, it stays as it
    is, and its end is tried again later.
    """
    memory = this.memory

    async def act(part: Sequence[AttemptReport]) -> None:
        await apply_reports(this.conn, this.changes, memory, details, part)

    tried = await this.act(reports, act, _touches)
    for report, error in tried.failed:
        note("report", error, **_what(memory, report))
    paused = memory.aside.paused("end")
    refs: set[AttemptRef] = {(report.key, report.attempt) for report, _ in tried.failed}
    refs = (refs - paused) | set(memory.aside.due("end"))
    ends = {
        ref: (live.instance_id, failed_report(live, UNSTORABLE))
        for ref in refs
        if (live := memory.live.get(ref)) is not None
    }
    ended = await this.act([end for _, end in ends.values()], act, _touches)
    for end, error in ended.failed:
        memory.aside.add("end", (end.key, end.attempt), error, **_what(memory, end))
    for ref in refs:
        if ref not in memory.live:
            memory.aside.forget("end", ref)
    gone = {instance_id for ref, (instance_id, _) in ends.items() if ref not in memory.live}
    return Taken(gone, tried.left)


def _touches(report: AttemptReport) -> list[AttemptRef]:
    return [(report.key, report.attempt)]


def _what(memory: Memory, report: AttemptReport) -> dict[str, object]:
    live = memory.live.get((report.key, report.attempt))
    return {
        "job_id": str(report.key),
        "attempt": report.attempt,
        "instance_id": live.instance_id if live else report.instance_id,
    }


async def apply_reports(
    conn: Connection,
    changes: Changes,
    memory: Memory,
    details: DetailsCache,
    reports: Iterable[AttemptReport],
) -> None:
    """Moves attempts and jobs as reported; what is known or no longer wanted is ignored.

    So is what an agent says of an attempt that is not on its instance, or that it was not told of.
    """
    pending = [_returnable(memory, report) for report in _own(memory, reports)]
    asking = {
        live.key.job_id
        for r in pending
        if r.ended
        and (live := memory.live.get((r.key, r.attempt))) is not None
        and (r.exit_code != 0 or live.stop is not None or live.key.is_node)
        and live.attempt < live.attempts_max
    }
    known = await details.get(conn, asking) if asking else {}
    for report in pending:
        live = memory.live.get((report.key, report.attempt))
        if live is None:
            continue
        report = _possible(report, live, changes.now)  # noqa: PLW2901 - the other is not used again
        if report.returned:
            _give_back(changes, memory, live, report.status_reason or RETURNED)
            continue
        if report.started_at is not None and not live.running:
            _start(changes, memory, live, report.started_at, report.address)
        if report.ended:
            details_of = known.get(live.key.job_id)
            rules = tuple(ExitRule.from_json(r) for r in details_of.rules) if details_of else ()
            if live.key.is_node:
                _end_node(changes, memory, live, report, rules)
            else:
                _end(changes, memory, live, report, rules)


def _own(memory: Memory, reports: Iterable[AttemptReport]) -> list[AttemptReport]:
    """Reports of what an agent was given to run, and the scheduler's own."""
    own, foreign = [], Counter[str]()
    for report in reports:
        live = memory.live.get((report.key, report.attempt))
        says = report.instance_id
        if live is not None and says is not None and (says != live.instance_id or live.held_back):
            foreign[says] += 1
        else:
            own.append(report)
    for instance_id, count in foreign.items():
        log.warning("report.foreign", instance_id=instance_id, changes=count)
    return own


def _returnable(memory: Memory, report: AttemptReport) -> AttemptReport:
    """A report of what is given back, or of its end where that cannot be.

    What runs on record cannot, a node would leave the others of its try alone, and what was told to
    stop is not wanted any more.
    """
    live = memory.live.get((report.key, report.attempt))
    if not report.returned or live is None:
        return report
    if not live.running and not live.key.is_node and live.stop is None:
        return report
    return replace(report, returned=False, ended=True, started_at=None)


def _possible(report: AttemptReport, live: LiveAttempt, now: datetime) -> AttemptReport:
    """A report with its times between the attempt's placement and now."""
    started_at = report.started_at
    if started_at is not None:
        started_at = min(max(started_at, live.placed_at), now)
    stopped_at = report.stopped_at
    if stopped_at is not None:
        since = live.started_at or started_at or live.placed_at
        stopped_at = min(max(stopped_at, since), now)
    return replace(report, started_at=started_at, stopped_at=stopped_at)


def _start(
    changes: Changes,
    memory: Memory,
    live: LiveAttempt,
    started_at: datetime,
    address: str | None,
) -> None:
    live.running = True
    live.started_at = started_at
    live.running_at = changes.now
    live.address = address
    memory.watch_deadline(live)
    changes.attempt_moves[live.key, live.attempt] = AttemptMove(
        live.key, live.attempt, "RUNNING", started_at, address=address, running_at=changes.now
    )
    if not live.key.is_node:
        changes.count(live.key, JobStatus.STARTING, JobStatus.RUNNING)
        changes.move(JobMove(live.key, JobStatus.RUNNING, started_at=started_at), live.attempt)
    elif live.is_main:
        job = JobMove(live.key.parent, JobStatus.RUNNING, started_at=started_at)
        changes.move(job, live.attempt)
        for node in memory.live_of(live.key.parent):
            if node.held_back:
                node.held_back, node.main_address = False, address or ""
                changes.released.append(node)


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
    _end_attempt(changes, live, report)
    before = JobStatus.RUNNING if live.running else JobStatus.STARTING
    changes.count(live.key, before, verdict.status)
    if verdict.status is JobStatus.RUNNABLE:
        _again(changes, memory, live, verdict)
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


def _end_attempt(changes: Changes, live: LiveAttempt, report: AttemptReport) -> None:
    changes.attempt_moves[live.key, live.attempt] = AttemptMove(
        live.key,
        live.attempt,
        "ENDED",
        live.started_at,
        report.stopped_at or changes.now,
        report.exit_code,
        report.reason,
        report.status_reason if live.stop is None else live.stop.reason,
        live.address,
        is_lost=report.is_lost,
    )


def _end_node(
    changes: Changes,
    memory: Memory,
    live: LiveAttempt,
    report: AttemptReport,
    rules: tuple[ExitRule, ...],
) -> None:
    """Ends a node.

    With the main node the job is decided, and the others are stopped. It is over once the last of
    them has ended: its next attempt, or the jobs that wait for it, find none of them at work.
    """
    job_id = live.key.job_id
    _end_attempt(changes, live, report)
    memory.release(live)
    if live.is_main:
        memory.main_ends[job_id] = MainEnd(
            live.attempt,
            live.started_at,
            report.stopped_at or changes.now,
            report.exit_code,
            report.reason,
            report.status_reason or "",
            live.stop,
        )
        for node in memory.live_of(live.key.parent):
            stop(changes, memory, node, Stop(StopKind.MAIN_NODE_ENDED, MAIN_NODE_ENDED))
    if job_id in memory.main_ends and job_id not in memory.by_job:
        _end_job(changes, memory, live, rules)


def _end_job(
    changes: Changes, memory: Memory, last: LiveAttempt, rules: tuple[ExitRule, ...]
) -> None:
    """Makes of a multi-node job what the end of its main node means.

    One that a user terminated since then, while other nodes were stopping, is not tried again.
    """
    main = memory.main_ends.pop(last.key.job_id)
    end = AttemptEnd(main.exit_code, main.reason, main.status_reason, main.stop)
    verdict = judge(end, attempt=last.attempt, attempts_max=last.attempts_max, rules=rules)
    if verdict.status is JobStatus.RUNNABLE:
        if last.stop is None or last.stop.kind is not StopKind.TERMINATED:
            _again(changes, memory, last, verdict)
            return
        verdict = Verdict(JobStatus.FAILED, last.stop.reason)
    move = JobMove(
        last.key.parent,
        verdict.status,
        verdict.status_reason,
        main.exit_code,
        main.reason,
        main.started_at,
        main.stopped_at,
    )
    changes.move(move, last.attempt)


def _again(changes: Changes, memory: Memory, live: LiveAttempt, verdict: Verdict) -> None:
    """Puts a job to the front of its queue for its next attempt."""
    key = live.key.job
    index = key.array_index
    changes.make_ready(
        NewEntry(live.job_queue, key.job_id, live.shape_id, live.seq, index, index + 1, -1)
    )
    # The shape's first job is another one now.
    memory.parking.parked.pop(live.shape_id, None)
    changes.move(JobMove(key, JobStatus.RUNNABLE, verdict.status_reason), live.attempt)


def _give_back(changes: Changes, memory: Memory, live: LiveAttempt, status_reason: str) -> None:
    """Puts a job to the front of its queue, as if this attempt had never been placed."""
    changes.returned.append(live)
    changes.count(live.key, JobStatus.STARTING, JobStatus.RUNNABLE)
    _again(changes, memory, live, Verdict(JobStatus.RUNNABLE, status_reason))
    memory.release(live)


async def stop_overdue(this: Pass) -> None:
    """Tells attempts to stop whose time is over, or that of their instance."""
    memory = this.memory

    async def act(part: Sequence[tuple[LiveAttempt, Stop]]) -> None:
        for live, why in part:
            stop(this.changes, memory, live, why)

    tried = await this.act(_due_stops(this), act, lambda one: [(one[0].key, one[0].attempt)])
    for (live, _), error in tried.failed:
        ref = (live.key, live.attempt)
        memory.aside.add("stop", ref, error, job_id=str(live.key), attempt=live.attempt)
    for live, why in [*(one for one, _ in tried.failed), *tried.left]:
        if why.kind is StopKind.TIMED_OUT:
            memory.watch_deadline(live)


def _due_stops(this: Pass) -> list[tuple[LiveAttempt, Stop]]:
    """Attempts to stop now, and why."""
    memory, now = this.memory, this.changes.now
    paused = memory.aside.paused("stop")
    stops: dict[AttemptRef, tuple[LiveAttempt, Stop]] = {}
    for overdue in list(memory.overdue(now)):
        if (overdue.key, overdue.attempt) in paused:
            memory.watch_deadline(overdue)
            continue
        for live in memory.live_of(overdue.key.job):
            stops[live.key, live.attempt] = live, Stop(StopKind.TIMED_OUT, TIMED_OUT)
    for live in memory.on_gone_instances(now):
        why = Stop(StopKind.HOST_TERMINATED, host_terminated(live.instance_id))
        if _is_news(live, why):
            stops.setdefault((live.key, live.attempt), (live, why))
    return [one for ref, one in stops.items() if ref not in paused]


def stop(changes: Changes, memory: Memory, live: LiveAttempt, why: Stop) -> None:
    """Tells an attempt to stop, unless an earlier stop of it stays.

    A node that its agent does not know of yet ends at once.
    """
    if live.held_back:
        never = AttemptReport(
            live.key, live.attempt, ended=True, started_at=None, status_reason=why.reason
        )
        _end_attempt(changes, live, never)
        memory.release(live)
    elif _is_news(live, why):
        live.stop = why
        changes.stop(live, why)


def _is_news(live: LiveAttempt, why: Stop) -> bool:
    return live.stop is None or live.stop.gives_way(why)
