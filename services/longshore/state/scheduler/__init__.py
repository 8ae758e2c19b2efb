"""What the scheduler writes: changes of jobs, attempts, the dispatch queue, demand, agents."""
