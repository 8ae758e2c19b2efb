"""Simulation: a workload in virtual time, on compute environments that cost nothing to try.

The decisions are the production ones: `longshore.domain.placing` places jobs and says what can
never run, `longshore.domain.scaling` orders and gives back instances. What is simulated is
everything around them, with the services' own settings:

- `backlog`: jobs, arrays, dependencies and retries, as the scheduler keeps them in tables;
- `placing`: the scheduler's pass over waiting jobs;
- `fleet`: instances and what runs on them;
- `environment`, `scaling`: the scaler's pass;
- `driver`: the clock and the order of events.

Instances come from `longshore.simulation.provider`, through the interface that every provider
has. Everything follows from the workload and its seed: the same file gives the same figures, and
how long a job runs and when it comes does not depend on what is decided, so that two strategies are
compared on the same jobs.

It is started as `longshore simulate WORKLOAD.yaml`, or `python -m longshore.simulation`. It reads
one file, writes at most one picture, and never talks to a service.
"""
