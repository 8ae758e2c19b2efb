-- name: queue_names
-- All queues, in order.
SELECT name FROM job_queues ORDER BY name;

-- name: select_jobs
-- Those of the next so many unfinished jobs of a queue that are selected, and where to go on. In the order of submission
-- over all statuses at once: a job that changes its status is neither missed nor met twice.
-- $1 queue
-- $2 statuses
-- $3 after which seq
-- $4 how many are looked at
-- $5 LIKE pattern of names, NULL for any
-- $6 definition, NULL for any
-- $7 its revision, NULL for any
-- $8 submitted at or after, NULL for any time
-- $9 submitted before, NULL for any time
-- $10 tags
-- $11 share, NULL for any
-- $12 whether they are to be terminated; else cancelled
WITH page AS MATERIALIZED (
    SELECT found.* FROM unnest($2::text[]) AS wanted (status)
    CROSS JOIN LATERAL (
        SELECT * FROM jobs
        WHERE jobs.job_queue = $1 AND jobs.status = wanted.status AND jobs.array_index = -1 AND jobs.seq > $3
        ORDER BY jobs.seq LIMIT $4
    ) AS found
    ORDER BY found.seq LIMIT $4
), judged AS (
    SELECT page.job_id, page.seq, page.array_size,
        ($5::text IS NULL OR page.name LIKE $5)
        AND ($6::text IS NULL OR page.definition_name = $6)
        AND ($7::integer IS NULL OR page.definition_revision = $7)
        AND ($8::timestamptz IS NULL OR page.created_at >= $8)
        AND ($9::timestamptz IS NULL OR page.created_at < $9)
        AND ($11::text IS NULL OR page.share_identifier = $11)
        AND NOT page.is_terminated AND ($12 OR NOT page.is_cancelled)
        AND ($10::jsonb = '{}' OR EXISTS (
            SELECT FROM job_specs AS spec WHERE spec.job_id = page.job_id AND spec.tags @> $10
        ))
        AND NOT EXISTS (
            SELECT FROM job_requests AS request
            WHERE request.job_id = page.job_id AND request.array_index = -1
                AND (request.kind = 'TERMINATE' OR (request.kind = 'CANCEL' AND NOT $12))
        ) AS is_selected
    FROM page
)
SELECT count(*) AS looked_at, max(seq) AS last_seq,
    coalesce(array_agg(job_id ORDER BY seq) FILTER (WHERE is_selected), '{}') AS job_ids,
    coalesce(sum(array_size) FILTER (WHERE is_selected), 0) AS children
FROM judged;
