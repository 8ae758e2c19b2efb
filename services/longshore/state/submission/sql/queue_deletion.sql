-- name: delete_unused
-- Removes a queue that is being deleted and has no unfinished job.
-- $1 queue
DELETE FROM job_queues q WHERE q.name = $1 AND q.status = 'DELETING' AND NOT EXISTS (
    SELECT FROM jobs j WHERE j.job_queue = $1 AND j.array_index = -1
        AND j.status IN ('SUBMITTED', 'PENDING', 'RUNNABLE', 'STARTING', 'RUNNING'))
RETURNING q.name
