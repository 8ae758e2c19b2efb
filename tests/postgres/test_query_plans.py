"""The hot queries use their indexes, whatever the tables have grown to."""

import json
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import date
from typing import Any

import asyncpg
import pytest

from longshore.state.queries import load_queries

_FILL = """
INSERT INTO shapes (job_queue, vcpu_milli, memory_mib, gpus)
    SELECT 'q' || n, 1000, 64, 0 FROM generate_series(1, 4) n;
INSERT INTO jobs (job_id, array_index, seq, job_queue, shape_id, name, definition_name,
    definition_revision, status, attempt, stopped_at)
    SELECT lpad(to_hex(n), 32, '0')::uuid, -1, n, 'q' || (n % 4 + 1), n % 4 + 1, 'job', 'def', 1,
        s,
        CASE WHEN n % 100 = 0 OR n % 5 = 1 THEN 0 ELSE 1 END,
        CASE WHEN s = 'SUCCEEDED' THEN now() END
    FROM generate_series(1, 40000) n,
    LATERAL (SELECT CASE WHEN n % 1000 = 0 THEN 'SUBMITTED' WHEN n % 100 = 0 THEN 'RUNNABLE'
        WHEN n % 97 = 0 THEN 'RUNNING'
        WHEN n % 5 = 1 THEN 'PENDING' ELSE 'SUCCEEDED' END AS s) c;
INSERT INTO ready (job_queue, rank, seq, next_index, end_index, job_id, shape_id)
    SELECT 'q' || (n % 4 + 1), 0, n, -1, 0, lpad(to_hex(n), 32, '0')::uuid, n % 4 + 1
    FROM generate_series(1, 40000) n;
INSERT INTO attempts (job_id, array_index, attempt, attempt_id, instance_id, compute_environment,
    status, vcpu_milli, memory_mib, gpus, log_stream_name, stopped_at)
    SELECT job_id, -1, 1, 'x', 'i-' || seq % 50, 'ce',
        CASE status WHEN 'RUNNING' THEN status ELSE 'ENDED' END, 1000, 64, 0, 'x',
        CASE status WHEN 'RUNNING' THEN NULL ELSE now() END
    FROM jobs WHERE attempt = 1;
INSERT INTO job_dependencies
    SELECT lpad(to_hex(n), 32, '0')::uuid, 0, lpad(to_hex(n - 1), 32, '0')::uuid, -1, 'PLAIN'
    FROM generate_series(2, 40000) n;
INSERT INTO job_events (job_id, array_index, attempt, status)
    SELECT job_id, -1, 1, 'STARTING' FROM jobs;
"""
BIG = {"jobs", "ready", "attempts", "job_dependencies", "job_events"}


@dataclass
class Explained:
    """What a plan reads: (node type, table, index) of each scan."""

    scans: list[tuple[str, str | None, str | None]]

    @property
    def indexes(self) -> set[str | None]:
        """Indexes that are used."""
        return {index for _, _, index in self.scans}

    @property
    def whole(self) -> set[str]:
        """Large tables that are read whole."""
        return {
            table for kind, table, _ in self.scans if kind == "Seq Scan" and table in BIG and table
        }


class Filled:
    """A connection to a database full of jobs."""

    def __init__(self, conn: "asyncpg.Connection[asyncpg.Record]") -> None:
        self._conn = conn

    async def explain(self, query: str, *arguments: Any, how: str) -> Explained:
        """The plan of `table.name` for these arguments, or of any (`GENERIC_PLAN`)."""
        table, _, name = query.partition(".")
        text = await self._conn.fetchval(
            f"EXPLAIN (FORMAT JSON, GENERIC_PLAN {how}) {load_queries(table)[name].rstrip(';')}",
            *arguments,
        )
        scans: list[tuple[str, str | None, str | None]] = []
        nodes = [entry["Plan"] for entry in json.loads(text)]
        while nodes:
            node = nodes.pop()
            if "Scan" in node["Node Type"]:
                scans.append((node["Node Type"], node.get("Relation Name"), node.get("Index Name")))
            nodes.extend(node.get("Plans", ()))
        return Explained(scans)


@pytest.fixture
async def filled(database_url: str) -> AsyncIterator[Filled]:
    """Forty thousand jobs, most of them over."""
    conn = await asyncpg.connect(database_url)
    try:
        await conn.execute(_FILL)
        await conn.execute("ANALYZE")
        yield Filled(conn)
    finally:
        await conn.close()


SOME = [uuid.UUID(int=n * 100) for n in range(1, 21)]


def each(value: Any) -> list[Any]:
    """The same for each of them."""
    return [value] * len(SOME)


