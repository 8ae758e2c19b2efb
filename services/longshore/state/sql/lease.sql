-- name: acquire
-- Takes a domain that is free, lapsed or already the holder's; a new token each time.
-- $1 domain, $2 holder, $3 seconds
INSERT INTO leases AS l (domain, token, holder, expires_at)
VALUES ($1, 1, $2, clock_timestamp() + make_interval(secs => $3))
ON CONFLICT (domain) DO UPDATE
    SET token = l.token + 1, holder = $2,
        since = CASE WHEN l.expires_at <= clock_timestamp() THEN clock_timestamp() ELSE l.since END,
        expires_at = clock_timestamp() + make_interval(secs => $3)
    WHERE l.expires_at <= clock_timestamp() OR l.holder = $2
RETURNING token

-- name: renew
-- $1 domain, $2 token, $3 seconds
UPDATE leases SET expires_at = clock_timestamp() + make_interval(secs => $3)
WHERE domain = $1 AND token = $2
RETURNING token

-- name: release
-- $1 domain, $2 token
UPDATE leases SET expires_at = clock_timestamp() WHERE domain = $1 AND token = $2

-- name: check
-- Holds off a takeover until the transaction ends.
-- $1 domain, $2 token
SELECT token FROM leases WHERE domain = $1 AND token = $2 AND expires_at > clock_timestamp() FOR SHARE
