-- name: insert
-- $1 job ids, $2 sizes, $3 runnable, $4 sequential, $5 now
INSERT INTO array_jobs (job_id, size, pending, runnable, starting, running, succeeded, failed, sequential,
    spawned_at, changed_at)
SELECT job_id, size, size - runnable, runnable, 0, 0, 0, 0, sequential, coalesce($5::timestamptz, now()),
    coalesce($5::timestamptz, now())
FROM unnest($1::uuid[], $2::integer[], $3::integer[], $4::boolean[]) AS a (job_id, size, runnable, sequential)

-- name: change
-- Moves children between statuses: differences that add up to zero per array.
-- $1 job ids, $2 pending, $3 runnable, $4 starting, $5 running, $6 succeeded, $7 failed, $8 now
UPDATE array_jobs a SET pending = a.pending + c.pending, runnable = a.runnable + c.runnable,
    starting = a.starting + c.starting, running = a.running + c.running,
    succeeded = a.succeeded + c.succeeded, failed = a.failed + c.failed,
    changed_at = coalesce($8::timestamptz, now())
FROM unnest($1::uuid[], $2::integer[], $3::integer[], $4::integer[], $5::integer[], $6::integer[],
    $7::integer[]) AS c (job_id, pending, runnable, starting, running, succeeded, failed)
WHERE a.job_id = c.job_id
RETURNING a.job_id, a.size, a.pending, a.runnable, a.starting, a.running, a.succeeded, a.failed

-- name: load
-- $1 job ids
SELECT job_id, size, pending, runnable, starting, running, succeeded, failed, sequential
FROM array_jobs WHERE job_id = ANY($1::uuid[])
