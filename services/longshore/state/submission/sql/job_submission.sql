-- name: lock_queues
-- State, status and type of queues, held still until the transaction ends: a job enters no queue that is being closed.
-- $1 names
SELECT name, state, status, coalesce(detail ->> 'jobQueueType', 'ECS') AS type,
    scheduling_policy IS NOT NULL AS is_shared
FROM job_queues
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
-- Single jobs, multi-node jobs and array parents by id.
-- $1 job ids
SELECT job_id, name, job_queue, definition_name, definition_revision, array_size
FROM jobs WHERE array_index = -1 AND job_id = ANY ($1::uuid[]);

-- name: add_shapes
-- Makes the shapes that are not there, and notes that all are used.
-- $1 queues
-- $2 vCPU in thousandths
-- $3 memory in MiB
-- $4 GPUs
-- $5 numbers of nodes, 0 but for multi-node jobs
-- $6 instance types, '' for any
-- $7 priorities within shares
-- $8 shares, '' in queues without a policy
-- $9 arrays with a cap, a zero for others
-- $10 their caps, 0 for none
-- $11 needs of consumable resources, as text
INSERT INTO shapes (job_queue, vcpu_milli, memory_mib, gpus, nodes, instance_type, priority, share_identifier, array_job,
    max_running, consumables)
SELECT DISTINCT * FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::integer[], $5::integer[], $6::text[],
    $7::integer[], $8::text[], $9::uuid[], $10::integer[], $11::text[])
ON CONFLICT ON CONSTRAINT shapes_key
    DO UPDATE SET used_on = current_date WHERE shapes.used_on < current_date;

-- name: find_shapes
-- Ids of shapes.
-- $1 queues
-- $2 vCPU in thousandths
-- $3 memory in MiB
-- $4 GPUs
-- $5 numbers of nodes, 0 but for multi-node jobs
-- $6 instance types, '' for any
-- $7 priorities within shares
-- $8 shares, '' in queues without a policy
-- $9 arrays with a cap, a zero for others
-- $10 their caps, 0 for none
-- $11 needs of consumable resources, as text
SELECT shape.shape_id, shape.job_queue, shape.vcpu_milli, shape.memory_mib, shape.gpus, shape.nodes,
    shape.instance_type, shape.priority, shape.share_identifier, shape.array_job, shape.max_running, shape.consumables
FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::integer[], $5::integer[], $6::text[], $7::integer[],
    $8::text[], $9::uuid[], $10::integer[], $11::text[])
    AS wanted (job_queue, vcpu_milli, memory_mib, gpus, nodes, instance_type, priority, share_identifier, array_job,
    max_running, consumables)
JOIN shapes AS shape USING (job_queue, vcpu_milli, memory_mib, gpus, nodes, instance_type, priority, share_identifier,
    array_job, max_running, consumables);

-- name: find_resources
-- Those of some consumable resources that are there.
-- $1 names
SELECT name FROM consumable_resources WHERE name = ANY ($1::text[]);

-- name: insert_consumables
-- Notes which of the jobs just stored need which consumable resources.
-- $1 job ids
-- $2 resources
-- $3 quantities
INSERT INTO job_consumables (resource, seq, job_id, quantity)
SELECT given.resource, jobs.seq, given.job_id, given.quantity
FROM unnest($1::uuid[], $2::text[], $3::bigint[]) AS given (job_id, resource, quantity)
JOIN jobs ON jobs.job_id = given.job_id AND jobs.array_index = -1;

-- name: insert_jobs
-- Stores jobs in the order given and returns their ids; one whose id is taken is left out.
-- $1 job ids
-- $2 queues
-- $3 shape ids
-- $4 names
-- $5 names of definitions
-- $6 revisions
-- $7 sizes of arrays, NULL for others
-- $8 numbers of nodes of multi-node jobs, NULL for others
-- $9 indexes of their main nodes, NULL for others
-- $10 attempts allowed
-- $11 timeouts in seconds, NULL for none
-- $12 details as JSON text
-- $13 containers, serialized, NULL for jobs of several
-- $14 nodes of multi-node jobs, serialized, NULL for others
-- $15 tags as JSON text
-- $16 shares, NULL in queues without a policy
-- $17 containers of multi-container jobs, serialized, NULL for others
-- $18 the spans that they were submitted from, as traceparent and $19 tracestate, NULL for none
-- $20 who submits them, NULL for who is no user
WITH input AS (
    SELECT * FROM unnest(
        $1::uuid[], $2::text[], $3::integer[], $4::text[], $5::text[], $6::integer[], $7::integer[],
        $8::integer[], $9::integer[], $10::integer[], $11::integer[], $12::text[], $13::bytea[],
        $14::bytea[], $15::text[], $16::text[], $17::bytea[], $18::text[], $19::text[], $20::text[]
    ) WITH ORDINALITY AS given (
        job_id, job_queue, shape_id, name, definition_name, definition_revision, array_size,
        num_nodes, main_node, attempts_max, timeout_seconds, detail, container, nodes, tags,
        share_identifier, task, traceparent, tracestate, submitted_by, ordinal
    )
), added AS (
    INSERT INTO jobs (
        job_id, seq, job_queue, shape_id, name, definition_name, definition_revision, array_size,
        num_nodes, main_node, attempts_max, timeout_seconds, share_identifier, status
    )
    SELECT
        job_id, nextval('job_seq'), job_queue, shape_id, name, definition_name, definition_revision,
        array_size, num_nodes, main_node, attempts_max, timeout_seconds, share_identifier, 'SUBMITTED'
    FROM (SELECT * FROM input ORDER BY ordinal) AS ordered
    ON CONFLICT DO NOTHING
    RETURNING job_id
), specs AS (
    INSERT INTO job_specs (job_id, detail, container, nodes, task, tags, traceparent, tracestate, submitted_by)
    SELECT job_id, detail::jsonb, container, nodes, task, tags::jsonb, traceparent, tracestate, submitted_by
    FROM input JOIN added USING (job_id)
)
SELECT job_id FROM added;

-- name: insert_dependencies
-- What the jobs just stored wait for.
-- $1 job ids
-- $2 ordinals within each job
-- $3 jobs depended on, NULL for a sequence without one
-- $4 index of the child depended on, -1 for the whole job
-- $5 types
-- $6 conditions
INSERT INTO job_dependencies (job_id, ordinal, depends_on, depends_on_index, type, condition)
SELECT * FROM unnest($1::uuid[], $2::integer[], $3::uuid[], $4::integer[], $5::text[], $6::text[]);

-- name: notify_jobs
-- Wakes the scheduler when the transaction is committed.
SELECT pg_notify('longshore_jobs', '');
