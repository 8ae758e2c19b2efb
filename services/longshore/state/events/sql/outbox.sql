-- name: cursor
-- Up to where what happened was matched with rules.
SELECT xid, event_id, part, namespace FROM event_cursor;

-- name: lock_cursor
-- The same, for who matches: no row while another one does.
SELECT xid, event_id, part, namespace FROM event_cursor FOR UPDATE SKIP LOCKED;

-- name: move_cursor
-- $1 transaction
-- $2 number
-- $3 the first part that was not matched
WITH marked AS (
    INSERT INTO event_marks (at, xid, event_id, part)
    SELECT now(), $1, $2, $3
    WHERE NOT EXISTS (SELECT FROM event_marks WHERE at > now() - interval '1 minute')
)
UPDATE event_cursor SET xid = $1, event_id = $2, part = $3;

-- name: mark
-- A position behind which all is that happened after a time: of the latest mark before it; no row: from the first on.
-- $1 the time
SELECT xid, event_id, part FROM event_marks WHERE at <= $1 ORDER BY at DESC LIMIT 1;

-- name: prune_marks
-- $1 before this time
-- $2 how many at most
DELETE FROM event_marks WHERE at IN (SELECT at FROM event_marks WHERE at < $1 ORDER BY at LIMIT $2) RETURNING at;

-- name: begin_anew
-- Where the cursor is of transactions that this cluster has not come to, it begins with now; whether it did.
UPDATE event_cursor SET xid = pg_snapshot_xmin(pg_current_snapshot())::text::bigint, event_id = 0, part = 0, since = now()
WHERE xid > pg_snapshot_xmax(pg_current_snapshot())::text::bigint
RETURNING xid;

-- name: read
-- What happened from a position on, in the order of commits: nothing that an older transaction, still under way, may
-- yet come before.
-- $1 transaction
-- $2 number
-- $3 how many rows at most
-- $4 calls of this day and later: that of what comes first, and some days less
SELECT * FROM (
    (SELECT xid, event_id, at, job_id, array_index, end_index, attempt, status, status_reason,
        NULL::text AS kind, NULL::text AS body
    FROM all_job_events
    WHERE (xid, event_id) >= ($1::bigint, $2::bigint) AND at >= (SELECT since FROM event_cursor)
        AND xid < (SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint)
    ORDER BY xid, event_id LIMIT $3)
    UNION ALL
    (SELECT xid, event_id, at, NULL, NULL, NULL, NULL, NULL, NULL, kind, body
    FROM outbox
    WHERE (xid, event_id) >= ($1::bigint, $2::bigint) AND at >= (SELECT since FROM event_cursor)
        AND xid < (SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint)
    ORDER BY xid, event_id LIMIT $3)
    UNION ALL
    -- Numbers of their own: no transaction writes them and the others.
    (SELECT xid, number, at, NULL, NULL, NULL, NULL, NULL, NULL, 'API_CALL', record
    FROM audit_records
    WHERE (xid, number) >= ($1::bigint, $2::bigint) AND day >= $4::date AND at >= (SELECT since FROM event_cursor)
        AND xid < (SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint)
    ORDER BY xid, number LIMIT $3)
) AS happened
ORDER BY xid, event_id LIMIT $3;

-- name: end
-- The position behind all that may be read now.
SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint;

-- name: latest
-- The position behind all that was committed, also if it may not be read yet.
SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint;

-- name: lag
-- For how many seconds the oldest row that was not matched has waited, 0 without one; and whether one waits for an older
-- transaction.
SELECT coalesce(greatest(extract(epoch FROM now() - min(at)), 0), 0)::float8 AS seconds, count(*) > 0 AS is_behind
FROM (
    (SELECT e.at FROM all_job_events e WHERE (e.xid, e.event_id) > ($1::bigint, $2::bigint)
    ORDER BY e.xid, e.event_id LIMIT 1)
    UNION ALL
    (SELECT o.at FROM outbox o WHERE (o.xid, o.event_id) > ($1::bigint, $2::bigint)
    ORDER BY o.xid, o.event_id LIMIT 1)
) AS first;

-- name: put
-- Puts events in from outside.
-- $1 JSON of each
INSERT INTO outbox (kind, body) SELECT 'PUT', b.body FROM unnest($1::text[]) WITH ORDINALITY AS b (body, place)
ORDER BY b.place RETURNING event_id;

-- name: forward
-- Puts an event in with the end of its delivery, so that it is put in once.
-- $1 delivery
-- $2 JSON
WITH done AS (DELETE FROM event_deliveries WHERE delivery_id = $1 RETURNING 1)
INSERT INTO outbox (kind, body) SELECT 'PUT', $2::text FROM done;

-- name: prune
-- Forgets what is old and was matched with rules.
-- $1 before this time
-- $2 how many at most
DELETE FROM outbox WHERE event_id IN (
    SELECT o.event_id FROM outbox o, event_cursor c
    WHERE o.at < $1 AND (o.xid, o.event_id) < (c.xid, c.event_id) ORDER BY o.at LIMIT $2)
RETURNING event_id;

-- name: rules_version
SELECT version FROM event_rules_version;

-- name: wanting
-- Rules with a pattern that are enabled, and have targets.
SELECT r.bus, r.name, r.pattern, r.state, array_agg(t.target_id ORDER BY t.target_id) AS targets
FROM event_rules r JOIN event_targets t ON (t.bus, t.rule) = (r.bus, r.name)
WHERE r.pattern IS NOT NULL AND r.state <> 'DISABLED'
GROUP BY r.bus, r.name ORDER BY r.bus, r.name;
