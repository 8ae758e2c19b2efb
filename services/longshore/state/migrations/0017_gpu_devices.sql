-- GPUs of a machine as its agent found them, in words.
ALTER TABLE agents ADD COLUMN gpu_devices text[] NOT NULL DEFAULT '{}';
