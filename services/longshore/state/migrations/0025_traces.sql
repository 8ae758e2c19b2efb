-- The span that a job was submitted from, as W3C Trace Context writes it, and what tracing systems keep beside it. NULL:
-- from none that is known.
ALTER TABLE all_job_specs ADD COLUMN traceparent text;
ALTER TABLE all_job_specs ADD COLUMN tracestate text;

-- How long an attempt waited for the slowest pull of its images; NULL where they were there.
ALTER TABLE all_attempts ADD COLUMN pull_seconds double precision;
