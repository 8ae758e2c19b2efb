-- name: find_waiting
-- A job as it is now. Those that are over and history are left out.
-- $1 job id
SELECT job.job_queue, job.share_identifier, job.status, job.num_nodes, spec.detail
FROM jobs AS job JOIN job_specs AS spec USING (job_id)
WHERE job.job_id = $1 AND job.array_index = -1;

-- name: claim_update
-- Begins to record a change, before what it is made from is read; no row while another one of the job is under way.
-- $1 job id
INSERT INTO job_updates (job_id) VALUES ($1) ON CONFLICT (job_id) WHERE outcome IS NULL DO NOTHING RETURNING update_id;

-- name: fill_update
-- Records a change for the scheduler to decide; NULL leaves a member as it is.
-- $1 change
-- $2 queue
-- $3 share, '' for none
-- $4 priority
-- $5 vCPU in thousandths
-- $6 memory in MiB
-- $7 GPUs
-- $8 timeout in seconds
-- $9 members of the detail
-- $10 container, serialized
UPDATE job_updates SET job_queue = $2, share_identifier = $3, priority = $4, vcpu_milli = $5, memory_mib = $6, gpus = $7,
    timeout_seconds = $8, detail = $9, container = $10
WHERE update_id = $1;

-- name: take_outcome
-- Takes away what became of a change; no row while it is not decided.
-- $1 change
DELETE FROM job_updates WHERE update_id = $1 AND outcome IS NOT NULL RETURNING outcome;

-- name: withdraw_update
-- Takes a change back that is not decided; no row if it is.
-- $1 change
DELETE FROM job_updates WHERE update_id = $1 AND outcome IS NULL RETURNING update_id;

-- name: prune_updates
-- Forgets changes that are decided and whose outcome nobody took; how many.
-- $1 after how many seconds
WITH gone AS (
    DELETE FROM job_updates WHERE outcome IS NOT NULL AND created_at <= now() - make_interval(secs => $1::float8)
    RETURNING 1
)
SELECT count(*) FROM gone;

-- name: notify_jobs
-- Wakes the scheduler when the transaction is committed.
SELECT pg_notify('longshore_jobs', '');
