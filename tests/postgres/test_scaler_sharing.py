"""What the scaler reads of queues with a scheduling policy."""

from datetime import UTC, datetime, timedelta

from longshore.domain.catalogue import Catalogue, local_types
from longshore.state.pool import Pool, connection, open_pool
from longshore.state.scaler import scaling

CATALOGUE = Catalogue(local_types(vcpus=16, memory_mib=16384, gpus=0, architecture="x86_64"))

FILL = """
INSERT INTO compute_environments
    (name, uuid, type, state, status, detail, resource_type, minv_cpus, maxv_cpus, desiredv_cpus)
    VALUES ('e', gen_random_uuid(), 'MANAGED', 'ENABLED', 'VALID',
        '{"computeResources": {"instanceTypes": ["local"]}}', 'EC2', 0, 16, 0);
INSERT INTO scheduling_policies (name, fairshare) VALUES ('p',
    '{"shareDistribution": [{"shareIdentifier": "heavy*", "weightFactor": 3.0}]}');
INSERT INTO job_queues (name, state, status, priority, scheduling_policy)
    VALUES ('fair', 'ENABLED', 'VALID', 1, 'p'), ('fifo', 'ENABLED', 'VALID', 1, NULL);
INSERT INTO job_queue_environments VALUES ('fair', 'e', 1), ('fifo', 'e', 1);
INSERT INTO shapes (job_queue, vcpu_milli, memory_mib, gpus, share_identifier)
    VALUES ('fair', 1000, 64, 0, 'heavy1'), ('fair', 2000, 64, 0, 'light'),
        ('fifo', 1000, 64, 0, '');
INSERT INTO demand (shape_id, runnable) SELECT shape_id, 100 FROM shapes;
INSERT INTO share_usages VALUES ('fair', 'heavy1', 4, 4000, now(), now()),
    ('fair', 'gone', 9, 0, now() - interval '1 day', now() - interval '1 day');
"""


async def demand_of(pool: Pool, queue: str) -> list[tuple[float, int]]:
    async with connection(pool) as conn, conn.transaction():
        seen = await scaling.load_snapshot(
            conn, CATALOGUE, now=datetime.now(UTC), cool_down=timedelta(seconds=60)
        )
    (found,) = [one for one in seen.snapshot.queues if one.name == queue]
    return [(shape.need.vcpu_milli / 1000, shape.runnable) for shape in found.shapes]


async def test_what_lacks_units_is_no_demand(database_url: str) -> None:
    pool = await open_pool(database_url)
    try:
        async with connection(pool) as conn:
            await conn.execute(FILL)
            await conn.execute(
                "INSERT INTO consumable_resources (name, resource_type, total_quantity) "
                "VALUES ('x', 'REPLENISHABLE', 7), ('y', 'NON_REPLENISHABLE', 3); "
                "INSERT INTO consumable_usages VALUES ('x', 2), ('y', 3); "
                "UPDATE shapes SET consumables = CASE job_queue WHEN 'fifo' THEN 'x=2,y=1' "
                "ELSE 'none=1' END"
            )
        assert await demand_of(pool, "fifo") == [(1, 2)]
        assert await demand_of(pool, "fair") == []
    finally:
        await pool.close()


async def test_demand_comes_in_the_order_of_the_policy(database_url: str) -> None:
    pool = await open_pool(database_url)
    try:
        async with connection(pool) as conn:
            await conn.execute(FILL)
        # 12 of 16 vCPUs are not in use; 4 running and 4 on average, thrice, are before any of them.
        assert await demand_of(pool, "fair") == [(2, 6), (1, 100), (2, 94)]
        assert await demand_of(pool, "fifo") == [(1, 100)]
        async with connection(pool) as conn:
            await conn.execute(
                "UPDATE scheduling_policies SET fairshare = $1", {"computeReservation": 50}
            )
        # A quarter is kept from two shares, and the rest is no reason for instances.
        assert await demand_of(pool, "fair") == [(2, 4)]
    finally:
        await pool.close()
