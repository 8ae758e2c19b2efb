"""Storing submitted jobs, many at a time.

Everything here takes lists and runs in the caller's transaction.
"""

import json
import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from longshore.domain.consumable import Units, from_text, to_text
from longshore.domain.environment import QueueFacts
from longshore.domain.job.trace import TraceParent
from longshore.domain.request.submission import Definition, KnownJob, RequestedDependency
from longshore.domain.resources import Resources
from longshore.state.pool import Connection
from longshore.state.queries import load_history_queries, load_queries

_SQL = load_queries("job_submission")
_ALL = load_history_queries("job_submission")

#: In shapes of jobs that are no arrays with a cap.
NO_ARRAY = uuid.UUID(int=0)
#: Name and revision of a definition; revision 0 is the newest ACTIVE one.
Reference = tuple[str, int]


@dataclass(frozen=True, slots=True)
class ShapeKey:
    """What makes jobs alike to the scheduler."""

    job_queue: str
    #: What an attempt takes; of a multi-node job, what fits every node.
    needs: Resources
    #: Of a multi-node job; 0 for others.
    nodes: int = 0
    #: '' for any.
    instance_type: str = ""
    #: In queues with a scheduling policy; 0 and '' in others.
    priority: int = 0
    share: str = ""
    #: Of an array with a cap, which has its shape to itself: its id, and how many children run at
    #: one time.
    array_job: uuid.UUID = NO_ARRAY
    max_running: int = 0
    #: What a job needs of consumable resources.
    units: Units = ()

    @classmethod
    def of(  # noqa: PLR0913 - a job has that many sides
        cls,
        job_id: uuid.UUID,
        job_queue: str,
        needs: Resources,
        *,
        nodes: int | None = None,
        instance_type: str = "",
        priority: int = 0,
        share: str | None = None,
        max_running: int | None = None,
        units: Units = (),
    ) -> "ShapeKey":
        """The shape of a job, from what it asks for."""
        return cls(
            job_queue,
            needs,
            nodes or 0,
            instance_type,
            # In queues without a policy priorities are without effect.
            priority if share else 0,
            share or "",
            job_id if max_running else NO_ARRAY,
            max_running or 0,
            units,
        )


@dataclass(frozen=True, slots=True)
class NewJob:
    """A job to store."""

    job_id: uuid.UUID
    job_queue: str
    shape_id: int
    name: str
    definition_name: str
    definition_revision: int
    array_size: int | None
    #: Of a multi-node job, as `main_node`.
    num_nodes: int | None
    main_node: int | None
    attempts_max: int
    timeout_seconds: int | None
    #: AWS-shaped members of JobDetail, as JSON text.
    detail: str
    #: Serialized container properties; None for a multi-node job.
    container: bytes | None
    #: Serialized node properties; None for others.
    nodes: bytes | None
    #: The serialized containers of a multi-container job; None for others.
    task: bytes | None
    tags: Mapping[str, str]
    #: Each once.
    depends_on: Sequence[RequestedDependency]
    share: str | None = None
    units: Units = ()
    #: The span that it was submitted from.
    trace: TraceParent | None = None
    #: The user who submits it; empty for who is none.
    submitted_by: str = ""


async def lock_queues(conn: Connection, names: Sequence[str]) -> dict[str, QueueFacts]:
    """Queues by name, held still until the transaction ends."""
    rows = await conn.fetch(_SQL["lock_queues"], names)
    return {
        row["name"]: QueueFacts(row["state"], row["status"], row["type"], row["is_shared"])
        for row in rows
    }


async def find_revisions(
    conn: Connection, references: Sequence[Reference]
) -> dict[Reference, Reference]:
    """What each reference means now, as name and revision; those that mean nothing are left out."""
    names, revisions = _columns(references)
    rows = await conn.fetch(_SQL["find_revisions"], names, revisions)
    return {
        (row["wanted_name"], row["wanted_revision"]): (row["wanted_name"], row["revision"])
        for row in rows
    }


async def read_revisions(conn: Connection, references: Sequence[Reference]) -> list[Definition]:
    """Details of exact revisions."""
    names, revisions = _columns(references)
    rows = await conn.fetch(_SQL["read_revisions"], names, revisions)
    return [Definition(row["name"], row["revision"], row["detail"]) for row in rows]


def _columns(references: Sequence[Reference]) -> tuple[list[str], list[int]]:
    return [name for name, _ in references], [revision for _, revision in references]


