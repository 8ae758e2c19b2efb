-- name: front
-- First entries of a queue in dispatch order, and when a job last left it.
-- $1 queue, $2 limit
SELECT r.job_id, r.next_index, r.end_index, greatest(r.ready_at, d.left_at) AS since
FROM ready r LEFT JOIN queue_departures d USING (job_queue)
WHERE r.job_queue = $1
ORDER BY r.rank, r.seq, r.next_index
LIMIT $2

-- name: policy
-- The policy of a queue, NULL if it has none, and when a job last left it.
-- $1 queue
SELECT p.fairshare, d.left_at
FROM job_queues q
LEFT JOIN scheduling_policies p ON p.name = q.scheduling_policy
LEFT JOIN queue_departures d ON d.job_queue = q.name
WHERE q.name = $1

-- name: shapes
-- Shapes of a queue with RUNNABLE jobs.
-- $1 queue
SELECT s.shape_id, s.vcpu_milli, s.memory_mib, s.gpus, s.nodes, s.instance_type, s.share_identifier, s.priority
FROM demand d JOIN shapes s USING (shape_id) WHERE d.runnable > 0 AND s.job_queue = $1

-- name: heads
-- First entries of each of some shapes.
-- $1 shapes, $2 how many of each
SELECT r.job_id, r.shape_id, r.rank, r.seq, r.next_index, r.end_index, r.ready_at
FROM unnest($1::integer[]) AS s (shape_id)
CROSS JOIN LATERAL (
    SELECT * FROM ready WHERE ready.shape_id = s.shape_id ORDER BY rank, seq, next_index LIMIT $2
) AS r

-- name: usages
-- What the shares of a queue use and used lately.
-- $1 queue
SELECT share_identifier, average, running_milli, as_of, used_at FROM share_usages WHERE job_queue = $1

-- name: held_vcpus
-- What the attempts of a queue hold.
-- $1 queue
SELECT coalesce(sum(t.vcpu_milli), 0)::float8 / 1000
FROM attempts t JOIN jobs j ON j.job_id = t.job_id AND j.array_index = -1
WHERE t.status <> 'ENDED' AND j.job_queue = $1
