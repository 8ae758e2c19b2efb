-- name: load
SELECT job_queue, job_id, array_index, code, since FROM queue_blockages

-- name: store
-- Of a queue that is gone meanwhile nothing is kept.
-- $1 queues, $2 job ids, $3 array indexes, $4 reason codes, $5 since when
INSERT INTO queue_blockages (job_queue, job_id, array_index, code, since)
SELECT b.* FROM unnest($1::text[], $2::uuid[], $3::integer[], $4::text[], $5::timestamptz[])
    AS b (job_queue, job_id, array_index, code, since)
WHERE EXISTS (SELECT FROM job_queues q WHERE q.name = b.job_queue)
ON CONFLICT (job_queue) DO UPDATE SET job_id = excluded.job_id, array_index = excluded.array_index,
    code = excluded.code, since = excluded.since

-- name: tell
-- $1 queues, $2 job ids, $3 array indexes, $4 reasons
INSERT INTO outbox (kind, body)
SELECT 'QUEUE_BLOCKED', json_build_object('queue', b.queue, 'job_id', b.job_id, 'array_index', b.array_index,
    'reason', b.reason)::text
FROM unnest($1::text[], $2::uuid[], $3::integer[], $4::text[]) AS b (queue, job_id, array_index, reason)

-- name: forget
-- $1 queues
DELETE FROM queue_blockages WHERE job_queue = ANY($1::text[])
