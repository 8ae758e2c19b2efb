-- name: insert_resource
-- Stores a consumable resource; a name that is taken is left alone and returns no row.
-- $1 name
-- $2 type
-- $3 total quantity
-- $4 tags
INSERT INTO consumable_resources (name, resource_type, total_quantity, tags) VALUES ($1, $2, $3, $4)
ON CONFLICT DO NOTHING
RETURNING name;

-- name: lock_total
-- How many units there are of a resource, held still until the transaction ends.
-- $1 name
SELECT total_quantity FROM consumable_resources WHERE name = $1 FOR NO KEY UPDATE;

-- name: write_total
-- $1 name
-- $2 total quantity
UPDATE consumable_resources SET total_quantity = $2 WHERE name = $1;

-- name: forget_updates
-- Forgets changes of a resource that may be asked for anew.
-- $1 resource
-- $2 seconds after which they are
DELETE FROM consumable_updates WHERE resource = $1 AND at < now() - make_interval(secs => $2::integer);

-- name: find_update
-- The change of a resource that was made under a token.
-- $1 resource
-- $2 token
SELECT operation, quantity, total_quantity FROM consumable_updates WHERE resource = $1 AND client_token = $2;

-- name: insert_update
-- $1 resource
-- $2 token
-- $3 operation
-- $4 quantity, NULL for none given
-- $5 total quantity after it
INSERT INTO consumable_updates (resource, client_token, operation, quantity, total_quantity)
VALUES ($1, $2, $3, $4, $5);

-- name: delete_resource
-- Deletes a resource; returns no row if there is none.
-- $1 name
DELETE FROM consumable_resources WHERE name = $1 RETURNING name;

-- name: read_resource
-- A resource, and what is in use of it: nothing of what is used up at once.
-- $1 name
SELECT resource.name, resource.resource_type, resource.total_quantity, resource.created_at, resource.tags,
    CASE WHEN resource.resource_type = 'REPLENISHABLE' THEN coalesce(usage.held, 0) ELSE 0 END AS in_use
FROM consumable_resources AS resource LEFT JOIN consumable_usages AS usage ON usage.resource = resource.name
WHERE resource.name = $1;

-- name: list_resources
-- Resources in order of their names, and what is in use of them.
-- $1 only those after this name
-- $2 LIKE pattern for the name in lower case, NULL for any
-- $3 how many at most
SELECT resource.name, resource.resource_type, resource.total_quantity, resource.created_at, resource.tags,
    CASE WHEN resource.resource_type = 'REPLENISHABLE' THEN coalesce(usage.held, 0) ELSE 0 END AS in_use
FROM consumable_resources AS resource LEFT JOIN consumable_usages AS usage ON usage.resource = resource.name
WHERE resource.name > $1 AND ($2::text IS NULL OR lower(resource.name) LIKE $2)
ORDER BY resource.name LIMIT $3;
