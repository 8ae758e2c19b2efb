"""Attempts: one try of a job each, on one instance."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from longshore.domain.job.job import JobKey, Stop, StopKind
from longshore.domain.resources import Resources
from longshore.state.pool import Connection
from longshore.state.queries import load_history_queries, load_queries

_SQL = load_queries("attempt")
_ALL = load_history_queries("attempt")


@dataclass(slots=True)
class LiveAttempt:
    """An attempt that has not ended, as the scheduler keeps it in memory."""

    key: JobKey
    attempt: int
    attempt_id: str
    instance_id: str
    compute_environment: str
    held: Resources
    log_stream_name: str
    placed_at: datetime
    seq: int
    job_queue: str
    shape_id: int
    attempts_max: int
    timeout_seconds: int | None
    array_size: int | None
    running: bool = False
    #: As its agent says, within what can be.
    started_at: datetime | None = None
    #: When the scheduler learned that it runs, by its own clock.
    running_at: datetime | None = None
    stop: Stop | None = None
    #: Of nodes of multi-node jobs: how many there are, and which is the main one.
    num_nodes: int | None = None
    main_node: int | None = None
    #: Of a node, from RUNNING on: under which other nodes reach it.
    address: str | None = None
    #: A node that its agent does not know of yet: it starts once the main node runs, and is told
    #: under which address.
    held_back: bool = False
    main_address: str = ""
    #: Whose it is, in a queue with a scheduling policy.
    share: str = ""

    @property
    def is_main(self) -> bool:
        """Whether it is the main node of a multi-node job."""
        return self.key.is_node and self.key.node_index == self.main_node


@dataclass(frozen=True, slots=True)
class AttemptMove:
    """An attempt's new status; `stopped_at` is set if it ended."""

    key: JobKey
    attempt: int
    status: str
    started_at: datetime | None = None
    stopped_at: datetime | None = None
    exit_code: int | None = None
    reason: str | None = None
    status_reason: str | None = None
    address: str | None = None
    #: With RUNNING: when the scheduler learned of it.
    running_at: datetime | None = None
    #: With ENDED: its instance was given up, and nobody knows how it ended.
    is_lost: bool = False


@dataclass(frozen=True, slots=True)
class MainEnd:
    """How the main node of a multi-node job ended, kept until its last node has."""

    attempt: int
    started_at: datetime | None
    stopped_at: datetime
    exit_code: int | None
    reason: str | None
    status_reason: str
    stop: Stop | None


@dataclass(frozen=True, slots=True)
class PlacedAttempt:
    """Where an attempt was placed, and how far it is.

    The type is empty for a machine that joined by itself.
    """

    attempt: int
    instance_id: str
    instance_type: str
    compute_environment: str
    status: str
    exit_code: int | None
    status_reason: str | None


async def insert(
    conn: Connection, attempts: Sequence[LiveAttempt], now: datetime | None = None
) -> None:
    """Records new attempts as STARTING; the schema refuses a second live one of the same job."""
    if attempts:
        await conn.execute(
            _SQL["insert"],
            [a.key.job_id for a in attempts],
            [a.key.array_index for a in attempts],
            [a.attempt for a in attempts],
            [a.attempt_id for a in attempts],
            [a.instance_id for a in attempts],
            [a.compute_environment for a in attempts],
            [a.held.vcpu_milli for a in attempts],
            [a.held.memory_mib for a in attempts],
            [a.held.gpus for a in attempts],
            [a.log_stream_name for a in attempts],
            now,
        )


async def move(conn: Connection, moves: Sequence[AttemptMove]) -> None:
    """Moves attempts on; ended ones stay what they are."""
    if moves:
        await conn.execute(
            _SQL["move"],
            [m.key.job_id for m in moves],
            [m.key.array_index for m in moves],
            [m.attempt for m in moves],
            [m.status for m in moves],
            [m.started_at for m in moves],
            [m.stopped_at for m in moves],
            [m.exit_code for m in moves],
            [m.reason for m in moves],
            [m.status_reason for m in moves],
            [m.address for m in moves],
            [m.running_at for m in moves],
            [m.is_lost for m in moves],
        )


