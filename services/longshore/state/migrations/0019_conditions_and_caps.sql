-- How what is waited for has to end.
ALTER TABLE job_dependencies ADD COLUMN condition text NOT NULL DEFAULT 'SUCCESS'
    CHECK (condition IN ('SUCCESS', 'COMPLETE', 'FAILURE'));

-- How many jobs of a queue run at one time; 0 for any number.
ALTER TABLE job_queues ADD COLUMN max_running integer NOT NULL DEFAULT 0 CHECK (max_running >= 0);

-- An array with a cap has a shape to itself: how many of its children run at one time.
ALTER TABLE shapes ADD COLUMN array_job uuid NOT NULL DEFAULT '00000000-0000-0000-0000-000000000000';
ALTER TABLE shapes ADD COLUMN max_running integer NOT NULL DEFAULT 0 CHECK (max_running >= 0);
ALTER TABLE shapes DROP CONSTRAINT shapes_key;
ALTER TABLE shapes ADD CONSTRAINT shapes_key UNIQUE (job_queue, vcpu_milli, memory_mib, gpus, nodes, instance_type,
    priority, share_identifier, array_job, max_running);

ALTER TABLE demand DROP CONSTRAINT demand_why_check;
ALTER TABLE demand ADD CONSTRAINT demand_why_check CHECK (why IN ('NO_ENVIRONMENT', 'DISABLED', 'INVALID',
    'MAX_RESOURCE', 'TOO_LARGE', 'UNSUPPORTED', 'NO_CAPACITY', 'NO_INSTANCE', 'NO_ROOM', 'CAPPED'));
