-- name: over
-- Jobs that are over for a while, in the order of their ends: how many rows each may have, and whether something live
-- still needs it.
-- $1 over before, $2 end and $3 id of the job after which to go on, $4 how many at most
SELECT j.job_id, j.stopped_at, coalesce(j.array_size, j.num_nodes, 1) AS size,
    EXISTS (SELECT FROM attempts a WHERE a.job_id = j.job_id AND a.status <> 'ENDED')
    OR EXISTS (SELECT FROM job_requests r WHERE r.job_id = j.job_id)
    OR EXISTS (SELECT FROM happenings h WHERE h.job_id = j.job_id)
    OR EXISTS (
        SELECT FROM job_dependencies d JOIN jobs w ON w.job_id = d.job_id AND w.array_index = -1
        WHERE d.depends_on = j.job_id AND w.stopped_at IS NULL
    ) AS is_needed
FROM jobs j
WHERE j.array_index = -1 AND j.stopped_at IS NOT NULL AND j.stopped_at < $1
    AND (j.stopped_at, j.job_id) > ($2::timestamptz, $3::uuid)
ORDER BY j.stopped_at, j.job_id
LIMIT $4

-- name: open_week
-- $1 the Monday
SELECT open_history($1::date)

-- name: weeks
SELECT week FROM history_weeks

-- name: is_needed
-- $1 the Monday
SELECT history_is_needed($1::date)

-- name: drop_week
-- $1 the Monday
SELECT drop_history($1::date)

-- name: move_jobs
-- $1 job ids, $2 days on which they ended
UPDATE all_jobs AS t SET ended_on = m.day FROM unnest($1::uuid[], $2::date[]) AS m (job_id, day)
WHERE t.job_id = m.job_id AND t.ended_on = 'infinity'

-- name: move_specs
-- $1 job ids, $2 days on which they ended
UPDATE all_job_specs AS t SET ended_on = m.day FROM unnest($1::uuid[], $2::date[]) AS m (job_id, day)
WHERE t.job_id = m.job_id AND t.ended_on = 'infinity'

-- name: move_arrays
-- $1 job ids, $2 days on which they ended
UPDATE all_array_jobs AS t SET ended_on = m.day FROM unnest($1::uuid[], $2::date[]) AS m (job_id, day)
WHERE t.job_id = m.job_id AND t.ended_on = 'infinity'

-- name: move_attempts
-- $1 job ids, $2 days on which they ended
UPDATE all_attempts AS t SET ended_on = m.day FROM unnest($1::uuid[], $2::date[]) AS m (job_id, day)
WHERE t.job_id = m.job_id AND t.ended_on = 'infinity'

-- name: move_events
-- $1 job ids, $2 days on which they ended
UPDATE all_job_events AS t SET ended_on = m.day FROM unnest($1::uuid[], $2::date[]) AS m (job_id, day)
WHERE t.job_id = m.job_id AND t.ended_on = 'infinity'

-- name: leave
-- Begins with an array too large to move at once: its parent goes first, so that whoever looks for it looks among all.
-- $1 job id, $2 day on which it ended, $3 size
INSERT INTO leaving_arrays (job_id, ended_on, size, next_index) VALUES ($1, $2, $3, 0)

-- name: leaving
-- The array that is on its way out and comes first.
SELECT job_id, ended_on, size, next_index FROM leaving_arrays ORDER BY ended_on, job_id LIMIT 1

-- name: move_parent
-- $1 job id, $2 day on which it ended
UPDATE all_jobs SET ended_on = $2 WHERE job_id = $1 AND array_index = -1 AND ended_on = 'infinity'

-- name: move_parent_events
-- $1 job id, $2 day on which it ended
UPDATE all_job_events SET ended_on = $2 WHERE job_id = $1 AND array_index = -1 AND ended_on = 'infinity'

-- name: move_children
-- $1 job id, $2 day on which it ended, $3 first index, $4 end
UPDATE all_jobs SET ended_on = $2
WHERE job_id = $1 AND array_index >= $3 AND array_index < $4 AND ended_on = 'infinity'

-- name: move_attempts_of_children
-- $1 job id, $2 day on which it ended, $3 first index, $4 end
UPDATE all_attempts SET ended_on = $2
WHERE job_id = $1 AND array_index >= $3 AND array_index < $4 AND ended_on = 'infinity'

-- name: move_events_of_children
-- $1 job id, $2 day on which it ended, $3 first index, $4 end
UPDATE all_job_events SET ended_on = $2
WHERE job_id = $1 AND array_index >= $3 AND array_index < $4 AND ended_on = 'infinity'

-- name: went_on
-- $1 job id, $2 index up to which its children have gone
UPDATE leaving_arrays SET next_index = $2 WHERE job_id = $1

-- name: has_left
-- $1 job id
DELETE FROM leaving_arrays WHERE job_id = $1

-- name: drop_dependencies
-- What a job waited for is in its submission's detail; the edges are for those that wait.
-- $1 job ids
DELETE FROM job_dependencies WHERE job_id = ANY($1::uuid[])

-- name: prune_costs
-- Forgets what attempts held that ended on days before one; $1 the day
DELETE FROM queue_costs WHERE day < $1

-- name: prune_shapes
-- Forgets shapes that no job among the live ones has.
-- $1 last used before this day, $2 how many at most
DELETE FROM shapes WHERE used_on < $1 AND shape_id IN (
    SELECT s.shape_id FROM shapes s
    WHERE s.used_on < $1 AND NOT EXISTS (SELECT FROM jobs j WHERE j.shape_id = s.shape_id)
        AND NOT EXISTS (SELECT FROM demand d WHERE d.shape_id = s.shape_id)
    LIMIT $2)
