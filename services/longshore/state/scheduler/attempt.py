"""Attempts: one try of a job each, on one instance."""

import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from longshore.domain.consumable import from_text
from longshore.domain.job.job import JobKey, Stop, StopKind
from longshore.domain.job.record import (
    AttemptMove,
    AttemptRef,
    ContainerState,
    LiveAttempt,
    MainEnd,
)
from longshore.domain.resources import Resources
from longshore.state.pool import Connection
from longshore.state.queries import load_history_queries, load_queries

_SQL = load_queries("attempt")
_ALL = load_history_queries("attempt")


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
            [_containers(m.containers) for m in moves],
            [m.pull_seconds for m in moves],
        )


def _containers(states: Sequence[ContainerState]) -> str | None:
    if not states:
        return None
    return json.dumps(
        [
            {"name": s.name, "started": s.started, "exitCode": s.exit_code, "reason": s.reason}
            for s in states
        ]
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


async def ended_on(
    conn: Connection, instance_id: str, refs: Sequence[AttemptRef]
) -> list[tuple[LiveAttempt, bool]]:
    """Which of some attempts have ended on an instance, as they were before; and if as lost."""
    if not refs:
        return []
    rows = await conn.fetch(_SQL["ended_on"], instance_id, *_columns(refs))
    return [(_live(row), row["is_lost"]) for row in rows]


async def take_back(conn: Connection, refs: Sequence[AttemptRef]) -> None:
    """Makes attempts live again that had ended; their jobs wait for the next one no more."""
    if refs:
        await conn.execute(_SQL["take_back"], *_columns(refs))


def _columns(refs: Sequence[AttemptRef]) -> tuple[list[uuid.UUID], list[int], list[int]]:
    return (
        [key.job_id for key, _ in refs],
        [key.array_index for key, _ in refs],
        [number for _, number in refs],
    )


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
        units=from_text(row["consumables"]),
    )
