-- Tokens that callers gave to their submissions, so that these can be repeated: which job each has made, and of what
-- request. Kept for a day.
CREATE TABLE submission_tokens (
    token text PRIMARY KEY CHECK (length(token) BETWEEN 1 AND 64),
    -- A digest of the whole request.
    request bytea NOT NULL,
    job_id uuid NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX submission_tokens_age ON submission_tokens (created_at);

-- An array whose children are the failed ones of another array: of which, on its parent's row.
ALTER TABLE all_jobs ADD COLUMN rerun_of uuid;
-- What children see as their index and as the size of their array: those of the array that was first submitted. Pairs of
-- a child's index and of what it sees, for the first of each run of children that see one index after the other.
ALTER TABLE all_job_specs ADD COLUMN rerun_pairs integer[];
ALTER TABLE all_job_specs ADD COLUMN rerun_size integer;

-- The index that a child sees.
CREATE FUNCTION rerun_index(pairs integer[], child integer) RETURNS integer LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
    low integer := 1;
    high integer := cardinality(pairs) / 2;
    middle integer;
BEGIN
    WHILE low < high LOOP
        middle := (low + high + 1) / 2;
        IF pairs[2 * middle - 1] <= child THEN
            low := middle;
        ELSE
            high := middle - 1;
        END IF;
    END LOOP;
    RETURN pairs[2 * low] + child - pairs[2 * low - 1];
END
$$;

-- One failed child is an array as well.
DO $$
DECLARE
    part regclass;
BEGIN
    FOR part IN SELECT inhrelid::regclass FROM pg_inherits WHERE inhparent = 'all_jobs'::regclass LOOP
        EXECUTE format('ALTER TABLE %s DROP CONSTRAINT IF EXISTS jobs_array_size_check', part);
        EXECUTE format('ALTER TABLE %s ADD CONSTRAINT jobs_array_size_check CHECK (array_size BETWEEN 1 AND 1000000)', part);
    END LOOP;
    FOR part IN SELECT inhrelid::regclass FROM pg_inherits WHERE inhparent = 'all_array_jobs'::regclass LOOP
        EXECUTE format('ALTER TABLE %s DROP CONSTRAINT IF EXISTS array_jobs_size_check', part);
        EXECUTE format('ALTER TABLE %s ADD CONSTRAINT array_jobs_size_check CHECK (size BETWEEN 1 AND 1000000)', part);
    END LOOP;
END
$$;

-- What users change of jobs that wait. Submission records it, the scheduler decides it, and whoever asked takes the
-- outcome away. NULL: as it is.
CREATE TABLE job_updates (
    update_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    job_id uuid NOT NULL,
    job_queue text,
    -- '' for none.
    share_identifier text,
    priority integer,
    vcpu_milli bigint,
    memory_mib bigint,
    gpus integer,
    timeout_seconds integer,
    -- Members of JobDetail that take the place of the job's, and its container as agents get it.
    detail jsonb NOT NULL DEFAULT '{}',
    container bytea,
    -- APPLIED; STARTED: there was nothing that waits; OVER: the job is, or it is to end.
    outcome text CHECK (outcome IN ('APPLIED', 'STARTED', 'OVER')),
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX job_updates_undecided ON job_updates (update_id) WHERE outcome IS NULL;
-- One at a time of a job: each is made from what the one before has left.
CREATE UNIQUE INDEX job_updates_of_job ON job_updates (job_id) WHERE outcome IS NULL;
CREATE INDEX job_updates_age ON job_updates (created_at);

-- The shape that is as another one but for some members, whatever members shapes have; made where it is missing, and noted
-- as used. In queues without a policy priorities are without effect.
CREATE FUNCTION shape_like(pattern integer, changes jsonb) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    wanted shapes;
    members text;
    found integer;
BEGIN
    SELECT (jsonb_populate_record(s, changes)).* INTO wanted FROM shapes s WHERE s.shape_id = pattern;
    IF wanted.share_identifier = '' THEN
        wanted.priority := 0;
    END IF;
    SELECT string_agg(quote_ident(attname), ', ') INTO members FROM pg_attribute
    WHERE attrelid = 'shapes'::regclass AND attnum > 0 AND NOT attisdropped AND attname NOT IN ('shape_id', 'used_on');
    EXECUTE format('SELECT shape_id FROM shapes WHERE (%s) = (SELECT %s FROM (SELECT ($1).*) AS w)'
        ' AND used_on = current_date', members, members) USING wanted INTO found;
    IF found IS NULL THEN
        EXECUTE format('INSERT INTO shapes (%s) SELECT %s FROM (SELECT ($1).*) AS w'
            ' ON CONFLICT ON CONSTRAINT shapes_key DO UPDATE SET used_on = current_date RETURNING shape_id',
            members, members) USING wanted INTO found;
    END IF;
    RETURN found;
END
$$;
