-- name: queues
-- Every queue, with what stands first in it: since when its jobs have been RUNNABLE at the longest, and what blocks the
-- one that is next. Shape by shape the first entries are looked at and never all: those behind them came later, but
-- for few.
-- $1 entries of each shape and rank
SELECT q.name, w.runnable_since, b.code
FROM job_queues q
LEFT JOIN (
    SELECT s.job_queue, min(r.ready_at) AS runnable_since
    FROM demand d JOIN shapes s USING (shape_id)
    CROSS JOIN (VALUES (-1), (0)) AS k (rank)
    CROSS JOIN LATERAL (
        SELECT ready_at FROM ready WHERE ready.shape_id = d.shape_id AND ready.rank = k.rank
        ORDER BY seq, next_index LIMIT $1
    ) AS r
    GROUP BY 1
) AS w ON w.job_queue = q.name
LEFT JOIN LATERAL (
    SELECT split_part(d.blocked_reason, ' - ', 1) AS code
    FROM (SELECT shape_id FROM ready WHERE ready.job_queue = q.name ORDER BY rank, seq, next_index LIMIT 1) AS f
    JOIN demand d USING (shape_id)
    WHERE d.blocked_reason IS NOT NULL
) AS b ON true

-- name: jobs
-- Unfinished jobs by queue and status: children of arrays by their arrays' counts, every other job as itself.
WITH whole AS (
    SELECT job_queue, status, count(*) AS number FROM jobs
    WHERE array_index = -1 AND status IN ('SUBMITTED', 'PENDING', 'RUNNABLE', 'STARTING', 'RUNNING')
    GROUP BY 1, 2
), arrays AS (
    -- Their parents are PENDING until their last child ends.
    SELECT j.job_queue, count(*) AS parents, sum(a.pending) AS pending, sum(a.runnable) AS runnable,
        sum(a.starting) AS starting, sum(a.running) AS running
    FROM array_jobs a JOIN jobs j ON j.job_id = a.job_id AND j.array_index = -1
    WHERE j.status = 'PENDING' AND a.pending + a.runnable + a.starting + a.running > 0
    GROUP BY 1
)
SELECT job_queue, status, sum(number)::bigint AS number
FROM (
    SELECT job_queue, status, number FROM whole
    UNION ALL
    SELECT job_queue, 'PENDING', pending - parents FROM arrays
    UNION ALL
    SELECT job_queue, 'RUNNABLE', runnable FROM arrays
    UNION ALL
    SELECT job_queue, 'STARTING', starting FROM arrays
    UNION ALL
    SELECT job_queue, 'RUNNING', running FROM arrays
) AS counted
GROUP BY 1, 2

-- name: instances
-- Instances that are not over, alike ones together, with what they and those of them that run nothing cost an hour.
-- Machines that joined by themselves have neither zone nor purchase option, and their types are what they say.
SELECT compute_environment, instance_type, zone, purchase_option, status, count(*) AS number,
    sum(price_per_hour) AS cost_per_hour, coalesce(sum(price_per_hour) FILTER (WHERE is_idle), 0) AS idle_per_hour
FROM (
    SELECT i.compute_environment, i.instance_type, i.zone, i.purchase_option,
        CASE
            WHEN i.status <> 'LAUNCHED' THEN i.status
            WHEN a.status IS NULL THEN 'BOOTING'
            ELSE a.status
        END AS status,
        CASE WHEN i.launched_at IS NULL THEN 0 ELSE i.price_per_hour END AS price_per_hour,
        coalesce(a.live_attempts, 0) = 0 AS is_idle
    FROM instances i LEFT JOIN agents a USING (instance_id)
    WHERE i.ended_at IS NULL
    UNION ALL
    SELECT a.compute_environment, 'unmanaged', '', 'UNMANAGED', a.status, 0, false
    FROM agents a WHERE a.unmanaged AND a.status <> 'LOST'
) AS there
GROUP BY 1, 2, 3, 4, 5
