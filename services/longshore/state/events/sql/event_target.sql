-- name: put_target
-- Adds a target, or replaces the one of its id.
-- $1 bus
-- $2 rule
-- $3 id
-- $4 kind
-- $5 ARN
-- $6 the target, AWS-shaped
INSERT INTO event_targets (bus, rule, target_id, kind, arn, target) VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (bus, rule, target_id) DO UPDATE SET kind = excluded.kind, arn = excluded.arn, target = excluded.target;

-- name: target_ids
-- $1 bus
-- $2 rule
SELECT target_id FROM event_targets WHERE bus = $1 AND rule = $2;

-- name: remove_targets
-- Removes targets; returns those that were there.
-- $1 bus
-- $2 rule
-- $3 ids
DELETE FROM event_targets WHERE bus = $1 AND rule = $2 AND target_id = ANY ($3::text[]) RETURNING target_id;

-- name: list_targets
-- Targets of a rule, in order of their ids.
-- $1 bus
-- $2 rule
-- $3 only those after this id
-- $4 how many at most
SELECT target_id, kind, arn, target FROM event_targets
WHERE bus = $1 AND rule = $2 AND target_id > $3 ORDER BY target_id LIMIT $4;

-- name: rules_of_target
-- Names of the rules of a bus that have a target, in order.
-- $1 bus
-- $2 ARN
-- $3 only those after this name
-- $4 how many at most
SELECT DISTINCT rule FROM event_targets WHERE arn = $2 AND bus = $1 AND rule > $3 ORDER BY rule LIMIT $4;
