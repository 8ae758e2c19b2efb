-- When the scheduler learned that an attempt runs, by its own clock: its timeout counts from then. started_at is what
-- the agent says, by a clock that may be wrong. NULL where nobody noted it: started_at counts.
ALTER TABLE attempts ADD COLUMN running_at timestamptz;
