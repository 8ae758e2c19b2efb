-- Whether an attempt ended because its instance was given up was read from the words of its status reason, which its
-- agent may use as well. Such an attempt goes on if the instance comes back and its job still waits.
ALTER TABLE all_attempts ADD COLUMN is_lost boolean NOT NULL DEFAULT false;
UPDATE attempts SET is_lost = true
WHERE status = 'ENDED' AND exit_code IS NULL AND reason IS NULL AND stop_kind IS NULL
    AND status_reason = 'Host EC2 (instance ' || instance_id || ') terminated.';
