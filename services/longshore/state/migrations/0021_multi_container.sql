-- Multi-container jobs: several containers that are one attempt.

-- In place of `container`, the job's containers as a serialized longshore.v1.EcsTaskProperties. Checks are each
-- partition's own.
ALTER TABLE all_job_specs ADD COLUMN task bytea;
DO $$
DECLARE
    part regclass;
BEGIN
    FOR part IN SELECT inhrelid FROM pg_inherits WHERE inhparent = 'all_job_specs'::regclass LOOP
        EXECUTE format('ALTER TABLE %s DROP CONSTRAINT job_specs_check', part);
        EXECUTE format('ALTER TABLE %s ADD CONSTRAINT job_specs_check CHECK (num_nonnulls(container, nodes, task) = 1)',
            part);
    END LOOP;
END
$$;

-- How far each of these containers is, as [{name, started, exitCode, reason}]; NULL of others.
ALTER TABLE all_attempts ADD COLUMN containers jsonb;
