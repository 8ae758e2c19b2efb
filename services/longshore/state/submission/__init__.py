"""What submission writes: environments, queues, definitions, new jobs, requests of jobs, tags."""
