-- name: find_tokens
-- What tokens were used for; those that are over are left out.
-- $1 tokens
-- $2 for how many seconds a token is kept
SELECT token, request, job_id FROM submission_tokens
WHERE token = ANY ($1::text[]) AND created_at > now() - make_interval(secs => $2::float8);

-- name: claim_tokens
-- Takes tokens for jobs about to be stored and returns those taken; of one that another transaction takes meanwhile it is
-- waited for how that ends.
-- $1 tokens in their order, so that two transactions do not wait for each other
-- $2 digests of requests
-- $3 job ids
-- $4 for how many seconds a token is kept
INSERT INTO submission_tokens AS kept (token, request, job_id)
SELECT * FROM unnest($1::text[], $2::bytea[], $3::uuid[])
ON CONFLICT (token) DO UPDATE SET request = excluded.request, job_id = excluded.job_id, created_at = now()
    WHERE kept.created_at <= now() - make_interval(secs => $4::float8)
RETURNING token;

-- name: wait_shortly
-- Lets what follows in the transaction wait for a lock for so long and no longer.
-- $1 with its unit
SELECT set_config('lock_timeout', $1, true);

-- name: prune_tokens
-- Forgets tokens that are over and returns how many.
-- $1 for how many seconds a token is kept
-- $2 most in one go
WITH gone AS (
    DELETE FROM submission_tokens WHERE token IN (
        SELECT token FROM submission_tokens WHERE created_at <= now() - make_interval(secs => $1::float8)
        ORDER BY created_at LIMIT $2 FOR UPDATE SKIP LOCKED
    ) RETURNING 1
)
SELECT count(*) FROM gone;
