-- name: ensure
-- $1 shapes
INSERT INTO demand (shape_id, runnable) SELECT shape_id, 0 FROM unnest($1::integer[]) AS s (shape_id)
ON CONFLICT DO NOTHING

-- name: change
-- $1 shapes, $2 differences
UPDATE demand d SET runnable = d.runnable + c.difference, changed_at = now()
FROM unnest($1::integer[], $2::bigint[]) AS c (shape_id, difference)
WHERE d.shape_id = c.shape_id

-- name: drop
-- Forgets shapes of which nothing waits any more.
-- $1 shapes
DELETE FROM demand WHERE shape_id = ANY($1::integer[]) AND runnable = 0

-- name: say
-- Why shapes wait, NULL for nothing to say.
-- $1 shapes, $2 AWS's reasons, $3 explanations, $4 what they come to
UPDATE demand d SET blocked_reason = s.blocked_reason, explanation = s.explanation, why = s.why, changed_at = now()
FROM unnest($1::integer[], $2::text[], $3::text[], $4::text[]) AS s (shape_id, blocked_reason, explanation, why)
WHERE d.shape_id = s.shape_id

-- name: load
SELECT d.shape_id, d.runnable, d.blocked_reason, d.explanation, d.why,
    s.job_queue, s.vcpu_milli, s.memory_mib, s.gpus, s.nodes, s.instance_type, s.share_identifier, s.priority,
    s.max_running, s.array_job, s.consumables
FROM demand d JOIN shapes s USING (shape_id) WHERE d.runnable > 0

-- name: shapes
-- $1 shapes
SELECT shape_id, job_queue, vcpu_milli, memory_mib, gpus, nodes, instance_type, share_identifier, priority, max_running,
    array_job, consumables
FROM shapes WHERE shape_id = ANY($1::integer[])

-- name: of_shape
-- $1 shape
SELECT runnable, blocked_reason, explanation, why FROM demand WHERE shape_id = $1

-- name: uncounted
-- By how much counts differ that could not be stored.
SELECT shape_id, difference FROM uncounted_demand

-- name: forget_uncounted
DELETE FROM uncounted_demand

-- name: put_uncounted
-- $1 shapes, $2 differences
INSERT INTO uncounted_demand (shape_id, difference) SELECT * FROM unnest($1::integer[], $2::bigint[])
