"""What the scaler reads stays small, however many instances are over."""

import asyncpg
import pytest

from longshore.state.queries import load_queries

FILL = """
INSERT INTO capacity_orders
    (order_id, compute_environment, target_vcpus, entries, reason, closed_at)
    VALUES ('00000000-0000-0000-0000-000000000001', 'e', 2, '[]', 'a test', now());
INSERT INTO instances (instance_id, order_id, compute_environment, provider, instance_type,
    purchase_option, vcpus, memory_mib, price_per_hour, status, ended_at)
    SELECT 'i-' || lpad(to_hex(n), 17, '0'), '00000000-0000-0000-0000-000000000001', 'e', 'cloud',
        'c6i.large', 'SPOT', 2, 4096, 0.1,
        CASE WHEN n % 100 = 0 THEN 'LAUNCHED' ELSE 'TERMINATED' END,
        CASE WHEN n % 100 > 0 THEN now() - n * interval '1 min' END
    FROM generate_series(1, 40000) n;
INSERT INTO agents (instance_id, compute_environment, instance_type, architecture, runtime,
    unmanaged, vcpu_milli, memory_mib, gpus, status)
    SELECT instance_id, 'e', 'c6i.large', 'x86_64', 'docker', false, 2000, 3900, 0,
        CASE WHEN ended_at IS NULL THEN 'READY' ELSE 'LOST' END FROM instances;
"""


@pytest.mark.parametrize(
    ("query", "arguments", "indexes"),
    [
        ("scaling.instances", "32, false", {"instances_live", "agents_unmanaged"}),
        ("instance.prune", "now() - interval '27 days', 100", {"instances_ended"}),
    ],
)
async def test_what_is_over_is_not_read(
    database_url: str, query: str, arguments: str, indexes: set[str]
) -> None:
    """Planned for the arguments."""
    conn = await asyncpg.connect(database_url)
    try:
        await conn.execute(FILL)
        await conn.execute("ANALYZE")
        table, _, name = query.partition(".")
        await conn.execute(f"PREPARE q AS {load_queries(table)[name]}")
        plan = "\n".join(row[0] for row in await conn.fetch(f"EXPLAIN EXECUTE q ({arguments})"))
    finally:
        await conn.close()
    assert "Seq Scan on instances" not in plan
    assert {index for index in indexes if index not in plan} == set(), plan
