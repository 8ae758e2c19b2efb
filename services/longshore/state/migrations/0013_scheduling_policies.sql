-- Fair share: policies, the shares of queues that have one, and what these have used.

-- ---------------------------------------------------------------- submission

CREATE TABLE scheduling_policies (
    name text PRIMARY KEY CHECK (name ~ '^[0-9A-Za-z][0-9A-Za-z_-]{0,127}$'),
    -- AWS's fairsharePolicy as it was given.
    fairshare jsonb NOT NULL,
    tags jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT now()
);

-- A queue has a policy from its creation to its end, or none; it may change to another one.
ALTER TABLE job_queues ADD COLUMN scheduling_policy text
    CONSTRAINT job_queues_scheduling_policy_fkey REFERENCES scheduling_policies;
CREATE INDEX job_queues_scheduling_policy ON job_queues (scheduling_policy) WHERE scheduling_policy IS NOT NULL;

-- Jobs of one share and priority wait apart from others. '' and 0 in queues without a policy.
ALTER TABLE shapes ADD COLUMN share_identifier text NOT NULL DEFAULT '';
ALTER TABLE shapes DROP CONSTRAINT shapes_job_queue_vcpu_milli_memory_mib_gpus_nodes_instance__key;
ALTER TABLE shapes ADD CONSTRAINT shapes_key
    UNIQUE (job_queue, vcpu_milli, memory_mib, gpus, nodes, instance_type, priority, share_identifier);

-- NULL in queues without a policy, and of children, which have their parent's.
ALTER TABLE all_jobs ADD COLUMN share_identifier text;
-- Whether a share has unfinished jobs.
CREATE INDEX jobs_of_share ON jobs (job_queue, share_identifier)
    WHERE share_identifier IS NOT NULL AND array_index = -1 AND stopped_at IS NULL;

-- Shares that may be active: those of which jobs were submitted. So many may be active at one time, and those that are
-- not go when another one comes.
CREATE TABLE shares (
    job_queue text NOT NULL REFERENCES job_queues ON DELETE CASCADE,
    share_identifier text NOT NULL,
    PRIMARY KEY (job_queue, share_identifier)
);

-- ---------------------------------------------------------------- scheduler

-- What shares use of vCPUs, and used on average lately: as of a moment, and true until what they use changes.
CREATE TABLE share_usages (
    job_queue text NOT NULL,
    share_identifier text NOT NULL,
    average double precision NOT NULL,
    running_milli bigint NOT NULL,
    as_of timestamptz NOT NULL,
    -- When it last used any.
    used_at timestamptz NOT NULL,
    PRIMARY KEY (job_queue, share_identifier)
) WITH (fillfactor = 50);
