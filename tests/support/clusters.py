"""A job that ran twice: on an instance that is over, and on one that is there."""

import uuid

import asyncpg

INSTANCE = "i-0123456789abcdef0"
GONE = "i-00000000000000007"
TASK = "b2c10000000000000000000000000001"
OVER = "b2c10000000000000000000000000002"
_ATTEMPT = """
INSERT INTO attempts (job_id, array_index, attempt, attempt_id, instance_id, compute_environment,
    status, vcpu_milli, memory_mib, gpus, log_stream_name, started_at, stopped_at, exit_code,
    status_reason)
VALUES ($1, -1, $2, $3, $4, 'ce', $5, 500, 64, 0, 's', now(),
    CASE WHEN $5 = 'ENDED' THEN now() END, CASE WHEN $5 = 'ENDED' THEN 3 END,
    CASE WHEN $5 = 'ENDED' THEN 'Essential container in task exited' END)
"""
_INSTANCES = """
WITH ordered AS (
    INSERT INTO capacity_orders (order_id, compute_environment, target_vcpus, entries, reason,
        closed_at)
    VALUES (gen_random_uuid(), 'ce', 4, '[]', 'x', now()) RETURNING order_id
)
INSERT INTO instances (instance_id, order_id, compute_environment, provider, instance_type,
    purchase_option, zone, vcpus, memory_mib, gpus, price_per_hour, status, ended_at, registered_at)
SELECT i.instance_id, order_id, 'ce', 'local', 'm5.large', 'SPOT', 'us-east-1a', 2, 8192, 1, 1,
    CASE WHEN i.is_over THEN 'TERMINATED' ELSE 'LAUNCHED' END,
    CASE WHEN i.is_over THEN now() END, CASE WHEN i.is_over THEN now() END
FROM ordered, (VALUES ($1, false), ($2, true)) AS i (instance_id, is_over)
"""
_AGENT = """
INSERT INTO agents (instance_id, compute_environment, instance_type, architecture, runtime,
    unmanaged, vcpu_milli, memory_mib, gpus, agent_version, status)
VALUES ($1, 'ce', 'm5.large', 'x86_64', 'docker', false, 2000, 8000, 1, '1.0', 'READY')
"""


async def fill(conn: asyncpg.Connection, job_id: str) -> None:
    """Makes the attempts of a job that was submitted, and the instances that they are on."""
    key = uuid.UUID(job_id)
    await conn.execute(
        "UPDATE jobs SET status = 'RUNNING', attempt = 2, attempts_max = 2, started_at = now() "
        "WHERE job_id = $1",
        key,
    )
    await conn.execute(_INSTANCES, INSTANCE, GONE)
    await conn.execute(_AGENT, INSTANCE)
    await conn.execute(_ATTEMPT, key, 1, OVER, GONE, "ENDED")
    await conn.execute(_ATTEMPT, key, 2, TASK, INSTANCE, "RUNNING")
