-- Which events are looked for, and who gets them: what EventBridge's API sets. The event service alone writes it.

CREATE TABLE event_buses (
    name text PRIMARY KEY CHECK (name ~ '^[/._A-Za-z0-9-]+$' AND length(name) <= 256),
    description text,
    -- Queue for what cannot be delivered where the target names none; NULL for none.
    dead_letter_arn text,
    tags jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT now(),
    changed_at timestamptz NOT NULL DEFAULT now()
);

INSERT INTO event_buses (name) VALUES ('default');

CREATE TABLE event_rules (
    bus text NOT NULL REFERENCES event_buses,
    name text NOT NULL CHECK (name ~ '^[._A-Za-z0-9-]{1,64}$'),
    -- Pattern and schedule as they were given: one at least.
    pattern text,
    schedule text,
    state text NOT NULL CHECK (state IN ('ENABLED', 'DISABLED', 'ENABLED_WITH_ALL_CLOUDTRAIL_MANAGEMENT_EVENTS')),
    description text,
    role_arn text,
    tags jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT now(),
    changed_at timestamptz NOT NULL DEFAULT now(),
    -- When the schedule makes its next event; NULL while it makes none.
    due_at timestamptz,
    PRIMARY KEY (bus, name),
    CHECK (pattern IS NOT NULL OR schedule IS NOT NULL)
);
CREATE INDEX event_rules_due ON event_rules (due_at) WHERE due_at IS NOT NULL;

CREATE TABLE event_targets (
    bus text NOT NULL,
    rule text NOT NULL,
    target_id text NOT NULL CHECK (target_id ~ '^[._A-Za-z0-9-]{1,64}$'),
    kind text NOT NULL CHECK (kind IN ('job-queue', 'sqs', 'sns', 'log-group', 'api-destination', 'event-bus')),
    arn text NOT NULL,
    -- The target as it was given, AWS-shaped.
    target jsonb NOT NULL,
    PRIMARY KEY (bus, rule, target_id),
    FOREIGN KEY (bus, rule) REFERENCES event_rules
);
CREATE INDEX event_targets_arn ON event_targets (arn, bus, rule);

-- How API destinations are authorised. Secret members are in `secret`, encrypted, and nowhere else.
CREATE TABLE event_connections (
    name text PRIMARY KEY CHECK (name ~ '^[._A-Za-z0-9-]{1,64}$'),
    connection_id uuid NOT NULL,
    description text,
    authorization_type text NOT NULL CHECK (authorization_type IN ('BASIC', 'OAUTH_CLIENT_CREDENTIALS', 'API_KEY')),
    -- AuthParameters less what is secret, as they are answered.
    parameters jsonb NOT NULL,
    secret bytea NOT NULL,
    state text NOT NULL DEFAULT 'AUTHORIZED' CHECK (state IN ('AUTHORIZED', 'DEAUTHORIZED')),
    created_at timestamptz NOT NULL DEFAULT now(),
    changed_at timestamptz NOT NULL DEFAULT now(),
    authorized_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE event_api_destinations (
    name text PRIMARY KEY CHECK (name ~ '^[._A-Za-z0-9-]{1,64}$'),
    destination_id uuid NOT NULL,
    description text,
    connection text NOT NULL CONSTRAINT event_api_destinations_connection REFERENCES event_connections,
    endpoint text NOT NULL,
    http_method text NOT NULL,
    -- Most calls in a second.
    rate_limit integer NOT NULL CHECK (rate_limit > 0),
    -- INACTIVE: the endpoint said that it is gone for good; changed by an update alone.
    state text NOT NULL DEFAULT 'ACTIVE' CHECK (state IN ('ACTIVE', 'INACTIVE')),
    created_at timestamptz NOT NULL DEFAULT now(),
    changed_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX event_api_destinations_by_connection ON event_api_destinations (connection, name);

CREATE TABLE event_archives (
    name text PRIMARY KEY CHECK (name ~ '^[._A-Za-z0-9-]{1,48}$'),
    bus text NOT NULL CONSTRAINT event_archives_bus REFERENCES event_buses,
    description text,
    -- Which events of the bus; NULL for all.
    pattern text,
    -- 0: for ever.
    retention_days integer NOT NULL CHECK (retention_days >= 0),
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE event_replays (
    name text PRIMARY KEY CHECK (name ~ '^[._A-Za-z0-9-]{1,64}$'),
    -- By name: a replay stays on record without its archive.
    archive text NOT NULL,
    bus text NOT NULL,
    description text,
    -- ARNs of the rules that see the events; empty for all.
    filter_arns jsonb NOT NULL DEFAULT '[]',
    -- Events of these times, the last excluded.
    begin_at timestamptz NOT NULL,
    end_at timestamptz NOT NULL,
    state text NOT NULL DEFAULT 'STARTING'
        CHECK (state IN ('STARTING', 'RUNNING', 'CANCELLING', 'COMPLETED', 'CANCELLED', 'FAILED')),
    state_reason text,
    -- Time of the last event that was replayed.
    last_event_at timestamptz,
    started_at timestamptz NOT NULL DEFAULT now(),
    ended_at timestamptz
);
CREATE INDEX event_replays_live ON event_replays (started_at) WHERE state IN ('STARTING', 'RUNNING', 'CANCELLING');
