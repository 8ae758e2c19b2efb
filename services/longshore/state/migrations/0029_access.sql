-- Users, their access keys, and what they may do.

CREATE TABLE access_users (
    name text PRIMARY KEY,
    -- Sorted; a group is there as long as somebody is in it.
    groups text[] NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE access_keys (
    key_id text PRIMARY KEY,
    user_name text NOT NULL REFERENCES access_users ON DELETE CASCADE,
    -- The secret, under the stack's key: signatures are checked with it.
    sealed bytea NOT NULL,
    -- SHA-256 of it: who shows the secret itself is checked with this.
    digest bytea NOT NULL,
    status text NOT NULL DEFAULT 'ACTIVE' CHECK (status IN ('ACTIVE', 'DISABLED')),
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz,
    last_used_at timestamptz
);
CREATE INDEX access_keys_user ON access_keys (user_name, created_at);

CREATE TABLE access_policies (
    name text PRIMARY KEY,
    document text NOT NULL
);

-- Names of policies are those of the table, or of those that are part of the program.
CREATE TABLE access_attachments (
    policy text NOT NULL,
    kind text NOT NULL CHECK (kind IN ('user', 'group')),
    name text NOT NULL,
    queues text[] NOT NULL DEFAULT '{}',
    PRIMARY KEY (kind, name, policy)
);
CREATE INDEX access_attachments_policy ON access_attachments (policy);

-- Who has submitted a job; NULL: nobody knows, or a service.
ALTER TABLE all_job_specs ADD COLUMN submitted_by text;

-- Who was found to make a recorded call; NULL: nobody was.
ALTER TABLE audit_records ADD COLUMN user_name text;
CREATE INDEX audit_records_user ON audit_records (user_name, at) WHERE user_name IS NOT NULL;
