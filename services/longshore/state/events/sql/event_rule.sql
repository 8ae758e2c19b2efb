-- name: put_rule
-- Stores a rule, or replaces it but for its tags; no row without its bus.
-- $1 bus
-- $2 name
-- $3 pattern
-- $4 schedule
-- $5 state
-- $6 description
-- $7 role
-- $8 tags of a new one
-- $9 when its schedule makes an event next
INSERT INTO event_rules (bus, name, pattern, schedule, state, description, role_arn, tags, due_at)
SELECT b.name, $2, $3, $4, $5, $6, $7, $8, $9::timestamptz FROM event_buses b WHERE b.name = $1 FOR KEY SHARE
ON CONFLICT (bus, name) DO UPDATE SET pattern = excluded.pattern, schedule = excluded.schedule,
    state = excluded.state, description = excluded.description, role_arn = excluded.role_arn,
    due_at = excluded.due_at, changed_at = now()
RETURNING name;

-- name: lock_rule
-- A rule, held still until the transaction ends.
-- $1 bus
-- $2 name
SELECT bus, name, pattern, schedule, state, description, role_arn, tags, due_at
FROM event_rules WHERE bus = $1 AND name = $2 FOR UPDATE;

-- name: read_rule
-- $1 bus
-- $2 name
SELECT bus, name, pattern, schedule, state, description, role_arn, tags, due_at
FROM event_rules WHERE bus = $1 AND name = $2;

-- name: list_rules
-- Rules of a bus, in order of their names.
-- $1 bus
-- $2 with what their names begin
-- $3 only those after this name
-- $4 how many at most
SELECT bus, name, pattern, schedule, state, description, role_arn, tags, due_at
FROM event_rules WHERE bus = $1 AND starts_with(name, $2) AND name > $3
ORDER BY name LIMIT $4;

-- name: count_rules
-- $1 bus
SELECT count(*) FROM event_rules WHERE bus = $1;

-- name: delete_rule
-- $1 bus
-- $2 name
DELETE FROM event_rules WHERE bus = $1 AND name = $2;

-- name: bus_exists
-- $1 name
SELECT EXISTS (SELECT FROM event_buses WHERE name = $1);

-- name: has_targets
-- $1 bus
-- $2 rule
SELECT EXISTS (SELECT FROM event_targets WHERE bus = $1 AND rule = $2);

-- name: set_state
-- $1 bus
-- $2 name
-- $3 state
-- $4 when its schedule makes an event next
UPDATE event_rules SET state = $3, due_at = $4, changed_at = now() WHERE bus = $1 AND name = $2;

-- name: write_rule_tags
-- $1 bus
-- $2 name
-- $3 tags
UPDATE event_rules SET tags = $3 WHERE bus = $1 AND name = $2;
