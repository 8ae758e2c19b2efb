-- name: insert
-- $1 ids, $2 order, $3 environment, $4 provider, $5 types, $6 purchase options, $7 zones, $8 vcpus,
-- $9 memory, $10 gpus, $11 prices, $12 generation, $13 provider's names, NULL where not launched yet,
-- $14 machine
INSERT INTO instances (instance_id, order_id, compute_environment, provider, instance_type,
    purchase_option, zone, vcpus, memory_mib, gpus, price_per_hour, generation, provider_id, status, launched_at, machine)
SELECT n.id, $2, $3, $4, n.type, n.option, n.zone, n.vcpus, n.memory_mib, n.gpus, n.price, $12,
    n.provider_id, CASE WHEN n.provider_id IS NULL THEN 'ORDERED' ELSE 'LAUNCHED' END,
    CASE WHEN n.provider_id IS NOT NULL THEN now() END, $14
FROM unnest($1::text[], $5::text[], $6::text[], $7::text[], $8::float8[], $9::bigint[],
    $10::integer[], $11::float8[], $13::text[])
    AS n (id, type, option, zone, vcpus, memory_mib, gpus, price, provider_id)
ON CONFLICT (instance_id) DO NOTHING

-- name: of_order
-- $1 order
SELECT instance_id, instance_type, zone FROM instances WHERE order_id = $1 ORDER BY instance_id

-- name: count_live
-- $1 provider, $2 machine
SELECT count(*) FROM instances WHERE provider = $1 AND machine IN ('', $2) AND ended_at IS NULL

-- name: other_providers
-- $1 provider
SELECT DISTINCT provider FROM instances WHERE provider <> $1 AND ended_at IS NULL

-- name: compute_resources
-- $1 environment
SELECT detail -> 'computeResources' FROM compute_environments WHERE name = $1

-- name: environment_exists
-- $1 environment
SELECT EXISTS (SELECT FROM compute_environments WHERE name = $1)

-- name: live
-- Instances that are not over, with what the scheduler knows of their agents.
-- $1 provider
SELECT i.*, a.status AS agent_status, a.idle_since,
    (SELECT count(*) FROM attempts t WHERE t.instance_id = i.instance_id AND t.status <> 'ENDED')
        AS live_attempts
FROM instances i LEFT JOIN agents a USING (instance_id)
WHERE i.provider = $1 AND i.ended_at IS NULL
ORDER BY i.ordered_at, i.instance_id

-- name: launched
-- $1 instance, $2 provider's name for it, $3 now
UPDATE instances SET status = 'LAUNCHED', provider_id = $2,
    launched_at = coalesce($3::timestamptz, now()), seen_at = coalesce($3::timestamptz, now())
WHERE instance_id = $1 AND status = 'ORDERED'

-- name: relaunched
-- $1 instance, $2 provider's name for it
UPDATE instances SET provider_id = $2 WHERE instance_id = $1 AND ended_at IS NULL

-- name: seen
-- $1 instances, $2 now
UPDATE instances SET seen_at = coalesce($2::timestamptz, now())
WHERE instance_id = ANY($1::text[]) AND seen_at IS NULL

-- name: terminating
-- $1 instances, $2 reason, $3 when attempts are stopped or NULL, $4 when they are ended or NULL, $5 now
UPDATE instances SET status = 'TERMINATING', status_reason = $2,
    terminating_at = coalesce($5::timestamptz, now()), drain_until = $3, ends_at = $4
WHERE instance_id = ANY($1::text[]) AND status IN ('ORDERED', 'LAUNCHED')
RETURNING instance_id

-- name: hasten
-- Those on their way out already, that are to be empty earlier than was said.
-- $1 instances, $2 reason, $3 when attempts are stopped
UPDATE instances SET status_reason = $2, drain_until = $3
WHERE instance_id = ANY($1::text[]) AND status = 'TERMINATING'
    AND (drain_until IS NULL OR drain_until > $3)

-- name: take_notices
-- Instances whose agents were told that they will be taken away. A notice with an end counts also for
-- one that is on its way out.
-- $1 provider, $2 seconds before the end that attempts are stopped, $3 now
UPDATE instances i SET status = 'TERMINATING',
    status_reason = CASE WHEN i.status = 'TERMINATING' AND a.notice_at IS NULL THEN i.status_reason ELSE a.notice END,
    terminating_at = coalesce(i.terminating_at, $3::timestamptz, now()),
    drain_until = CASE WHEN a.notice_at IS NULL THEN i.drain_until ELSE least(i.drain_until,
        greatest(a.notice_at - make_interval(secs => $2), coalesce($3::timestamptz, now()))) END,
    ends_at = least(i.ends_at, a.notice_at)
FROM agents a
WHERE a.instance_id = i.instance_id AND a.notice IS NOT NULL AND i.provider = $1 AND i.ended_at IS NULL
    AND (i.status <> 'TERMINATING' OR i.ends_at IS DISTINCT FROM least(i.ends_at, a.notice_at))
RETURNING i.instance_id, i.status_reason

-- name: lock_status
-- $1 instance
SELECT status FROM instances WHERE instance_id = $1 FOR UPDATE

-- name: ended
-- What it cost is added to the costs of its environment.
-- $1 instance, $2 status, $3 reason or NULL to keep what was said before, $4 now,
-- $5 since when it was to go by our own wish although it was not TERMINATING, or NULL
WITH ended AS (
    UPDATE instances SET status = $2, status_reason = coalesce($3, status_reason),
        ended_at = coalesce($4::timestamptz, now()),
        terminating_at = coalesce(terminating_at, $5),
        registered_at = (SELECT a.registered_at FROM agents a WHERE a.instance_id = $1)
    WHERE instance_id = $1 AND ended_at IS NULL
    RETURNING instance_id, compute_environment, price_per_hour, launched_at, ended_at
), counted AS (
    INSERT INTO environment_costs AS c (compute_environment, day, cost)
    SELECT compute_environment, (ended_at AT TIME ZONE 'UTC')::date,
        price_per_hour * extract(epoch FROM ended_at - launched_at) / 3600
    FROM ended WHERE launched_at IS NOT NULL
    ON CONFLICT (compute_environment, day) DO UPDATE SET cost = c.cost + excluded.cost
)
SELECT instance_id FROM ended

-- name: prune
-- Forgets instances that are over, those that ended first.
-- $1 ended before, $2 how many at most
DELETE FROM instances WHERE instance_id IN (
    SELECT instance_id FROM instances WHERE ended_at < $1 ORDER BY ended_at LIMIT $2)
RETURNING instance_id

-- name: prune_costs
-- Forgets what instances cost that ended on days before one; $1 the day, $2 how many at most
DELETE FROM environment_costs WHERE (compute_environment, day) IN (
    SELECT compute_environment, day FROM environment_costs WHERE day < $1 LIMIT $2)
RETURNING day

-- name: notify_capacity
SELECT pg_notify('longshore_capacity', '')
