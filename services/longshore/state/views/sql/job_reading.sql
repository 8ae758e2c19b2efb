-- name: describe_jobs
-- Jobs with their submission, in the order asked for. A child without a row of its own is RUNNABLE while a range of
-- `ready` covers it and PENDING otherwise; before its parent is spawned it does not exist.
-- $1 job ids
-- $2 indexes, -1 for a single job, a multi-node job or an array parent
-- $3 of how many runs of children the indexes are told that they see in an array that runs another one's again
SELECT
    wanted.job_id, wanted.array_index, parent.seq, parent.name, parent.job_queue,
    parent.definition_name, parent.definition_revision, parent.array_size, parent.num_nodes,
    parent.main_node, parent.share_identifier, status.status,
    CASE WHEN status.status = 'RUNNABLE' THEN coalesce(demand.blocked_reason, own.status_reason)
        ELSE own.status_reason END AS status_reason,
    coalesce(own.is_cancelled, false) AS is_cancelled,
    coalesce(own.is_terminated, false) AS is_terminated,
    own.exit_code, own.reason, coalesce(own.created_at, arrays.spawned_at) AS created_at,
    own.started_at, own.stopped_at,
    arrays.pending, arrays.runnable, arrays.starting, arrays.running, arrays.succeeded, arrays.failed,
    arrays.changed_at, spec.detail, spec.tags, own.rerun_of,
    CASE WHEN wanted.array_index >= 0 THEN rerun_index(spec.rerun_pairs, wanted.array_index) END AS rerun_index,
    CASE WHEN wanted.array_index = -1 THEN spec.rerun_pairs[1:2 * $3 + 2] END AS rerun_pairs,
    shape.memory_mib, request.cancels, request.terminates
FROM unnest($1::uuid[], $2::integer[]) WITH ORDINALITY AS wanted (job_id, array_index, ordinal)
JOIN jobs AS parent ON parent.job_id = wanted.job_id AND parent.array_index = -1
JOIN job_specs AS spec ON spec.job_id = wanted.job_id
LEFT JOIN jobs AS own ON own.job_id = wanted.job_id AND own.array_index = wanted.array_index
LEFT JOIN array_jobs AS arrays ON arrays.job_id = wanted.job_id
LEFT JOIN demand ON demand.shape_id = coalesce(own.shape_id, parent.shape_id)
LEFT JOIN shapes AS shape ON shape.shape_id = coalesce(own.shape_id, parent.shape_id)
    AND spec.detail -> 'retryStrategy' ? 'oomMemoryFactor'
CROSS JOIN LATERAL (
    SELECT CASE
        WHEN own.job_id IS NOT NULL THEN own.status
        WHEN EXISTS (
            SELECT FROM ready WHERE ready.job_id = wanted.job_id
                AND wanted.array_index >= ready.next_index AND wanted.array_index < ready.end_index
        ) THEN 'RUNNABLE'
        ELSE 'PENDING'
    END AS status
) AS status
CROSS JOIN LATERAL (
    SELECT coalesce(bool_or(kind = 'CANCEL'), false) AS cancels,
        coalesce(bool_or(kind = 'TERMINATE'), false) AS terminates
    FROM job_requests
    -- What is asked of an array is asked of its children: of many of them it takes a while.
    WHERE job_requests.job_id = wanted.job_id AND job_requests.array_index IN (wanted.array_index, -1)
) AS request
WHERE own.job_id IS NOT NULL
    OR (arrays.job_id IS NOT NULL AND wanted.array_index < parent.array_size)
ORDER BY wanted.ordinal;

