-- name: next
-- The replay that began first of those that go on, with its archive, held until the transaction ends.
SELECT r.name, r.bus, r.filter_arns, r.begin_at, r.end_at, r.state, r.xid, r.event_id, r.part,
    a.name AS archive, a.pattern, a.created_at, a.retention_days
FROM event_replays r LEFT JOIN event_archives a ON a.name = r.archive
WHERE r.state IN ('STARTING', 'RUNNING', 'CANCELLING')
ORDER BY r.started_at, r.name LIMIT 1 FOR UPDATE OF r SKIP LOCKED;

-- name: went_on
-- $1 name
-- $2 transaction
-- $3 number
-- $4 part
-- $5 time of the last event, NULL for none yet
UPDATE event_replays SET state = 'RUNNING', xid = $2, event_id = $3, part = $4,
    last_event_at = coalesce($5::timestamptz, last_event_at)
WHERE name = $1;

-- name: ended
-- $1 name
-- $2 state
-- $3 why, NULL where it is as it should be
UPDATE event_replays SET state = $2, state_reason = $3, ended_at = now() WHERE name = $1;

-- name: is_full
-- Whether more deliveries wait than a replay adds to.
-- $1 so many
SELECT count(*) >= $1 FROM (SELECT FROM event_deliveries LIMIT $1) AS waiting;

-- name: prune
-- Forgets replays that ended before a time.
-- $1 the time, $2 how many at most
DELETE FROM event_replays WHERE name IN (
    SELECT name FROM event_replays WHERE ended_at < $1 ORDER BY ended_at, name LIMIT $2)
RETURNING name;
