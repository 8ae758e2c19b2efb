-- name: lock_environment_tags
-- $1 name
SELECT tags FROM compute_environments WHERE name = $1 FOR NO KEY UPDATE;

-- name: write_environment_tags
-- $1 tags
-- $2 name
UPDATE compute_environments SET tags = $1 WHERE name = $2;

-- name: lock_queue_tags
-- $1 name
SELECT tags FROM job_queues WHERE name = $1 FOR NO KEY UPDATE;

-- name: write_queue_tags
-- $1 tags
-- $2 name
UPDATE job_queues SET tags = $1 WHERE name = $2;

-- name: lock_policy_tags
-- $1 name
SELECT tags FROM scheduling_policies WHERE name = $1 FOR NO KEY UPDATE;

-- name: write_policy_tags
-- $1 tags
-- $2 name
UPDATE scheduling_policies SET tags = $1 WHERE name = $2;

-- name: lock_consumable_tags
-- $1 name
SELECT tags FROM consumable_resources WHERE name = $1 FOR NO KEY UPDATE;

-- name: write_consumable_tags
-- $1 tags
-- $2 name
UPDATE consumable_resources SET tags = $1 WHERE name = $2;

-- name: lock_definition_tags
-- $1 name
-- $2 revision
SELECT tags FROM job_definitions WHERE name = $1 AND revision = $2 FOR NO KEY UPDATE;

-- name: write_definition_tags
-- $1 tags
-- $2 name
-- $3 revision
UPDATE job_definitions SET tags = $1 WHERE name = $2 AND revision = $3;

-- name: lock_job_tags
-- $1 job id
SELECT tags FROM job_specs WHERE job_id = $1 FOR NO KEY UPDATE;

-- name: write_job_tags
-- $1 tags
-- $2 job id
UPDATE job_specs SET tags = $1 WHERE job_id = $2;
