-- name: create
-- That of an order that is asked for again is there already.
-- $1 id, $2 digest of the secret, $3 environment, $4 instance or NULL, $5 is it a provider's, $6 uses, $7 life
INSERT INTO join_tokens
    (token_id, secret_digest, compute_environment, instance_id, is_provided, uses_left, expires_at)
VALUES ($1, $2, $3, $4, $5, $6, now() + $7::interval)
ON CONFLICT (token_id) DO UPDATE
SET expires_at = excluded.expires_at, uses_left = greatest(join_tokens.uses_left, excluded.uses_left)
WHERE join_tokens.secret_digest = excluded.secret_digest
RETURNING token_id, compute_environment, uses_left, created_at, expires_at

-- name: environment_type
-- $1 environment
SELECT type FROM compute_environments WHERE name = $1 AND status <> 'DELETED'

-- name: tokens
-- $1 environment, '' for all; $2 most
SELECT token_id, compute_environment, uses_left, created_at, expires_at
FROM join_tokens
WHERE NOT is_provided AND uses_left > 0 AND expires_at > now() AND ($1 = '' OR compute_environment = $1)
ORDER BY created_at DESC, token_id
LIMIT $2

-- name: delete
-- $1 id
DELETE FROM join_tokens WHERE token_id = $1 RETURNING token_id

-- name: spend
-- Two at once come here one after the other. $1 id, $2 digest of the secret
UPDATE join_tokens
SET uses_left = uses_left - 1
WHERE token_id = $1 AND secret_digest = $2 AND uses_left > 0 AND expires_at > now()
RETURNING compute_environment, instance_id, is_provided

-- name: joined
-- Who has joined with a token and a key. $1 id, $2 digest of the secret, $3 digest of the key
SELECT i.instance_id, i.compute_environment
FROM agent_identities i
JOIN join_tokens t USING (token_id)
WHERE i.token_id = $1 AND t.secret_digest = $2 AND t.expires_at > now() AND i.key_digest = $3

-- name: record
-- An instance joins, one that its provider names also with another key than before. $1 instance, $2 environment,
-- $3 token, $4 digest of the key, $5 is it a provider's, $6 may the key be another
INSERT INTO agent_identities (instance_id, compute_environment, token_id, key_digest, is_provided)
VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (instance_id) DO UPDATE
SET token_id = excluded.token_id, key_digest = excluded.key_digest, joined_at = now(), renewed_at = now()
WHERE agent_identities.compute_environment = excluded.compute_environment
    AND (agent_identities.key_digest = excluded.key_digest OR $6)
RETURNING instance_id

-- name: holds
-- $1 instance, $2 environment, $3 digest of the key
SELECT EXISTS (
    SELECT FROM agent_identities
    WHERE instance_id = $1 AND compute_environment = $2 AND key_digest = $3 AND NOT is_provided
)

-- name: status
-- $1 instance, $2 environment
SELECT status FROM instances WHERE instance_id = $1 AND compute_environment = $2

-- name: renew
-- $1 instance, $2 digest of the key
UPDATE agent_identities i
SET renewed_at = now()
WHERE i.instance_id = $1
    AND i.key_digest = $2
    AND (
        NOT i.is_provided
        OR EXISTS (
            SELECT FROM instances n
            WHERE n.instance_id = i.instance_id AND n.status IN ('ORDERED', 'LAUNCHED', 'TERMINATING')
        )
    )
RETURNING i.compute_environment

-- name: prune_tokens
-- $1 before, $2 most
DELETE FROM join_tokens
WHERE token_id IN (SELECT token_id FROM join_tokens WHERE expires_at < $1 ORDER BY expires_at LIMIT $2)
RETURNING token_id

-- name: prune_identities
-- Those that nobody has renewed for so long. $1 before, $2 most
DELETE FROM agent_identities
WHERE instance_id IN (SELECT instance_id FROM agent_identities WHERE renewed_at < $1 ORDER BY renewed_at LIMIT $2)
RETURNING instance_id
