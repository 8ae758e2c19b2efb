"""Every change of a job after its insertion. Written by the scheduler alone."""

import uuid
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from longshore.domain.job.arrays import Origins
from longshore.domain.job.job import JobKey, JobStatus
from longshore.domain.job.record import JobFacts, JobFlag, JobMove
from longshore.domain.job.retry import MemoryGrowth
from longshore.domain.job.trace import TraceParent, parse_traceparent
from longshore.state.pool import Connection
from longshore.state.queries import load_history_queries, load_queries

_SQL = load_queries("job_transition")
_ALL = load_history_queries("job_transition")


@dataclass(frozen=True, slots=True)
class JobDetails:
    """What an assignment needs to know; of an array, the parent's.

    `container` is serialized. A multi-node job has none, and its serialized `nodes` instead; a
    multi-container job, its `task`.
    """

    job_id: uuid.UUID
    name: str
    job_queue: str
    definition_name: str
    definition_revision: int
    array_size: int | None
    attempts_max: int
    timeout_seconds: int | None
    created_at: datetime
    container: bytes | None
    rules: tuple[dict[str, str], ...]
    num_nodes: int | None = None
    main_node: int | None = None
    nodes: bytes | None = None
    task: bytes | None = None
    #: Tags that go on to the containers: of the definition, and over them the job's own. None if
    #: tags are not propagated.
    tags: dict[str, str] | None = None
    #: Of an array that runs children of another one again.
    origins: Origins | None = None
    #: More memory for the attempt after one that had too little.
    growth: MemoryGrowth | None = None
    #: The span that it was submitted from.
    trace: TraceParent | None = None


def _row(row: Any) -> JobFacts:
    return JobFacts(
        key=JobKey(row["job_id"], row["array_index"]),
        seq=row["seq"],
        job_queue=row["job_queue"],
        shape_id=row["shape_id"],
        status=JobStatus(row["status"]),
        array_size=row["array_size"],
        attempt=row["attempt"],
        attempts_max=row["attempts_max"],
        dependencies_left=row["dependencies_left"],
        is_cancelled=row["is_cancelled"],
        is_terminated=row["is_terminated"],
        request_reason=row["request_reason"],
        created_at=row["created_at"],
        num_nodes=row["num_nodes"],
        main_node=row["main_node"],
    )


def _columns(keys: Iterable[JobKey]) -> tuple[list[uuid.UUID], list[int]]:
    pairs = [(key.job_id, key.array_index) for key in keys]
    return [job_id for job_id, _ in pairs], [index for _, index in pairs]


async def submitted(conn: Connection, limit: int) -> list[JobFacts]:
    """Jobs that are not yet admitted, in order of submission."""
    return [_row(row) for row in await conn.fetch(_SQL["submitted"], limit)]


async def load(conn: Connection, keys: Iterable[JobKey]) -> dict[JobKey, JobFacts]:
    """Jobs by key; those without a row are absent."""
    job_ids, indexes = _columns(keys)
    if not job_ids:
        return {}
    rows = [_row(row) for row in await conn.fetch(_SQL["load"], job_ids, indexes)]
    return {row.key: row for row in rows}


async def find(conn: Connection, keys: Iterable[JobKey]) -> dict[JobKey, JobFacts]:
    """Jobs by key, live ones and those that are history."""
    wanted = set(keys)
    found = await load(conn, wanted)
    if missing := wanted - found.keys():
        found |= await load_past(conn, missing)
    return found


async def load_past(conn: Connection, keys: Iterable[JobKey]) -> dict[JobKey, JobFacts]:
    """Jobs by key that are history; live ones may be among them."""
    return {row.key: row for row in map(_row, await conn.fetch(_ALL["load"], *_columns(keys)))}


async def load_children(
    conn: Connection, job_id: uuid.UUID, first: int, end: int
) -> dict[JobKey, JobFacts]:
    """Children of an array that have a row, from an index up to another, exclusive."""
    rows = [_row(row) for row in await conn.fetch(_SQL["load_children"], job_id, first, end)]
    return {row.key: row for row in rows}


async def unfinished_of_queue(conn: Connection, queue: str, limit: int) -> list[JobFacts]:
    """Single jobs and parents of a queue that are neither final nor told to terminate."""
    return [_row(row) for row in await conn.fetch(_SQL["unfinished_of_queue"], queue, limit)]


async def admit(conn: Connection, admitted: Sequence[tuple[uuid.UUID, JobStatus, int]]) -> None:
    """Moves SUBMITTED jobs on, with the number of dependencies they wait for."""
    if admitted:
        await conn.execute(
            _SQL["admit"],
            [job_id for job_id, _, _ in admitted],
            [status.value for _, status, _ in admitted],
            [left for _, _, left in admitted],
        )


async def with_more_tags(
    conn: Connection, job_ids: Iterable[uuid.UUID], most: int
) -> set[uuid.UUID]:
    """Jobs that propagate more tags, their own and their definitions' together, than so many."""
    rows = await conn.fetch(_SQL["with_more_tags"], list(job_ids), most)
    return {row["job_id"] for row in rows}


