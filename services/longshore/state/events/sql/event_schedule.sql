-- name: due
-- Rules whose schedule is due, held until the transaction ends; those that another process fires are left out.
-- $1 now
-- $2 how many at most
SELECT r.bus, r.name, r.schedule, r.due_at,
    ARRAY(SELECT t.target_id FROM event_targets t WHERE (t.bus, t.rule) = (r.bus, r.name) ORDER BY 1) AS targets
FROM event_rules r WHERE r.due_at <= $1 AND r.state <> 'DISABLED'
ORDER BY r.due_at LIMIT $2 FOR NO KEY UPDATE OF r SKIP LOCKED;

-- name: fired
-- $1 bus
-- $2 rule
-- $3 when it is due next, NULL for never
UPDATE event_rules SET due_at = $3 WHERE bus = $1 AND name = $2;

-- name: next_due
SELECT min(due_at) FROM event_rules WHERE due_at IS NOT NULL AND state <> 'DISABLED';