-- name: describe_nodes
-- Nodes of multi-node jobs, each with its job and its attempt in the job's latest try; those that their job does not
-- have are left out.
-- $1 job ids
-- $2 indexes, -2 for node 0 and down
SELECT
    wanted.job_id, wanted.array_index, job.seq, job.name, job.job_queue, job.definition_name,
    job.definition_revision, job.num_nodes, job.main_node, job.share_identifier, job.status,
    CASE WHEN job.status = 'RUNNABLE' THEN coalesce(demand.blocked_reason, job.status_reason)
        ELSE job.status_reason END AS status_reason,
    job.is_cancelled, job.is_terminated, job.created_at, job.stopped_at, spec.detail, spec.tags,
    request.cancels, request.terminates,
    tried.status AS tried_status, tried.status_reason AS tried_status_reason,
    tried.exit_code AS tried_exit_code, tried.reason AS tried_reason,
    tried.started_at AS tried_started_at, tried.stopped_at AS tried_stopped_at
FROM (SELECT DISTINCT * FROM unnest($1::uuid[], $2::integer[])) AS wanted (job_id, array_index)
JOIN jobs AS job ON job.job_id = wanted.job_id AND job.array_index = -1
    AND -2 - wanted.array_index BETWEEN 0 AND job.num_nodes - 1
JOIN job_specs AS spec ON spec.job_id = wanted.job_id
LEFT JOIN attempts AS tried ON tried.job_id = wanted.job_id
    AND tried.array_index = wanted.array_index AND tried.attempt = job.attempt
LEFT JOIN demand ON demand.shape_id = job.shape_id
CROSS JOIN LATERAL (
    SELECT coalesce(bool_or(kind = 'CANCEL'), false) AS cancels,
        coalesce(bool_or(kind = 'TERMINATE'), false) AS terminates
    FROM job_requests
    WHERE job_requests.job_id = wanted.job_id AND job_requests.array_index = -1
) AS request;

-- name: node_states
-- Where a multi-node job is, and where the attempt of each node in its latest try is, by node.
-- $1 id of the multi-node job
-- $2 only nodes after this one
SELECT job.status, -2 - node.index AS array_index, tried.status AS tried_status,
    tried.exit_code AS tried_exit_code
FROM jobs AS job
CROSS JOIN LATERAL generate_series($2::integer + 1, job.num_nodes - 1) AS node (index)
LEFT JOIN attempts AS tried ON tried.job_id = job.job_id
    AND tried.array_index = -2 - node.index AND tried.attempt = job.attempt
WHERE job.job_id = $1 AND job.array_index = -1
ORDER BY node.index;

-- name: read_attempts
-- Attempts of jobs, in order.
-- $1 job ids
-- $2 indexes
SELECT attempt.*, environment.uuid AS environment_id, coalesce(instance.zone, '') AS zone
FROM (SELECT DISTINCT * FROM unnest($1::uuid[], $2::integer[])) AS wanted (job_id, array_index)
JOIN attempts AS attempt USING (job_id, array_index)
LEFT JOIN compute_environments AS environment ON environment.name = attempt.compute_environment
LEFT JOIN instances AS instance ON instance.instance_id = attempt.instance_id
ORDER BY attempt.job_id, attempt.array_index, attempt.attempt;

-- name: list_queue
-- Single jobs, multi-node jobs and array parents of a queue, newest first. One descent of the listing's index per status.
-- $1 queue
-- $2 statuses
-- $3 only jobs submitted before the one with this seq
-- $4 how many at most
-- $5 LIKE pattern for the definition's name, NULL for any
-- $6 revision, NULL for any
-- $7 created before, NULL for any
-- $8 created after, NULL for any
-- $9 share, NULL for any
SELECT
    job.job_id, job.array_index, job.seq, job.name, job.job_queue, job.definition_name,
    job.definition_revision, job.array_size, job.num_nodes, job.main_node, job.share_identifier, job.status,
    CASE WHEN job.status = 'RUNNABLE' THEN coalesce(demand.blocked_reason, job.status_reason)
        ELSE job.status_reason END AS status_reason,
    job.is_cancelled, job.is_terminated, job.exit_code, job.reason, job.created_at, job.started_at,
    job.stopped_at, job.rerun_of,
    arrays.pending, arrays.runnable, arrays.starting, arrays.running, arrays.succeeded, arrays.failed,
    arrays.changed_at,
    EXISTS (
        SELECT FROM job_requests AS request WHERE request.job_id = job.job_id
            AND request.array_index = -1 AND request.kind = 'CANCEL'
    ) AS cancels,
    EXISTS (
        SELECT FROM job_requests AS request WHERE request.job_id = job.job_id
            AND request.array_index = -1 AND request.kind = 'TERMINATE'
    ) AS terminates
