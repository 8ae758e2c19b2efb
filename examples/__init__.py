"""Real workloads for longshore, small enough to read."""
