-- What follows from one event is bounded in each tick; the rest is kept here until a later one.
CREATE TABLE happenings (
    happening_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    -- ENDED: a job became final, its dependents are to be moved. SPAWNED: an array's children are to be looked at.
    kind text NOT NULL CHECK (kind IN ('ENDED', 'SPAWNED')),
    job_id uuid NOT NULL,
    -- ENDED: -1, or which child ended. SPAWNED: from which child on.
    array_index integer NOT NULL,
    -- ENDED: how.
    succeeded boolean,
    -- ENDED: the last dependent that was moved already.
    after uuid,
    CHECK ((kind = 'ENDED') = (succeeded IS NOT NULL))
);
-- A job of which anything is left does not become history.
CREATE INDEX happenings_job ON happenings (job_id);

-- From which child on the request is to be acted on: a large array takes several ticks.
ALTER TABLE job_requests ADD COLUMN first_index integer NOT NULL DEFAULT 0 CHECK (first_index >= 0);

-- Dependents are read page by page, each kind of edge in order.
DROP INDEX job_dependencies_depends_on;
CREATE INDEX job_dependencies_depends_on ON job_dependencies (depends_on, depends_on_index, job_id)
    WHERE depends_on IS NOT NULL AND type <> 'N_TO_N';
CREATE INDEX job_dependencies_pairs ON job_dependencies (depends_on, job_id) WHERE type = 'N_TO_N';

-- Which entry a child is in.
DROP INDEX ready_job;
CREATE INDEX ready_job ON ready (job_id, next_index);

-- What children wait for is read from what they wait for.
DROP TABLE array_waits;
