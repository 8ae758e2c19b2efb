-- name: insert
-- $1 job ids, $2 indexes, $3 attempts, $4 statuses, $5 status reasons, $6 times, $7 ends of ranges of children or NULL
INSERT INTO job_events (job_id, array_index, attempt, status, status_reason, at, end_index)
SELECT * FROM unnest($1::uuid[], $2::integer[], $3::integer[], $4::text[], $5::text[], $6::timestamptz[], $7::integer[])
