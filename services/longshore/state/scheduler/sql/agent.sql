-- name: register
-- $1 instance, $2 environment, $3 type, $4 architecture, $5 runtime, $6 unmanaged, $7 vCPU, $8 memory, $9 gpus,
-- $10 address, $11 version, $12 status, $13 health, $14 its detail, $15 network, $16 its detail, $17 GPUs in words
INSERT INTO agents AS a (instance_id, compute_environment, instance_type, architecture, runtime, unmanaged,
    vcpu_milli, memory_mib, gpus, address, agent_version, status, health, health_detail, network, network_detail,
    gpu_devices, idle_since)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, now())
ON CONFLICT (instance_id) DO UPDATE SET compute_environment = $2, instance_type = $3, architecture = $4,
    runtime = $5, unmanaged = $6, vcpu_milli = $7, memory_mib = $8, gpus = $9, address = $10,
    agent_version = $11, status = $12, health = $13, health_detail = $14, network = $15, network_detail = $16,
    gpu_devices = $17,
    last_seen_at = now(),
    registered_at = CASE WHEN a.status = 'LOST' THEN now() ELSE a.registered_at END,
    idle_since = CASE WHEN a.status = 'LOST' THEN now() ELSE a.idle_since END,
    notice = CASE WHEN a.status <> 'LOST' THEN a.notice END,
    notice_at = CASE WHEN a.status <> 'LOST' THEN a.notice_at END

-- name: set_status
-- $1 instances, $2 status
UPDATE agents SET status = $2 WHERE instance_id = ANY($1::text[]) AND status <> 'LOST'

-- name: set_health
-- $1 instances, $2 conditions, $3 their details, $4 networks, $5 their details
UPDATE agents a SET health = c.health, health_detail = c.health_detail, network = c.network,
    network_detail = c.network_detail
FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[])
    AS c (instance_id, health, health_detail, network, network_detail)
WHERE a.instance_id = c.instance_id

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
    memory_mib, gpus, status, last_seen_at, health, health_detail, network, network_detail
FROM agents WHERE status <> 'LOST'

-- name: leaving
-- Instances that are on their way out, or over, of those named. A machine that joined by itself is on its way out
-- once its agent tells of a notice: nobody else keeps a record of it.
-- $1 instances, $2 seconds before the end of such a notice that attempts are stopped
SELECT instance_id, status, drain_until FROM instances
WHERE instance_id = ANY($1::text[]) AND status IN ('TERMINATING', 'TERMINATED', 'FAILED')
UNION ALL
SELECT instance_id, 'TERMINATING', notice_at - make_interval(secs => $2) FROM agents
WHERE instance_id = ANY($1::text[]) AND unmanaged AND notice IS NOT NULL AND status <> 'LOST'

-- name: notice
-- Notes that instances will be taken away. A time that was given before is kept where none is given now.
-- $1 instances, $2 why, $3 when they end
UPDATE agents a SET status = 'DRAINING', notice = n.reason, notice_at = coalesce(n.ends_at, a.notice_at)
FROM unnest($1::text[], $2::text[], $3::timestamptz[]) AS n (instance_id, reason, ends_at)
WHERE a.instance_id = n.instance_id AND a.status <> 'LOST'
    AND (a.status, a.notice, a.notice_at) IS DISTINCT FROM ('DRAINING', n.reason, coalesce(n.ends_at, a.notice_at))
RETURNING a.instance_id

-- name: on_record
-- What is known of an instance and its agent: always one row. Awaited: it may belong to an order that is being
-- answered.
-- $1 instance, $2 environment
SELECT i.compute_environment, i.status, a.status AS agent_status,
    coalesce(a.notice IS NOT NULL AND a.status <> 'LOST', false) AS is_noticed,
    i.instance_type, CASE WHEN a.instance_id IS NULL THEN extract(epoch FROM now() - i.launched_at)::float8 END AS boot_seconds,
    i.instance_id IS NULL AND EXISTS (SELECT FROM capacity_orders o WHERE o.closed_at IS NULL
        AND o.compute_environment = $2) AS is_awaited
FROM (VALUES ($1::text)) AS k (instance_id)
LEFT JOIN instances i USING (instance_id) LEFT JOIN agents a USING (instance_id)

-- name: prune
-- Forgets lost agents whose instances are over, and machines that joined by themselves and were lost long ago.
-- $1 such a machine was last seen before, $2 how many at most
DELETE FROM agents WHERE status = 'LOST' AND instance_id IN (
    SELECT a.instance_id FROM agents a
    WHERE a.status = 'LOST' AND (NOT a.unmanaged OR a.last_seen_at < $1)
        AND NOT EXISTS (SELECT FROM instances i WHERE i.instance_id = a.instance_id AND i.ended_at IS NULL)
    LIMIT $2)
RETURNING instance_id
