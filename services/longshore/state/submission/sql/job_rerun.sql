-- name: find_array
-- A job as it was submitted, by its id; of an array, what its children see.
-- $1 job id
SELECT job.name, job.job_queue, job.definition_name, job.definition_revision, job.array_size, job.status,
    job.attempts_max, job.timeout_seconds, job.share_identifier, spec.detail, spec.container, spec.task,
    spec.tags, spec.rerun_size, spec.rerun_pairs
FROM jobs AS job JOIN job_specs AS spec USING (job_id)
WHERE job.job_id = $1 AND job.array_index = -1;

-- name: failed_runs
-- The failed children of an array: the first of each run of them one after the other, and how many these are.
-- $1 job id
SELECT coalesce(array_agg(first ORDER BY first), '{}') AS firsts, coalesce(array_agg(length ORDER BY first), '{}') AS lengths
FROM (
    SELECT min(array_index) AS first, count(*)::integer AS length
    FROM (
        SELECT array_index, array_index - row_number() OVER (ORDER BY array_index) AS run FROM jobs
        WHERE job_id = $1 AND array_index >= 0 AND status = 'FAILED'
    ) AS failed
    GROUP BY run
) AS runs;

-- name: mark_job
-- Notes on an array just stored whose children it runs again.
-- $1 job id
-- $2 the array whose children these are
UPDATE jobs SET rerun_of = $2 WHERE job_id = $1 AND array_index = -1;

-- name: mark_spec
-- Notes on an array just stored what its children see.
-- $1 job id
-- $2 size that they see
-- $3 pairs of their indexes and of what they see
UPDATE job_specs SET rerun_size = $2, rerun_pairs = $3::integer[] WHERE job_id = $1;
