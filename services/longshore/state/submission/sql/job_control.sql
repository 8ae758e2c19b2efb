-- name: find_targets
-- Which of some jobs exist, and whether they are over. A child exists once its parent is spawned.
-- $1 job ids
-- $2 indexes, -1 for a single job or an array parent
SELECT wanted.job_id, wanted.array_index,
    coalesce(own.status, parent.status) IN ('SUCCEEDED', 'FAILED') AS is_final
FROM unnest($1::uuid[], $2::integer[]) AS wanted (job_id, array_index)
JOIN jobs AS parent ON parent.job_id = wanted.job_id AND parent.array_index = -1
LEFT JOIN jobs AS own ON own.job_id = wanted.job_id AND own.array_index = wanted.array_index
WHERE own.job_id IS NOT NULL
    OR (
        wanted.array_index < parent.array_size
        AND EXISTS (SELECT FROM array_jobs WHERE array_jobs.job_id = wanted.job_id)
    );

-- name: insert_requests
-- Records what users ask of jobs; the scheduler acts on it.
-- $1 job ids
-- $2 indexes
-- $3 CANCEL or TERMINATE
-- $4 the users' reason
INSERT INTO job_requests (job_id, array_index, kind, reason)
SELECT given.job_id, given.array_index, $3, $4
FROM unnest($1::uuid[], $2::integer[]) AS given (job_id, array_index);

-- name: notify_jobs
-- Wakes the scheduler when the transaction is committed.
SELECT pg_notify('longshore_jobs', '');
