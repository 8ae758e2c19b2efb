-- How what is waited for has to end.
ALTER TABLE job_dependencies ADD COLUMN condition text NOT NULL DEFAULT 'SUCCESS'
    CHECK (condition IN ('SUCCESS', 'COMPLETE', 'FAILURE'));
