-- name: lock_queues
-- State, status and type of queues, held still until the transaction ends: a job enters no queue that is being closed.
-- $1 names
SELECT name, state, status, coalesce(detail ->> 'jobQueueType', 'ECS') AS type FROM job_queues
WHERE name = ANY ($1::text[]) ORDER BY name FOR SHARE;

-- name: find_revisions
-- The ACTIVE revision that each reference means; references that mean none have no row.
-- $1 names
-- $2 revisions, 0 for the newest
SELECT wanted.name AS wanted_name, wanted.revision AS wanted_revision, found.revision
FROM unnest($1::text[], $2::integer[]) AS wanted (name, revision)
CROSS JOIN LATERAL (
    SELECT definition.revision FROM job_definitions AS definition
    WHERE definition.name = wanted.name AND definition.status = 'ACTIVE'
        AND (wanted.revision = 0 OR definition.revision = wanted.revision)
    ORDER BY definition.revision DESC
    LIMIT 1
) AS found;

-- name: read_revisions
-- Details of revisions.
-- $1 names
-- $2 revisions
SELECT definition.name, definition.revision, definition.detail
FROM unnest($1::text[], $2::integer[]) AS wanted (name, revision)
JOIN job_definitions AS definition USING (name, revision);

-- name: find_jobs
-- Single jobs and array parents by id.
-- $1 job ids
SELECT job_id, name, job_queue, definition_name, definition_revision, array_size
FROM jobs WHERE array_index = -1 AND job_id = ANY ($1::uuid[]);

-- name: add_shapes
-- Makes the shapes that are not there.
-- $1 queues
-- $2 vCPU in thousandths
-- $3 memory in MiB
-- $4 GPUs
INSERT INTO shapes (job_queue, vcpu_milli, memory_mib, gpus)
SELECT DISTINCT * FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::integer[])
ON CONFLICT DO NOTHING;

-- name: find_shapes
-- Ids of shapes without constraints and of priority 0.
-- $1 queues
-- $2 vCPU in thousandths
-- $3 memory in MiB
-- $4 GPUs
SELECT shape.shape_id, shape.job_queue, shape.vcpu_milli, shape.memory_mib, shape.gpus
FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::integer[])
    AS wanted (job_queue, vcpu_milli, memory_mib, gpus)
JOIN shapes AS shape USING (job_queue, vcpu_milli, memory_mib, gpus)
WHERE shape.constraints = '' AND shape.priority = 0;

-- name: insert_jobs
-- Stores jobs in the order given and returns their ids; one whose id is taken is left out.
-- $1 job ids
-- $2 queues
-- $3 shape ids
-- $4 names
-- $5 names of definitions
-- $6 revisions
-- $7 sizes of arrays, NULL for single jobs
-- $8 attempts allowed
-- $9 timeouts in seconds, NULL for none
-- $10 details as JSON text
-- $11 containers, serialized
-- $12 tags as JSON text
WITH input AS (
    SELECT * FROM unnest(
        $1::uuid[], $2::text[], $3::integer[], $4::text[], $5::text[], $6::integer[], $7::integer[],
        $8::integer[], $9::integer[], $10::text[], $11::bytea[], $12::text[]
    ) WITH ORDINALITY AS given (
        job_id, job_queue, shape_id, name, definition_name, definition_revision, array_size,
        attempts_max, timeout_seconds, detail, container, tags, ordinal
    )
), added AS (
    INSERT INTO jobs (
        job_id, seq, job_queue, shape_id, name, definition_name, definition_revision, array_size,
        attempts_max, timeout_seconds, status
    )
    SELECT
        job_id, nextval('job_seq'), job_queue, shape_id, name, definition_name, definition_revision,
        array_size, attempts_max, timeout_seconds, 'SUBMITTED'
    FROM (SELECT * FROM input ORDER BY ordinal) AS ordered
    ON CONFLICT DO NOTHING
    RETURNING job_id
), specs AS (
    INSERT INTO job_specs (job_id, detail, container, tags)
    SELECT job_id, detail::jsonb, container, tags::jsonb FROM input JOIN added USING (job_id)
)
SELECT job_id FROM added;

-- name: insert_dependencies
-- What the jobs just stored wait for.
-- $1 job ids
-- $2 ordinals within each job
-- $3 jobs depended on, NULL for a sequence without one
-- $4 index of the child depended on, -1 for the whole job
-- $5 types
INSERT INTO job_dependencies (job_id, ordinal, depends_on, depends_on_index, type)
SELECT * FROM unnest($1::uuid[], $2::integer[], $3::uuid[], $4::integer[], $5::text[]);

-- name: notify_jobs
-- Wakes the scheduler when the transaction is committed.
SELECT pg_notify('longshore_jobs', '');
