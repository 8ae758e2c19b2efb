"""Reading jobs for those who ask: describe and list."""

import uuid
from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import asyncpg

from longshore.domain.consumable import units_of
from longshore.domain.job.arrays import RANGES_TOLD, told
from longshore.domain.job.job import WHOLE, JobKey, JobStatus
from longshore.domain.job.nodes import node_status
from longshore.domain.limits import LONGSHORE
from longshore.domain.request.reading import (
    AttemptRecord,
    ChildStatusCounts,
    DescribedJob,
    JobFilter,
    JobRecord,
    NamePlace,
    NeedingJob,
    NodeCount,
)
from longshore.state.pool import Connection
from longshore.state.queries import load_history_queries, load_queries

_SQL = load_queries("job_reading")
_ALL = load_history_queries("job_reading")
_COUNTED = ("PENDING", "RUNNABLE", "STARTING", "RUNNING", "SUCCEEDED", "FAILED")
#: No job is submitted this late.
_BEYOND = 2**63 - 1
#: Children looked at with one query, of those that may have no row.
STRETCH = 10_000
#: Jobs that need a consumable resource looked at for one page.
LOOKED_AT = 10_000
_BEFORE_START = ("SUBMITTED", "PENDING", "RUNNABLE")


async def describe_jobs(conn: Connection, keys: Sequence[JobKey]) -> list[DescribedJob]:
    """Jobs with all that is known of them, in the order asked for; unknown ones are left out."""
    rows = await _rows(conn, keys)
    tried = {key: _key_of_attempts(key, row) for key, row in rows.items()}
    attempts = await _attempts(conn, _SQL["read_attempts"], list(tried.values()))
    # Those of jobs that are history, or became so since they were read.
    gone = [
        of_attempts
        for key, of_attempts in tried.items()
        if JobStatus(rows[key]["status"]).final and of_attempts not in attempts
    ]
    if gone:
        attempts |= await _attempts(conn, _ALL["read_attempts"], gone)
    return [
        DescribedJob(
            _record(rows[key]),
            rows[key]["detail"],
            rows[key]["tags"],
            tuple(attempts.get(tried[key], ())),
            None if key.is_node else rows[key]["rerun_index"],
            () if key.is_node else _rerun_indexes(rows[key]),
            None if key.is_node else _memory(rows[key]),
        )
        for key in keys
        if key in rows
    ]


def _memory(row: asyncpg.Record) -> int | None:
    is_parent = row["array_size"] is not None and row["array_index"] == WHOLE
    return None if is_parent else row["memory_mib"]


def _rerun_indexes(row: asyncpg.Record) -> tuple[str, ...]:
    pairs: list[int] = row["rerun_pairs"] or []
    if len(pairs) > 2 * RANGES_TOLD:
        return tuple(told(pairs[:-2], pairs[-2]))
    return tuple(told(pairs, row["array_size"])) if pairs else ()


async def _attempts(
    conn: Connection, query: str, keys: Sequence[JobKey]
) -> dict[JobKey, list[AttemptRecord]]:
    attempts: dict[JobKey, list[AttemptRecord]] = defaultdict(list)
    for row in await conn.fetch(query, *_columns(keys)):
        attempts[JobKey(row["job_id"], row["array_index"])].append(_attempt(row))
    return dict(attempts)


async def _rows(conn: Connection, keys: Sequence[JobKey]) -> dict[JobKey, asyncpg.Record]:
    """What describes jobs, and what describes nodes, by key; live ones first, then history."""
    rows: dict[JobKey, asyncpg.Record] = {}
    for queries in (_SQL, _ALL):
        missing = [key for key in keys if key not in rows]
        nodes = [key for key in missing if key.is_node]
        jobs = [key for key in missing if not key.is_node]
        found = []
        if jobs:
            found += await conn.fetch(queries["describe_jobs"], *_columns(jobs), RANGES_TOLD)
        found += await conn.fetch(queries["describe_nodes"], *_columns(nodes)) if nodes else []
        rows |= {JobKey(row["job_id"], row["array_index"]): row for row in found}
    return rows


def _columns(keys: Sequence[JobKey]) -> tuple[list[uuid.UUID], list[int]]:
    return [key.job_id for key in keys], [key.array_index for key in keys]


def _key_of_attempts(key: JobKey, row: asyncpg.Record) -> JobKey:
    """Whose attempts are those of a job: of a multi-node job the main node's."""
    if key.is_node or row["main_node"] is None:
        return key
    return JobKey.node(key.job_id, row["main_node"])


class Owned(NamedTuple):
    """What decides who may do something with a job."""

    job_queue: str
    submitted_by: str
    #: Of an array job; 0 of others.
    children: int


