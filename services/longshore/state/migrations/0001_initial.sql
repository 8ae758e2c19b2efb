-- The whole first schema. Names of resources, never ARNs: an ARN is made where it is shown.
-- Who writes what: submission the first block, scheduler the second, provisioning and scaler the third.

-- One row: what tells this installation from others that get instances from the same cloud account.
CREATE TABLE stack (
    stack_id uuid NOT NULL DEFAULT gen_random_uuid(),
    is_only boolean PRIMARY KEY DEFAULT true CHECK (is_only)
);
INSERT INTO stack DEFAULT VALUES;

CREATE TABLE compute_environments (
    name text PRIMARY KEY CHECK (name ~ '^[0-9A-Za-z][0-9A-Za-z_-]{0,127}$'),
    uuid uuid NOT NULL,
    type text NOT NULL CHECK (type IN ('MANAGED', 'UNMANAGED')),
    state text NOT NULL CHECK (state IN ('ENABLED', 'DISABLED')),
    status text NOT NULL CHECK (status IN ('CREATING', 'UPDATING', 'DELETING', 'DELETED', 'VALID', 'INVALID')),
    status_reason text NOT NULL DEFAULT '',
    -- The AWS-shaped detail as JSON, without the members that have a column here.
    detail jsonb NOT NULL,
    -- Members of computeResources that decisions read. NULL for UNMANAGED.
    resource_type text CHECK (resource_type IN ('EC2', 'SPOT', 'FARGATE', 'FARGATE_SPOT')),
    minv_cpus integer CHECK (minv_cpus >= 0),
    maxv_cpus integer CHECK (maxv_cpus >= 0),
    -- Written by the scaler after creation; a client may only raise it.
    desiredv_cpus integer CHECK (desiredv_cpus >= 0),
    unmanagedv_cpus integer CHECK (unmanagedv_cpus >= 0),
    tags jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT now(),
    -- Counts infrastructure updates. Instances of an earlier generation are replaced.
    generation integer NOT NULL DEFAULT 1,
    -- Of the last infrastructure update.
    infrastructure_updated_at timestamptz
);

