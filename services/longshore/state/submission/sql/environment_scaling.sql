-- name: settle
-- Sets desiredvCpus, unless a client changed it meanwhile.
-- $1 environment, $2 what was read, $3 new
UPDATE compute_environments SET desiredv_cpus = $3
WHERE name = $1 AND coalesce(desiredv_cpus, 0) = $2

-- name: set_status
-- Whoever places jobs in the environment is told.
-- $1 environment, $2 what was read, $3 new, $4 reason
WITH changed AS (
    UPDATE compute_environments SET status = $3, status_reason = $4
    WHERE name = $1 AND status = $2
    RETURNING name)
SELECT pg_notify('longshore_environments', '') FROM changed

-- name: delete_unused
-- Removes a compute environment with nothing left in it, and says whether it did. Whoever watches environments is told.
-- $1 name
WITH gone AS (
    DELETE FROM compute_environments
    WHERE name = $1
        AND NOT EXISTS (
            SELECT FROM instances WHERE instances.compute_environment = $1 AND instances.ended_at IS NULL
        )
        AND NOT EXISTS (
            SELECT FROM agents WHERE agents.compute_environment = $1 AND agents.status <> 'LOST'
        )
        -- What an open order gets would belong to nobody.
        AND NOT EXISTS (
            SELECT FROM capacity_orders o WHERE o.compute_environment = $1 AND o.closed_at IS NULL
        )
    RETURNING name)
SELECT name, pg_notify('longshore_environments', '') FROM gone
