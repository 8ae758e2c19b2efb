-- name: open
-- Records an order before it is placed.
-- $1 order, $2 environment, $3 target, $4 entries, $5 reason, $6 generation, $7 strategy
INSERT INTO capacity_orders (order_id, compute_environment, target_vcpus, entries, reason,
    generation, allocation_strategy)
VALUES ($1, $2, $3, $4, $5, $6, $7)
ON CONFLICT (order_id) DO NOTHING

-- name: abandon
-- Closes orders without an answer, but those that are being answered: whoever would still fulfil one
-- finds it closed.
-- $1 now
UPDATE capacity_orders SET closed_at = coalesce($1::timestamptz, now())
WHERE order_id IN (
    SELECT order_id FROM capacity_orders
    WHERE closed_at IS NULL
        AND (answering_until IS NULL OR answering_until < coalesce($1::timestamptz, now()))
    FOR UPDATE SKIP LOCKED)
RETURNING order_id

-- name: begin
-- $1 order, $2 seconds that asking the provider takes at the longest
UPDATE capacity_orders SET answering_until = now() + make_interval(secs => $2)
WHERE order_id = $1 AND closed_at IS NULL

-- name: let_go
-- $1 order
UPDATE capacity_orders SET answering_until = NULL WHERE order_id = $1 AND closed_at IS NULL

-- name: begun
-- Open orders that a provider was asked for.
SELECT order_id, compute_environment, generation, allocation_strategy, target_vcpus, entries, reason
FROM capacity_orders
WHERE closed_at IS NULL AND answering_until IS NOT NULL
ORDER BY created_at, order_id

-- name: prune
-- Forgets closed orders of which no instance is on record, those that were closed first.
-- $1 closed before, $2 how many at most
DELETE FROM capacity_orders WHERE order_id IN (
    SELECT o.order_id FROM capacity_orders o
    WHERE o.closed_at < $1 AND NOT EXISTS (SELECT FROM instances i WHERE i.order_id = o.order_id)
    ORDER BY o.closed_at LIMIT $2)
RETURNING order_id

-- name: lock
-- $1 order
SELECT closed_at IS NOT NULL AS is_closed, errors FROM capacity_orders WHERE order_id = $1 FOR UPDATE

-- name: close
-- $1 order, $2 errors, $3 now
UPDATE capacity_orders SET errors = $2, closed_at = coalesce($3::timestamptz, now()) WHERE order_id = $1
