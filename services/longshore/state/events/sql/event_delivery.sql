-- name: add
-- $1 buses, $2 rules, $3 targets, $4 ids of events, $5 events as JSON
INSERT INTO event_deliveries (bus, rule, target, event_id, event)
SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::uuid[], $5::text[]);

-- name: lanes
-- Targets for which something is due, and how soon something is for any: one descent of the index for each target.
WITH RECURSIVE lane AS (
    (SELECT bus, rule, target, due_at FROM event_deliveries ORDER BY bus, rule, target, due_at LIMIT 1)
    UNION ALL
    SELECT n.bus, n.rule, n.target, n.due_at FROM lane CROSS JOIN LATERAL (
        SELECT d.bus, d.rule, d.target, d.due_at FROM event_deliveries d
        WHERE (d.bus, d.rule, d.target) > (lane.bus, lane.rule, lane.target)
        ORDER BY d.bus, d.rule, d.target, d.due_at LIMIT 1
    ) AS n
)
SELECT bus, rule, target, greatest(extract(epoch FROM due_at - now()), 0)::float8 AS seconds
FROM lane LIMIT $1;

-- name: take
-- Takes what is due for a target, and puts it off for as long as delivering may take.
-- $1 bus
-- $2 rule
-- $3 target
-- $4 how many at most
-- $5 seconds
WITH due AS (
    SELECT delivery_id FROM event_deliveries
    WHERE bus = $1 AND rule = $2 AND target = $3 AND due_at <= now()
    ORDER BY due_at, delivery_id LIMIT $4 FOR NO KEY UPDATE SKIP LOCKED
), taken AS (
    UPDATE event_deliveries d SET due_at = now() + make_interval(secs => $5::float8)
    FROM due WHERE d.delivery_id = due.delivery_id
    RETURNING d.delivery_id, d.event_id, d.event, d.created_at, d.tries,
        extract(epoch FROM now() - d.created_at)::float8 AS age_seconds
)
SELECT * FROM taken ORDER BY delivery_id;

-- name: take_old
-- The same of what is older than a time, in seconds.
-- $1 bus
-- $2 rule
-- $3 target
-- $4 how many at most
-- $5 seconds
-- $6 the age
WITH due AS (
    SELECT delivery_id FROM event_deliveries
    WHERE bus = $1 AND rule = $2 AND target = $3 AND due_at <= now()
        AND created_at < now() - make_interval(secs => $6::float8)
    ORDER BY due_at, delivery_id LIMIT $4 FOR NO KEY UPDATE SKIP LOCKED
), taken AS (
    UPDATE event_deliveries d SET due_at = now() + make_interval(secs => $5::float8)
    FROM due WHERE d.delivery_id = due.delivery_id
    RETURNING d.delivery_id, d.event_id, d.event, d.created_at, d.tries,
        extract(epoch FROM now() - d.created_at)::float8 AS age_seconds
)
SELECT * FROM taken ORDER BY delivery_id;

-- name: done
-- $1 numbers
DELETE FROM event_deliveries WHERE delivery_id = ANY ($1::bigint[]);

-- name: again
-- Puts off what could not be delivered.
-- $1 numbers, $2 seconds, $3 tries so far, $4 what was wrong
UPDATE event_deliveries d SET due_at = now() + make_interval(secs => a.seconds), tries = a.tries, error = a.error
FROM unnest($1::bigint[], $2::float8[], $3::integer[], $4::text[]) AS a (delivery_id, seconds, tries, error)
WHERE d.delivery_id = a.delivery_id;

-- name: give_up
-- Makes dead letters of what is not tried any more.
-- $1 numbers, $2 conditions, $3 codes, $4 what was wrong, $5 tries
WITH gone AS (
    DELETE FROM event_deliveries d
    USING unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::integer[])
        AS g (delivery_id, condition, code, error, tries)
    WHERE d.delivery_id = g.delivery_id
    RETURNING d.bus, d.rule, d.target, d.event_id, d.event, g.condition, g.code, g.error, g.tries
)
INSERT INTO dead_letters (bus, rule, target, event_id, event, condition, error_code, error, tries)
SELECT * FROM gone;

-- name: letters
-- Dead letters, newest first.
-- $1 of this bus, NULL for any
-- $2 of this rule, NULL for any
-- $3 only those before this number
-- $4 how many at most
SELECT letter_id, bus, rule, target, event_id, event, condition, error_code, error, tries, at FROM dead_letters
WHERE ($1::text IS NULL OR bus = $1) AND ($2::text IS NULL OR rule = $2) AND letter_id < $3
ORDER BY letter_id DESC LIMIT $4;

-- name: resend
-- Makes deliveries of dead letters again, with all their tries before them; returns the letters. Those whose target is
-- gone stay: what is for no target is dropped.
-- $1 numbers of letters
WITH sent AS (
    DELETE FROM dead_letters l WHERE letter_id = ANY ($1::bigint[]) AND EXISTS (
        SELECT FROM event_targets t WHERE (t.bus, t.rule, t.target_id) = (l.bus, l.rule, l.target))
    RETURNING *
), added AS (
    INSERT INTO event_deliveries (bus, rule, target, event_id, event)
    SELECT bus, rule, target, event_id, event FROM sent ORDER BY letter_id
)
SELECT letter_id FROM sent;

-- name: prune_letters
-- Forgets dead letters that are older than a time.
-- $1 the time, $2 how many at most
DELETE FROM dead_letters WHERE letter_id IN (SELECT letter_id FROM dead_letters WHERE at < $1 ORDER BY at LIMIT $2)
RETURNING letter_id;

-- name: target
-- A target of a rule, with what an API destination is, where it is one.
-- $1 bus, $2 rule, $3 target
SELECT t.kind, t.arn, t.target, d.endpoint, d.http_method, d.rate_limit, d.state, d.name AS destination,
    c.authorization_type, c.parameters, c.secret, b.dead_letter_arn
FROM event_targets t
JOIN event_buses b ON b.name = t.bus
LEFT JOIN event_api_destinations d ON t.kind = 'api-destination'
    AND d.name = split_part(split_part(t.arn, ':api-destination/', 2), '/', 1)
    AND d.destination_id::text = split_part(split_part(t.arn, ':api-destination/', 2), '/', 2)
LEFT JOIN event_connections c ON c.name = d.connection
WHERE t.bus = $1 AND t.rule = $2 AND t.target_id = $3;

-- name: deactivate
-- An endpoint that is gone for good gets nothing until its destination is updated.
-- $1 name
UPDATE event_api_destinations SET state = 'INACTIVE', changed_at = now() WHERE name = $1 AND state = 'ACTIVE';
