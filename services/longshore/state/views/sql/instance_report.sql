-- name: list_instances
-- Instances on record and machines that joined by themselves: those that are not over, the newest order first, then
-- those that are, the newest end first. Times are microseconds since 1970; not over counts as the end of time. A slot
-- has the tags that its one attempt's job propagates.
-- $1 environment or NULL, $2 instance or NULL, $3 whether also those that are over, $4 limit,
-- $5 end, $6 order and $7 id after which to go on, or NULLs, $8 now
WITH held AS (
    SELECT instance_id, count(*) AS attempts, sum(vcpu_milli)::bigint AS vcpu_milli,
        sum(memory_mib)::bigint AS memory_mib
    FROM attempts WHERE status <> 'ENDED' GROUP BY instance_id
), known AS (
    SELECT i.instance_id, i.compute_environment, i.status, i.status_reason, i.provider, i.provider_id,
        i.instance_type, i.zone, i.purchase_option, i.vcpus, i.memory_mib, i.gpus, i.price_per_hour,
        i.ordered_at, i.launched_at, i.seen_at, i.terminating_at, i.ended_at,
        coalesce(i.registered_at, a.registered_at) AS registered_at,
        a.status AS agent_status, a.health, a.health_detail, a.network, a.network_detail, a.gpu_devices,
        o.reason AS order_reason
    FROM instances i JOIN capacity_orders o USING (order_id) LEFT JOIN agents a USING (instance_id)
    WHERE ($1::text IS NULL OR i.compute_environment = $1) AND ($2::text IS NULL OR i.instance_id = $2)
        AND ($3 OR i.ended_at IS NULL)
    UNION ALL
    SELECT a.instance_id, a.compute_environment,
        CASE WHEN a.status = 'LOST' THEN 'TERMINATED' ELSE 'LAUNCHED' END, '', '', NULL,
        a.instance_type, '', 'ON_DEMAND', a.vcpu_milli / 1000.0, a.memory_mib, a.gpus, 0,
        a.registered_at, NULL, a.registered_at, NULL, CASE WHEN a.status = 'LOST' THEN a.last_seen_at END,
        a.registered_at, a.status, a.health, a.health_detail, a.network, a.network_detail, a.gpu_devices, ''
    FROM agents a
    WHERE a.unmanaged AND ($1::text IS NULL OR a.compute_environment = $1)
        AND ($2::text IS NULL OR a.instance_id = $2) AND ($3 OR a.status <> 'LOST')
), placed AS (
    SELECT k.*, coalesce((extract(epoch FROM k.ended_at) * 1000000)::bigint, 9223372036854775807) AS end_micros,
        (extract(epoch FROM k.ordered_at) * 1000000)::bigint AS order_micros
    FROM known k
)
SELECT p.*, coalesce(h.attempts, 0) AS live_attempts, coalesce(h.vcpu_milli, 0) AS held_vcpu_milli,
    coalesce(h.memory_mib, 0) AS held_memory_mib,
    coalesce(p.price_per_hour * extract(epoch FROM coalesce(p.ended_at, $8::timestamptz, now()) - p.launched_at)
        / 3600, 0)::float8 AS cost,
    CASE WHEN p.instance_type LIKE 'fargate.%' THEN (
        SELECT coalesce(d.tags, '{}') || s.tags
        FROM attempts t JOIN jobs j ON j.job_id = t.job_id AND j.array_index = -1
        JOIN job_specs s ON s.job_id = t.job_id
        LEFT JOIN job_definitions d ON d.name = j.definition_name AND d.revision = j.definition_revision
        WHERE t.instance_id = p.instance_id AND t.status <> 'ENDED' AND (s.detail ->> 'propagateTags')::boolean
    ) END AS tags
FROM placed p LEFT JOIN held h USING (instance_id)
WHERE $7::text IS NULL OR (p.end_micros, p.order_micros, p.instance_id) < ($5::bigint, $6::bigint, $7)
ORDER BY p.end_micros DESC, p.order_micros DESC, p.instance_id DESC
LIMIT $4

-- name: environment_costs
-- What all instances of compute environments cost, used or not: those that are over by day, the others as of now.
-- $1 environments or NULL for all, $2 now
WITH live AS (
    SELECT compute_environment, sum(price_per_hour
        * extract(epoch FROM coalesce($2::timestamptz, now()) - launched_at) / 3600) AS cost
    FROM instances WHERE ended_at IS NULL GROUP BY 1
), past AS (
    SELECT compute_environment, sum(cost) AS cost FROM environment_costs
    WHERE $1::text[] IS NULL OR compute_environment = ANY($1)
    GROUP BY 1
)
SELECT name, (coalesce(live.cost, 0) + coalesce(past.cost, 0))::float8 AS cost
FROM (
    SELECT name FROM compute_environments
    UNION SELECT compute_environment FROM live
    UNION SELECT compute_environment FROM past
) AS known
LEFT JOIN live ON live.compute_environment = name
LEFT JOIN past ON past.compute_environment = name
WHERE $1::text[] IS NULL OR name = ANY($1)
ORDER BY name

-- name: queue_costs
-- What the attempts of queues' jobs held of instances: those that ended by day, the others as of now.
-- $1 queues or NULL for all, $2 now
WITH live AS (
    SELECT j.job_queue, sum(held_cost(i, t.vcpu_milli, t.memory_mib, t.gpus,
        coalesce($2::timestamptz, now()) - t.placed_at)) AS cost
    FROM attempts t
    JOIN instances i USING (instance_id)
    JOIN jobs j ON j.job_id = t.job_id AND j.array_index = -1
    WHERE t.status <> 'ENDED' AND i.price_per_hour > 0
    GROUP BY 1
), past AS (
    SELECT job_queue, sum(cost) AS cost FROM queue_costs
    WHERE $1::text[] IS NULL OR job_queue = ANY($1)
    GROUP BY 1
)
SELECT q.name, (coalesce(live.cost, 0) + coalesce(past.cost, 0))::float8 AS cost
FROM job_queues q
LEFT JOIN live ON live.job_queue = q.name
LEFT JOIN past ON past.job_queue = q.name
WHERE $1::text[] IS NULL OR q.name = ANY($1)
ORDER BY q.name

-- name: job_costs
-- What jobs' attempts held of instances: of one child, or of all there are of a job. Jobs may be history.
-- $1 jobs, $2 indexes of children or -1 for all, $3 now
SELECT n.ordinal, coalesce(sum(held_cost(i, t.vcpu_milli, t.memory_mib, t.gpus,
    coalesce(t.stopped_at, $3::timestamptz, now()) - t.placed_at)), 0)::float8 AS cost
FROM unnest($1::uuid[], $2::integer[]) WITH ORDINALITY AS n (job_id, array_index, ordinal)
JOIN all_jobs j ON j.job_id = n.job_id AND j.array_index = -1
LEFT JOIN all_attempts t ON t.job_id = n.job_id AND (n.array_index = -1 OR t.array_index = n.array_index)
LEFT JOIN instances i USING (instance_id)
WHERE n.array_index < coalesce(j.array_size, 0)
GROUP BY n.ordinal
ORDER BY n.ordinal