async def start(conn: Connection, keys: Iterable[JobKey]) -> dict[JobKey, int]:
    """Moves RUNNABLE single jobs to STARTING.

    Returns the attempt of each that was still RUNNABLE.
    """
    return await _start(conn, "start", keys)


async def start_children(conn: Connection, keys: Iterable[JobKey]) -> dict[JobKey, int]:
    """Moves children to STARTING, with or without a row; returns the attempt of each that moved."""
    return await _start(conn, "start_children", keys)


async def _start(conn: Connection, query: str, keys: Iterable[JobKey]) -> dict[JobKey, int]:
    job_ids, indexes = _columns(keys)
    if not job_ids:
        return {}
    rows = await conn.fetch(_SQL[query], job_ids, indexes)
    return {JobKey(row["job_id"], row["array_index"]): row["attempt"] for row in rows}


async def take_attempt_back(conn: Connection, keys: Sequence[JobKey]) -> None:
    """Counts the last attempt of STARTING jobs back: it was none."""
    if keys:
        await conn.execute(_SQL["take_attempt_back"], *_columns(keys))


async def insert_children(
    conn: Connection,
    keys: Iterable[JobKey],
    status: JobStatus,
    reason: str | None = None,
    *,
    cancelled: bool = False,
    terminated: bool = False,
    now: datetime | None = None,
) -> None:
    """Gives rows to children that have none; FAILED ones carry the reason."""
    job_ids, indexes = _columns(keys)
    if job_ids:
        await conn.execute(
            _SQL["insert_children"],
            job_ids,
            indexes,
            status.value,
            reason,
            cancelled,
            terminated,
            now,
        )


async def move(conn: Connection, moves: Sequence[JobMove]) -> None:
    """Moves jobs on; final ones stay what they are."""
    if moves:
        await conn.execute(
            _SQL["move"],
            [m.key.job_id for m in moves],
            [m.key.array_index for m in moves],
            [m.status.value for m in moves],
            [m.status_reason for m in moves],
            [m.exit_code for m in moves],
            [m.reason for m in moves],
            [m.started_at for m in moves],
            [m.stopped_at for m in moves],
        )


async def set_dependencies(conn: Connection, left: Sequence[tuple[uuid.UUID, int]]) -> None:
    """Stores how many dependencies jobs still wait for."""
    if left:
        await conn.execute(
            _SQL["set_dependencies"], [job_id for job_id, _ in left], [n for _, n in left]
        )


async def flag(conn: Connection, flags: Sequence[JobFlag]) -> None:
    """Notes requests on jobs that are not final."""
    if flags:
        await conn.execute(
            _SQL["flag"],
            [f.key.job_id for f in flags],
            [f.key.array_index for f in flags],
            [f.cancelled for f in flags],
            [f.terminated for f in flags],
            [f.reason for f in flags],
        )


async def reshape(conn: Connection, reshaped: Sequence[tuple[JobKey, int]]) -> None:
    """Gives unfinished jobs and children other shapes."""
    if reshaped:
        columns = _columns(key for key, _ in reshaped)
        await conn.execute(_SQL["reshape"], *columns, [shape_id for _, shape_id in reshaped])


async def details(conn: Connection, job_ids: Iterable[uuid.UUID]) -> dict[uuid.UUID, JobDetails]:
    """What assignments need to know of jobs, by the id of the single job or parent."""
    rows = await conn.fetch(_SQL["details"], list(job_ids))
    return {row["job_id"]: _details(dict(row)) for row in rows}


def _details(values: dict[str, Any]) -> JobDetails:
    size, pairs = values.pop("rerun_size"), values.pop("rerun_pairs")
    rules = tuple(values.pop("rules") or ())
    origins = None if pairs is None else Origins(size, array("i", pairs))
    factor, most = values.pop("oom_factor"), values.pop("oom_max_mib")
    growth = None if factor is None else MemoryGrowth(factor, most)
    trace = parse_traceparent(values.pop("traceparent"), values.pop("tracestate"))
    return JobDetails(rules=rules, origins=origins, growth=growth, trace=trace, **values)


async def finished_indexes(
    conn: Connection, job_ids: Sequence[uuid.UUID], first: int, limit: int
) -> list[int]:
    """The first indexes of which a child of any of some arrays is final, in order.

    The arrays may be history.
    """
    rows = await conn.fetch(_ALL["finished_indexes"], list(job_ids), first, limit)
    return [row["array_index"] for row in rows]


async def next_settled(conn: Connection, keys: Iterable[JobKey]) -> dict[JobKey, int]:
    """From children on, the index of the first that has a row and does not wait for others.

    Children of arrays where none does are absent.
    """
    job_ids, indexes = _columns(keys)
    if not job_ids:
        return {}
    rows = await conn.fetch(_SQL["next_settled"], job_ids, indexes)
    return {
        JobKey(row["job_id"], row["array_index"]): row["settled"]
        for row in rows
        if row["settled"] is not None
    }
