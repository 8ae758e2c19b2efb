-- name: insert_environment
-- Stores a compute environment; a name that is taken is left alone and returns no row.
-- $1 name
-- $2 uuid
-- $3 type
-- $4 state
-- $5 status reason
-- $6 detail
-- $7 type of its resources, NULL for UNMANAGED
-- $8 minvCpus
-- $9 maxvCpus
-- $10 desiredvCpus
-- $11 unmanagedvCpus
-- $12 tags
-- $13 status
INSERT INTO compute_environments (
    name, uuid, type, state, status, status_reason, detail, resource_type, minv_cpus, maxv_cpus,
    desiredv_cpus, unmanagedv_cpus, tags
)
VALUES ($1, $2, $3, $4, $13, $5, $6, $7, $8, $9, $10, $11, $12)
ON CONFLICT DO NOTHING
RETURNING name;

-- name: read_environments
-- Compute environments by name.
-- $1 names
SELECT * FROM compute_environments WHERE name = ANY ($1::text[]) ORDER BY name;

-- name: list_environments
-- Compute environments in order of their names.
-- $1 only those after this name
-- $2 how many at most
SELECT * FROM compute_environments WHERE name > $1 ORDER BY name LIMIT $2;

-- name: lock_environments
-- Compute environments by name, held still until the transaction ends.
-- $1 names
SELECT * FROM compute_environments WHERE name = ANY ($1::text[]) ORDER BY name FOR NO KEY UPDATE;

-- name: update_environment
-- Writes everything of a compute environment that may change.
-- $1 name
-- $2 state
-- $3 detail
-- $4 type of its resources
-- $5 minvCpus
-- $6 maxvCpus
-- $7 desiredvCpus
-- $8 unmanagedvCpus
-- $9 status
-- $10 status reason
-- $11 generation
-- $12 when its infrastructure was last updated
UPDATE compute_environments
SET state = $2, detail = $3, resource_type = $4, minv_cpus = $5, maxv_cpus = $6, desiredv_cpus = $7,
    unmanagedv_cpus = $8, status = $9, status_reason = $10, generation = $11,
    infrastructure_updated_at = $12
WHERE name = $1;

-- name: count_queues
-- How many queues name a compute environment.
-- $1 name
SELECT count(*) FROM job_queue_environments WHERE compute_environment = $1;

-- name: begin_deletion
-- Marks a compute environment: its instances go, then its row.
-- $1 name
UPDATE compute_environments SET status = 'DELETING', status_reason = '' WHERE name = $1;

-- name: notify_environments
-- Wakes who watches environments and queues when the transaction is committed.
SELECT pg_notify('longshore_environments', '');
