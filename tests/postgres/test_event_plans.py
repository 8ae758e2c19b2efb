"""What goes on with each event reads no more than it needs, whatever waits."""

import json
from datetime import date
from typing import Any

import asyncpg

from longshore.state.queries import load_queries

_FILL = """
INSERT INTO outbox (kind, body, xid) SELECT 'PUT', '{}', n FROM generate_series(1, 20000) n;
INSERT INTO job_events (job_id, array_index, attempt, status, xid)
    SELECT gen_random_uuid(), -1, 1, 'STARTING', n FROM generate_series(1, 20000) n;
INSERT INTO event_deliveries (bus, rule, target, event_id, event, due_at)
    SELECT 'default', 'r' || n % 20, 't', gen_random_uuid(), '{}', now() + n * interval '1 s'
    FROM generate_series(1, 20000) n;
INSERT INTO dead_letters (bus, rule, target, event_id, event, condition, error_code, error, tries)
    SELECT 'default', 'r', 't', gen_random_uuid(), '{}', '', '', '', 1
    FROM generate_series(1, 20000) n;
"""
BIG = {"outbox", "job_events", "event_deliveries", "dead_letters"}
CASES: list[tuple[str, str, tuple[Any, ...]]] = [
    ("outbox", "read", (19_000, 1, 500, date(2026, 1, 1))),
    ("outbox", "lag", (19_000, 1)),
    ("event_delivery", "lanes", (100,)),
    ("event_delivery", "take", ("default", "r1", "t", 64, 60.0)),
    ("event_delivery", "take_old", ("default", "r1", "t", 64, 60.0, 3600.0)),
    ("event_delivery", "done", ([1, 2, 3],)),
    ("event_delivery", "again", ([1], [1.0], [1], ["x"])),
    ("event_delivery", "resend", ([1, 2],)),
    ("event_delivery", "letters", (None, None, 2**62, 100)),
]


async def test_no_query_of_events_reads_a_large_table_whole(database_url: str) -> None:
    conn = await asyncpg.connect(database_url)
    wrong = []
    try:
        await conn.execute(_FILL)
        await conn.execute("ANALYZE outbox, job_events, event_deliveries, dead_letters")
        for table, name, arguments in CASES:
            query = load_queries(table)[name].rstrip(";")
            plan = await conn.fetchval(f"EXPLAIN (FORMAT JSON) {query}", *arguments)
            nodes = [entry["Plan"] for entry in json.loads(plan)]
            while nodes:
                node = nodes.pop()
                if node["Node Type"] == "Seq Scan" and node["Relation Name"] in BIG:
                    wrong.append(f"{table}.{name} reads all of {node['Relation Name']}")
                nodes.extend(node.get("Plans", ()))
    finally:
        await conn.close()
    assert not wrong, "\n".join(wrong)
