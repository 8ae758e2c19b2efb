-- Who called what, append-only: one row for a call, in partitions of a day (UTC, of the call), dropped whole by age.

-- One row: the number of the last record. Whoever appends locks it until the end of the transaction, so that numbers are
-- given in the order of commits: a reader who has seen one has seen all below it.
CREATE TABLE audit_head (
    number bigint NOT NULL DEFAULT 0,
    is_only boolean PRIMARY KEY DEFAULT true CHECK (is_only)
);
INSERT INTO audit_head DEFAULT VALUES;

-- Of each day how many records it has, and the digest of the last.
CREATE TABLE audit_days (
    day date PRIMARY KEY,
    records bigint NOT NULL CHECK (records >= 0),
    digest bytea NOT NULL
);

CREATE TABLE audit_records (
    number bigint NOT NULL,
    day date NOT NULL,
    -- The transaction that wrote it, for who reads it together with other things that happened.
    xid bigint NOT NULL DEFAULT pg_current_xact_id()::text::bigint,
    -- To the millisecond, which the event's id tells as well.
    at timestamptz NOT NULL,
    event_id uuid NOT NULL,
    event_source text NOT NULL,
    event_name text NOT NULL,
    is_read boolean NOT NULL,
    -- What the request claims.
    access_key_id text,
    -- What the call is about, one entry of each for a resource.
    resource_types text[] NOT NULL,
    resource_names text[] NOT NULL,
    -- The record in CloudTrail's form, as JSON. The other columns follow from it.
    record text NOT NULL,
    -- SHA-256 over the digest of the day's record before, the number and the record.
    digest bytea NOT NULL,
    PRIMARY KEY (number, day)
) PARTITION BY RANGE (day);
CREATE INDEX audit_records_xid ON audit_records (xid, number);
CREATE INDEX audit_records_at ON audit_records (at, event_id);
CREATE INDEX audit_records_name ON audit_records (event_name, at);
CREATE INDEX audit_records_key ON audit_records (access_key_id, at) WHERE access_key_id IS NOT NULL;

CREATE FUNCTION refuse_change_of_audit() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'records of the audit log are never changed' USING ERRCODE = 'insufficient_privilege';
END
$$;
CREATE TRIGGER audit_records_stay BEFORE UPDATE OR DELETE ON audit_records
    FOR EACH ROW EXECUTE FUNCTION refuse_change_of_audit();

-- Makes the partition of a day if it is missing.
CREATE FUNCTION open_audit_day(day date) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    part text := 'audit_records_of_' || to_char(day, 'YYYYMMDD');
BEGIN
    IF to_regclass(part) IS NULL THEN
        EXECUTE format('CREATE TABLE %I (LIKE audit_records INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING INDEXES)',
            part);
        EXECUTE format('ALTER TABLE audit_records ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', part, day, day + 1);
    END IF;
END
$$;

-- Drops the partition of a day, and with it what is known of the day.
CREATE FUNCTION drop_audit_day(dropped date) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('DROP TABLE IF EXISTS %I', 'audit_records_of_' || to_char(dropped, 'YYYYMMDD'));
    DELETE FROM audit_days WHERE day = dropped;
END
$$;

-- Attempts by the id that their ARN tells, and by their placements, which are RunTask to readers of the log.
CREATE INDEX attempts_id ON all_attempts USING hash (attempt_id);
CREATE INDEX attempts_placed ON all_attempts (placed_at);
-- Of instances that are over: when their agents joined.
CREATE INDEX instances_registered ON instances (registered_at) WHERE registered_at IS NOT NULL;
