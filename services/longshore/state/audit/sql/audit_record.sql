-- name: lock_head
-- The number of the last record; nobody else appends until the transaction ends.
SELECT number FROM audit_head FOR UPDATE

-- name: days
-- $1 days
SELECT day, records, digest FROM audit_days WHERE day = ANY($1::date[])

-- name: open_day
-- $1 the day
SELECT open_audit_day($1::date)

-- name: advance_head
-- $1 number of the last record
UPDATE audit_head SET number = $1

-- name: advance_days
-- $1 days, $2 how many records each has, $3 digests of their last
INSERT INTO audit_days AS d (day, records, digest)
SELECT day, records, digest FROM unnest($1::date[], $2::bigint[], $3::bytea[]) AS c (day, records, digest)
ON CONFLICT (day) DO UPDATE SET records = excluded.records, digest = excluded.digest

-- name: known
-- Which of some records are there.
-- $1 their times, $2 their ids
SELECT event_id FROM audit_records WHERE at = ANY($1::timestamptz[]) AND event_id = ANY($2::uuid[])

-- name: old_days
-- Days of records that are older than are kept; $1 the first that is kept
SELECT day FROM audit_days WHERE day < $1 ORDER BY day

-- name: drop_day
-- $1 the day
SELECT drop_audit_day($1::date)

-- name: chain_days
-- All days on record, oldest first; also those of which there are records and no entry.
SELECT day, coalesce(d.records, 0) AS records, d.digest
FROM audit_days d
FULL JOIN (
    SELECT to_date(right(c.relname, 8), 'YYYYMMDD') AS day
    FROM pg_inherits h JOIN pg_class c ON c.oid = h.inhrelid WHERE h.inhparent = 'audit_records'::regclass
) AS p USING (day)
ORDER BY day

-- name: chain
-- Records of a day in the order of their chain.
-- $1 day, $2 after this number, $3 how many at most
SELECT number, day, at, event_id, event_source, event_name, is_read, access_key_id, user_name, resource_types, resource_names,
    record, digest
FROM audit_records WHERE day = $1 AND number > $2 ORDER BY number LIMIT $3

-- name: head
-- Number of the last record.
SELECT number FROM audit_head

-- name: committed
-- Records in the order of commits: all that there ever are below the last one.
-- $1 after this number, $2 how many at most, $3 whether also reads
SELECT number, record FROM audit_records WHERE number > $1 AND ($3 OR NOT is_read) ORDER BY number LIMIT $2

-- name: look_up
-- Records before a position, from a time on, the newest first. NULL: any. So many are walked through at most: where
-- those that match are fewer than are wanted, the last one walked ends the answer, if there may be more behind it.
-- $1 from, $2 time and $3 id of the position, $4 how many at most, $5 how many to walk through,
-- $6 event name, $7 access key, $8 event id, $9 whether it is a read, $10 source, $11 type and $12 name of a resource, $13 user
WITH walked AS (
    SELECT number, day, at, event_id, row_number() OVER (ORDER BY at DESC, event_id DESC) AS walk,
        ($8::uuid IS NULL OR event_id = $8) AND ($9::boolean IS NULL OR is_read = $9)
        AND ($10::text IS NULL OR event_source = $10) AND ($11::text IS NULL OR $11 = ANY(resource_types))
        AND ($12::text IS NULL OR $12 = ANY(resource_names)) AS matches
    FROM audit_records
    WHERE day >= ($1::timestamptz AT TIME ZONE 'UTC')::date AND day <= ($2::timestamptz AT TIME ZONE 'UTC')::date
        AND at >= $1 AND at <= $2 AND (at, event_id) < ($2, $3::uuid)
        AND ($6::text IS NULL OR event_name = $6) AND ($7::text IS NULL OR access_key_id = $7)
        AND ($13::text IS NULL OR user_name = $13)
    ORDER BY at DESC, event_id DESC LIMIT $5
)
SELECT w.matches, w.walk = $5 AS is_last, r.number, r.day, r.at, r.event_id, r.event_source, r.event_name, r.is_read, r.access_key_id, r.user_name,
    r.resource_types, r.resource_names, r.record, r.digest
FROM walked w JOIN audit_records r USING (number, day)
WHERE w.matches OR w.walk = $5
ORDER BY r.at DESC, r.event_id DESC
LIMIT $4
