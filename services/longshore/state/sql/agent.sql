-- name: register
-- $1 instance, $2 environment, $3 type, $4 architecture, $5 runtime, $6 unmanaged, $7 vCPU, $8 memory, $9 gpus,
-- $10 address, $11 version, $12 status
INSERT INTO agents AS a (instance_id, compute_environment, instance_type, architecture, runtime, unmanaged,
    vcpu_milli, memory_mib, gpus, address, agent_version, status, idle_since)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, now())
ON CONFLICT (instance_id) DO UPDATE SET compute_environment = $2, instance_type = $3, architecture = $4,
    runtime = $5, unmanaged = $6, vcpu_milli = $7, memory_mib = $8, gpus = $9, address = $10,
    agent_version = $11, status = $12, last_seen_at = now(),
    registered_at = CASE WHEN a.status = 'LOST' THEN now() ELSE a.registered_at END,
    idle_since = CASE WHEN a.status = 'LOST' THEN now() ELSE a.idle_since END

-- name: set_status
-- $1 instances, $2 status
UPDATE agents SET status = $2 WHERE instance_id = ANY($1::text[]) AND status <> 'LOST'

-- name: seen
-- $1 instances
UPDATE agents SET last_seen_at = now() WHERE instance_id = ANY($1::text[])

-- name: set_load
-- $1 instances, $2 live attempts, $3 now
UPDATE agents a SET live_attempts = c.live,
    idle_since = CASE WHEN c.live = 0 THEN coalesce($3::timestamptz, now()) END
FROM unnest($1::text[], $2::integer[]) AS c (instance_id, live)
WHERE a.instance_id = c.instance_id

-- name: present
-- Agents that are not lost.
SELECT instance_id, compute_environment, instance_type, architecture, runtime, unmanaged, vcpu_milli,
    memory_mib, gpus, status, last_seen_at
FROM agents WHERE status <> 'LOST'

-- name: leaving
-- Instances that are on their way out, or over, of those named.
-- $1 instances
SELECT instance_id, status FROM instances
WHERE instance_id = ANY($1::text[]) AND status IN ('TERMINATING', 'TERMINATED', 'FAILED')

-- name: instance
-- $1 instance
SELECT compute_environment, status FROM instances WHERE instance_id = $1
