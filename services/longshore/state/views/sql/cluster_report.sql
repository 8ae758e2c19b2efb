-- name: clusters
-- Compute environments by name, with what is live in them.
-- $1 names or NULL for all, $2 after this name, $3 how many at most
WITH wanted AS (
    SELECT name, uuid, tags, resource_type FROM compute_environments
    WHERE ($1::text[] IS NULL OR name = ANY($1)) AND name > $2 ORDER BY name LIMIT $3
), live AS (
    SELECT compute_environment, count(*) FILTER (WHERE status = 'RUNNING') AS running,
        count(*) FILTER (WHERE status = 'STARTING') AS pending
    FROM attempts WHERE status <> 'ENDED' AND compute_environment IN (SELECT name FROM wanted) GROUP BY 1
), joined AS (
    SELECT compute_environment, count(*) AS instances FROM agents
    WHERE status <> 'LOST' AND instance_type NOT LIKE 'fargate.%'
        AND compute_environment IN (SELECT name FROM wanted) GROUP BY 1
)
SELECT w.name, w.uuid, w.tags, coalesce(j.instances, 0) AS instances, coalesce(l.running, 0) AS running,
    coalesce(l.pending, 0) AS pending, coalesce(w.resource_type LIKE 'FARGATE%', false) AS is_fargate
FROM wanted w LEFT JOIN live l ON l.compute_environment = w.name LEFT JOIN joined j ON j.compute_environment = w.name
ORDER BY w.name

-- name: identity
-- $1 environment
SELECT uuid FROM compute_environments WHERE name = $1

-- name: list_instances
-- Instances of an environment whose agents are there, by id.
-- $1 environment, $2 status or NULL, $3 after this instance, $4 how many at most
SELECT instance_id FROM agents
WHERE compute_environment = $1 AND status = CASE $2::text WHEN 'ACTIVE' THEN 'READY' ELSE coalesce($2, status) END
    AND status <> 'LOST' AND instance_type NOT LIKE 'fargate.%' AND instance_id > $3
ORDER BY instance_id LIMIT $4

-- name: instances
-- Instances whose agents joined; also those that are over.
-- $1 environment or NULL for any, $2 instances
WITH held AS (
    SELECT instance_id, sum(vcpu_milli)::bigint AS vcpu_milli, sum(memory_mib)::bigint AS memory_mib,
        count(*) FILTER (WHERE status = 'RUNNING') AS running, count(*) FILTER (WHERE status = 'STARTING') AS pending
    FROM attempts WHERE status <> 'ENDED' AND instance_id = ANY($2::text[]) GROUP BY 1
)
SELECT k.instance_id, coalesce(i.compute_environment, a.compute_environment) AS compute_environment,
    e.uuid AS environment_id, coalesce(i.instance_type, a.instance_type) AS instance_type, coalesce(i.zone, '') AS zone,
    CASE WHEN i.ended_at IS NOT NULL OR a.status IS NULL OR a.status = 'LOST' THEN 'INACTIVE'
        WHEN a.status = 'DRAINING' THEN 'DRAINING' ELSE 'ACTIVE' END AS status,
    coalesce(a.agent_version, '') AS agent_version, coalesce(a.registered_at, i.registered_at) AS registered_at,
    coalesce(a.vcpu_milli, (i.vcpus * 1000)::bigint) AS vcpu_milli, coalesce(a.memory_mib, i.memory_mib) AS memory_mib,
    coalesce(a.gpus, i.gpus) AS gpus, coalesce(h.vcpu_milli, 0) AS held_vcpu_milli,
    coalesce(h.memory_mib, 0) AS held_memory_mib, coalesce(h.running, 0) AS running, coalesce(h.pending, 0) AS pending
FROM unnest($2::text[]) AS k (instance_id)
LEFT JOIN agents a USING (instance_id) LEFT JOIN instances i USING (instance_id) LEFT JOIN held h USING (instance_id)
LEFT JOIN compute_environments e ON e.name = coalesce(i.compute_environment, a.compute_environment)
WHERE coalesce(a.registered_at, i.registered_at) IS NOT NULL
    AND ($1::text IS NULL OR coalesce(i.compute_environment, a.compute_environment) = $1)
    AND coalesce(i.instance_type, a.instance_type) NOT LIKE 'fargate.%'

