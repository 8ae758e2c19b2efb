-- name: one_moment
-- All queries of the transaction see the same moment.
SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY

-- name: environments
-- Failures are those of instances ordered since the environment was made, was last turned INVALID or
-- changed its instances, and after the last one that came up.
SELECT e.name, e.type, e.state, e.status, e.status_reason, e.detail, e.resource_type,
    e.minv_cpus, e.maxv_cpus, e.desiredv_cpus, e.generation, e.infrastructure_updated_at,
    (SELECT a.desiredv_cpus FROM scaling_activities a WHERE a.compute_environment = e.name
        ORDER BY a.activity_id DESC LIMIT 1) AS settledv_cpus,
    (SELECT count(*) FROM instances f
        WHERE f.compute_environment = e.name AND f.status = 'FAILED'
        AND f.generation = e.generation
        AND f.ordered_at > greatest(e.created_at,
            (SELECT max(a.at) FROM scaling_activities a
                WHERE a.compute_environment = e.name AND a.is_invalidated),
            (SELECT o.ordered_at FROM instances o
                WHERE o.compute_environment = e.name AND o.status <> 'FAILED'
                AND (o.registered_at IS NOT NULL
                    OR EXISTS (SELECT FROM agents r WHERE r.instance_id = o.instance_id))
                ORDER BY o.ordered_at DESC LIMIT 1))) AS failures
FROM compute_environments e
WHERE e.status <> 'DELETED'
ORDER BY e.name

-- name: in_flight
-- Environments with an order that provisioning is answering.
SELECT DISTINCT compute_environment FROM capacity_orders WHERE closed_at IS NULL

-- name: shortages
-- Pools that the provider was short of, and when it last said so.
-- $1 since when
SELECT instance_type, zone, purchase_option, max(at) AS at FROM shortages
WHERE at >= $1
GROUP BY 1, 2, 3

-- name: offers
-- What the provider quoted, in order of zones.
-- $1 provider
SELECT instance_type, zone, purchase_option, price_per_hour, depth
FROM offers WHERE provider = $1
ORDER BY instance_type, zone

-- name: instances
-- Live instances of ours, and machines that joined by themselves. One that boots could not have registered before a
-- scheduler took registrations; while none does, it could not have until now.
-- $1 MiB that we keep on an instance, $2 whether to tell what each attempt holds
WITH serving AS (
    SELECT coalesce(min(since), now()) AS since FROM leases
    WHERE domain NOT IN ('scaler', 'provisioning') AND expires_at > now()
), held AS (
    SELECT instance_id, count(*) AS attempts, sum(vcpu_milli)::bigint AS vcpu_milli,
        sum(memory_mib)::bigint AS memory_mib, sum(gpus)::bigint AS gpus,
        array_agg(ARRAY[vcpu_milli, memory_mib, gpus]::bigint[]) FILTER (WHERE $2) AS each_holds
    FROM attempts WHERE status <> 'ENDED' GROUP BY instance_id
), there AS (
    SELECT i.instance_id, i.compute_environment, i.instance_type, i.status,
        CASE WHEN a.instance_id IS NULL THEN greatest(i.ordered_at, (SELECT since FROM serving)) ELSE i.ordered_at END
            AS ordered_at,
        i.vcpus, i.price_per_hour, i.generation, s.is_slot, a.status AS agent_status, true AS is_ours,
        -- Where instances are processes of one machine another one would fare no better.
        i.provider = 'local' OR coalesce(a.health, 'HEALTHY') = 'HEALTHY' AS is_fit,
        coalesce(a.vcpu_milli, round(i.vcpus * 1000)::bigint) AS vcpu_milli,
        -- All of a slot is for its job; of other instances we keep a reserve.
        coalesce(a.memory_mib, i.memory_mib - CASE WHEN s.is_slot THEN 0 ELSE $1 END) AS memory_mib,
        coalesce(a.gpus, i.gpus) AS gpus,
        a.idle_since, coalesce(a.idle_since > a.registered_at, false) AS has_run
    FROM instances i LEFT JOIN agents a USING (instance_id),
        LATERAL (SELECT i.instance_type LIKE 'fargate.%' AS is_slot) s
    WHERE i.ended_at IS NULL
    UNION ALL
    SELECT a.instance_id, a.compute_environment, a.instance_type, 'LAUNCHED', a.registered_at, 0,
        0, 1, false,
        a.status, false, a.health = 'HEALTHY', a.vcpu_milli, a.memory_mib, a.gpus, a.idle_since,
        coalesce(a.idle_since > a.registered_at, false)
    FROM agents a
    WHERE a.unmanaged AND a.status <> 'LOST'
)
SELECT t.instance_id, t.compute_environment, t.instance_type, t.status, t.ordered_at, t.vcpus,
    t.price_per_hour, h.each_holds AS held, t.generation, t.is_slot, t.agent_status, t.is_ours, t.idle_since, t.has_run,
    coalesce(h.attempts, 0) AS live_attempts,
    -- On one that takes nothing nothing is free.
    CASE WHEN t.is_fit THEN t.vcpu_milli - coalesce(h.vcpu_milli, 0) ELSE 0 END AS vcpu_milli,
    CASE WHEN t.is_fit THEN t.memory_mib - coalesce(h.memory_mib, 0) ELSE 0 END AS memory_mib,
    CASE WHEN t.is_fit THEN t.gpus - coalesce(h.gpus, 0) ELSE 0 END AS gpus
