-- name: open
-- Records an order before it is placed.
-- $1 order, $2 environment, $3 target, $4 entries, $5 reason
INSERT INTO capacity_orders (order_id, compute_environment, target_vcpus, entries, reason)
VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (order_id) DO NOTHING

-- name: abandon
-- Closes every order without an answer: whoever would still fulfil one finds it closed.
-- $1 now
UPDATE capacity_orders SET closed_at = coalesce($1::timestamptz, now())
WHERE closed_at IS NULL
RETURNING order_id

-- name: lock
-- $1 order
SELECT closed_at IS NOT NULL AS is_closed, errors FROM capacity_orders WHERE order_id = $1 FOR UPDATE

-- name: close
-- $1 order, $2 errors, $3 now
UPDATE capacity_orders SET errors = $2, closed_at = coalesce($3::timestamptz, now()) WHERE order_id = $1
