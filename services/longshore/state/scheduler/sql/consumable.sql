-- name: lock
-- Resources, held still until the transaction ends: what is decided on them holds.
-- $1 names
SELECT name, resource_type, total_quantity FROM consumable_resources
WHERE name = ANY($1::text[]) ORDER BY name FOR NO KEY UPDATE

-- name: read
-- $1 names
SELECT name, resource_type, total_quantity FROM consumable_resources WHERE name = ANY($1::text[])

-- name: use_up
-- Takes what placements use up for good off the totals.
-- $1 names, $2 quantities
UPDATE consumable_resources r SET total_quantity = r.total_quantity - u.quantity
FROM unnest($1::text[], $2::bigint[]) AS u (name, quantity)
WHERE r.name = u.name AND r.resource_type = 'NON_REPLENISHABLE'

-- name: give_back
-- Gives back what attempts used up that were none; a resource that was made since never had it.
-- $1 names, $2 quantities, $3 when the attempts were placed
UPDATE consumable_resources r
SET total_quantity = least(r.total_quantity + b.quantity, 9223372036854775807)::bigint
FROM (
    SELECT g.name, sum(g.quantity) AS quantity
    FROM unnest($1::text[], $2::bigint[], $3::timestamptz[]) AS g (name, quantity, placed_at)
    JOIN consumable_resources o ON o.name = g.name AND o.created_at <= g.placed_at
    GROUP BY g.name
) AS b
WHERE r.name = b.name AND r.resource_type = 'NON_REPLENISHABLE'

-- name: usages
-- What is on record as held.
SELECT resource, held FROM consumable_usages

-- name: store
-- $1 resources, $2 what is held of each
INSERT INTO consumable_usages AS u (resource, held) SELECT * FROM unnest($1::text[], $2::bigint[])
ON CONFLICT (resource) DO UPDATE SET held = excluded.held

-- name: forget
-- $1 resources of which nothing is held any more
DELETE FROM consumable_usages WHERE resource = ANY($1::text[])
