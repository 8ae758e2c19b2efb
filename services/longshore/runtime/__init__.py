"""Process plumbing shared by all services: settings, logs, loops, metrics, start and stop."""