FROM there t LEFT JOIN held h USING (instance_id)
ORDER BY t.ordered_at, t.instance_id

-- name: queues
SELECT q.name, q.priority, q.max_running, p.fairshare, array_agg(e.compute_environment ORDER BY e.ordinal) AS environments
FROM job_queues q JOIN job_queue_environments e ON e.job_queue = q.name
LEFT JOIN scheduling_policies p ON p.name = q.scheduling_policy
WHERE q.status <> 'DELETED'
GROUP BY q.name, p.name

-- name: running
-- How many jobs of each queue were placed and have not ended: the nodes of a job are one.
SELECT j.job_queue, count(*) AS running
FROM (SELECT DISTINCT job_id, greatest(array_index, -1) AS array_index FROM attempts WHERE status <> 'ENDED') a
JOIN jobs j USING (job_id, array_index)
GROUP BY 1

-- name: share_usages
-- What shares use of queues that have a policy, and used lately.
SELECT job_queue, share_identifier, average, running_milli, as_of, used_at FROM share_usages

-- name: demand
-- Shapes with RUNNABLE jobs, in dispatch order; of an array with a cap also how many children were placed and have not
-- ended.
SELECT d.shape_id, d.runnable, s.job_queue, s.vcpu_milli, s.memory_mib, s.gpus, s.nodes, s.instance_type,
    s.share_identifier, s.priority, s.max_running, coalesce(a.starting + a.running, 0) AS running, r.rank, r.seq
FROM demand d JOIN shapes s USING (shape_id)
LEFT JOIN array_jobs a ON s.max_running > 0 AND a.job_id = s.array_job
LEFT JOIN LATERAL (SELECT r.rank, r.seq FROM ready r WHERE r.shape_id = d.shape_id
    ORDER BY r.rank, r.seq LIMIT 1) r ON true
WHERE d.runnable > 0
ORDER BY r.rank, r.seq, d.shape_id

-- name: prune
-- Forgets old activities, the oldest first. The last one of each environment stays, and those from
-- which failures count.
-- $1 older than, $2 how many at most
DELETE FROM scaling_activities WHERE activity_id IN (
    SELECT o.activity_id FROM scaling_activities o
    WHERE o.at < $1 AND NOT o.is_invalidated
        AND EXISTS (SELECT FROM scaling_activities n
            WHERE n.compute_environment = o.compute_environment AND n.activity_id > o.activity_id)
    ORDER BY o.at LIMIT $2)

-- name: add_late
-- Adds to the history what an order got after the pass that placed it; desiredvCpus follows from the
-- instances.
-- $1 environment, $2 vCPUs, $3 ordered, $4 reason, $5 order
INSERT INTO scaling_activities (compute_environment, desiredv_cpus, ordered, terminated, reason,
    order_id)
SELECT e.name,
    $2 + coalesce((SELECT a.desiredv_cpus FROM scaling_activities a
        WHERE a.compute_environment = e.name ORDER BY a.activity_id DESC LIMIT 1), 0),
    $3, 0, $4, $5
FROM compute_environments e
WHERE e.name = $1

-- name: add_activity
-- $1 environment, $2 desiredvCpus, $3 ordered, $4 terminated, $5 reason, $6 order or NULL, $7 turned INVALID
INSERT INTO scaling_activities (compute_environment, desiredv_cpus, ordered, terminated, reason,
    order_id, is_invalidated)
VALUES ($1, $2, $3, $4, $5, $6, $7)
