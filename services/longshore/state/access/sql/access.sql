-- name: insert_user
-- Stores a user; a name that is taken is left alone and returns no row.
-- $1 name
-- $2 groups
INSERT INTO access_users (name, groups) VALUES ($1, $2) ON CONFLICT DO NOTHING RETURNING name;

-- name: update_user
-- Replaces the groups of a user; returns no row if there is none.
-- $1 name
-- $2 groups
UPDATE access_users SET groups = $2 WHERE name = $1 RETURNING name;

-- name: list_users
-- Users in order of their names.
-- $1 only this one, '' for all
-- $2 only those after this name
-- $3 how many at most
SELECT name, groups, created_at FROM access_users
WHERE ($1 = '' OR name = $1) AND name > $2 ORDER BY name LIMIT $3;

-- name: delete_user
-- Deletes a user with its keys; returns no row if there is none.
-- $1 name
DELETE FROM access_users WHERE name = $1 RETURNING name;

-- name: detach_all
-- Detaches all policies of a user that goes.
-- $1 name
DELETE FROM access_attachments WHERE kind = 'user' AND name = $1;

-- name: lock_user
-- A user, held still until the transaction ends.
-- $1 name
SELECT name FROM access_users WHERE name = $1 FOR UPDATE;

-- name: count_keys
-- How many keys a user has.
-- $1 user
SELECT count(*) FROM access_keys WHERE user_name = $1;

-- name: insert_key
-- $1 id
-- $2 user
-- $3 secret, under the stack's key
-- $4 its digest
-- $5 when it ends to be good, NULL for never
INSERT INTO access_keys (key_id, user_name, sealed, digest, expires_at) VALUES ($1, $2, $3, $4, $5)
RETURNING key_id, user_name, status, created_at, expires_at, last_used_at;

-- name: list_keys
-- Keys of users, the oldest first.
-- $1 users
SELECT key_id, user_name, status, created_at, expires_at, last_used_at FROM access_keys
WHERE user_name = ANY ($1::text[]) ORDER BY user_name, created_at, key_id;

-- name: update_key
-- Enables or disables a key; returns no row if there is none.
-- $1 id
-- $2 status
UPDATE access_keys SET status = $2 WHERE key_id = $1
RETURNING key_id, user_name, status, created_at, expires_at, last_used_at;

-- name: delete_key
-- Deletes a key; returns no row if there is none.
-- $1 id
DELETE FROM access_keys WHERE key_id = $1 RETURNING key_id;

-- name: read_key
-- What a key stands for: its user, and what is attached to the user and its groups.
-- $1 id
SELECT k.key_id, k.user_name, k.sealed, k.digest, k.status, k.created_at, k.expires_at, k.last_used_at, u.groups,
    (SELECT coalesce(jsonb_agg(jsonb_build_array(a.policy, p.document, a.queues) ORDER BY a.policy, a.kind, a.name), '[]')
        FROM access_attachments AS a LEFT JOIN access_policies AS p ON p.name = a.policy
        WHERE (a.kind = 'user' AND a.name = u.name) OR (a.kind = 'group' AND a.name = ANY (u.groups))) AS policies
FROM access_keys AS k JOIN access_users AS u ON u.name = k.user_name
WHERE k.key_id = $1;

-- name: read_user
-- A user, and what is attached to it and its groups.
-- $1 name
SELECT u.name, u.groups,
    (SELECT coalesce(jsonb_agg(jsonb_build_array(a.policy, p.document, a.queues) ORDER BY a.policy, a.kind, a.name), '[]')
        FROM access_attachments AS a LEFT JOIN access_policies AS p ON p.name = a.policy
        WHERE (a.kind = 'user' AND a.name = u.name) OR (a.kind = 'group' AND a.name = ANY (u.groups))) AS policies
FROM access_users AS u WHERE u.name = $1;

-- name: note_use
-- Notes that keys were used, to a minute.
-- $1 ids
-- $2 when
UPDATE access_keys SET last_used_at = $2
WHERE key_id = ANY ($1::text[]) AND (last_used_at IS NULL OR last_used_at < $2::timestamptz - interval '1 minute');

-- name: put_policy
-- Stores a policy, or replaces its document.
-- $1 name
-- $2 document
INSERT INTO access_policies (name, document) VALUES ($1, $2)
ON CONFLICT (name) DO UPDATE SET document = excluded.document;

-- name: count_policies
SELECT count(*) FROM access_policies;

-- name: lock_policy
-- A policy, held still until the transaction ends.
-- $1 name
SELECT name FROM access_policies WHERE name = $1 FOR UPDATE;

-- name: delete_policy
-- Deletes a policy that is attached to nobody; returns no row if there is none, or if it is.
-- $1 name
DELETE FROM access_policies WHERE name = $1
    AND NOT EXISTS (SELECT FROM access_attachments WHERE policy = $1)
RETURNING name;

-- name: list_policies
-- Policies in order of their names.
-- $1 only this one, '' for all
-- $2 only those after this name
-- $3 how many at most
SELECT name, document FROM access_policies WHERE ($1 = '' OR name = $1) AND name > $2 ORDER BY name LIMIT $3;

-- name: attach
-- Attaches a policy, or replaces the queues that it is about.
-- $1 policy
-- $2 user or group
-- $3 its name
-- $4 queues
INSERT INTO access_attachments (policy, kind, name, queues) VALUES ($1, $2, $3, $4)
ON CONFLICT (kind, name, policy) DO UPDATE SET queues = excluded.queues;

-- name: count_attachments
-- How many policies a user or group has beside one.
-- $1 user or group
-- $2 its name
-- $3 the policy that is not counted
SELECT count(*) FROM access_attachments WHERE kind = $1 AND name = $2 AND policy <> $3;

-- name: detach
-- Detaches a policy; returns no row if it was not attached.
-- $1 policy
-- $2 user or group
-- $3 its name
DELETE FROM access_attachments WHERE policy = $1 AND kind = $2 AND name = $3 RETURNING policy;

-- name: attachments_of_users
-- What is attached to users and to groups.
-- $1 users
-- $2 groups
SELECT policy, kind, name, queues FROM access_attachments
WHERE (kind = 'user' AND name = ANY ($1::text[])) OR (kind = 'group' AND name = ANY ($2::text[]))
ORDER BY policy, kind, name;

-- name: attachments_of_policies
-- To whom policies are attached.
-- $1 policies
-- $2 how many at most
SELECT policy, kind, name, queues FROM access_attachments WHERE policy = ANY ($1::text[])
ORDER BY policy, kind, name LIMIT $2;
