-- name: insert
-- $1 ids, $2 order, $3 environment, $4 provider, $5 types, $6 purchase options, $7 zones, $8 vcpus,
-- $9 memory, $10 gpus, $11 prices
INSERT INTO instances (instance_id, order_id, compute_environment, provider, instance_type,
    purchase_option, zone, vcpus, memory_mib, gpus, price_per_hour, status)
SELECT n.id, $2, $3, $4, n.type, n.option, n.zone, n.vcpus, n.memory_mib, n.gpus, n.price, 'ORDERED'
FROM unnest($1::text[], $5::text[], $6::text[], $7::text[], $8::integer[], $9::bigint[],
    $10::integer[], $11::float8[]) AS n (id, type, option, zone, vcpus, memory_mib, gpus, price)

-- name: of_order
-- $1 order
SELECT instance_id, instance_type, zone FROM instances WHERE order_id = $1 ORDER BY instance_id

-- name: count_live
-- $1 provider
SELECT count(*) FROM instances WHERE provider = $1 AND ended_at IS NULL

-- name: environment_exists
-- $1 environment
SELECT EXISTS (SELECT FROM compute_environments WHERE name = $1)

-- name: live
-- Instances that are not over, with what the scheduler knows of their agents.
-- $1 provider
SELECT i.*, a.status AS agent_status,
    (SELECT count(*) FROM attempts t WHERE t.instance_id = i.instance_id AND t.status <> 'ENDED')
        AS live_attempts
FROM instances i LEFT JOIN agents a USING (instance_id)
WHERE i.provider = $1 AND i.ended_at IS NULL
ORDER BY i.ordered_at, i.instance_id

-- name: launched
-- $1 instance, $2 provider's name for it, $3 now
UPDATE instances SET status = 'LAUNCHED', provider_id = $2,
    launched_at = coalesce($3::timestamptz, now())
WHERE instance_id = $1 AND status = 'ORDERED'

-- name: relaunched
-- $1 instance, $2 provider's name for it
UPDATE instances SET provider_id = $2 WHERE instance_id = $1 AND ended_at IS NULL

-- name: terminating
-- $1 instances, $2 reason
UPDATE instances SET status = 'TERMINATING', status_reason = $2
WHERE instance_id = ANY($1::text[]) AND status IN ('ORDERED', 'LAUNCHED')
RETURNING instance_id

-- name: ended
-- $1 instance, $2 status, $3 reason or NULL to keep what was said before, $4 now
UPDATE instances SET status = $2, status_reason = coalesce($3, status_reason),
    ended_at = coalesce($4::timestamptz, now())
WHERE instance_id = $1 AND ended_at IS NULL
RETURNING instance_id

-- name: notify_capacity
SELECT pg_notify('longshore_capacity', '')
