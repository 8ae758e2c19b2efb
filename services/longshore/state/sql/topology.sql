-- name: environments
SELECT name, type, state, status, resource_type, maxv_cpus,
    coalesce(detail -> 'computeResources' -> 'instanceTypes', '[]'::jsonb) AS instance_types
FROM compute_environments

-- name: queues
SELECT q.name, q.state, q.status, q.priority,
    coalesce(array_agg(e.compute_environment ORDER BY e.ordinal) FILTER (WHERE e.ordinal IS NOT NULL), '{}')
        AS environments
FROM job_queues q LEFT JOIN job_queue_environments e ON e.job_queue = q.name
GROUP BY q.name

-- name: delete_queue
-- Removes a queue that is being deleted and has no unfinished job.
-- $1 queue
DELETE FROM job_queues q WHERE q.name = $1 AND q.status = 'DELETING' AND NOT EXISTS (
    SELECT FROM jobs j WHERE j.job_queue = $1 AND j.array_index = -1
        AND j.status IN ('SUBMITTED', 'PENDING', 'RUNNABLE', 'STARTING', 'RUNNING'))
RETURNING q.name
