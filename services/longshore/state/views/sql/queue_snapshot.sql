-- name: front
-- First entries of a queue in dispatch order, and when a job last left it.
-- $1 queue, $2 limit
SELECT r.job_id, r.next_index, r.end_index, greatest(r.ready_at, d.left_at) AS since
FROM ready r LEFT JOIN queue_departures d USING (job_queue)
WHERE r.job_queue = $1
ORDER BY r.rank, r.seq, r.next_index
LIMIT $2

-- name: held_vcpus
-- What the attempts of a queue hold.
-- $1 queue
SELECT coalesce(sum(t.vcpu_milli), 0)::float8 / 1000
FROM attempts t JOIN jobs j ON j.job_id = t.job_id AND j.array_index = -1
WHERE t.status <> 'ENDED' AND j.job_queue = $1