FROM (
    SELECT found.* FROM unnest($2::text[]) AS wanted (status)
    CROSS JOIN LATERAL (
        SELECT * FROM jobs
        WHERE jobs.array_index = -1 AND jobs.job_queue = $1 AND jobs.status = wanted.status
            AND jobs.seq < $3
            AND ($5::text IS NULL OR jobs.definition_name LIKE $5)
            AND ($6::integer IS NULL OR jobs.definition_revision = $6)
            AND ($7::timestamptz IS NULL OR jobs.created_at < $7)
            AND ($8::timestamptz IS NULL OR jobs.created_at > $8)
            AND ($9::text IS NULL OR jobs.share_identifier = $9)
        ORDER BY jobs.seq DESC
        LIMIT $4
    ) AS found
    ORDER BY found.seq DESC
    LIMIT $4
) AS job
LEFT JOIN array_jobs AS arrays ON arrays.job_id = job.job_id
LEFT JOIN demand ON demand.shape_id = job.shape_id
ORDER BY job.seq DESC;

-- name: list_named
-- Single jobs, multi-node jobs and array parents of a queue that have a name like this one, by name, then by definition
-- with its latest revision first, then newest first.
-- $1 queue
-- $2 LIKE pattern for the name in lower case
-- $3 only jobs after the one of this name, NULL for all
-- $4 this name of its definition
-- $5 this revision
-- $6 and this seq
-- $7 how many at most
SELECT
    job.job_id, job.array_index, job.seq, job.name, job.job_queue, job.definition_name,
    job.definition_revision, job.array_size, job.num_nodes, job.main_node, job.share_identifier, job.status,
    CASE WHEN job.status = 'RUNNABLE' THEN coalesce(demand.blocked_reason, job.status_reason)
        ELSE job.status_reason END AS status_reason,
    job.is_cancelled, job.is_terminated, job.exit_code, job.reason, job.created_at, job.started_at,
    job.stopped_at, job.rerun_of,
    arrays.pending, arrays.runnable, arrays.starting, arrays.running, arrays.succeeded, arrays.failed,
    arrays.changed_at,
    EXISTS (
        SELECT FROM job_requests AS request WHERE request.job_id = job.job_id
            AND request.array_index = -1 AND request.kind = 'CANCEL'
    ) AS cancels,
    EXISTS (
        SELECT FROM job_requests AS request WHERE request.job_id = job.job_id
            AND request.array_index = -1 AND request.kind = 'TERMINATE'
    ) AS terminates
FROM (
    SELECT * FROM jobs
    WHERE jobs.array_index = -1 AND jobs.job_queue = $1 AND lower(jobs.name) LIKE $2
        AND ($3::text IS NULL OR
            (jobs.name COLLATE "C", jobs.definition_name COLLATE "C", -jobs.definition_revision, -jobs.seq)
            > ($3::text COLLATE "C", $4::text COLLATE "C", -$5::integer, -$6::bigint))
    ORDER BY jobs.name COLLATE "C", jobs.definition_name COLLATE "C", jobs.definition_revision DESC, jobs.seq DESC
    LIMIT $7
) AS job
LEFT JOIN array_jobs AS arrays ON arrays.job_id = job.job_id
LEFT JOIN demand ON demand.shape_id = job.shape_id
ORDER BY job.name COLLATE "C", job.definition_name COLLATE "C", job.definition_revision DESC, job.seq DESC;

