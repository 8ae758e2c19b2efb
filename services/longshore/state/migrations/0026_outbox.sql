-- What happens is read in the order in which it was committed, and sent on. Numbers of a sequence are not in that order:
-- each row keeps its transaction, and is read once no older transaction is under way.

ALTER TABLE all_job_events ADD COLUMN xid bigint NOT NULL DEFAULT (pg_current_xact_id()::text::bigint);
-- One row for children that become RUNNABLE together: those from array_index up to this one, exclusive.
ALTER TABLE all_job_events ADD COLUMN end_index integer
    CHECK (end_index IS NULL OR (array_index >= 0 AND end_index > array_index));
CREATE INDEX job_events_outbox ON job_events (xid, event_id);
CREATE INDEX all_job_events_outbox ON all_job_events (xid, event_id);

-- What happened to others than jobs, and what was put in from outside; numbered together with what happened to jobs.
CREATE TABLE outbox (
    event_id bigint PRIMARY KEY DEFAULT nextval('job_event_id'),
    xid bigint NOT NULL DEFAULT (pg_current_xact_id()::text::bigint),
    kind text NOT NULL CHECK (kind IN ('QUEUE_BLOCKED', 'INSTANCE_STATE', 'SPOT_INTERRUPTION', 'AGENT_JOINED',
        'AGENT_LEFT', 'API_CALL', 'PUT')),
    -- JSON. Text, since what comes from outside may hold what `jsonb` does not.
    body text NOT NULL,
    at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX outbox_order ON outbox (xid, event_id);
CREATE INDEX outbox_age ON outbox (at);

-- Up to where what happened was matched with rules: of the row with this number, its parts before one. What was there
-- before this migration is not sent.
CREATE TABLE event_cursor (
    is_only boolean PRIMARY KEY DEFAULT true CHECK (is_only),
    xid bigint NOT NULL,
    event_id bigint NOT NULL,
    part integer NOT NULL,
    -- Ids of events follow from it and their numbers, so that no two installations have one id.
    namespace uuid NOT NULL DEFAULT gen_random_uuid()
) WITH (fillfactor = 50);
INSERT INTO event_cursor (xid, event_id, part)
VALUES (pg_current_xact_id()::text::bigint, 9223372036854775807, 2147483647);

-- Where the cursor stood at times a minute or more apart: what happened after such a time is behind its position.
CREATE TABLE event_marks (
    at timestamptz PRIMARY KEY DEFAULT now(),
    xid bigint NOT NULL,
    event_id bigint NOT NULL,
    part integer NOT NULL
);
INSERT INTO event_marks (xid, event_id, part) SELECT xid, event_id, part FROM event_cursor;

-- Up to where a replay has come.
ALTER TABLE event_replays ADD COLUMN xid bigint, ADD COLUMN event_id bigint, ADD COLUMN part integer;

CREATE FUNCTION tell_events() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('longshore_events', '');
    RETURN NULL;
END
$$;
CREATE TRIGGER tell_events AFTER INSERT ON job_events FOR EACH STATEMENT EXECUTE FUNCTION tell_events();
CREATE TRIGGER tell_events AFTER INSERT ON outbox FOR EACH STATEMENT EXECUTE FUNCTION tell_events();

-- Whoever moves an instance tells of it in the same transaction, in EC2's words.
CREATE FUNCTION tell_instance_state() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    passed text[] := ARRAY[NEW.status];
BEGIN
    -- What is launched as it is ordered was pending nonetheless.
    IF TG_OP = 'INSERT' AND NEW.status <> 'ORDERED' THEN
        passed := ARRAY['ORDERED', NEW.status];
    END IF;
    INSERT INTO outbox (kind, body)
    SELECT 'INSTANCE_STATE', json_build_object('instance-id', NEW.instance_id, 'state', CASE status
        WHEN 'ORDERED' THEN 'pending' WHEN 'LAUNCHED' THEN 'running' WHEN 'TERMINATING' THEN 'shutting-down'
        ELSE 'terminated' END)::text
    FROM unnest(passed) AS p (status);
    RETURN NULL;
END
$$;
CREATE TRIGGER tell_ordered AFTER INSERT ON instances FOR EACH ROW EXECUTE FUNCTION tell_instance_state();
CREATE TRIGGER tell_moved AFTER UPDATE OF status ON instances FOR EACH ROW
    WHEN (OLD.status <> NEW.status) EXECUTE FUNCTION tell_instance_state();

CREATE FUNCTION tell_spot_interruption() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO outbox (kind, body) VALUES ('SPOT_INTERRUPTION',
        json_build_object('instance-id', NEW.instance_id, 'instance-action', 'terminate')::text);
    RETURN NULL;
END
$$;
CREATE TRIGGER tell_interrupted AFTER UPDATE OF ends_at ON instances FOR EACH ROW
    WHEN (NEW.purchase_option = 'SPOT' AND OLD.ends_at IS NULL AND NEW.ends_at IS NOT NULL)
    EXECUTE FUNCTION tell_spot_interruption();

-- An agent that joins or leaves is a container instance of its environment's cluster, to readers of ECS's calls.
CREATE FUNCTION tell_agent() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO outbox (kind, body)
    SELECT CASE WHEN NEW.status = 'LOST' THEN 'AGENT_LEFT' ELSE 'AGENT_JOINED' END,
        json_build_object('instance_id', NEW.instance_id, 'compute_environment', NEW.compute_environment,
            'environment_id', (SELECT e.uuid FROM compute_environments e WHERE e.name = NEW.compute_environment),
            'instance_type', NEW.instance_type, 'vcpu_milli', NEW.vcpu_milli, 'memory_mib', NEW.memory_mib,
            'zone', (SELECT i.zone FROM instances i WHERE i.instance_id = NEW.instance_id))::text;
    RETURN NULL;
END
$$;
CREATE TRIGGER tell_joined AFTER INSERT ON agents FOR EACH ROW WHEN (NEW.status <> 'LOST') EXECUTE FUNCTION tell_agent();
CREATE TRIGGER tell_left AFTER UPDATE OF status ON agents FOR EACH ROW
    WHEN ((OLD.status = 'LOST') <> (NEW.status = 'LOST')) EXECUTE FUNCTION tell_agent();

-- Counts changes of rules and targets: who keeps them in memory reads them again when it is another.
CREATE TABLE event_rules_version (
    is_only boolean PRIMARY KEY DEFAULT true CHECK (is_only),
    version bigint NOT NULL
) WITH (fillfactor = 50);
INSERT INTO event_rules_version (version) VALUES (1);

CREATE FUNCTION count_rules_version() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE event_rules_version SET version = version + 1;
    RETURN NULL;
END
$$;
-- When a schedule is due next is of no concern to them.
CREATE TRIGGER count_version AFTER INSERT OR DELETE OR UPDATE OF pattern, state ON event_rules
    FOR EACH STATEMENT EXECUTE FUNCTION count_rules_version();
CREATE TRIGGER count_version AFTER INSERT OR DELETE OR UPDATE ON event_targets
    FOR EACH STATEMENT EXECUTE FUNCTION count_rules_version();

-- Whether live jobs depend on jobs that ended in a week, or rules wait for what happened to them.
CREATE OR REPLACE FUNCTION history_is_needed(week date) RETURNS boolean LANGUAGE plpgsql STABLE AS $$
DECLARE
    needed boolean;
BEGIN
    EXECUTE format('SELECT EXISTS (SELECT FROM job_dependencies d JOIN %I p ON p.job_id = d.depends_on'
        ' JOIN jobs j ON j.job_id = d.job_id AND j.array_index = -1 WHERE j.stopped_at IS NULL)'
        ' OR EXISTS (SELECT FROM event_rules WHERE pattern IS NOT NULL AND state <> ''DISABLED'') AND EXISTS'
        ' (SELECT FROM event_cursor c JOIN %I e ON (e.xid, e.event_id) > (c.xid, c.event_id))',
        'jobs_of_' || to_char(week, 'YYYYMMDD'), 'job_events_of_' || to_char(week, 'YYYYMMDD')) INTO needed;
    RETURN needed;
END
$$;

-- ---------------------------------------------------------------- deliveries

-- One row for each event and each target of a rule that it matched, until it is delivered or given up.
CREATE TABLE event_deliveries (
    delivery_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    bus text NOT NULL,
    rule text NOT NULL,
    target text NOT NULL,
    event_id uuid NOT NULL,
    -- As it is sent before the target's transformation: JSON.
    event text NOT NULL,
    -- What came before is of no concern to a target that was slow: its deliveries go in this order.
    created_at timestamptz NOT NULL DEFAULT now(),
    -- When it is due. Whoever takes it puts this off for as long as it may take, so that another one tries again after
    -- that if it died.
    due_at timestamptz NOT NULL DEFAULT now(),
    tries integer NOT NULL DEFAULT 0,
    error text
) WITH (fillfactor = 70);
CREATE INDEX event_deliveries_due ON event_deliveries (bus, rule, target, due_at, delivery_id);

-- What was given up, until it is sent anew or old.
CREATE TABLE dead_letters (
    letter_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    bus text NOT NULL,
    rule text NOT NULL,
    target text NOT NULL,
    event_id uuid NOT NULL,
    event text NOT NULL,
    -- EventBridge's words: MaximumRetryAttempts, MaximumEventAgeInSeconds, or what no trying again would help.
    condition text NOT NULL,
    error_code text NOT NULL,
    error text NOT NULL,
    tries integer NOT NULL,
    at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX dead_letters_age ON dead_letters (at);

CREATE FUNCTION tell_deliveries() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('longshore_deliveries', '');
    RETURN NULL;
END
$$;
CREATE TRIGGER tell_deliveries AFTER INSERT ON event_deliveries FOR EACH STATEMENT EXECUTE FUNCTION tell_deliveries();
