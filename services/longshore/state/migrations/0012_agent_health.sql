-- How instances fare, as their agents say. Nothing is placed on one that is not healthy.
ALTER TABLE agents
    ADD COLUMN health text NOT NULL DEFAULT 'HEALTHY'
        CHECK (health IN ('HEALTHY', 'ENGINE_AWAY', 'DISK_FULL', 'QUARANTINED')),
    ADD COLUMN health_detail text NOT NULL DEFAULT '',
    -- What containers join: sandbox, bridge, host or none; empty where that is not known, or there are none.
    ADD COLUMN network text NOT NULL DEFAULT '' CHECK (network IN ('', 'sandbox', 'bridge', 'host', 'none')),
    -- Why that is not what the settings name.
    ADD COLUMN network_detail text NOT NULL DEFAULT '';
CREATE INDEX agents_remarked ON agents (compute_environment)
    WHERE status <> 'LOST' AND (health <> 'HEALTHY' OR network_detail <> '');
