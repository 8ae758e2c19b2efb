-- Finished jobs leave the tables of live ones, stay for a time, and then leave whole, a week at a time. Each table is
-- the partition of what has not left yet; `all_` and its name is that together with the weeks of history. Whoever
-- moves live jobs reads and writes the table alone; columns are added to the `all_` table.

ALTER TABLE job_events ALTER COLUMN event_id DROP IDENTITY;
CREATE SEQUENCE job_event_id OWNED BY job_events.event_id;
SELECT setval('job_event_id', coalesce(max(event_id), 0) + 1, false) FROM job_events;
ALTER TABLE job_events ALTER COLUMN event_id SET DEFAULT nextval('job_event_id');

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['jobs', 'job_specs', 'array_jobs', 'attempts', 'job_events'] LOOP
        -- The UTC day on which the job ended, of all that is of it, once it is history.
        EXECUTE format('ALTER TABLE %I ADD COLUMN ended_on date NOT NULL DEFAULT ''infinity''', name);
        EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING DEFAULTS) PARTITION BY RANGE (ended_on)',
            'all_' || name, name);
        EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (''infinity'') TO (MAXVALUE)',
            'all_' || name, name);
    END LOOP;
END
$$;

-- Single jobs, multi-node jobs and array parents that are over, in the order in which they become history.
CREATE INDEX jobs_over ON jobs (stopped_at, job_id) WHERE array_index = -1 AND stopped_at IS NOT NULL;

-- Makes the partitions of a week, a Monday, if they are missing.
CREATE FUNCTION open_history(week date) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    name text;
    part text;
BEGIN
    FOREACH name IN ARRAY ARRAY['jobs', 'job_specs', 'array_jobs', 'attempts', 'job_events'] LOOP
        part := format('%s_of_%s', name, to_char(week, 'YYYYMMDD'));
        IF to_regclass(part) IS NULL THEN
            EXECUTE format(
                'CREATE TABLE %I (LIKE %I INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING INDEXES)', part, name);
            EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
                'all_' || name, part, week, week + 7);
        END IF;
    END LOOP;
END
$$;

-- Weeks of history, oldest first.
CREATE VIEW history_weeks AS
SELECT to_date(right(c.relname, 8), 'YYYYMMDD') AS week
FROM pg_inherits h JOIN pg_class c ON c.oid = h.inhrelid
WHERE h.inhparent = 'all_jobs'::regclass AND c.relname LIKE 'jobs\_of\_%'
ORDER BY 1;

-- Whether live jobs depend on jobs that ended in a week.
CREATE FUNCTION history_is_needed(week date) RETURNS boolean LANGUAGE plpgsql STABLE AS $$
DECLARE
    needed boolean;
BEGIN
    EXECUTE format('SELECT EXISTS (SELECT FROM job_dependencies d JOIN %I p ON p.job_id = d.depends_on'
        ' JOIN jobs j ON j.job_id = d.job_id AND j.array_index = -1 WHERE j.stopped_at IS NULL)',
        'jobs_of_' || to_char(week, 'YYYYMMDD')) INTO needed;
    RETURN needed;
END
$$;

-- Drops the partitions of a week.
CREATE FUNCTION drop_history(week date) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['jobs', 'job_specs', 'array_jobs', 'attempts', 'job_events'] LOOP
        EXECUTE format('DROP TABLE IF EXISTS %I', format('%s_of_%s', name, to_char(week, 'YYYYMMDD')));
    END LOOP;
END
$$;

-- Shapes go too once no job among the live ones has them: those that submission did not use for days, so that none that
-- it knows of is missing. Checking each reference would read all jobs for each shape.
ALTER TABLE jobs DROP CONSTRAINT jobs_shape_id_fkey;
ALTER TABLE shapes ADD COLUMN used_on date NOT NULL DEFAULT current_date;
