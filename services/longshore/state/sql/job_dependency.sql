-- name: of_jobs
-- Dependencies of jobs, with the statuses of what they depend on: of the job, of its array
-- parent, and whether that is spawned.
-- $1 job ids
SELECT d.job_id, d.depends_on, d.depends_on_index, d.type, u.status, p.status AS parent_status,
    a.job_id IS NOT NULL AS spawned
FROM job_dependencies d
LEFT JOIN jobs u ON u.job_id = d.depends_on AND u.array_index = d.depends_on_index
LEFT JOIN jobs p ON p.job_id = d.depends_on AND p.array_index = -1
LEFT JOIN array_jobs a ON a.job_id = d.depends_on
WHERE d.job_id = ANY($1::uuid[])

-- name: dependents
-- Who waits for some jobs: admitted jobs that are not final.
-- $1 job ids
SELECT d.job_id, d.depends_on, d.depends_on_index, d.type
FROM job_dependencies d
JOIN jobs j ON j.job_id = d.job_id AND j.array_index = -1
WHERE d.depends_on = ANY($1::uuid[]) AND j.status = 'PENDING'

-- name: rules
-- How the children of arrays wait.
-- $1 job ids
SELECT j.job_id, j.array_size, count(*) FILTER (WHERE d.type = 'N_TO_N') AS n_to_n,
    coalesce(bool_or(d.type = 'SEQUENTIAL'), false) AS sequential
FROM jobs j LEFT JOIN job_dependencies d USING (job_id)
WHERE j.job_id = ANY($1::uuid[]) AND j.array_index = -1 AND j.array_size IS NOT NULL
GROUP BY j.job_id, j.array_size
