-- name: undecided
-- The oldest changes of jobs that are not decided.
-- $1 limit
SELECT update_id, job_id, job_queue, share_identifier FROM job_updates WHERE outcome IS NULL ORDER BY update_id LIMIT $1

-- name: shapes_of
-- The shapes of jobs, of their children that wait, and of what may be placed of them.
-- $1 job ids
SELECT job_id, shape_id FROM jobs WHERE job_id = ANY($1::uuid[]) AND status IN ('SUBMITTED', 'PENDING', 'RUNNABLE')
UNION
SELECT job_id, shape_id FROM ready WHERE job_id = ANY($1::uuid[])

-- name: new_shapes
-- The shapes that changes make of others, made where missing, and their queues.
-- $1 changes, $2 shapes
SELECT w.update_id, w.shape_id, coalesce(u.job_queue, s.job_queue) AS job_queue,
    shape_like(w.shape_id, jsonb_strip_nulls(jsonb_build_object('job_queue', u.job_queue,
        'share_identifier', u.share_identifier, 'priority', u.priority, 'vcpu_milli', u.vcpu_milli,
        'memory_mib', u.memory_mib, 'gpus', u.gpus))) AS new_shape_id
FROM unnest($1::bigint[], $2::integer[]) AS w (update_id, shape_id)
JOIN job_updates u USING (update_id) JOIN shapes s USING (shape_id)

-- name: apply_to_jobs
-- Changes jobs and their children that wait. $1 change, $2 shapes, $3 shapes in their place
UPDATE jobs j SET shape_id = c.new_shape_id, job_queue = coalesce(u.job_queue, j.job_queue),
    timeout_seconds = coalesce(u.timeout_seconds, j.timeout_seconds),
    share_identifier = CASE WHEN j.array_index >= 0 OR u.share_identifier IS NULL THEN j.share_identifier
        ELSE nullif(u.share_identifier, '') END
FROM job_updates u, unnest($2::integer[], $3::integer[]) AS c (shape_id, new_shape_id)
WHERE u.update_id = $1 AND j.job_id = u.job_id AND j.shape_id = c.shape_id
    AND j.status IN ('SUBMITTED', 'PENDING', 'RUNNABLE')

-- name: apply_to_specs
-- Changes what was submitted of jobs. $1 changes
UPDATE job_specs s SET detail = s.detail || u.detail, container = coalesce(u.container, s.container)
FROM job_updates u WHERE u.update_id = ANY($1::bigint[]) AND s.job_id = u.job_id

-- name: decide
-- Notes what became of changes, for those who asked. $1 changes, $2 outcomes
UPDATE job_updates u SET outcome = d.outcome
FROM unnest($1::bigint[], $2::text[]) AS d (update_id, outcome) WHERE u.update_id = d.update_id
