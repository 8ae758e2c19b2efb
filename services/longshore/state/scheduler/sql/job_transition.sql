-- name: submitted
-- Jobs that are not yet admitted, in order.
-- $1 limit
SELECT job_id, array_index, seq, job_queue, shape_id, status, array_size, attempt, attempts_max,
    dependencies_left, is_cancelled, is_terminated, request_reason, created_at, num_nodes, main_node
FROM jobs WHERE status = 'SUBMITTED' ORDER BY seq LIMIT $1

-- name: load
-- Jobs by key.
-- $1 job ids, $2 indexes
SELECT j.job_id, j.array_index, j.seq, j.job_queue, j.shape_id, j.status, j.array_size, j.attempt,
    j.attempts_max, j.dependencies_left, j.is_cancelled, j.is_terminated, j.request_reason, j.created_at,
    j.num_nodes, j.main_node
FROM unnest($1::uuid[], $2::integer[]) AS k (job_id, array_index)
JOIN jobs j ON j.job_id = k.job_id AND j.array_index = k.array_index

-- name: load_children
-- Children of an array that have a row, from an index up to another, exclusive.
-- $1 job id, $2 first, $3 end
SELECT job_id, array_index, seq, job_queue, shape_id, status, array_size, attempt, attempts_max,
    dependencies_left, is_cancelled, is_terminated, request_reason, created_at, num_nodes, main_node
FROM jobs WHERE job_id = $1 AND array_index >= greatest($2, 0) AND array_index < $3

-- name: unfinished_of_queue
-- Jobs and array parents of a queue that are not final.
-- $1 queue, $2 limit
SELECT job_id, array_index, seq, job_queue, shape_id, status, array_size, attempt, attempts_max,
    dependencies_left, is_cancelled, is_terminated, request_reason, created_at, num_nodes, main_node
FROM jobs
WHERE job_queue = $1 AND array_index = -1
    AND status IN ('SUBMITTED', 'PENDING', 'RUNNABLE', 'STARTING', 'RUNNING')
    AND NOT is_terminated
ORDER BY seq LIMIT $2

-- name: admit
-- $1 job ids, $2 statuses, $3 dependencies left
UPDATE jobs j SET status = c.status, dependencies_left = c.dependencies_left
FROM unnest($1::uuid[], $2::text[], $3::integer[]) AS c (job_id, status, dependencies_left)
WHERE j.job_id = c.job_id AND j.array_index = -1 AND j.status = 'SUBMITTED'

-- name: with_more_tags
-- Jobs that propagate more than so many tags: their own, and those of their definition that they have not.
-- $1 job ids, $2 how many
SELECT s.job_id
FROM job_specs s JOIN jobs j ON j.job_id = s.job_id AND j.array_index = -1
JOIN job_definitions d ON d.name = j.definition_name AND d.revision = j.definition_revision
WHERE s.job_id = ANY($1::uuid[]) AND s.tags <> '{}' AND d.tags <> '{}' AND (s.detail ->> 'propagateTags')::boolean
    AND (SELECT count(*) FROM jsonb_object_keys(d.tags || s.tags)) > $2

-- name: start
-- Places single jobs and children that have a row; returns the numbers of their attempts.
-- $1 job ids, $2 indexes
UPDATE jobs j SET status = 'STARTING', attempt = j.attempt + 1, status_reason = NULL, exit_code = NULL,
    reason = NULL, started_at = NULL
FROM unnest($1::uuid[], $2::integer[]) AS c (job_id, array_index)
WHERE j.job_id = c.job_id AND j.array_index = c.array_index AND j.status = 'RUNNABLE'
RETURNING j.job_id, j.array_index, j.attempt

-- name: take_attempt_back
-- The last attempt of jobs was none: the next one has its number.
-- $1 job ids, $2 indexes
UPDATE jobs j SET attempt = j.attempt - 1
FROM unnest($1::uuid[], $2::integer[]) AS c (job_id, array_index)
WHERE j.job_id = c.job_id AND j.array_index = c.array_index AND j.status = 'STARTING'

-- name: start_children
-- Places children; those without a row get one.
-- $1 job ids, $2 indexes
INSERT INTO jobs AS j (job_id, array_index, seq, job_queue, shape_id, name, definition_name,
    definition_revision, status, attempt, attempts_max, timeout_seconds, created_at)
SELECT p.job_id, c.array_index, p.seq, p.job_queue, p.shape_id, p.name, p.definition_name,
    p.definition_revision, 'STARTING', 1, p.attempts_max, p.timeout_seconds, a.spawned_at
FROM unnest($1::uuid[], $2::integer[]) AS c (job_id, array_index)
JOIN jobs p ON p.job_id = c.job_id AND p.array_index = -1
JOIN array_jobs a ON a.job_id = c.job_id
ON CONFLICT (job_id, array_index) DO UPDATE SET status = 'STARTING', attempt = j.attempt + 1,
    status_reason = NULL, exit_code = NULL, reason = NULL, started_at = NULL,
    -- The array's may have changed since the attempt before.
    timeout_seconds = excluded.timeout_seconds
    WHERE j.status = 'RUNNABLE'
RETURNING j.job_id, j.array_index, j.attempt

