"""What submission writes: compute environments, queues, definitions, new jobs, tags."""