async def remove(conn: Connection, lives: Sequence[LiveAttempt]) -> None:
    """Forgets attempts that were none: nothing of them ever started."""
    if lives:
        await conn.execute(
            _SQL["remove"],
            [live.key.job_id for live in lives],
            [live.key.array_index for live in lives],
            [live.attempt for live in lives],
        )


async def stop(conn: Connection, stops: Sequence[tuple[LiveAttempt, Stop]]) -> None:
    """Notes on the record why attempts were told to stop."""
    if stops:
        await conn.execute(
            _SQL["stop"],
            [a.key.job_id for a, _ in stops],
            [a.key.array_index for a, _ in stops],
            [a.attempt for a, _ in stops],
            [why.kind.value for _, why in stops],
            [why.reason for _, why in stops],
        )


async def live(conn: Connection) -> list[LiveAttempt]:
    """Every attempt that has not ended."""
    return [_live(row) for row in await conn.fetch(_SQL["live"])]


async def take_back(
    conn: Connection, instance_id: str, known: Sequence[tuple[JobKey, int]]
) -> list[LiveAttempt]:
    """Makes attempts live again that ended with the loss of an instance which is back.

    Of those that its agent knows: where the job waits for its next attempt. It waits no longer.
    """
    if not known:
        return []
    rows = await conn.fetch(
        _SQL["take_back"],
        instance_id,
        [key.job_id for key, _ in known],
        [key.array_index for key, _ in known],
        [number for _, number in known],
    )
    return [_live(row) for row in rows]


async def ended_main_nodes(conn: Connection) -> dict[uuid.UUID, MainEnd]:
    """How the main nodes ended of the jobs of which other nodes are live, by job."""
    return {
        row["job_id"]: MainEnd(
            attempt=row["attempt"],
            started_at=row["started_at"],
            stopped_at=row["stopped_at"],
            exit_code=row["exit_code"],
            reason=row["reason"],
            status_reason=row["status_reason"] or "",
            stop=(
                Stop(StopKind(row["stop_kind"]), row["stop_reason"])
                if row["stop_kind"] is not None
                else None
            ),
        )
        for row in await conn.fetch(_SQL["ended_main_nodes"])
    }


async def placed(conn: Connection, key: JobKey) -> list[PlacedAttempt]:
    """Where the attempts of a job were placed, in their order."""
    rows = await conn.fetch(_SQL["placed"], key.job_id, key.array_index)
    if not rows:
        rows = await conn.fetch(_ALL["placed"], key.job_id, key.array_index)
    return [PlacedAttempt(**row) for row in rows]


def _live(row: Any) -> LiveAttempt:
    return LiveAttempt(
        key=JobKey(row["job_id"], row["array_index"]),
        attempt=row["attempt"],
        attempt_id=row["attempt_id"],
        instance_id=row["instance_id"],
        compute_environment=row["compute_environment"],
        held=Resources(row["vcpu_milli"], row["memory_mib"], row["gpus"]),
        log_stream_name=row["log_stream_name"],
        placed_at=row["placed_at"],
        seq=row["seq"],
        job_queue=row["job_queue"],
        shape_id=row["shape_id"],
        attempts_max=row["attempts_max"],
        timeout_seconds=row["timeout_seconds"],
        array_size=row["array_size"],
        running=row["status"] == "RUNNING",
        started_at=row["started_at"],
        running_at=row["running_at"],
        stop=(
            Stop(StopKind(row["stop_kind"]), row["stop_reason"])
            if row["stop_kind"] is not None
            else None
        ),
        num_nodes=row["num_nodes"],
        main_node=row["main_node"],
        address=row["address"],
        share=row["share_identifier"] or "",
    )