-- name: list_tasks
-- Live attempts of an environment, by id.
-- $1 environment, $2 instance or NULL, $3 definition or NULL, $4 Fargate, or not, or NULL, $5 after this attempt,
-- $6 how many at most
SELECT a.attempt_id FROM attempts a
WHERE a.status <> 'ENDED' AND a.compute_environment = $1 AND ($2::text IS NULL OR a.instance_id = $2)
    AND ($3::text IS NULL OR EXISTS (
        SELECT FROM jobs j WHERE j.job_id = a.job_id AND j.array_index = -1 AND j.definition_name = $3))
    AND ($4::boolean IS NULL OR $4 = EXISTS (
        SELECT FROM agents g WHERE g.instance_id = a.instance_id AND g.instance_type LIKE 'fargate.%'))
    AND a.attempt_id > $5
ORDER BY a.attempt_id LIMIT $6

-- name: tasks
-- Attempts with what is told of their jobs.
-- $1 environment or NULL for any, $2 attempts
SELECT a.job_id, a.array_index, a.attempt, a.attempt_id, a.instance_id, a.compute_environment,
    e.uuid AS environment_id, j.job_queue, j.definition_name, j.definition_revision, a.status, a.stop_kind,
    a.placed_at, a.started_at, a.stopped_at, a.exit_code, a.reason, a.status_reason, a.vcpu_milli, a.memory_mib,
    s.detail #>> '{container,image}' AS image, a.address, a.containers,
    coalesce(i.instance_type, g.instance_type, '') AS instance_type, coalesce(i.zone, '') AS zone
FROM attempts a
JOIN jobs j ON j.job_id = a.job_id AND j.array_index = -1
JOIN job_specs s ON s.job_id = a.job_id
LEFT JOIN compute_environments e ON e.name = a.compute_environment
LEFT JOIN instances i ON i.instance_id = a.instance_id LEFT JOIN agents g ON g.instance_id = a.instance_id
WHERE a.attempt_id = ANY($2::text[]) AND ($1::text IS NULL OR a.compute_environment = $1)

-- name: placed
-- Attempts by their placements, the newest first.
-- $1 from, $2 time and $3 id of the position before which they are, $4 attempt or NULL, $5 how many at most
SELECT attempt_id FROM attempts
WHERE placed_at >= $1 AND placed_at <= $2
    AND (placed_at < $2 OR attempt_id COLLATE "C" < $3) AND ($4::text IS NULL OR attempt_id = $4)
ORDER BY placed_at DESC, attempt_id COLLATE "C" DESC
LIMIT $5

-- name: changes
-- Agents that joined and instances that ended whose agents had, the newest first. A machine that joined by itself ended
-- when it was last seen.
-- $1 names of these, $2 from, $3 time and $4 id of the position before which they are, $5 id or NULL, $6 how many at most
SELECT name, instance_id, at, event_id
FROM (
    SELECT name, instance_id, at,
        md5(name || ' ' || instance_id || ' ' || extract(epoch FROM at)::text)::uuid AS event_id
    FROM (
        SELECT 'RegisterContainerInstance' AS name, i.instance_id, i.registered_at AS at FROM instances i
        WHERE i.registered_at >= $2 AND i.registered_at <= $3 AND i.instance_type NOT LIKE 'fargate.%'
        UNION ALL
        SELECT 'RegisterContainerInstance', a.instance_id, a.registered_at FROM agents a
        WHERE a.registered_at >= $2 AND a.registered_at <= $3 AND a.instance_type NOT LIKE 'fargate.%'
            AND NOT EXISTS (SELECT FROM instances i
                WHERE i.instance_id = a.instance_id AND i.registered_at IS NOT NULL)
        UNION ALL
        SELECT 'DeregisterContainerInstance', i.instance_id, i.ended_at FROM instances i
        WHERE i.ended_at >= $2 AND i.ended_at <= $3 AND i.registered_at IS NOT NULL
            AND i.instance_type NOT LIKE 'fargate.%'
        UNION ALL
        SELECT 'DeregisterContainerInstance', a.instance_id, a.last_seen_at FROM agents a
        WHERE a.unmanaged AND a.status = 'LOST' AND a.last_seen_at >= $2 AND a.last_seen_at <= $3
    ) AS c
) AS k
WHERE name = ANY($1::text[]) AND (at, event_id) < ($3::timestamptz, $4::uuid) AND ($5::uuid IS NULL OR event_id = $5)
ORDER BY at DESC, event_id DESC
LIMIT $6
