-- name: pending
-- The oldest requests.
-- $1 limit
SELECT request_id, job_id, array_index, kind, reason, first_index FROM job_requests ORDER BY request_id LIMIT $1;

-- name: done
-- Deletes requests that were acted on.
-- $1 request ids
DELETE FROM job_requests WHERE request_id = ANY($1::bigint[]);

-- name: keep
-- Keeps what is left of requests for a later tick.
-- $1 job ids, $2 kinds, $3 reasons, $4 from which child on
INSERT INTO job_requests (job_id, kind, reason, first_index)
SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::integer[]);
