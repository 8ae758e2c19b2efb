-- name: heads
-- First entries of some shapes of one queue in dispatch order. Shape by shape, so that the jobs of other shapes that
-- wait in front of them, maybe by the million, are never looked at.
-- $1 shapes, $2 limit of each shape
SELECT r.job_id, r.shape_id, r.rank, r.seq, r.next_index, r.end_index, r.ready_at
FROM unnest($1::integer[]) AS s (shape_id)
CROSS JOIN LATERAL (
    SELECT * FROM ready WHERE ready.shape_id = s.shape_id ORDER BY rank, seq, next_index LIMIT $2
) AS r
ORDER BY r.rank, r.seq, r.next_index

-- name: fronts
-- The first entry of each of some queues.
-- $1 queues
SELECT q.job_queue, r.job_id, r.shape_id, r.rank, r.seq, r.next_index, r.end_index, r.ready_at
FROM unnest($1::text[]) AS q (job_queue)
CROSS JOIN LATERAL (
    SELECT * FROM ready WHERE ready.job_queue = q.job_queue ORDER BY rank, seq, next_index LIMIT 1
) AS r

-- name: add
-- $1 queues, $2 ranks, $3 seqs, $4 next indexes, $5 end indexes, $6 job ids, $7 shapes,
-- $8 since when each waits or NULL for now, $9 now
INSERT INTO ready (job_queue, rank, seq, next_index, end_index, job_id, shape_id, ready_at)
SELECT e.job_queue, e.rank, e.seq, e.next_index, e.end_index, e.job_id, e.shape_id,
    coalesce(e.ready_at, $9::timestamptz, now())
FROM unnest($1::text[], $2::smallint[], $3::bigint[], $4::integer[], $5::integer[], $6::uuid[], $7::integer[],
    $8::timestamptz[]) AS e (job_queue, rank, seq, next_index, end_index, job_id, shape_id, ready_at)
ON CONFLICT DO NOTHING

-- name: take
-- Moves the beginning of entries on; entries taken whole are deleted by `drop`.
-- $1 queues, $2 ranks, $3 seqs, $4 next indexes, $5 new next indexes
UPDATE ready r SET next_index = t.new_index
FROM unnest($1::text[], $2::smallint[], $3::bigint[], $4::integer[], $5::integer[])
    AS t (job_queue, rank, seq, next_index, new_index)
WHERE r.job_queue = t.job_queue AND r.rank = t.rank AND r.seq = t.seq AND r.next_index = t.next_index

-- name: drop
-- $1 queues, $2 ranks, $3 seqs, $4 next indexes
DELETE FROM ready r
USING unnest($1::text[], $2::smallint[], $3::bigint[], $4::integer[])
    AS t (job_queue, rank, seq, next_index)
WHERE r.job_queue = t.job_queue AND r.rank = t.rank AND r.seq = t.seq AND r.next_index = t.next_index

-- name: remove_jobs
-- Deletes every entry of some jobs and says how many jobs or children they stood for.
-- $1 job ids
DELETE FROM ready WHERE job_id = ANY($1::uuid[])
RETURNING job_id, shape_id, end_index - next_index AS count

-- name: of_jobs
-- Every entry of some jobs.
-- $1 job ids
SELECT job_id, shape_id, rank, seq, next_index, end_index, ready_at, job_queue
FROM ready WHERE job_id = ANY($1::uuid[])
ORDER BY job_id, rank, next_index

-- name: ahead
-- How many jobs and children are dispatched before a place in a queue: whole stretches by their sums, and what comes
-- before it in its own.
-- $1 queue, $2 rank, $3 seq, $4 index
SELECT coalesce((
    SELECT sum(jobs) FROM ready_blocks
    WHERE job_queue = $1 AND (rank, first_seq) < ($2::smallint, ready_block($3::bigint))
), 0)::bigint + coalesce((
    SELECT sum(least(end_index, CASE WHEN seq = $3 THEN $4::integer ELSE end_index END) - next_index) FROM ready
    WHERE job_queue = $1 AND rank = $2 AND seq >= ready_block($3) AND (seq, next_index) < ($3, $4)
), 0)::bigint

-- name: containing
-- The entries that some jobs or children are in.
-- $1 job ids, $2 indexes
SELECT c.array_index, r.job_id, r.shape_id, r.rank, r.seq, r.next_index, r.end_index, r.ready_at, r.job_queue
FROM unnest($1::uuid[], $2::integer[]) AS c (job_id, array_index)
CROSS JOIN LATERAL (
    SELECT * FROM ready WHERE ready.job_id = c.job_id AND ready.next_index <= c.array_index
    ORDER BY ready.next_index DESC LIMIT 1
) AS r
WHERE c.array_index < r.end_index

-- name: remove_new
-- Deletes the entries of an array's children that were never placed and says how many they stood for.
-- $1 job id
DELETE FROM ready WHERE job_id = $1 AND rank >= 0
RETURNING shape_id, end_index - next_index AS count