CREATE TABLE job_queues (
    name text PRIMARY KEY CHECK (name ~ '^[0-9A-Za-z][0-9A-Za-z_-]{0,127}$'),
    state text NOT NULL CHECK (state IN ('ENABLED', 'DISABLED')),
    status text NOT NULL CHECK (status IN ('CREATING', 'UPDATING', 'DELETING', 'DELETED', 'VALID', 'INVALID')),
    status_reason text NOT NULL DEFAULT '',
    priority integer NOT NULL CHECK (priority >= 0),
    detail jsonb NOT NULL DEFAULT '{}',
    tags jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE job_queue_environments (
    job_queue text NOT NULL REFERENCES job_queues ON DELETE CASCADE,
    compute_environment text NOT NULL
        CONSTRAINT job_queue_environments_environment_fkey REFERENCES compute_environments,
    ordinal integer NOT NULL,
    PRIMARY KEY (job_queue, compute_environment),
    UNIQUE (job_queue, ordinal)
);
CREATE INDEX job_queue_environments_environment ON job_queue_environments (compute_environment);

CREATE TABLE job_definitions (
    name text NOT NULL CHECK (name ~ '^[0-9A-Za-z][0-9A-Za-z_-]{0,127}$'),
    revision integer NOT NULL CHECK (revision > 0),
    status text NOT NULL CHECK (status IN ('ACTIVE', 'INACTIVE')),
    type text NOT NULL CHECK (type IN ('container', 'multinode')),
    detail jsonb NOT NULL,
    tags jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT now(),
    deregistered_at timestamptz,
    PRIMARY KEY (name, revision)
);

-- Jobs with the same needs in the same queue: what is scheduled. Rows are few and never deleted.
CREATE TABLE shapes (
    shape_id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    job_queue text NOT NULL,
    vcpu_milli bigint NOT NULL CHECK (vcpu_milli > 0),
    memory_mib bigint NOT NULL CHECK (memory_mib > 0),
    gpus integer NOT NULL CHECK (gpus >= 0),
    -- Above 0: multi-node jobs, whose nodes need so much each, on as many instances of one type.
    nodes integer NOT NULL DEFAULT 0 CHECK (nodes BETWEEN 0 AND 1000),
    -- The only type that will do, for multi-node jobs; '' for any.
    instance_type text NOT NULL DEFAULT '',
    priority integer NOT NULL DEFAULT 0,
    UNIQUE (job_queue, vcpu_milli, memory_mib, gpus, nodes, instance_type, priority)
);

-- array_index is -1 for a single job, a multi-node job or an array parent, else the index of a child. A child has a
-- row here from the moment it differs from its siblings, which is its placement at the latest. Nodes have none: they
-- are where their job is, and from its placement on where their attempts are.
CREATE TABLE jobs (
    job_id uuid NOT NULL,
    array_index integer NOT NULL DEFAULT -1 CHECK (array_index >= -1),
    -- Order of submission; children carry their parent's.
    seq bigint NOT NULL,
    job_queue text NOT NULL,
    shape_id integer NOT NULL REFERENCES shapes,
    name text NOT NULL,
    definition_name text NOT NULL,
    definition_revision integer NOT NULL,
    -- NULL unless this is an array parent.
    array_size integer CHECK (array_size BETWEEN 2 AND 10000),
    -- NULL unless this is a multi-node job.
    num_nodes integer CHECK (num_nodes BETWEEN 1 AND 1000),
    main_node integer CHECK (main_node >= 0 AND main_node < num_nodes),
    status text NOT NULL CHECK (status IN
        ('SUBMITTED', 'PENDING', 'RUNNABLE', 'STARTING', 'RUNNING', 'SUCCEEDED', 'FAILED')),
    status_reason text,
    -- Attempts placed so far: the number of the latest.
    attempt integer NOT NULL DEFAULT 0,
    attempts_max integer NOT NULL DEFAULT 1 CHECK (attempts_max BETWEEN 1 AND 10),
    timeout_seconds integer,
    -- Dependencies still to succeed; set on admission.
    dependencies_left integer NOT NULL DEFAULT 0 CHECK (dependencies_left >= 0),
    is_cancelled boolean NOT NULL DEFAULT false,
    is_terminated boolean NOT NULL DEFAULT false,
    -- Why the caller cancelled or terminated: becomes the status reason.
    request_reason text,
    exit_code integer,
    reason text,
    created_at timestamptz NOT NULL DEFAULT now(),
    started_at timestamptz,
    stopped_at timestamptz,
    PRIMARY KEY (job_id, array_index),
    CHECK (array_index = -1 OR array_size IS NULL),
    CHECK (num_nodes IS NULL OR (array_index = -1 AND array_size IS NULL)),
    CHECK ((num_nodes IS NULL) = (main_node IS NULL)),
    CHECK ((status IN ('SUCCEEDED', 'FAILED')) = (stopped_at IS NOT NULL)),
    CHECK (attempt <= attempts_max)
) WITH (fillfactor = 85);
CREATE SEQUENCE job_seq;
-- Not yet admitted, in order.
CREATE INDEX jobs_submitted ON jobs (seq) WHERE status = 'SUBMITTED';
-- Listing a queue by status, newest first.
CREATE INDEX jobs_listing ON jobs (job_queue, status, seq DESC) WHERE array_index = -1;

-- What was submitted, resolved: the AWS-shaped JobDetail members that never change, as JSON. Shared by all children.
CREATE TABLE job_specs (
    job_id uuid PRIMARY KEY,
    detail jsonb NOT NULL,
    -- detail's container once more, as a serialized longshore.v1.ContainerProperties: sent to agents as it is. Of a
    -- multi-node job NULL, and its nodeProperties as a serialized longshore.v1.NodeProperties.
    container bytea,
    nodes bytea,
    CHECK ((container IS NULL) <> (nodes IS NULL)),
    tags jsonb NOT NULL DEFAULT '{}'
);

CREATE TABLE job_dependencies (
    job_id uuid NOT NULL,
    ordinal integer NOT NULL CHECK (ordinal BETWEEN 0 AND 19),
    -- NULL for SEQUENTIAL without a job id.
    depends_on uuid,
    depends_on_index integer NOT NULL DEFAULT -1,
    -- PLAIN waits for the whole; N_TO_N for the child of the same index; SEQUENTIAL for the child before.
    type text NOT NULL CHECK (type IN ('PLAIN', 'N_TO_N', 'SEQUENTIAL')),
    PRIMARY KEY (job_id, ordinal)
);
CREATE INDEX job_dependencies_depends_on ON job_dependencies (depends_on) WHERE depends_on IS NOT NULL;

-- Cancel and terminate as users asked for them, until the scheduler has acted on them.
CREATE TABLE job_requests (
    request_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    job_id uuid NOT NULL,
    array_index integer NOT NULL DEFAULT -1,
    kind text NOT NULL CHECK (kind IN ('CANCEL', 'TERMINATE')),
    reason text NOT NULL CHECK (length(reason) BETWEEN 1 AND 1024),
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX job_requests_job ON job_requests (job_id, array_index);

-- ---------------------------------------------------------------- scheduler

-- Who may decide for a scheduling domain. Every transaction of the holder checks the token.
CREATE TABLE leases (
    domain text PRIMARY KEY,
    token bigint NOT NULL,
    holder text NOT NULL,
    -- Since when it was held without a gap.
    since timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at timestamptz NOT NULL
);

-- Dispatchable jobs: a single job, one child, or the next children of an array as one row. rank -1 is a retried
-- job at the front of its queue.
CREATE TABLE ready (
    job_queue text NOT NULL,
    rank smallint NOT NULL DEFAULT 0,
    seq bigint NOT NULL,
    -- -1 and 0 for a single job; else children from next_index up to end_index, exclusive.
    next_index integer NOT NULL,
    end_index integer NOT NULL,
    job_id uuid NOT NULL,
    shape_id integer NOT NULL,
    ready_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (job_queue, rank, seq, next_index),
    CHECK (next_index < end_index),
    CHECK (next_index >= -1)
);
CREATE INDEX ready_shape ON ready (shape_id, rank, seq, next_index);
CREATE INDEX ready_job ON ready (job_id);

-- RUNNABLE jobs by shape, and why the first of them is not placed. Kept in the transactions that change `ready`.
CREATE TABLE demand (
    shape_id integer PRIMARY KEY REFERENCES shapes,
    runnable bigint NOT NULL CHECK (runnable >= 0),
    -- AWS's words for what blocks the shape, NULL if nothing does.
    blocked_reason text,
    -- For a person: counts of instances by what they lack.
    explanation text,
    changed_at timestamptz NOT NULL DEFAULT now()
);

-- Array parents: counts of children by status, kept by the transactions that move children.
CREATE TABLE array_jobs (
    job_id uuid PRIMARY KEY,
    size integer NOT NULL CHECK (size BETWEEN 2 AND 10000),
    pending integer NOT NULL CHECK (pending >= 0),
    runnable integer NOT NULL CHECK (runnable >= 0),
    starting integer NOT NULL CHECK (starting >= 0),
    running integer NOT NULL CHECK (running >= 0),
    succeeded integer NOT NULL CHECK (succeeded >= 0),
    failed integer NOT NULL CHECK (failed >= 0),
    sequential boolean NOT NULL DEFAULT false,
    spawned_at timestamptz NOT NULL DEFAULT now(),
    changed_at timestamptz NOT NULL DEFAULT now(),
    CHECK (pending + runnable + starting + running + succeeded + failed = size)
) WITH (fillfactor = 50);

-- Children that wait for more than one N_TO_N dependency: how many are left.
CREATE TABLE array_waits (
    job_id uuid NOT NULL,
    array_index integer NOT NULL,
    dependencies_left integer NOT NULL CHECK (dependencies_left > 0),
    PRIMARY KEY (job_id, array_index)
);

CREATE TABLE agents (
    instance_id text PRIMARY KEY,
    compute_environment text NOT NULL,
    instance_type text NOT NULL,
    architecture text NOT NULL,
    runtime text NOT NULL CHECK (runtime IN ('docker', 'process', 'simulated')),
    unmanaged boolean NOT NULL,
    vcpu_milli bigint NOT NULL,
    memory_mib bigint NOT NULL,
    gpus integer NOT NULL,
    address text NOT NULL DEFAULT '',
    agent_version text NOT NULL DEFAULT '',
    -- READY takes attempts, DRAINING none, LOST is given up.
    status text NOT NULL CHECK (status IN ('READY', 'DRAINING', 'LOST')),
    registered_at timestamptz NOT NULL DEFAULT now(),
    last_seen_at timestamptz NOT NULL DEFAULT now(),
    -- When the last attempt on it ended, NULL if none ever ran.
    idle_since timestamptz,
    -- Attempts live on it now.
    live_attempts integer NOT NULL DEFAULT 0,
    -- The agent was told that its instance will be taken away: why, and when.
    notice text,
    notice_at timestamptz
) WITH (fillfactor = 50);
CREATE INDEX agents_environment ON agents (compute_environment) WHERE status <> 'LOST';
CREATE INDEX agents_unmanaged ON agents (instance_id) WHERE unmanaged AND status <> 'LOST';
CREATE INDEX agents_lost ON agents (instance_id) WHERE status = 'LOST';
CREATE INDEX agents_noticed ON agents (instance_id) WHERE notice IS NOT NULL;

-- Of a multi-node job each node has its own, under array_index -2 for node 0, -3 for node 1 and so on. All of one try
-- have the number of their job's attempt.
CREATE TABLE attempts (
    job_id uuid NOT NULL,
    array_index integer NOT NULL,
    attempt integer NOT NULL CHECK (attempt > 0),
    -- 32 hexadecimal digits.
    attempt_id text NOT NULL,
    instance_id text NOT NULL,
    compute_environment text NOT NULL,
    status text NOT NULL CHECK (status IN ('STARTING', 'RUNNING', 'ENDED')),
    vcpu_milli bigint NOT NULL,
    memory_mib bigint NOT NULL,
    gpus integer NOT NULL,
    log_stream_name text NOT NULL,
    placed_at timestamptz NOT NULL DEFAULT now(),
    started_at timestamptz,
    stopped_at timestamptz,
    -- Set when the attempt was told to stop: why, and what becomes its status reason.
    stop_kind text CHECK (stop_kind IN ('TERMINATED', 'TIMED_OUT', 'HOST_TERMINATED', 'MAIN_NODE_ENDED')),
    stop_reason text,
    -- Under which other nodes reach it; of nodes of multi-node jobs alone, from RUNNING on.
    address text,
    exit_code integer,
    reason text,
    status_reason text,
    PRIMARY KEY (job_id, array_index, attempt),
    CHECK ((status = 'ENDED') = (stopped_at IS NOT NULL)),
    CHECK ((stop_kind IS NULL) = (stop_reason IS NULL))
) WITH (fillfactor = 85);
-- At most one live attempt of a job, whatever happens.
CREATE UNIQUE INDEX attempts_one_live ON attempts (job_id, array_index) WHERE status <> 'ENDED';
CREATE INDEX attempts_live_on_instance ON attempts (instance_id) WHERE status <> 'ENDED';

-- What happened to jobs, append-only.
CREATE TABLE job_events (
    event_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    job_id uuid NOT NULL,
    array_index integer NOT NULL,
    attempt integer NOT NULL,
    status text NOT NULL,
    status_reason text,
    at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX job_events_job ON job_events (job_id, array_index);

-- ---------------------------------------------------------------- provisioning and scaler

CREATE TABLE capacity_orders (
    order_id uuid PRIMARY KEY,
    compute_environment text NOT NULL,
    -- Generation of the compute environment that the order was made for.
    generation integer NOT NULL DEFAULT 1,
    allocation_strategy text NOT NULL DEFAULT 'BEST_FIT',
    -- A quarter of a vCPU is the smallest that there is, so double precision is exact.
    target_vcpus double precision NOT NULL CHECK (target_vcpus > 0),
    -- The ordered list as JSON, and what could not be had.
    entries jsonb NOT NULL,
    errors jsonb NOT NULL DEFAULT '[]',
    reason text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    -- Until when provisioning asks its provider for it at the longest; NULL while it does not. A holder of the lease
    -- that died meanwhile leaves it as it is: the next one asks again.
    answering_until timestamptz,
    -- When provisioning answered it, or the scaler gave it up. A closed order gets nothing more.
    closed_at timestamptz
);
CREATE INDEX capacity_orders_open ON capacity_orders (order_id) WHERE closed_at IS NULL;
-- What is forgotten once it is old.
CREATE INDEX capacity_orders_closed ON capacity_orders (closed_at) WHERE closed_at IS NOT NULL;
CREATE INDEX capacity_orders_short ON capacity_orders (closed_at) WHERE errors <> '[]';

CREATE TABLE instances (
    instance_id text PRIMARY KEY CHECK (instance_id ~ '^i-[0-9a-f]{17}$'),
    order_id uuid NOT NULL REFERENCES capacity_orders,
    compute_environment text NOT NULL,
    provider text NOT NULL,
    -- The provider's own name for it, for instance a process id; NULL until launched.
    provider_id text,
    instance_type text NOT NULL,
    purchase_option text NOT NULL CHECK (purchase_option IN ('ON_DEMAND', 'SPOT')),
    zone text NOT NULL DEFAULT '',
    generation integer NOT NULL DEFAULT 1,
    vcpus double precision NOT NULL,
    memory_mib bigint NOT NULL,
    gpus integer NOT NULL DEFAULT 0,
    price_per_hour double precision NOT NULL,
    status text NOT NULL CHECK (status IN ('ORDERED', 'LAUNCHED', 'TERMINATING', 'TERMINATED', 'FAILED')),
    status_reason text NOT NULL DEFAULT '',
    ordered_at timestamptz NOT NULL DEFAULT now(),
    launched_at timestamptz,
    -- When the provider first showed it: one may say that it launched, and show it later or never.
    seen_at timestamptz,
    -- Of one that is over: when its agent registered; NULL if none did. Before that the agent's row has it.
    registered_at timestamptz,
    terminating_at timestamptz,
    -- TERMINATING: attempts still live then are stopped. NULL: they run to their end.
    drain_until timestamptz,
    -- TERMINATING after a notice: the provider ends it then, or we do, whatever runs.
    ends_at timestamptz,
    ended_at timestamptz,
    CHECK ((status IN ('TERMINATED', 'FAILED')) = (ended_at IS NOT NULL))
);
CREATE INDEX instances_live ON instances (compute_environment) WHERE ended_at IS NULL;
CREATE INDEX instances_ordered ON instances (compute_environment, ordered_at);
CREATE INDEX instances_order ON instances (order_id);
CREATE INDEX instances_ended ON instances (ended_at) WHERE ended_at IS NOT NULL;

-- What the provider last said of its pools. No row: the catalogue's price, and nothing known.
CREATE TABLE offers (
    provider text NOT NULL,
    instance_type text NOT NULL,
    zone text NOT NULL,
    purchase_option text NOT NULL CHECK (purchase_option IN ('ON_DEMAND', 'SPOT')),
    price_per_hour double precision NOT NULL CHECK (price_per_hour >= 0),
    -- From 0 to 1: how likely it is that the pool has room and keeps what it gave.
    depth double precision NOT NULL DEFAULT 1 CHECK (depth BETWEEN 0 AND 1),
    quoted_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (provider, instance_type, zone, purchase_option)
);

CREATE TABLE scaling_activities (
    activity_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    compute_environment text NOT NULL,
    -- The order that it made, if it made one.
    order_id uuid,
    desiredv_cpus integer NOT NULL,
    ordered integer NOT NULL,
    terminated integer NOT NULL,
    reason text NOT NULL,
    at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX scaling_activities_environment ON scaling_activities (compute_environment, activity_id);
CREATE INDEX scaling_activities_age ON scaling_activities (at) WHERE reason NOT LIKE 'INVALID: %';
-- When an environment was turned INVALID: failures count from there.
CREATE INDEX scaling_activities_invalid ON scaling_activities (compute_environment, at) WHERE reason LIKE 'INVALID: %';
