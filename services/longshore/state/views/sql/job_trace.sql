-- name: jobs
-- Jobs, children and parents that are over, with the span that they were submitted from.
-- $1 job ids, $2 indexes
SELECT j.job_id, j.array_index, j.name, j.job_queue, j.definition_name, j.definition_revision, j.status, j.status_reason,
    j.created_at, j.stopped_at, s.traceparent, s.tracestate, s.detail #>> '{container,image}' AS image
FROM unnest($1::uuid[], $2::integer[]) AS k (job_id, array_index)
JOIN jobs j ON j.job_id = k.job_id AND j.array_index = k.array_index
JOIN job_specs s ON s.job_id = k.job_id
WHERE j.stopped_at IS NOT NULL

-- name: attempts
-- Attempts of jobs that are over; of multi-node jobs those of every node, which come before -1. Never those of the
-- children of an array with it.
-- $1 job ids, $2 indexes
SELECT k.array_index AS of_index, a.job_id, a.array_index, a.attempt, a.instance_id, a.placed_at, a.started_at,
    a.stopped_at, a.exit_code, a.status_reason, a.pull_seconds
FROM unnest($1::uuid[], $2::integer[]) AS k (job_id, array_index)
JOIN attempts a ON a.job_id = k.job_id
    AND a.array_index BETWEEN CASE k.array_index WHEN -1 THEN -2147483648 ELSE k.array_index END AND k.array_index
WHERE a.status = 'ENDED'
ORDER BY a.job_id, a.attempt, a.array_index DESC

-- name: events
-- What happened to jobs, in order.
-- $1 job ids, $2 indexes
SELECT e.job_id, e.array_index, e.status, e.at
FROM unnest($1::uuid[], $2::integer[]) AS k (job_id, array_index)
JOIN job_events e ON e.job_id = k.job_id AND e.array_index = k.array_index
ORDER BY e.event_id
