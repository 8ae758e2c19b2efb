"""Why a job is where it is, told from the tables."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from longshore.domain.errors import NotFound
from longshore.domain.fair_share import Ledger
from longshore.domain.job import words as job_words
from longshore.domain.job.dependency import Dependency, DependencyCondition, waits_for
from longshore.domain.job.job import WHOLE, JobKey, JobStatus
from longshore.domain.job.nodes import node_status
from longshore.domain.job.record import ChildCounts, JobFacts
from longshore.domain.placing import words
from longshore.domain.placing.shapes import QueueEntry, Shape
from longshore.domain.placing.waiting import Why, booting_for
from longshore.state.pool import Connection
from longshore.state.scheduler import (
    array_job,
    attempt,
    demand,
    job_dependency,
    job_transition,
    ready,
    share_usage,
    topology,
)
from longshore.state.scheduler.attempt import PlacedAttempt
from longshore.state.scheduler.demand import Reason


@dataclass(frozen=True, slots=True)
class Explanation:
    """A sentence, constant reasons with counts and details, and the place in the queue.

    And where its attempts were placed so far.
    """

    status: JobStatus
    summary: str
    reasons: list[tuple[str, int, str]]
    jobs_ahead: int | None = None
    attempts: tuple[PlacedAttempt, ...] = ()


async def explain_job(conn: Connection, key: JobKey) -> Explanation:
    """Explains a job, an array, a child or a node.

    Raises:
        NotFound: there is no such job.
    """
    rows = await job_transition.find(conn, {key, key.parent})
    parent = rows.get(key.parent)
    if parent is None or _is_missing(key, parent):
        raise NotFound(f"Job {key} does not exist.", job_id=str(key))
    # A node waits with its job.
    explanation = await _explain(conn, key.job, parent, rows.get(key.job))
    if parent.main_node is None:
        return replace(explanation, attempts=tuple(await attempt.placed(conn, key)))
    # Where the job was tried, its main node was.
    main = JobKey.node(key.job_id, parent.main_node)
    attempts = tuple(await attempt.placed(conn, key if key.is_node else main))
    if attempts and attempts[-1].attempt == parent.attempt:
        if key.is_node and not (key == main and parent.status.final):
            explanation = _of_node(explanation, attempts[-1], is_main=key == main)
        elif parent.status is JobStatus.RUNNING and attempts[-1].status == "ENDED":
            explanation = replace(explanation, summary=job_words.OTHER_NODES)
    return replace(explanation, attempts=attempts)


def _is_missing(key: JobKey, parent: JobFacts) -> bool:
    """Whether a job has no such child or node."""
    if key.is_node:
        return key.node_index >= (parent.num_nodes or 0)
    return key.is_child and key.array_index >= (parent.array_size or 0)


def _of_node(job: Explanation, tried: PlacedAttempt, *, is_main: bool) -> Explanation:
    """Where a node is that was placed with its job."""
    if job.status is JobStatus.RUNNABLE:
        return job
    status = node_status(job.status, tried.status, tried.exit_code)
    if tried.status == "ENDED":
        return Explanation(status, job_words.over(tried.status_reason), [])
    if job.status is JobStatus.STARTING and not is_main:
        return replace(job, summary=job_words.AFTER_MAIN_NODE)
    return replace(job, status=status, summary=job_words.where(status))


async def _explain(
    conn: Connection, key: JobKey, parent: JobFacts, row: JobFacts | None
) -> Explanation:
    """Explains a job, an array or a child; a child may have no row."""
    entries = [w.entry for w in await ready.of_jobs(conn, [key.job_id])]
    entry = next((e for e in entries if e.next_index <= key.array_index < e.end_index), None)
    if entry is not None and (parent.array_size is None or key.array_index != WHOLE):
        return await _runnable(conn, key, parent, entry)
    if row is None or row.status is JobStatus.PENDING:
        return await _pending(conn, key, parent)
    if row.status is JobStatus.FAILED and row.array_size is not None:
        return Explanation(row.status, job_words.CHILDREN_FAILED, [])
    return Explanation(row.status, job_words.where(row.status), [])


async def _runnable(
    conn: Connection, key: JobKey, parent: JobFacts, entry: QueueEntry
) -> Explanation:
    shape = (await demand.shapes(conn, [entry.shape_id]))[entry.shape_id]
    # Among shares nobody can tell how many jobs come first: that depends on what these use.
    ahead = None
    if not shape.share:
        ahead = await ready.ahead(conn, parent.job_queue, entry.rank, entry.seq, key.array_index)
    reason = await demand.of_shape(conn, entry.shape_id)
    if reason is None or not _says(reason):
        return Explanation(JobStatus.RUNNABLE, job_words.PLACED_SOON, [], ahead)
    summary = reason.blocked_reason or reason.explanation or ""
    reasons = [_told(reason, 1)]
    if shape.share and (turn := await _turn(conn, shape)) is not None:
        reasons.append(turn)
    waits_for_room = not reason.blocked_reason and reason.why not in (Why.CAPPED, Why.NO_UNITS)
    if waits_for_room and (booting := await _booting(conn, shape)) is not None:
        count, which = booting
        summary = f"An instance is booting: {which}."
        if reason.why is Why.NO_INSTANCE:
            del reasons[0]
        reasons.insert(0, ("INSTANCE_BOOTING", count, which))
    return Explanation(JobStatus.RUNNABLE, summary, reasons, ahead)


async def _turn(conn: Connection, shape: Shape) -> tuple[str, int, str] | None:
    """Where the share of a job stands, if others that wait come before it."""
    policy = await share_usage.policy(conn, shape.job_queue)
    if policy is None:
        return None
    now = datetime.now(UTC)
    usages = await share_usage.of_queue(conn, shape.job_queue)
    ledger = Ledger({(shape.job_queue, share): usage for share, usage in usages.items()})
    waiting = await share_usage.waiting(conn, shape.job_queue) | {shape.share}
    stand = ledger.standings(shape.job_queue, policy, waiting, now)
    own = stand[shape.share]
    before = sum((one.score, share) < (own.score, shape.share) for share, one in stand.items())
    if not before:
        return None
    return words.SHARE_NOT_NEXT, before, words.turn(shape.share, own, before, len(stand))


async def _booting(conn: Connection, shape: Shape) -> tuple[int, str] | None:
    """How many instances boot on which the job would fit, and which one longest."""
    booting = booting_for(shape, await topology.launched(conn, None, shape.job_queue))
    if not booting:
        return None
    return sum(one.count for one in booting), words.booting(booting[0], datetime.now(UTC))


def _says(reason: Reason) -> bool:
    return bool(reason.blocked_reason or reason.explanation)


def _told(reason: Reason, count: int) -> tuple[str, int, str]:
    """Why jobs of a shape are not placed: the constant reason, how many, what it means."""
    hint = words.hint(reason.why, reason.explanation or reason.blocked_reason or "")
    return words.code_of(reason.why), count, hint


async def _pending(conn: Connection, key: JobKey, parent: JobFacts) -> Explanation:
    edges = await job_dependency.of_jobs(conn, [key.job_id])
    array = (await array_job.load(conn, [key.job_id])).get(key.job_id)
    if array is None:
        reasons = [_of_edge(e, 1) for e in edges if not e.condition.holds(e.status)]
    elif key.array_index == WHOLE:
        return await _at_work(conn, array, parent, edges)
    else:
        reasons = await _of_child(conn, key, edges)
    return Explanation(JobStatus.PENDING, job_words.waits_for(len(reasons)), reasons)


async def _at_work(
    conn: Connection, array: ChildCounts, parent: JobFacts, edges: Sequence[Dependency]
) -> Explanation:
    """Where the children of an array are, and what holds back those that wait."""
    counts = sorted(
        ((s.value, n, "children") for s, n in array.counts.items() if n),
        key=lambda count: -count[1],
    )
    reasons = []
    runnable = array.counts.get(JobStatus.RUNNABLE, 0)
    reason = await demand.of_shape(conn, parent.shape_id) if runnable else None
    if reason is not None and _says(reason):
        reasons.append(_told(reason, runnable))
    if pending := array.counts.get(JobStatus.PENDING, 0):
        # What all children waited for together has ended, or there were none.
        reasons += [_of_edge(e, pending) for e in edges if e.type != "PLAIN"]
    return Explanation(JobStatus.PENDING, job_words.CHILDREN_AT_WORK, reasons + counts)


async def _of_child(
    conn: Connection, key: JobKey, edges: Sequence[Dependency]
) -> list[tuple[str, int, str]]:
    """The children that a child waits for; those that are placed already with their status."""
    rules = (await job_dependency.rules(conn, [key.job_id]))[key.job_id]
    wanted = waits_for(key, rules, edges)
    rows = await job_transition.find(conn, [other for other, _ in wanted])
    status = {other: row.status for other, row in rows.items()}
    return [
        _waits("SEQUENTIAL" if other.job_id == key.job_id else "N_TO_N", other, how, 1, where)
        for other, how in wanted
        if not how.holds(where := status.get(other))
    ]


def _of_edge(edge: Dependency, count: int) -> tuple[str, int, str]:
    """That a job, or so many children, wait for what a dependency names."""
    other = JobKey(edge.depends_on, edge.depends_on_index) if edge.depends_on else None
    return _waits(edge.type, other, edge.condition, count, edge.status)


def _waits(
    kind: str, other: JobKey | None, how: DependencyCondition, count: int, status: JobStatus | None
) -> tuple[str, int, str]:
    condition = "" if how is DependencyCondition.SUCCESS else f", {how}"
    where = f" ({status})" if status else ""
    return "WAITING_FOR_JOB", count, f"{kind} {other or 'the child before'}{condition}{where}"
