-- name: insert
-- $1 job ids, $2 indexes, $3 attempts, $4 attempt ids, $5 instances, $6 environments, $7 vCPU, $8 memory,
-- $9 gpus, $10 log streams, $11 now
INSERT INTO attempts (job_id, array_index, attempt, attempt_id, instance_id, compute_environment, status,
    vcpu_milli, memory_mib, gpus, log_stream_name, placed_at)
SELECT job_id, array_index, attempt, attempt_id, instance_id, compute_environment, 'STARTING',
    vcpu_milli, memory_mib, gpus, log_stream_name, coalesce($11::timestamptz, now())
FROM unnest($1::uuid[], $2::integer[], $3::integer[], $4::text[], $5::text[], $6::text[], $7::bigint[],
    $8::bigint[], $9::integer[], $10::text[])
    AS a (job_id, array_index, attempt, attempt_id, instance_id, compute_environment,
        vcpu_milli, memory_mib, gpus, log_stream_name)

-- name: move
-- Moves attempts on. What those that end held of instances is added to the costs of their queues.
-- $1 job ids, $2 indexes, $3 attempts, $4 statuses, $5 started, $6 stopped, $7 exit codes, $8 reasons,
-- $9 status reasons, $10 addresses, $11 when that was learned of those that run, $12 whether it ended with its instance,
-- $13 their containers as JSON text, NULL where there is no news of them, $14 seconds of pulls, NULL likewise
WITH moved AS (
    UPDATE attempts a SET status = c.status, started_at = coalesce(a.started_at, c.started_at),
        stopped_at = c.stopped_at, exit_code = c.exit_code, reason = c.reason, status_reason = c.status_reason,
        address = coalesce(c.address, a.address), running_at = coalesce(a.running_at, c.running_at),
        is_lost = c.is_lost, containers = coalesce(c.containers::jsonb, a.containers),
        pull_seconds = coalesce(c.pull_seconds, a.pull_seconds)
    FROM unnest($1::uuid[], $2::integer[], $3::integer[], $4::text[], $5::timestamptz[], $6::timestamptz[],
        $7::integer[], $8::text[], $9::text[], $10::text[], $11::timestamptz[], $12::boolean[],
        $13::text[], $14::float8[])
        AS c (job_id, array_index, attempt, status, started_at, stopped_at, exit_code, reason, status_reason, address,
            running_at, is_lost, containers, pull_seconds)
    WHERE a.job_id = c.job_id AND a.array_index = c.array_index AND a.attempt = c.attempt AND a.status <> 'ENDED'
    RETURNING a.job_id, a.instance_id, a.status, a.vcpu_milli, a.memory_mib, a.gpus, a.placed_at, a.stopped_at
)
INSERT INTO queue_costs AS q (job_queue, day, cost)
SELECT j.job_queue, (m.stopped_at AT TIME ZONE 'UTC')::date,
    sum(held_cost(i, m.vcpu_milli, m.memory_mib, m.gpus, m.stopped_at - m.placed_at))
FROM moved m
JOIN instances i USING (instance_id)
JOIN jobs j ON j.job_id = m.job_id AND j.array_index = -1
WHERE m.status = 'ENDED' AND i.price_per_hour > 0
GROUP BY 1, 2
ON CONFLICT (job_queue, day) DO UPDATE SET cost = q.cost + excluded.cost

-- name: remove
-- Forgets attempts that were none.
-- $1 job ids, $2 indexes, $3 attempts
DELETE FROM attempts a USING unnest($1::uuid[], $2::integer[], $3::integer[]) AS c (job_id, array_index, attempt)
WHERE a.job_id = c.job_id AND a.array_index = c.array_index AND a.attempt = c.attempt AND a.status = 'STARTING'

-- name: stop
-- Notes that attempts were told to stop. The first stop stays, but a user's takes the place of the instance's and of
-- the main node's end.
-- $1 job ids, $2 indexes, $3 attempts, $4 kinds, $5 reasons
UPDATE attempts a SET stop_kind = c.kind, stop_reason = c.reason
FROM unnest($1::uuid[], $2::integer[], $3::integer[], $4::text[], $5::text[])
    AS c (job_id, array_index, attempt, kind, reason)
WHERE a.job_id = c.job_id AND a.array_index = c.array_index AND a.attempt = c.attempt AND a.status <> 'ENDED'
    AND (a.stop_kind IS NULL OR (a.stop_kind IN ('HOST_TERMINATED', 'MAIN_NODE_ENDED') AND c.kind = 'TERMINATED'))

-- name: live
-- Every live attempt, with what the scheduler keeps in memory of it.
SELECT a.job_id, a.array_index, a.attempt, a.attempt_id, a.instance_id, a.compute_environment, a.status, a.vcpu_milli,
    a.memory_mib, a.gpus, a.log_stream_name, a.placed_at, a.started_at,
    coalesce(a.running_at, a.started_at) AS running_at, a.stop_kind, a.stop_reason, a.address, j.seq,
    coalesce(shape.job_queue, j.job_queue) AS job_queue,
    coalesce(shape.share_identifier, j.share_identifier) AS share_identifier,
    coalesce(own.shape_id, j.shape_id) AS shape_id, shape.consumables, j.attempts_max,
    CASE WHEN own.job_id IS NULL THEN j.timeout_seconds ELSE own.timeout_seconds END AS timeout_seconds,
    j.array_size, j.num_nodes, j.main_node
