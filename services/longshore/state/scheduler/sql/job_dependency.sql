-- name: of_jobs
-- Dependencies of jobs, with the statuses of what they depend on: of the job, of its array
-- parent, and whether that is spawned.
-- $1 job ids
SELECT d.job_id, d.depends_on, d.depends_on_index, d.type, d.condition, u.status, p.status AS parent_status,
    a.job_id IS NOT NULL AS spawned
FROM job_dependencies d
LEFT JOIN jobs u ON u.job_id = d.depends_on AND u.array_index = d.depends_on_index
LEFT JOIN jobs p ON p.job_id = d.depends_on AND p.array_index = -1
LEFT JOIN array_jobs a ON a.job_id = d.depends_on
WHERE d.job_id = ANY($1::uuid[])

-- name: widths
-- How many dependencies jobs have, of those that have some.
-- $1 job ids
SELECT j.job_id, d.ordinal + 1 AS width FROM unnest($1::uuid[]) AS j (job_id)
CROSS JOIN LATERAL (
    SELECT ordinal FROM job_dependencies WHERE job_id = j.job_id ORDER BY ordinal DESC LIMIT 1
) AS d

-- name: depended_on
-- On which of some jobs others depend.
-- $1 job ids
SELECT u.job_id FROM unnest($1::uuid[]) AS u (job_id)
CROSS JOIN LATERAL (
    (SELECT d.job_id FROM job_dependencies d WHERE d.depends_on = u.job_id AND d.type <> 'N_TO_N'
    ORDER BY d.depends_on_index, d.job_id LIMIT 1)
    UNION ALL
    (SELECT d.job_id FROM job_dependencies d WHERE d.depends_on = u.job_id AND d.type = 'N_TO_N'
    ORDER BY d.job_id LIMIT 1)
    LIMIT 1
) AS any_of_them

-- name: dependents
-- Who waits for jobs that became final: a page of each, by the dependent's id. Of an array that never came to have
-- children also those who wait for its children.
-- $1 job ids, $2 indexes, $3 after which dependents, $4 limit of each
SELECT e.ordinal::integer - 1 AS position, d.job_id, d.paired, d.on_failure
FROM unnest($1::uuid[], $2::integer[], $3::uuid[]) WITH ORDINALITY AS e (job_id, array_index, after, ordinal)
CROSS JOIN LATERAL (SELECT e.array_index = -1
    AND NOT EXISTS (SELECT FROM array_jobs a WHERE a.job_id = e.job_id) AS childless) AS p
CROSS JOIN LATERAL (
    (SELECT x.job_id, false AS paired, bool_or(x.condition = 'FAILURE') AS on_failure FROM job_dependencies x
    WHERE x.depends_on = e.job_id AND x.depends_on_index = e.array_index AND x.type <> 'N_TO_N'
        AND x.job_id > e.after
    GROUP BY x.job_id ORDER BY x.job_id LIMIT $4)
    UNION ALL
    (SELECT x.job_id, true, bool_or(x.condition = 'FAILURE') FROM job_dependencies x
    WHERE x.depends_on = e.job_id AND x.type = 'N_TO_N' AND x.job_id > e.after
        AND (e.array_index >= 0 OR p.childless)
    GROUP BY x.job_id ORDER BY x.job_id LIMIT $4)
    UNION ALL
    (SELECT x.job_id, false, bool_or(x.condition = 'FAILURE') FROM job_dependencies x
    WHERE x.depends_on = e.job_id AND x.depends_on_index >= 0 AND x.type <> 'N_TO_N' AND p.childless
        AND x.job_id > e.after
    GROUP BY x.job_id ORDER BY x.job_id LIMIT $4)
    ORDER BY job_id LIMIT $4
) AS d
ORDER BY e.ordinal, d.job_id

-- name: downstream
-- Some jobs, and the waiting jobs that need their success as a whole, directly or through others, up to a limit. The parts
-- are written so that each is looked up by index for each job, whatever the planner believes.
-- $1 job ids, $2 limit
WITH RECURSIVE found AS (
    SELECT u.job_id FROM unnest($1::uuid[]) AS u (job_id)
    UNION
    SELECT e.job_id FROM found CROSS JOIN LATERAL (
        SELECT d.job_id FROM job_dependencies d
        WHERE d.depends_on = found.job_id AND d.depends_on_index = -1 AND d.type <> 'N_TO_N'
            AND d.condition = 'SUCCESS'
        ORDER BY d.job_id
    ) AS e
    WHERE (SELECT j.status = 'PENDING' AND j.dependencies_left > 0
        FROM jobs j WHERE j.job_id = e.job_id AND j.array_index = -1)
)
SELECT job_id FROM found LIMIT $2

-- name: rules
-- How the children of arrays wait.
-- $1 job ids
SELECT j.job_id, j.array_size, count(*) FILTER (WHERE d.type = 'N_TO_N') AS n_to_n,
    coalesce(bool_or(d.type = 'SEQUENTIAL'), false) AS sequential,
    coalesce(bool_and(d.condition = 'COMPLETE') FILTER (WHERE d.type = 'SEQUENTIAL'), false) AS on_any_end
FROM jobs j LEFT JOIN job_dependencies d USING (job_id)
WHERE j.job_id = ANY($1::uuid[]) AND j.array_index = -1 AND j.array_size IS NOT NULL
GROUP BY j.job_id, j.array_size
