"""Attempts as child processes, for machines without Docker and for measuring all but Docker."""
