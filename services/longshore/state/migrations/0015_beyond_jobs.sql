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
