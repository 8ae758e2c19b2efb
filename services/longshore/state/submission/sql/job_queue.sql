-- name: insert_queue
-- Stores a queue; a name that is taken is left alone and returns no row.
-- $1 name
-- $2 state
-- $3 status reason
-- $4 priority
-- $5 detail
-- $6 tags
-- $7 scheduling policy, NULL for none
-- $8 how many jobs run at one time, 0 for any number
INSERT INTO job_queues (name, state, status, status_reason, priority, detail, tags, scheduling_policy, max_running)
VALUES ($1, $2, 'VALID', $3, $4, $5, $6, $7, $8)
ON CONFLICT DO NOTHING
RETURNING name;

-- name: clear_order
-- Forgets the compute environments of a queue.
-- $1 queue
DELETE FROM job_queue_environments WHERE job_queue = $1;

-- name: insert_order
-- The compute environments of a queue.
-- $1 queue
-- $2 compute environments
-- $3 their order
INSERT INTO job_queue_environments (job_queue, compute_environment, ordinal)
SELECT $1, * FROM unnest($2::text[], $3::integer[]);

-- name: names
SELECT name FROM job_queues;

-- name: read_queues
-- Queues by name, with their compute environments.
-- $1 names
SELECT queue.*,
    ARRAY(
        SELECT part.compute_environment FROM job_queue_environments AS part
        WHERE part.job_queue = queue.name ORDER BY part.ordinal
    ) AS environments,
    ARRAY(
        SELECT part.ordinal FROM job_queue_environments AS part
        WHERE part.job_queue = queue.name ORDER BY part.ordinal
    ) AS ordinals
FROM job_queues AS queue WHERE queue.name = ANY ($1::text[]) ORDER BY queue.name;

-- name: list_queues
-- Queues in order of their names, with their compute environments.
-- $1 only those after this name
-- $2 how many at most
SELECT queue.*,
    ARRAY(
        SELECT part.compute_environment FROM job_queue_environments AS part
        WHERE part.job_queue = queue.name ORDER BY part.ordinal
    ) AS environments,
    ARRAY(
        SELECT part.ordinal FROM job_queue_environments AS part
        WHERE part.job_queue = queue.name ORDER BY part.ordinal
    ) AS ordinals
FROM job_queues AS queue WHERE queue.name > $1 ORDER BY queue.name LIMIT $2;

-- name: lock_queue
-- State, status and type of a queue, held still until the transaction ends.
-- $1 name
SELECT state, status, coalesce(detail ->> 'jobQueueType', 'ECS') AS type, scheduling_policy IS NOT NULL AS is_shared
FROM job_queues WHERE name = $1 FOR NO KEY UPDATE;

-- name: update_queue
-- Writes what is given of a queue.
-- $1 name
-- $2 state, NULL to keep it
-- $3 priority, NULL to keep it
-- $4 scheduling policy, NULL to keep it
-- $5 members of its detail that change
-- $6 how many jobs run at one time, 0 for any number, NULL to keep it
UPDATE job_queues SET state = coalesce($2, state), priority = coalesce($3, priority),
    scheduling_policy = coalesce($4, scheduling_policy), detail = detail || $5::jsonb,
    max_running = coalesce($6, max_running)
WHERE name = $1;

-- name: begin_deletion
-- Marks a queue: the scheduler ends its jobs, then removes its row.
-- $1 name
UPDATE job_queues SET status = 'DELETING', status_reason = '' WHERE name = $1;

-- name: notify_environments
-- Wakes who watches environments and queues when the transaction is committed.
SELECT pg_notify('longshore_environments', '');