async def submitters(conn: Connection, job_ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, Owned]:
    """Queues of jobs, and who has submitted them; those that are not there are left out."""
    found: dict[uuid.UUID, Owned] = {}
    for queries in (_SQL, _ALL):
        missing = [job_id for job_id in job_ids if job_id not in found]
        if missing:
            rows = await conn.fetch(queries["submitters"], missing)
            found |= {
                row["job_id"]: Owned(row["job_queue"], row["submitted_by"], row["children"])
                for row in rows
            }
    return found


async def submitter_of_attempt(conn: Connection, attempt_id: str) -> Owned | None:
    """Of an attempt's job; None if there is no such attempt."""
    row = await conn.fetchrow(_ALL["submitter_of_attempt"], attempt_id)
    return None if row is None else Owned(row["job_queue"], row["submitted_by"], row["children"])


async def list_queue(
    conn: Connection, queue: str, wanted: JobFilter, *, before_seq: int | None, limit: int
) -> list[JobRecord]:
    """Single jobs, multi-node jobs and array parents of a queue, newest first."""
    is_live = not any(JobStatus(status).final for status in wanted.statuses)
    rows = await conn.fetch(
        (_SQL if is_live else _ALL)["list_queue"],
        queue,
        wanted.statuses,
        _BEYOND if before_seq is None else before_seq,
        limit,
        wanted.definition_pattern,
        wanted.definition_revision,
        wanted.created_before,
        wanted.created_after,
        wanted.share,
        wanted.submitted_by,
    )
    return [_job(row) for row in rows]


async def list_named(
    conn: Connection, queue: str, pattern: str, *, after: NamePlace | None, limit: int
) -> list[JobRecord]:
    """Jobs as `list_queue` has them whose name is like a pattern, in order of their places."""
    rows = await conn.fetch(
        _ALL["list_named"], queue, pattern, *(after or (None, None, None, None)), limit
    )
    return [_job(row) for row in rows]


async def list_needing(
    conn: Connection,
    resource: str,
    *,
    status: str | None,
    pattern: str | None,
    before_seq: int | None,
    limit: int,
) -> tuple[list[NeedingJob], int | None]:
    """Jobs that need a consumable resource, newest first, as far as one look goes.

    Returns:
        The jobs, and where the look ended: the seq of the last job looked at, None where there is
        none behind it. Behind it may be more also where fewer jobs were found than asked for.
    """
    before = _BEYOND if before_seq is None else before_seq
    rows = await conn.fetch(
        _ALL["list_needing"], resource, status, pattern, before, limit, LOOKED_AT
    )
    end = None
    if len(rows) < limit:
        end = await conn.fetchval(_SQL["needing_behind"], resource, before, LOOKED_AT)
    units: dict[uuid.UUID, list[tuple[str, int]]] = defaultdict(list)
    for row in await conn.fetch(_SQL["needs_of_jobs"], [row["job_id"] for row in rows]):
        units[row["job_id"]].append((row["resource"], row["quantity"]))
    found = [NeedingJob(_job(row), row["quantity"], units_of(units[row["job_id"]])) for row in rows]
    return found, end


async def list_children(
    conn: Connection, job_id: uuid.UUID, status: str, *, after_index: int, limit: int
) -> list[JobRecord]:
    """Children of an array job in a status, by index."""
    queries = _SQL if await _is_live(conn, job_id) else _ALL
    # Most that wait have no row: they are looked at stretch by stretch, as far as the page goes.
    step = STRETCH if status in _BEFORE_START else LONGSHORE.array_max
    keys: list[JobKey] = []
    for first in range(after_index, LONGSHORE.array_max, step):
        left = limit - len(keys)
        rows = await conn.fetch(queries["list_children"], job_id, status, first, left, first + step)
        keys += [JobKey(job_id, row["array_index"]) for row in rows]
        if len(keys) == limit or not await conn.fetchval(
            queries["has_more_children"], job_id, first + step
        ):
            break
    children = await _rows(conn, keys)
    return [_job(children[key]) for key in keys if key in children]


async def list_nodes(
    conn: Connection, job_id: uuid.UUID, status: str, *, after_node: int, limit: int
) -> list[JobRecord]:
    """Nodes of a multi-node job in a status, by index."""
    queries = _SQL if await _is_live(conn, job_id) else _ALL
    keys = [
        JobKey(job_id, row["array_index"])
        for row in await conn.fetch(queries["node_states"], job_id, after_node)
        if _node_status(row) == status
    ][:limit]
    rows = await _rows(conn, keys)
    return [_record(rows[key]) for key in keys if key in rows]


