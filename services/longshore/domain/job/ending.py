"""Attempts that start and end, and what that makes of their jobs.

A report counts as far as its times can be: between placement and now. What is told to stop is
stopped for the first reason, but for a user's wish.
"""

from collections.abc import Container, Iterable
from dataclasses import replace
from datetime import datetime

from longshore.domain.job.attempts import Attempts
from longshore.domain.job.changes import Changes
from longshore.domain.job.happening import ToStop
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
from longshore.domain.job.record import (
    FRONT,
    AttemptMove,
    AttemptRef,
    AttemptReport,
    JobMove,
    LiveAttempt,
    MainEnd,
    NewEntry,
)
from longshore.domain.job.retry import ExitRule
from longshore.domain.job.tally import Moved, Span, Stage, StoppedBy, span

#: Status reason of a job whose attempt was given back.
RETURNED = "Its instance gave it back before it started"


def take_report(
    attempts: Attempts,
    changes: Changes,
    report: AttemptReport,
    rules: tuple[ExitRule, ...],
    larger: int | None = None,
) -> None:
    """Moves an attempt and its job as reported; what is known or no longer wanted is ignored.

    Args:
        attempts: that are live.
        changes: what is decided.
        report: of the attempt.
        rules: its job's evaluateOnExit.
        larger: the shape of the next attempt, where that is to have more memory.
    """
    live = attempts.live.get((report.key, report.attempt))
    if live is None:
        return
    report = _returnable(_possible(report, live, changes.now), live)
    if report.returned:
        _give_back(attempts, changes, live, report.status_reason or RETURNED)
        return
    if report.started_at is not None and not live.running:
        _start(attempts, changes, live, report.started_at, report)
    elif report.containers and not report.ended:
        _note_containers(changes, live, report)
    if report.ended and live.key.is_node:
        _end_node(attempts, changes, live, report, rules)
    elif report.ended:
        _end(attempts, changes, live, report, rules, larger)


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


def _returnable(report: AttemptReport, live: LiveAttempt) -> AttemptReport:
    """A report of what is given back, or of its end where that cannot be.

    What runs on record cannot, a node would leave the others of its try alone, and what was told to
    stop is not wanted any more.
    """
    if not report.returned or not (live.running or live.key.is_node or live.stop is not None):
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
    attempts: Attempts,
    changes: Changes,
    live: LiveAttempt,
    started_at: datetime,
    report: AttemptReport,
) -> None:
    live.running = True
    live.started_at = started_at
    live.running_at = changes.now
    live.address = report.address
    if report.images:
        changes.image_starts += [(live.instance_id, image) for image in report.images]
        live.pull_seconds = max(image.pull_seconds or 0.0 for image in report.images) or None
    attempts.watch_deadline(live)
    changes.attempt_moves[live.key, live.attempt] = AttemptMove(
        live.key,
        live.attempt,
        "RUNNING",
        started_at,
        address=report.address,
        running_at=changes.now,
        containers=report.containers,
        pull_seconds=live.pull_seconds,
    )
    if not live.key.is_node:
        changes.count(live.key, JobStatus.STARTING, JobStatus.RUNNING)
        job = JobMove(live.key, JobStatus.RUNNING, started_at=started_at)
        changes.move(job, live.attempt, _running(live, started_at))
        return
    if live.is_main:
        job = JobMove(live.key.parent, JobStatus.RUNNING, started_at=started_at)
        changes.move(job, live.attempt, _running(live, started_at))
        for node in attempts.live_of(live.key.parent):
            if node.held_back:
                node.held_back, node.main_address = False, report.address or ""
                changes.released.append(node)
    changes.event(live.key, live.attempt, JobStatus.RUNNING, None)


def _running(live: LiveAttempt, started_at: datetime) -> Moved:
    took = span(Stage.STARTING_TO_RUNNING, live.placed_at, started_at)
    return Moved(live.job_queue, JobStatus.RUNNING, spans=(took,))


