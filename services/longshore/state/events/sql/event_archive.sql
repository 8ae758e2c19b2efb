-- name: insert_archive
-- Stores an archive; a name that is taken is left alone and returns no row.
-- $1 name
-- $2 bus
-- $3 description
-- $4 pattern
-- $5 days
INSERT INTO event_archives (name, bus, description, pattern, retention_days) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT DO NOTHING RETURNING name, bus, description, pattern, retention_days, created_at;

-- name: lock_archive
-- An archive, held still until the transaction ends.
-- $1 name
SELECT name, bus, description, pattern, retention_days, created_at FROM event_archives WHERE name = $1 FOR UPDATE;

-- name: read_archive
-- $1 name
SELECT name, bus, description, pattern, retention_days, created_at FROM event_archives WHERE name = $1;

-- name: update_archive
-- $1 name
-- $2 description
-- $3 pattern
-- $4 days
UPDATE event_archives SET description = $2, pattern = $3, retention_days = $4 WHERE name = $1;

-- name: delete_archive
-- Deletes an archive; returns no row if there is none.
-- $1 name
DELETE FROM event_archives WHERE name = $1 RETURNING name;

-- name: list_archives
-- Archives, in order of their names.
-- $1 with what their names begin
-- $2 bus, NULL for any
-- $3 only those after this name
-- $4 how many at most
SELECT name, bus, description, pattern, retention_days, created_at FROM event_archives
WHERE starts_with(name, $1) AND ($2::text IS NULL OR bus = $2) AND name > $3 ORDER BY name LIMIT $4;

-- name: count_archives
SELECT count(*) FROM event_archives;

-- name: insert_replay
-- Stores a replay that begins; a name that is taken is left alone and returns no row.
-- $1 name
-- $2 archive
-- $3 bus
-- $4 description
-- $5 ARNs of rules
-- $6 events from this time on
-- $7 up to this time
INSERT INTO event_replays (name, archive, bus, description, filter_arns, begin_at, end_at)
VALUES ($1, $2, $3, $4, $5, $6, $7)
ON CONFLICT DO NOTHING
RETURNING name, archive, bus, description, filter_arns, begin_at, end_at, state, state_reason, last_event_at, started_at,
    ended_at;

-- name: read_replay
-- $1 name
SELECT name, archive, bus, description, filter_arns, begin_at, end_at, state, state_reason, last_event_at, started_at,
    ended_at
FROM event_replays WHERE name = $1;

-- name: cancel_replay
-- Asks for the end of a replay that goes on; returns no row for any other.
-- $1 name
UPDATE event_replays SET state = 'CANCELLING' WHERE name = $1 AND state IN ('STARTING', 'RUNNING') RETURNING name;

-- name: list_replays
-- Replays, in order of their names.
-- $1 with what their names begin
-- $2 state, NULL for any
-- $3 archive, NULL for any
-- $4 only those after this name
-- $5 how many at most
SELECT name, archive, bus, description, filter_arns, begin_at, end_at, state, state_reason, last_event_at, started_at,
    ended_at
FROM event_replays
WHERE starts_with(name, $1) AND ($2::text IS NULL OR state = $2) AND ($3::text IS NULL OR archive = $3) AND name > $4
ORDER BY name LIMIT $5;

-- name: count_live_replays
SELECT count(*) FROM event_replays WHERE state IN ('STARTING', 'RUNNING', 'CANCELLING');
