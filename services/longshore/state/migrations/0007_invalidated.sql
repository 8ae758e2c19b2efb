-- Whether an activity turned its environment INVALID was read from the words of its reason.
ALTER TABLE scaling_activities ADD COLUMN is_invalidated boolean NOT NULL DEFAULT false;
UPDATE scaling_activities SET is_invalidated = true WHERE reason LIKE 'INVALID: %';
DROP INDEX scaling_activities_age;
DROP INDEX scaling_activities_invalid;
CREATE INDEX scaling_activities_age ON scaling_activities (at) WHERE NOT is_invalidated;
-- Failures of instances count from there.
CREATE INDEX scaling_activities_invalid ON scaling_activities (compute_environment, at) WHERE is_invalidated;
