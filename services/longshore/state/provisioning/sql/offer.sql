-- name: instance_types
-- Names in `instanceTypes` of managed compute environments.
SELECT DISTINCT jsonb_array_elements_text(detail -> 'computeResources' -> 'instanceTypes') AS name
FROM compute_environments
WHERE type = 'MANAGED' AND status <> 'DELETED'
    AND jsonb_typeof(detail -> 'computeResources' -> 'instanceTypes') = 'array'
ORDER BY name

-- name: store
-- Keeps what a provider says of pools of some types; a row comes back for each that is new or changed.
-- $1 provider, $2 types, $3 zones, $4 purchase options, $5 prices, $6 depths, $7 now
WITH said AS (
    SELECT * FROM unnest($2::text[], $3::text[], $4::text[], $5::float8[], $6::float8[])
        AS s (instance_type, zone, purchase_option, price_per_hour, depth)
), changed AS (
    SELECT s.instance_type FROM said s LEFT JOIN offers o ON o.provider = $1
        AND o.instance_type = s.instance_type AND o.zone = s.zone AND o.purchase_option = s.purchase_option
    WHERE o.price_per_hour IS DISTINCT FROM s.price_per_hour OR o.depth IS DISTINCT FROM s.depth
), stored AS (
    INSERT INTO offers AS o
        (provider, instance_type, zone, purchase_option, price_per_hour, depth, quoted_at)
    SELECT $1, instance_type, zone, purchase_option, price_per_hour, depth, coalesce($7::timestamptz, now())
    FROM said
    ON CONFLICT (provider, instance_type, zone, purchase_option)
    DO UPDATE SET price_per_hour = excluded.price_per_hour, depth = excluded.depth, quoted_at = excluded.quoted_at
)
SELECT instance_type FROM changed

-- name: remove_others
-- Pools of some types that the provider did not name any more.
-- $1 provider, $2 types asked for; $3 types, $4 zones, $5 purchase options of those it named
DELETE FROM offers o
WHERE provider = $1 AND instance_type = ANY($2::text[])
    AND NOT EXISTS (SELECT FROM unnest($3::text[], $4::text[], $5::text[]) AS s (type, zone, option)
        WHERE s.type = o.instance_type AND s.zone = o.zone AND s.option = o.purchase_option)
RETURNING instance_type