-- name: insert_children
-- Gives rows to children that have none.
-- $1 job ids, $2 indexes, $3 status, $4 status reason, $5 cancelled, $6 terminated, $7 now
INSERT INTO jobs (job_id, array_index, seq, job_queue, shape_id, name, definition_name,
    definition_revision, status, status_reason, attempts_max, timeout_seconds, is_cancelled, is_terminated,
    request_reason, created_at, stopped_at)
SELECT p.job_id, c.array_index, p.seq, p.job_queue, p.shape_id, p.name, p.definition_name,
    p.definition_revision, $3, CASE WHEN $3 = 'FAILED' THEN $4 END, p.attempts_max, p.timeout_seconds, $5, $6,
    CASE WHEN $5 OR $6 THEN $4 END, a.spawned_at, CASE WHEN $3 = 'FAILED' THEN coalesce($7::timestamptz, now()) END
FROM unnest($1::uuid[], $2::integer[]) AS c (job_id, array_index)
JOIN jobs p ON p.job_id = c.job_id AND p.array_index = -1
JOIN array_jobs a ON a.job_id = c.job_id
ON CONFLICT (job_id, array_index) DO NOTHING

-- name: move
-- Moves jobs on; final ones never.
-- $1 job ids, $2 indexes, $3 statuses, $4 status reasons, $5 exit codes, $6 reasons, $7 started, $8 stopped
UPDATE jobs j SET status = c.status, status_reason = c.status_reason, exit_code = c.exit_code,
    reason = c.reason, started_at = c.started_at, stopped_at = c.stopped_at
FROM unnest($1::uuid[], $2::integer[], $3::text[], $4::text[], $5::integer[], $6::text[],
    $7::timestamptz[], $8::timestamptz[])
    AS c (job_id, array_index, status, status_reason, exit_code, reason, started_at, stopped_at)
WHERE j.job_id = c.job_id AND j.array_index = c.array_index AND j.status NOT IN ('SUCCEEDED', 'FAILED')

-- name: set_dependencies
-- $1 job ids, $2 dependencies left
UPDATE jobs j SET dependencies_left = c.dependencies_left
FROM unnest($1::uuid[], $2::integer[]) AS c (job_id, dependencies_left)
WHERE j.job_id = c.job_id AND j.array_index = -1

-- name: flag
-- Marks jobs as cancelled or terminated by request.
-- $1 job ids, $2 indexes, $3 cancelled, $4 terminated, $5 reasons
UPDATE jobs j SET is_cancelled = j.is_cancelled OR c.cancelled, is_terminated = j.is_terminated OR c.terminated,
    request_reason = coalesce(j.request_reason, c.reason)
FROM unnest($1::uuid[], $2::integer[], $3::boolean[], $4::boolean[], $5::text[])
    AS c (job_id, array_index, cancelled, terminated, reason)
WHERE j.job_id = c.job_id AND j.array_index = c.array_index AND j.status NOT IN ('SUCCEEDED', 'FAILED')

-- name: reshape
-- Gives jobs other shapes; final ones keep theirs.
-- $1 job ids, $2 indexes, $3 shapes
UPDATE jobs j SET shape_id = c.shape_id
FROM unnest($1::uuid[], $2::integer[], $3::integer[]) AS c (job_id, array_index, shape_id)
WHERE j.job_id = c.job_id AND j.array_index = c.array_index AND j.status NOT IN ('SUCCEEDED', 'FAILED')

-- name: details
-- What an assignment needs to know of jobs, by the id of the single job or parent.
-- $1 job ids
SELECT j.job_id, j.name, j.job_queue, j.definition_name, j.definition_revision, j.array_size,
    j.attempts_max, j.timeout_seconds, j.created_at, s.container, s.detail -> 'retryStrategy' -> 'evaluateOnExit' AS rules,
    j.num_nodes, j.main_node, s.nodes, s.task, s.rerun_size, s.rerun_pairs, s.traceparent, s.tracestate,
    (s.detail #>> '{retryStrategy,oomMemoryFactor}')::float8 AS oom_factor,
    (s.detail #>> '{retryStrategy,oomMemoryMaxMib}')::integer AS oom_max_mib,
    CASE WHEN (s.detail ->> 'propagateTags')::boolean THEN coalesce(d.tags, '{}') || s.tags END AS tags
FROM jobs j JOIN job_specs s USING (job_id)
LEFT JOIN job_definitions d ON d.name = j.definition_name AND d.revision = j.definition_revision
WHERE j.job_id = ANY($1::uuid[]) AND j.array_index = -1

-- name: finished_indexes
-- The first indexes of which a child of any of some arrays is final.
-- $1 job ids, $2 from which index on, $3 limit
SELECT DISTINCT c.array_index
FROM unnest($1::uuid[]) AS u (job_id)
CROSS JOIN LATERAL (
    SELECT j.array_index FROM jobs j
    WHERE j.job_id = u.job_id AND j.array_index >= greatest($2, 0) AND j.status IN ('SUCCEEDED', 'FAILED')
    ORDER BY j.array_index LIMIT $3
) AS c
ORDER BY c.array_index LIMIT $3

-- name: next_settled
-- From some children on, the first of each array that has a row and does not wait for others.
-- $1 job ids, $2 indexes
SELECT c.job_id, c.array_index, (
    SELECT min(j.array_index) FROM jobs j
    WHERE j.job_id = c.job_id AND j.array_index >= c.array_index AND j.status <> 'PENDING') AS settled
FROM unnest($1::uuid[], $2::integer[]) AS c (job_id, array_index)
