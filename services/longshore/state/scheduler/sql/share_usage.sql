-- name: load
SELECT job_queue, share_identifier, average, running_milli, as_of, used_at FROM share_usages

-- name: of_queue
-- $1 queue
SELECT share_identifier, average, running_milli, as_of, used_at FROM share_usages WHERE job_queue = $1

-- name: waiting
-- Shares of a queue that have RUNNABLE jobs; $1 queue
SELECT DISTINCT s.share_identifier FROM demand d JOIN shapes s USING (shape_id)
WHERE d.runnable > 0 AND s.job_queue = $1

-- name: policy
-- The policy of a queue, NULL if it has none; $1 queue
SELECT p.fairshare FROM job_queues q JOIN scheduling_policies p ON p.name = q.scheduling_policy WHERE q.name = $1

-- name: store
-- $1 queues, $2 shares, $3 averages, $4 running, in thousandths of vCPUs, $5 as of, $6 last used
INSERT INTO share_usages AS u (job_queue, share_identifier, average, running_milli, as_of, used_at)
SELECT * FROM unnest($1::text[], $2::text[], $3::float8[], $4::bigint[], $5::timestamptz[], $6::timestamptz[])
ON CONFLICT (job_queue, share_identifier) DO UPDATE SET average = excluded.average,
    running_milli = excluded.running_milli, as_of = excluded.as_of, used_at = excluded.used_at

-- name: forget
-- $1 queues, $2 shares
DELETE FROM share_usages u USING unnest($1::text[], $2::text[]) AS f (job_queue, share_identifier)
WHERE u.job_queue = f.job_queue AND u.share_identifier = f.share_identifier
