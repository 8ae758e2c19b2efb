-- name: environments
SELECT name, uuid, type, state, status, resource_type, maxv_cpus, unmanagedv_cpus, tags,
    coalesce(detail -> 'computeResources' -> 'instanceTypes', '[]'::jsonb) AS instance_types
FROM compute_environments

-- name: queues
SELECT q.name, q.state, q.status, q.priority, q.max_running, p.fairshare,
    coalesce(q.detail -> 'jobStateTimeLimitActions', '[]'::jsonb) AS time_limits,
    coalesce(array_agg(e.compute_environment ORDER BY e.ordinal) FILTER (WHERE e.ordinal IS NOT NULL), '{}')
        AS environments
FROM job_queues q LEFT JOIN job_queue_environments e ON e.job_queue = q.name
LEFT JOIN scheduling_policies p ON p.name = q.scheduling_policy
GROUP BY q.name, p.name

-- name: outdated
-- Instances from before the last infrastructure update of their environment.
SELECT i.instance_id FROM instances i JOIN compute_environments e ON e.name = i.compute_environment
WHERE i.ended_at IS NULL AND i.generation < e.generation

-- name: shortages
-- What the provider could not give, and when it last said so.
-- $1 since when
SELECT instance_type, zone, purchase_option, reason, max(at) AS at FROM shortages
WHERE at > $1
GROUP BY 1, 2, 3, 4
ORDER BY at DESC, 1, 2

-- name: vcpus
SELECT compute_environment, sum(vcpus) AS vcpus FROM instances WHERE ended_at IS NULL GROUP BY 1

-- name: launched
-- Instances whose agent never registered, and those ordered lately, alike ones together.
-- $1 since when ordered, NULL for only those that boot, $2 queue or NULL for all
SELECT i.compute_environment, i.instance_type, i.vcpus, i.memory_mib, i.gpus, a.instance_id IS NULL AS booting,
    count(*) AS count, min(i.ordered_at) AS first_at, max(i.ordered_at) AS last_at
FROM instances i LEFT JOIN agents a USING (instance_id)
WHERE i.ended_at IS NULL AND i.status IN ('ORDERED', 'LAUNCHED') AND (a.instance_id IS NULL OR i.ordered_at >= $1)
    AND ($2::text IS NULL OR i.compute_environment IN
        (SELECT e.compute_environment FROM job_queue_environments e WHERE e.job_queue = $2))
GROUP BY 1, 2, 3, 4, 5, 6
ORDER BY first_at, 1, 2
