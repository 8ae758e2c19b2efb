-- name: accept
-- Puts an order on record as being answered, or takes up one that is open; of one that is closed no row comes back.
-- $1 order, $2 environment, $3 target, $4 entries, $5 reason, $6 generation, $7 strategy, $8 seconds that asking the
-- provider takes at the longest
INSERT INTO capacity_orders AS o (order_id, compute_environment, target_vcpus, entries, reason,
    generation, allocation_strategy, answering_until)
VALUES ($1, $2, $3, $4, $5, $6, $7, now() + make_interval(secs => $8))
ON CONFLICT (order_id) DO UPDATE SET answering_until = excluded.answering_until WHERE o.closed_at IS NULL
RETURNING o.created_at = now() AS is_new

-- name: give_up
-- Closes an order for which the provider is not asked any more: it gets nothing.
-- $1 order
UPDATE capacity_orders SET closed_at = now() WHERE order_id = $1 AND closed_at IS NULL

-- name: give_up_lapsed
-- Closes orders that were to be answered by now, and whose holder died over it.
-- $1 those that are being answered, $2 now
UPDATE capacity_orders SET closed_at = coalesce($2::timestamptz, now())
WHERE closed_at IS NULL AND answering_until < coalesce($2::timestamptz, now()) AND order_id <> ALL($1::uuid[])
RETURNING order_id

-- name: open
-- Orders that the provider is being asked for, or was by somebody who died over it.
SELECT order_id, compute_environment, generation, allocation_strategy, target_vcpus, entries, reason
FROM capacity_orders
WHERE closed_at IS NULL
ORDER BY created_at, order_id

-- name: prune
-- Forgets closed orders of which no instance is on record, those that were closed first.
-- $1 closed before, $2 how many at most
DELETE FROM capacity_orders WHERE order_id IN (
    SELECT o.order_id FROM capacity_orders o
    WHERE o.closed_at < $1 AND NOT EXISTS (SELECT FROM instances i WHERE i.order_id = o.order_id)
    ORDER BY o.closed_at LIMIT $2)
RETURNING order_id

-- name: errors
-- $1 order
SELECT errors FROM capacity_orders WHERE order_id = $1

-- name: close
-- $1 order, $2 errors
UPDATE capacity_orders SET errors = $2, closed_at = now() WHERE order_id = $1 AND closed_at IS NULL