def _ended(
    live: LiveAttempt,
    verdict: Verdict,
    started_at: datetime | None,
    stopped_at: datetime,
    stop: Stop | None,
) -> Moved:
    """As what a job counts whose attempt ended, or of which the main node did."""
    spans: tuple[Span, ...] = (span(Stage.ATTEMPT, live.placed_at, stopped_at),)
    if started_at is not None:
        spans = (*spans, span(Stage.EXECUTION, started_at, stopped_at))
    is_asked = stop is not None and stop.kind is StopKind.TERMINATED
    return Moved(
        live.job_queue,
        verdict.status,
        spans=spans,
        by=StoppedBy.TERMINATE if is_asked and verdict.status is JobStatus.FAILED else None,
        is_retry=verdict.status is JobStatus.RUNNABLE,
    )


def _note_containers(changes: Changes, live: LiveAttempt, report: AttemptReport) -> None:
    """Notes how far the several containers of an attempt are, which itself is where it was."""
    changes.attempt_moves[live.key, live.attempt] = AttemptMove(
        live.key,
        live.attempt,
        "RUNNING" if live.running else "STARTING",
        live.started_at,
        address=live.address,
        running_at=live.running_at,
        containers=report.containers,
        pull_seconds=live.pull_seconds,
    )


def _end(
    attempts: Attempts,
    changes: Changes,
    live: LiveAttempt,
    report: AttemptReport,
    rules: tuple[ExitRule, ...],
    larger: int | None,
) -> None:
    end = AttemptEnd(report.exit_code, report.reason, report.status_reason or "", live.stop)
    verdict = judge(end, attempt=live.attempt, attempts_max=live.attempts_max, rules=rules)
    stopped_at = report.stopped_at or changes.now
    _end_attempt(changes, live, report)
    before = JobStatus.RUNNING if live.running else JobStatus.STARTING
    changes.count(live.key, before, verdict.status)
    moved = _ended(live, verdict, live.started_at, stopped_at, live.stop)
    if verdict.status is JobStatus.RUNNABLE:
        _again(changes, live, verdict, moved, larger)
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
            moved,
        )
    attempts.release(live)


def _end_attempt(changes: Changes, live: LiveAttempt, report: AttemptReport) -> str | None:
    """Ends an attempt on record; the reason that is told of its status."""
    reason = report.status_reason if live.stop is None else live.stop.reason
    changes.attempt_moves[live.key, live.attempt] = AttemptMove(
        live.key,
        live.attempt,
        "ENDED",
        live.started_at,
        report.stopped_at or changes.now,
        report.exit_code,
        report.reason,
        reason,
        live.address,
        is_lost=report.is_lost,
        containers=report.containers,
        pull_seconds=live.pull_seconds,
    )
    return reason


def _end_node(
    attempts: Attempts,
    changes: Changes,
    live: LiveAttempt,
    report: AttemptReport,
    rules: tuple[ExitRule, ...],
) -> None:
    """Ends a node.

    With the main node the job is decided, and the others are stopped. It is over once the last of
    them has ended: its next attempt, or the jobs that wait for it, find none of them at work.
    """
    job_id = live.key.job_id
    reason = _end_attempt(changes, live, report)
    status = JobStatus.SUCCEEDED if report.exit_code == 0 else JobStatus.FAILED
    changes.event(live.key, live.attempt, status, None, reason)
    attempts.release(live)
    if live.is_main:
        attempts.main_ends[job_id] = MainEnd(
            live.attempt,
            live.started_at,
            report.stopped_at or changes.now,
            report.exit_code,
            report.reason,
            report.status_reason or "",
            live.stop,
        )
        for node in attempts.live_of(live.key.parent):
            stop(attempts, changes, node, Stop(StopKind.MAIN_NODE_ENDED, MAIN_NODE_ENDED))
    if job_id in attempts.main_ends and job_id not in attempts.by_job:
        _end_job(attempts, changes, live, rules)


