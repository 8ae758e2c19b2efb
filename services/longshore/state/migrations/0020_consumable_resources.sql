-- Consumable resources, what jobs need of them, and what is in use.

-- ---------------------------------------------------------------- submission

CREATE TABLE consumable_resources (
    name text PRIMARY KEY CHECK (name ~ '^[0-9A-Za-z][0-9A-Za-z_-]{0,127}$'),
    resource_type text NOT NULL CHECK (resource_type IN ('REPLENISHABLE', 'NON_REPLENISHABLE')),
    -- Of a NON_REPLENISHABLE one what is left: the scheduler takes off what its placements use up.
    total_quantity bigint NOT NULL CONSTRAINT consumable_resources_total CHECK (total_quantity >= 0),
    tags jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT now()
);

-- Changes that were made under a token of the caller's: asked for again, they are not made again.
CREATE TABLE consumable_updates (
    resource text NOT NULL REFERENCES consumable_resources ON DELETE CASCADE,
    client_token text NOT NULL,
    operation text NOT NULL,
    quantity bigint,
    total_quantity bigint NOT NULL,
    at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (resource, client_token)
);

-- What each job needs of consumable resources, as `name=quantity` in order of the names, with commas between.
ALTER TABLE shapes ADD COLUMN consumables text NOT NULL DEFAULT '';
ALTER TABLE shapes DROP CONSTRAINT shapes_key;
ALTER TABLE shapes ADD CONSTRAINT shapes_key UNIQUE (job_queue, vcpu_milli, memory_mib, gpus, nodes, instance_type,
    priority, share_identifier, array_job, max_running, consumables);

-- Which jobs need a resource: single jobs, multi-node jobs and array parents. Rows go with the jobs' history.
CREATE TABLE job_consumables (
    resource text NOT NULL,
    seq bigint NOT NULL,
    job_id uuid NOT NULL,
    quantity bigint NOT NULL CHECK (quantity > 0),
    PRIMARY KEY (resource, seq)
);
CREATE INDEX job_consumables_job ON job_consumables (job_id);

-- Drops the partitions of a week, and what else is of its jobs.
CREATE OR REPLACE FUNCTION drop_history(week date) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    name text;
BEGIN
    name := 'jobs_of_' || to_char(week, 'YYYYMMDD');
    IF to_regclass(name) IS NOT NULL THEN
        EXECUTE format('DELETE FROM job_consumables c USING %I j WHERE j.job_id = c.job_id AND j.array_index = -1', name);
    END IF;
    FOREACH name IN ARRAY ARRAY['jobs', 'job_specs', 'array_jobs', 'attempts', 'job_events'] LOOP
        EXECUTE format('DROP TABLE IF EXISTS %I', format('%s_of_%s', name, to_char(week, 'YYYYMMDD')));
    END LOOP;
END
$$;

-- ---------------------------------------------------------------- scheduler

-- What live attempts hold of resources, whatever their types; nothing is held of one without a row. It follows from
-- the attempts, and is written in the transactions that change them.
CREATE TABLE consumable_usages (
    resource text PRIMARY KEY,
    held bigint NOT NULL CHECK (held > 0)
) WITH (fillfactor = 50);

ALTER TABLE demand DROP CONSTRAINT demand_why_check;
ALTER TABLE demand ADD CONSTRAINT demand_why_check CHECK (why IN ('NO_ENVIRONMENT', 'DISABLED', 'INVALID',
    'MAX_RESOURCE', 'TOO_LARGE', 'UNSUPPORTED', 'NO_CAPACITY', 'NO_INSTANCE', 'NO_ROOM', 'CAPPED', 'NO_UNITS'));