async def find_jobs(conn: Connection, ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, KnownJob]:
    """Single jobs, multi-node jobs and array parents by id; unknown ids are left out."""
    rows = await conn.fetch(_SQL["find_jobs"], ids)
    missing = set(ids) - {row["job_id"] for row in rows}
    if missing:
        rows += await conn.fetch(_ALL["find_jobs"], list(missing))
    return {
        row["job_id"]: KnownJob(
            row["name"],
            row["job_queue"],
            row["definition_name"],
            row["definition_revision"],
            row["array_size"],
        )
        for row in rows
    }


async def find_or_add_shapes(conn: Connection, keys: Sequence[ShapeKey]) -> dict[ShapeKey, int]:
    """Ids of shapes, made where missing. They hold only once the transaction is committed."""
    columns = (
        [key.job_queue for key in keys],
        [key.needs.vcpu_milli for key in keys],
        [key.needs.memory_mib for key in keys],
        [key.needs.gpus for key in keys],
        [key.nodes for key in keys],
        [key.instance_type for key in keys],
        [key.priority for key in keys],
        [key.share for key in keys],
        [key.array_job for key in keys],
        [key.max_running for key in keys],
        [to_text(key.units) for key in keys],
    )
    await conn.execute(_SQL["add_shapes"], *columns)
    rows = await conn.fetch(_SQL["find_shapes"], *columns)
    return {
        ShapeKey(
            row["job_queue"],
            Resources(row["vcpu_milli"], row["memory_mib"], row["gpus"]),
            row["nodes"],
            row["instance_type"],
            row["priority"],
            row["share_identifier"],
            row["array_job"],
            row["max_running"],
            from_text(row["consumables"]),
        ): row["shape_id"]
        for row in rows
    }


async def missing_resources(conn: Connection, names: Collection[str]) -> set[str]:
    """Those of some consumable resources that are not there."""
    rows = await conn.fetch(_SQL["find_resources"], list(names))
    return set(names) - {row["name"] for row in rows}


async def insert_jobs(conn: Connection, jobs: Sequence[NewJob]) -> set[uuid.UUID]:
    """Stores jobs in order, with what they depend on, and wakes the scheduler.

    Returns:
        The ids stored; one that was taken meanwhile is not among them.
    """
    rows = await conn.fetch(
        _SQL["insert_jobs"],
        [job.job_id for job in jobs],
        [job.job_queue for job in jobs],
        [job.shape_id for job in jobs],
        [job.name for job in jobs],
        [job.definition_name for job in jobs],
        [job.definition_revision for job in jobs],
        [job.array_size for job in jobs],
        [job.num_nodes for job in jobs],
        [job.main_node for job in jobs],
        [job.attempts_max for job in jobs],
        [job.timeout_seconds for job in jobs],
        [job.detail for job in jobs],
        [job.container for job in jobs],
        [job.nodes for job in jobs],
        [json.dumps(dict(job.tags)) if job.tags else "{}" for job in jobs],
        [job.share for job in jobs],
        [job.task for job in jobs],
        [job.trace.text if job.trace else None for job in jobs],
        [job.trace.state or None if job.trace else None for job in jobs],
        [job.submitted_by or None for job in jobs],
    )
    stored = {row["job_id"] for row in rows}
    edges = [
        (job.job_id, ordinal, dependency)
        for job in jobs
        if job.depends_on and job.job_id in stored
        for ordinal, dependency in enumerate(job.depends_on)
    ]
    if edges:
        await conn.execute(
            _SQL["insert_dependencies"],
            [job_id for job_id, _, _ in edges],
            [ordinal for _, ordinal, _ in edges],
            [entry.job.job_id if entry.job else None for _, _, entry in edges],
            [entry.job.array_index if entry.job else -1 for _, _, entry in edges],
            [entry.type for _, _, entry in edges],
            [entry.condition for _, _, entry in edges],
        )
    needs = [
        (job.job_id, name, quantity)
        for job in jobs
        if job.units and job.job_id in stored
        for name, quantity in job.units
    ]
    if needs:
        await conn.execute(
            _SQL["insert_consumables"],
            [job_id for job_id, _, _ in needs],
            [name for _, name, _ in needs],
            [quantity for _, _, quantity in needs],
        )
    await conn.execute(_SQL["notify_jobs"])
    return stored
