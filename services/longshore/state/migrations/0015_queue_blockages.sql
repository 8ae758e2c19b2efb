-- Who stands first in a queue that has time limits, blocked for which reason, since when.
CREATE TABLE queue_blockages (
    job_queue text PRIMARY KEY REFERENCES job_queues ON DELETE CASCADE,
    job_id uuid NOT NULL,
    array_index integer NOT NULL,
    code text NOT NULL,
    since timestamptz NOT NULL
);
