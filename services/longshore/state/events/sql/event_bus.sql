-- name: insert_bus
-- Stores a bus; a name that is taken is left alone and returns no row.
-- $1 name
-- $2 description
-- $3 ARN of the queue for what cannot be delivered
-- $4 tags
INSERT INTO event_buses (name, description, dead_letter_arn, tags) VALUES ($1, $2, $3, $4)
ON CONFLICT DO NOTHING RETURNING name, description, dead_letter_arn, tags, created_at, changed_at;

-- name: lock_bus
-- A bus, held still until the transaction ends.
-- $1 name
SELECT name, description, dead_letter_arn, tags, created_at, changed_at FROM event_buses WHERE name = $1 FOR UPDATE;

-- name: read_bus
-- $1 name
SELECT name, description, dead_letter_arn, tags, created_at, changed_at FROM event_buses WHERE name = $1;

-- name: update_bus
-- $1 name
-- $2 description
-- $3 ARN of the queue for what cannot be delivered
UPDATE event_buses SET description = $2, dead_letter_arn = $3, changed_at = now() WHERE name = $1;

-- name: write_bus_tags
-- $1 name
-- $2 tags
UPDATE event_buses SET tags = $2 WHERE name = $1;

-- name: list_buses
-- Buses, in order of their names.
-- $1 with what their names begin
-- $2 only those after this name
-- $3 how many at most
SELECT name, description, dead_letter_arn, tags, created_at, changed_at FROM event_buses
WHERE starts_with(name, $1) AND name > $2 ORDER BY name LIMIT $3;

-- name: count_buses
SELECT count(*) FROM event_buses;

-- name: bus_is_used
-- Whether a bus has rules or archives.
-- $1 name
SELECT EXISTS (SELECT FROM event_rules WHERE bus = $1) AS by_rules,
    EXISTS (SELECT FROM event_archives WHERE bus = $1) AS by_archives;

-- name: delete_bus
-- $1 name
DELETE FROM event_buses WHERE name = $1;