async def is_multi_node(conn: Connection, job_id: uuid.UUID) -> bool | None:
    """Whether a job is a multi-node job, None if there is no such job."""
    return await _fact(conn, "is_multi_node", job_id)


async def is_array(conn: Connection, job_id: uuid.UUID) -> bool | None:
    """Whether a job is an array parent, None if there is no such job."""
    return await _fact(conn, "is_array", job_id)


async def _fact(conn: Connection, name: str, job_id: uuid.UUID) -> bool | None:
    """What a query says of a job, live or history; None if there is no such job."""
    found: bool | None = None
    for queries in (_SQL, _ALL):
        if found is None:
            found = await conn.fetchval(queries[name], job_id)
    return found


async def _is_live(conn: Connection, job_id: uuid.UUID) -> bool:
    """Whether a job is among the live ones; history has it otherwise, if any."""
    return await conn.fetchval(_SQL["is_array"], job_id) is not None


def _record(row: asyncpg.Record) -> JobRecord:
    return _node(row) if row["array_index"] < WHOLE else _job(row)


def _node_status(row: asyncpg.Record) -> JobStatus:
    return node_status(JobStatus(row["status"]), row["tried_status"], row["tried_exit_code"])


def _node(row: asyncpg.Record) -> JobRecord:
    """A node: as its job is until it has an attempt in the job's latest try, then as that is."""
    of_job = JobStatus(row["status"])
    is_placed = row["tried_status"] is not None and of_job.value not in _BEFORE_START
    return JobRecord(
        key=JobKey(row["job_id"], row["array_index"]),
        seq=row["seq"],
        name=row["name"],
        job_queue=row["job_queue"],
        definition_name=row["definition_name"],
        definition_revision=row["definition_revision"],
        status=_node_status(row),
        status_reason=row["tried_status_reason"] if is_placed else row["status_reason"],
        array_size=None,
        counts=None,
        nodes=NodeCount(row["num_nodes"], row["main_node"]),
        is_cancelled=row["is_cancelled"] or _is_to_cancel(row),
        is_terminated=row["is_terminated"] or _is_to_terminate(row),
        exit_code=row["tried_exit_code"] if is_placed else None,
        reason=row["tried_reason"] if is_placed else None,
        created_at=row["created_at"],
        started_at=row["tried_started_at"] if is_placed else None,
        stopped_at=row["tried_stopped_at"] if is_placed else row["stopped_at"],
        share=row["share_identifier"],
        submitted_by=row["submitted_by"] or "",
    )


# What was asked for counts at once, before the scheduler has acted on it.


def _is_to_cancel(row: asyncpg.Record) -> bool:
    return row["cancels"] and row["status"] in _BEFORE_START


def _is_to_terminate(row: asyncpg.Record) -> bool:
    return row["terminates"] and not JobStatus(row["status"]).final


def _job(row: asyncpg.Record) -> JobRecord:
    is_child = row["array_index"] >= 0
    counts = None
    if row["pending"] is not None and not is_child:
        by_status = {name: row[name.lower()] for name in _COUNTED}
        counts = ChildStatusCounts({"SUBMITTED": 0, **by_status}, row["changed_at"])
    return JobRecord(
        key=JobKey(row["job_id"], row["array_index"]),
        seq=row["seq"],
        name=row["name"],
        job_queue=row["job_queue"],
        definition_name=row["definition_name"],
        definition_revision=row["definition_revision"],
        status=JobStatus(row["status"]),
        status_reason=row["status_reason"],
        array_size=row["array_size"],
        counts=counts,
        nodes=(None if row["num_nodes"] is None else NodeCount(row["num_nodes"], row["main_node"])),
        is_cancelled=row["is_cancelled"] or _is_to_cancel(row),
        is_terminated=row["is_terminated"] or _is_to_terminate(row),
        exit_code=row["exit_code"],
        reason=row["reason"],
        created_at=row["created_at"],
        started_at=row["started_at"],
        stopped_at=row["stopped_at"],
        share=row["share_identifier"],
        rerun_of=row["rerun_of"],
        submitted_by=row.get("submitted_by") or "",
    )


def _attempt(row: asyncpg.Record) -> AttemptRecord:
    return AttemptRecord(
        attempt=row["attempt"],
        attempt_id=row["attempt_id"],
        instance_id=row["instance_id"],
        compute_environment=row["compute_environment"],
        environment_id=row["environment_id"],
        log_stream_name=row["log_stream_name"],
        started_at=row["started_at"],
        stopped_at=row["stopped_at"],
        exit_code=row["exit_code"],
        reason=row["reason"],
        status_reason=row["status_reason"],
        address=row["address"],
        memory_mib=row["memory_mib"],
        zone=row["zone"],
        containers={state["name"]: state for state in row["containers"] or ()},
    )