def _end_job(
    attempts: Attempts, changes: Changes, last: LiveAttempt, rules: tuple[ExitRule, ...]
) -> None:
    """Makes of a multi-node job what the end of its main node means.

    One that a user terminated since then, while other nodes were stopping, is not tried again.
    """
    main = attempts.main_ends.pop(last.key.job_id)
    stop = main.stop
    end = AttemptEnd(main.exit_code, main.reason, main.status_reason, main.stop)
    verdict = judge(end, attempt=last.attempt, attempts_max=last.attempts_max, rules=rules)
    if verdict.status is JobStatus.RUNNABLE:
        if last.stop is None or last.stop.kind is not StopKind.TERMINATED:
            again = _ended(last, verdict, main.started_at, main.stopped_at, main.stop)
            _again(changes, last, verdict, again)
            return
        verdict = Verdict(JobStatus.FAILED, last.stop.reason)
        stop = last.stop
    move = JobMove(
        last.key.parent,
        verdict.status,
        verdict.status_reason,
        main.exit_code,
        main.reason,
        main.started_at,
        main.stopped_at,
    )
    moved = _ended(last, verdict, main.started_at, main.stopped_at, stop)
    changes.move(move, last.attempt, moved)


def _again(
    changes: Changes, live: LiveAttempt, verdict: Verdict, moved: Moved, larger: int | None = None
) -> None:
    """Puts a job to the front of its queue for its next attempt, in a larger shape if there is."""
    key = live.key.job
    index = key.array_index
    shape_id = live.shape_id if larger is None else larger
    if shape_id != live.shape_id:
        changes.reshaped.append((key, shape_id))
    changes.make_ready(
        NewEntry(live.job_queue, key.job_id, shape_id, live.seq, index, index + 1, FRONT)
    )
    changes.move(JobMove(key, JobStatus.RUNNABLE, verdict.status_reason), live.attempt, moved)


def _give_back(attempts: Attempts, changes: Changes, live: LiveAttempt, status_reason: str) -> None:
    """Puts a job to the front of its queue, as if this attempt had never been placed."""
    changes.returned.append(live)
    changes.count(live.key, JobStatus.STARTING, JobStatus.RUNNABLE)
    moved = Moved(live.job_queue, JobStatus.RUNNABLE)
    _again(changes, live, Verdict(JobStatus.RUNNABLE, status_reason), moved)
    attempts.release(live)


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


def due_stops(
    attempts: Attempts, gone: Iterable[LiveAttempt], now: datetime, paused: Container[AttemptRef]
) -> list[ToStop]:
    """What follows from passing time: attempts whose time is over, or that of their instance.

    Of a multi-node job whose time is over all nodes stop. What was told already is no news, and the
    paused ones come up again.
    """
    stops: dict[AttemptRef, ToStop] = {}
    for overdue in list(attempts.overdue(now)):
        if (overdue.key, overdue.attempt) in paused:
            attempts.watch_deadline(overdue)
            continue
        for live in attempts.live_of(overdue.key.job):
            why = Stop(StopKind.TIMED_OUT, TIMED_OUT)
            stops[live.key, live.attempt] = ToStop(live.key, live.attempt, why)
    for live in gone:
        why = Stop(StopKind.HOST_TERMINATED, host_terminated(live.instance_id))
        if _is_news(live, why):
            ref = live.key, live.attempt
            stops.setdefault(ref, ToStop(live.key, live.attempt, why))
    return [one for ref, one in stops.items() if ref not in paused]


def stop(attempts: Attempts, changes: Changes, live: LiveAttempt, why: Stop) -> None:
    """Tells an attempt to stop, unless an earlier stop of it stays.

    A node that its agent does not know of yet ends at once.
    """
    if live.held_back:
        never = AttemptReport(
            live.key, live.attempt, ended=True, started_at=None, status_reason=why.reason
        )
        _end_attempt(changes, live, never)
        attempts.release(live)
    elif _is_news(live, why):
        live.stop = why
        changes.stop(live, why)


def _is_news(live: LiveAttempt, why: Stop) -> bool:
    return live.stop is None or live.stop.gives_way(why)
