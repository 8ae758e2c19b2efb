"""longshore: containers as batch jobs on capacity that starts and stops itself."""
