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
