-- Tokens by which machines join, and who has joined. Of a token's secret there is a digest alone.
CREATE TABLE join_tokens (
    token_id text PRIMARY KEY,
    secret_digest bytea NOT NULL,
    compute_environment text NOT NULL,
    -- The instance that it was made for by a provider. NULL: any that the provider orders, or any machine.
    instance_id text,
    -- Made by a provider for what it ordered, not by a user.
    is_provided boolean NOT NULL,
    uses_left integer NOT NULL CHECK (uses_left >= 0),
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL
);
CREATE INDEX join_tokens_expiry ON join_tokens (expires_at);

-- An instance is who holds the key that it has joined with.
CREATE TABLE agent_identities (
    instance_id text PRIMARY KEY CHECK (instance_id ~ '^i-[0-9a-f]{17}$'),
    compute_environment text NOT NULL,
    token_id text NOT NULL,
    key_digest bytea NOT NULL,
    is_provided boolean NOT NULL,
    joined_at timestamptz NOT NULL DEFAULT now(),
    renewed_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX agent_identities_renewal ON agent_identities (renewed_at);