FROM attempts a
JOIN jobs j ON j.job_id = a.job_id AND j.array_index = -1
LEFT JOIN jobs own ON own.job_id = a.job_id AND own.array_index = a.array_index
LEFT JOIN shapes shape ON shape.shape_id = coalesce(own.shape_id, j.shape_id)
WHERE a.status <> 'ENDED'

-- name: ended_on
-- Which of some attempts have ended on an instance, what is kept in memory of one that is live, and whether it was lost.
-- $1 instance, $2 job ids, $3 indexes, $4 attempts
SELECT a.job_id, a.array_index, a.attempt, a.attempt_id, a.instance_id, a.compute_environment,
    CASE WHEN a.started_at IS NULL THEN 'STARTING' ELSE 'RUNNING' END AS status,
    a.vcpu_milli, a.memory_mib, a.gpus, a.log_stream_name, a.placed_at, a.started_at,
    coalesce(a.running_at, a.started_at) AS running_at, a.is_lost, a.stop_kind, a.stop_reason, a.address, j.seq,
    coalesce(shape.job_queue, j.job_queue) AS job_queue,
    coalesce(shape.share_identifier, j.share_identifier) AS share_identifier,
    coalesce(own.shape_id, j.shape_id) AS shape_id, shape.consumables, j.attempts_max,
    CASE WHEN own.job_id IS NULL THEN j.timeout_seconds ELSE own.timeout_seconds END AS timeout_seconds,
    j.array_size, j.num_nodes, j.main_node
FROM unnest($2::uuid[], $3::integer[], $4::integer[]) AS k (job_id, array_index, attempt)
JOIN attempts a ON a.job_id = k.job_id AND a.array_index = k.array_index AND a.attempt = k.attempt
JOIN jobs j ON j.job_id = a.job_id AND j.array_index = -1
LEFT JOIN jobs own ON own.job_id = a.job_id AND own.array_index = a.array_index
LEFT JOIN shapes shape ON shape.shape_id = coalesce(own.shape_id, j.shape_id)
WHERE a.instance_id = $1 AND a.status = 'ENDED'

-- name: take_back
-- Makes attempts live again that had ended; their jobs wait for the next one no more.
-- $1 job ids, $2 indexes, $3 attempts
WITH waiting AS (
    DELETE FROM ready r
    USING unnest($1::uuid[], $2::integer[], $3::integer[]) AS k (job_id, array_index, attempt)
    JOIN attempts a ON a.job_id = k.job_id AND a.array_index = k.array_index AND a.attempt = k.attempt
    JOIN jobs j ON j.job_id = k.job_id AND j.array_index = k.array_index
    WHERE r.job_id = k.job_id AND r.rank = -1 AND r.next_index = k.array_index AND r.end_index = k.array_index + 1
        AND a.status = 'ENDED'
    RETURNING a.job_id, a.array_index, a.attempt, a.instance_id, a.vcpu_milli, a.memory_mib, a.gpus, a.placed_at,
        a.stopped_at, j.job_queue
), refunded AS (
    -- What they held until they were given up counts once, when they really end.
    UPDATE queue_costs q SET cost = q.cost - c.cost
    FROM (
        SELECT w.job_queue, (w.stopped_at AT TIME ZONE 'UTC')::date AS day,
            sum(held_cost(i, w.vcpu_milli, w.memory_mib, w.gpus, w.stopped_at - w.placed_at)) AS cost
        FROM waiting w JOIN instances i USING (instance_id)
        WHERE i.price_per_hour > 0
        GROUP BY 1, 2
    ) AS c
    WHERE q.job_queue = c.job_queue AND q.day = c.day
)
UPDATE attempts a SET status = CASE WHEN a.started_at IS NULL THEN 'STARTING' ELSE 'RUNNING' END,
    stopped_at = NULL, status_reason = NULL, is_lost = false
FROM waiting w
WHERE a.job_id = w.job_id AND a.array_index = w.array_index AND a.attempt = w.attempt

-- name: ended_main_nodes
-- How the main nodes ended of the jobs of which other nodes are live.
SELECT a.job_id, a.attempt, a.started_at, a.stopped_at, a.exit_code, a.reason, a.status_reason,
    a.stop_kind, a.stop_reason
FROM (SELECT DISTINCT job_id, attempt FROM attempts WHERE status <> 'ENDED' AND array_index < -1) AS live
JOIN jobs j ON j.job_id = live.job_id AND j.array_index = -1
JOIN attempts a ON a.job_id = live.job_id AND a.array_index = -2 - j.main_node AND a.attempt = live.attempt
WHERE a.status = 'ENDED'

-- name: placed
-- Where the attempts of a job were placed, in their order; $1 job id, $2 index
SELECT a.attempt, a.instance_id, coalesce(i.instance_type, '') AS instance_type, a.compute_environment,
    a.status, a.exit_code, a.status_reason
FROM attempts a
LEFT JOIN instances i USING (instance_id)
WHERE a.job_id = $1 AND a.array_index = $2
ORDER BY a.attempt
