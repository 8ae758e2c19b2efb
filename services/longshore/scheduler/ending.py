"""Reports of agents: attempts that started and ended, and what that makes of their jobs.

What an agent says counts for the attempts on its own instance alone, and its times as far as they
can be: between placement and now, by the scheduler's clock. A report that fails all the same is set
aside, and its attempt ended as failed.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

import structlog

from longshore.domain.job.changes import Changes
from longshore.domain.job.ending import due_stops, failed_report
from longshore.domain.job.happening import ToStop
from longshore.domain.job.job import JobKey, StopKind
from longshore.domain.job.life import advance
from longshore.domain.job.record import AttemptRef, AttemptReport
from longshore.domain.job.retry import ExitRule
from longshore.domain.job.snapshot import JobsSnapshot
from longshore.scheduler.apart import note
from longshore.scheduler.details import DetailsCache
from longshore.scheduler.isolating import Pass
from longshore.scheduler.memory import Memory
from longshore.state.pool import Connection
from longshore.state.scheduler import shape
from longshore.state.scheduler.job_transition import JobDetails

log = structlog.get_logger()

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


def _touches(one: AttemptReport | ToStop) -> list[AttemptRef]:
    return [(one.key, one.attempt)]


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
    pending = _own(memory, reports)
    asking = {
        live.key.job_id
        for r in pending
        if (r.ended or r.returned)
        and (live := memory.live.get((r.key, r.attempt))) is not None
        and (r.exit_code != 0 or live.stop is not None or live.key.is_node)
        and live.attempt < live.attempts_max
    }
    known = await details.get(conn, asking) if asking else {}
    rules = {
        job_id: tuple(ExitRule.from_json(r) for r in job.rules) for job_id, job in known.items()
    }
    larger = await _larger(conn, memory, known, pending)
    jobs = JobsSnapshot(attempts=memory, exit_rules=rules, larger=larger)
    decided = advance(jobs, pending, changes.now)
    for entry in decided.ready:
        # The shape's first job is another one now.
        memory.parking.parked.pop(entry.shape_id, None)
    changes.add(decided)


async def _larger(
    conn: Connection,
    memory: Memory,
    known: Mapping[UUID, JobDetails],
    reports: Iterable[AttemptReport],
) -> dict[JobKey, int]:
    """The shapes of next attempts that are to have more memory than those that end."""
    wanted: dict[JobKey, shape.Larger] = {}
    for report in reports:
        live = memory.live.get((report.key, report.attempt))
        job = known.get(report.key.job_id)
        if live is None or job is None or job.growth is None or not report.ended:
            continue
        memory_mib = job.growth.after(live.held.memory_mib, report.reason)
        if memory_mib > live.held.memory_mib:
            wanted[live.key] = live.shape_id, memory_mib
    if not wanted:
        return {}
    found = await shape.larger(conn, set(wanted.values()))
    return {key: found[one] for key, one in wanted.items() if one in found}


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


async def stop_overdue(this: Pass) -> None:
    """Tells attempts to stop whose time is over, or that of their instance."""
    memory, changes = this.memory, this.changes

    async def act(part: Sequence[ToStop]) -> None:
        changes.add(advance(JobsSnapshot(attempts=memory), part, changes.now))

    gone = memory.on_gone_instances(changes.now)
    due = due_stops(memory, gone, changes.now, memory.aside.paused("stop"))
    tried = await this.act(due, act, _touches)
    for one, error in tried.failed:
        ref = (one.key, one.attempt)
        memory.aside.add("stop", ref, error, job_id=str(one.key), attempt=one.attempt)
    for one in [*(one for one, _ in tried.failed), *tried.left]:
        live = memory.live.get((one.key, one.attempt))
        if live is not None and one.why.kind is StopKind.TIMED_OUT:
            memory.watch_deadline(live)
