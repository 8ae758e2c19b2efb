-- name: find_shares
-- Those of some shares that are known, kept from being forgotten until the transaction ends.
-- $1 queues
-- $2 shares
SELECT share.job_queue, share.share_identifier
FROM unnest($1::text[], $2::text[]) AS wanted (job_queue, share_identifier)
JOIN shares AS share USING (job_queue, share_identifier)
ORDER BY share.job_queue, share.share_identifier
FOR KEY SHARE OF share;

-- name: lock_shares
-- One transaction at a time counts shares and adds to them.
SELECT pg_advisory_xact_lock(hashtext('longshore.shares'));

-- name: count_shares
-- How many shares of queues are known.
-- $1 queues
SELECT job_queue, count(*) AS shares FROM shares WHERE job_queue = ANY ($1::text[]) GROUP BY job_queue;

-- name: forget_inactive
-- Forgets shares that are not active: they have no unfinished job, and ran none within the window of the policy and a
-- few minutes more. Those that another transaction submits to are passed over.
-- $1 queues
-- $2 window in seconds of policies that name none
-- $3 seconds for which shares are active beyond their window
DELETE FROM shares WHERE (job_queue, share_identifier) IN (
    SELECT share.job_queue, share.share_identifier
    FROM shares AS share
    JOIN job_queues AS queue ON queue.name = share.job_queue
    JOIN scheduling_policies AS policy ON policy.name = queue.scheduling_policy
    WHERE share.job_queue = ANY ($1::text[])
        AND NOT EXISTS (
            SELECT FROM jobs WHERE jobs.job_queue = share.job_queue
                AND jobs.share_identifier = share.share_identifier
                AND jobs.array_index = -1 AND jobs.stopped_at IS NULL
        )
        AND NOT EXISTS (
            SELECT FROM share_usages AS usage
            WHERE usage.job_queue = share.job_queue AND usage.share_identifier = share.share_identifier
                AND (usage.running_milli > 0 OR usage.used_at > now() - make_interval(secs =>
                    coalesce(nullif((policy.fairshare ->> 'shareDecaySeconds')::integer, 0), $2::integer)
                    + $3::integer))
        )
    FOR UPDATE OF share SKIP LOCKED
);

-- name: add_shares
-- $1 queues
-- $2 shares
INSERT INTO shares (job_queue, share_identifier) SELECT * FROM unnest($1::text[], $2::text[])
ON CONFLICT DO NOTHING;