-- name: list_needing
-- Single jobs, multi-node jobs and array parents that need a consumable resource, newest first: those of the next so many
-- that are as asked.
-- $1 resource
-- $2 status, NULL for any
-- $3 LIKE pattern for the name in lower case, NULL for any
-- $4 only jobs submitted before the one with this seq
-- $5 how many at most
-- $6 how many are looked at
SELECT
    job.job_id, job.array_index, job.seq, job.name, job.job_queue, job.definition_name,
    job.definition_revision, job.array_size, job.num_nodes, job.main_node, job.share_identifier, job.status,
    CASE WHEN job.status = 'RUNNABLE' THEN coalesce(demand.blocked_reason, job.status_reason)
        ELSE job.status_reason END AS status_reason,
    job.is_cancelled, job.is_terminated, job.exit_code, job.reason, job.created_at, job.started_at,
    job.stopped_at, job.rerun_of, NULL::integer AS pending, false AS cancels, false AS terminates, need.quantity
FROM (
    SELECT * FROM job_consumables WHERE resource = $1 AND seq < $4 ORDER BY seq DESC LIMIT $6
) AS need
JOIN jobs AS job ON job.job_id = need.job_id AND job.array_index = -1
LEFT JOIN demand ON demand.shape_id = job.shape_id
WHERE ($2::text IS NULL OR job.status = $2) AND ($3::text IS NULL OR lower(job.name) LIKE $3)
ORDER BY need.seq DESC
LIMIT $5;

-- name: needing_behind
-- The seq of the last one that `list_needing` looks at; none if those are not so many.
-- $1 resource
-- $2 only jobs submitted before the one with this seq
-- $3 how many are looked at
SELECT seq FROM job_consumables WHERE resource = $1 AND seq < $2 ORDER BY seq DESC OFFSET $3 - 1 LIMIT 1;

-- name: needs_of_jobs
-- What jobs need of consumable resources.
-- $1 job ids
SELECT job_id, resource, quantity FROM job_consumables WHERE job_id = ANY ($1::uuid[]);

-- name: list_children
-- Indexes of children in a status, ascending: those with a row, and those that only differ by where they wait.
-- $1 id of the array job
-- $2 status
-- $3 only children after this index
-- $4 how many at most
-- $5 only children up to this index
WITH parent AS (
    SELECT job.job_id, job.array_size FROM jobs AS job JOIN array_jobs USING (job_id)
    WHERE job.job_id = $1 AND job.array_index = -1
), waiting AS (
    SELECT child.array_index,
        EXISTS (
            SELECT FROM ready WHERE ready.job_id = parent.job_id
                AND child.array_index >= ready.next_index AND child.array_index < ready.end_index
        ) AS is_ready
    FROM parent
    CROSS JOIN LATERAL generate_series($3::integer + 1, least(parent.array_size - 1, $5::integer)) AS child (array_index)
    WHERE $2::text IN ('PENDING', 'RUNNABLE') AND NOT EXISTS (
        SELECT FROM jobs AS own
        WHERE own.job_id = parent.job_id AND own.array_index = child.array_index
    )
)
(
    SELECT array_index FROM jobs
    WHERE job_id = $1 AND array_index > $3 AND array_index >= 0 AND array_index <= $5 AND status = $2
    ORDER BY array_index
    LIMIT $4
)
UNION ALL
SELECT array_index FROM waiting WHERE is_ready = ($2 = 'RUNNABLE')
ORDER BY array_index
LIMIT $4;

-- name: has_more_children
-- Whether an array has children after an index.
-- $1 id of the array job
-- $2 index
SELECT array_size - 1 > $2 FROM jobs WHERE job_id = $1 AND array_index = -1;

-- name: is_multi_node
-- Whether a job is a multi-node job; NULL if there is no such job.
-- $1 job id
SELECT num_nodes IS NOT NULL FROM jobs WHERE job_id = $1 AND array_index = -1;

-- name: is_array
-- Whether a job is an array parent; NULL if there is no such job.
-- $1 job id
SELECT array_size IS NOT NULL FROM jobs WHERE job_id = $1 AND array_index = -1;
