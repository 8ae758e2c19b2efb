-- name: kept
-- The oldest happenings.
-- $1 limit
SELECT happening_id, kind, job_id, array_index, succeeded, after FROM happenings ORDER BY happening_id LIMIT $1

-- name: done
-- Deletes happenings that were followed.
-- $1 ids
DELETE FROM happenings WHERE happening_id = ANY($1::bigint[])

-- name: keep
-- Keeps happenings for a later tick, in order.
-- $1 kinds, $2 job ids, $3 indexes, $4 succeeded or NULL, $5 after or NULL
INSERT INTO happenings (kind, job_id, array_index, succeeded, after)
SELECT h.kind, h.job_id, h.array_index, h.succeeded, h.after
FROM unnest($1::text[], $2::uuid[], $3::integer[], $4::boolean[], $5::uuid[])
    WITH ORDINALITY AS h (kind, job_id, array_index, succeeded, after, ordinal)
ORDER BY h.ordinal

-- name: unkept
-- Happenings that could not be kept where they belong.
SELECT kind, job_id, array_index, succeeded, after FROM unkept_happenings

-- name: forget_unkept
DELETE FROM unkept_happenings

-- name: put_unkept
-- $1 kinds, $2 job ids, $3 indexes, $4 succeeded or NULL, $5 after or NULL
INSERT INTO unkept_happenings (kind, job_id, array_index, succeeded, after)
SELECT * FROM unnest($1::text[], $2::uuid[], $3::integer[], $4::boolean[], $5::uuid[])