#: Query, arguments, and the index that it must use.
CASES: list[tuple[str, tuple[Any, ...], str]] = [
    ("ready.heads", ([2, 3], 500), "ready_shape"),
    ("ready.fronts", (["q1", "q3"],), "ready_pkey"),
    ("ready.of_jobs", (SOME,), "ready_job"),
    ("ready.remove_jobs", (SOME,), "ready_job"),
    ("ready.ahead", ("q1", 0, 100, -1), "ready_pkey"),
    ("ready.drop", (each("q1"), each(0), list(range(20)), each(-1)), "ready_pkey"),
    ("ready.take", (each("q1"), each(0), list(range(20)), each(0), each(1)), "ready_pkey"),
    ("job_transition.submitted", (1000,), "jobs_submitted"),
    ("job_transition.load", (SOME, each(-1)), "jobs_pkey"),
    ("job_transition.load_children", (SOME[0], 0, 10), "jobs_pkey"),
    ("job_transition.finished_indexes", (SOME, 0, 10), "jobs_pkey"),
    ("job_transition.next_settled", (SOME, each(0)), "jobs_pkey"),
    ("job_transition.start", (SOME, each(-1)), "jobs_pkey"),
    ("job_transition.start_children", (SOME, list(range(20))), "jobs_pkey"),
    (
        "job_transition.move",
        (SOME, each(-1), each("RUNNABLE"), *(each(None) for _ in range(5))),
        "jobs_pkey",
    ),
    ("job_transition.admit", (SOME, each("PENDING"), each(1)), "jobs_submitted"),
    ("job_transition.set_dependencies", (SOME, each(1)), "jobs_pkey"),
    ("job_reading.describe_nodes", (SOME, each(-2)), "attempts_pkey"),
    ("job_reading.node_states", (SOME[0], -1), "attempts_pkey"),
    (
        "job_selection.select_jobs",
        ("q1", ["PENDING", "RUNNABLE"], 0, 1000, *(None,) * 5, "{}", None, True),
        "jobs_listing",
    ),
    ("job_rerun.failed_runs", (SOME[0],), "jobs_pkey"),
    ("job_update.shapes_of", (SOME,), "jobs_pkey"),
    ("ready.containing", (SOME, each(-1)), "ready_job"),
    ("job_dependency.depended_on", (SOME,), "job_dependencies_depends_on"),
    ("job_dependency.downstream", (SOME, 100), "job_dependencies_depends_on"),
    (
        "job_dependency.dependents",
        (SOME, each(-1), each(uuid.UUID(int=0)), 10),
        "job_dependencies_depends_on",
    ),
    ("job_dependency.of_jobs", (SOME,), "job_dependencies_pkey"),
    ("job_dependency.widths", (SOME,), "job_dependencies_pkey"),
    ("job_reading.list_children", (SOME[0], "RUNNABLE", 0, 100, 10_000), "jobs_pkey"),
    ("job_history.move_children", (SOME[0], date(2026, 1, 5), 0, 10), "jobs_pkey"),
    ("job_history.move_attempts_of_children", (SOME[0], date(2026, 1, 5), 0, 10), "attempts_pkey"),
    ("job_history.move_events_of_children", (SOME[0], date(2026, 1, 5), 0, 10), "job_events_job"),
    (
        "attempt.move",
        (
            SOME,
            each(-1),
            each(1),
            each("RUNNING"),
            *(each(None) for _ in range(7)),
            each(False),
            each(None),
            each(None),
        ),
        "attempts_one_live",
    ),
    ("job_trace.jobs", (SOME, each(-1)), "jobs_pkey"),
    ("job_trace.attempts", (SOME, each(-1)), "attempts_pkey"),
    ("job_trace.events", (SOME, each(-1)), "job_events_job"),
    ("attempt.stop", (SOME, each(-1), each(1), each("TERMINATED"), each("x")), "attempts_one_live"),
]


# One filled database for all of them: filling it takes longer than explaining.
async def test_hot_queries_use_their_indexes(filled: Filled) -> None:
    """Planned for their arguments, and planned for any, as a prepared statement may be."""
    wrong = []
    for how in ("off", "on"):
        for query, arguments, index in CASES:
            plan = await filled.explain(query, *arguments, how=how)
            if index not in plan.indexes or plan.whole:
                wrong.append((query, how, plan.scans))
        live = await filled.explain("attempt.live", how=how)
        if "attempts" in live.whole:
            wrong.append(("attempt.live", how, live.scans))
    assert not wrong, "\n".join(str(w) for w in wrong)
