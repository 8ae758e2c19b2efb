-- name: insert_policy
-- Stores a policy; a name that is taken is left alone and returns no row.
-- $1 name
-- $2 fairsharePolicy
-- $3 tags
INSERT INTO scheduling_policies (name, fairshare, tags) VALUES ($1, $2, $3)
ON CONFLICT DO NOTHING
RETURNING name;

-- name: update_policy
-- Replaces what is given of a policy; returns no row if there is none.
-- $1 name
-- $2 fairsharePolicy, NULL to keep it
UPDATE scheduling_policies SET fairshare = coalesce($2, fairshare) WHERE name = $1 RETURNING name;

-- name: lock_policy
-- A policy, held still until the transaction ends.
-- $1 name
SELECT name FROM scheduling_policies WHERE name = $1 FOR UPDATE;

-- name: keep_policy
-- A policy, kept from being deleted until the transaction ends.
-- $1 name
SELECT name FROM scheduling_policies WHERE name = $1 FOR KEY SHARE;

-- name: queue_of_policy
-- A queue that uses a policy.
-- $1 policy
SELECT name FROM job_queues WHERE scheduling_policy = $1 ORDER BY name LIMIT 1;

-- name: delete_policy
-- $1 name
DELETE FROM scheduling_policies WHERE name = $1;

-- name: read_policies
-- Policies by name.
-- $1 names
SELECT name, fairshare, tags FROM scheduling_policies WHERE name = ANY ($1::text[]) ORDER BY name;

-- name: list_policies
-- Names of policies, in order.
-- $1 only those after this name
-- $2 how many at most
SELECT name FROM scheduling_policies WHERE name > $1 ORDER BY name LIMIT $2;
