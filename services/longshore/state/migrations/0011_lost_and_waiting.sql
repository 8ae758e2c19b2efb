-- Whether an attempt ended because its instance was given up was read from the words of its status reason, which its
-- agent may use as well. Such an attempt goes on if the instance comes back and its job still waits.
ALTER TABLE all_attempts ADD COLUMN is_lost boolean NOT NULL DEFAULT false;
UPDATE attempts SET is_lost = true
WHERE status = 'ENDED' AND exit_code IS NULL AND reason IS NULL AND stop_kind IS NULL
    AND status_reason = 'Host EC2 (instance ' || instance_id || ') terminated.';

-- WAITS: a job that waits for others is to be looked at, array_index -1. What follows from an end is kept like this, by
-- each dependent, where it fails for one of them.
ALTER TABLE happenings DROP CONSTRAINT happenings_kind_check;
ALTER TABLE happenings ADD CONSTRAINT happenings_kind_check CHECK (kind IN ('ENDED', 'SPAWNED', 'WAITS'));
