"""Counts what moved, once it is committed: AWS Batch's job metrics, by queue.

They are this process's own: a successor begins at nothing, as Prometheus expects of a counter, and
counts what it commits itself. What could not be committed is counted nowhere.
"""

from collections.abc import Container

from prometheus_client import Counter, Gauge

from longshore.domain.job.tally import Stage, Tally
from longshore.runtime.metrics import Departures, Durations

MOVED = Counter(
    "longshore_jobs_moved_total",
    "Jobs and children of arrays that reached a status, RUNNABLE also for each retry.",
    ["queue", "status"],
)
STOPPED = Counter(
    "longshore_jobs_stopped_total",
    "Jobs and children of arrays that failed because a user asked for it, by the request: cancel "
    "or terminate.",
    ["queue", "by"],
)
RETRIED = Counter(
    "longshore_jobs_retried_total",
    "Attempts that failed and are followed by another one.",
    ["queue"],
)
_QUEUE = ["queue"]
DURATIONS = {
    Stage.SUBMITTED_TO_RUNNABLE: Durations(
        "longshore_job_submitted_to_runnable_seconds",
        "From submission to the first time in RUNNABLE; of children, from their array's.",
        _QUEUE,
    ),
    Stage.SUBMITTED_TO_FIRST_STARTING: Durations(
        "longshore_job_submitted_to_first_starting_seconds",
        "From submission to the first time in STARTING; of children, from their array's.",
        _QUEUE,
    ),
    Stage.RUNNABLE_TO_STARTING: Durations(
        "longshore_attempt_runnable_to_starting_seconds",
        "From RUNNABLE to STARTING: how long an attempt waited for room.",
        _QUEUE,
    ),
    Stage.STARTING_TO_RUNNING: Durations(
        "longshore_attempt_starting_to_running_seconds",
        "From STARTING to RUNNING: pulling, creating and starting what an attempt runs.",
        _QUEUE,
    ),
    Stage.EXECUTION: Durations(
        "longshore_attempt_execution_seconds",
        "From RUNNING to the end of the container.",
        _QUEUE,
    ),
    Stage.ATTEMPT: Durations(
        "longshore_attempt_seconds",
        "From STARTING to the end of the attempt.",
        _QUEUE,
    ),
}
LEADS = Gauge(
    "longshore_scheduler_is_leader", "1 in the process that holds the lease and schedules, else 0."
)
BOOT = Durations(
    "longshore_instance_boot_seconds",
    "From the launch of an instance to the first registration of its agent.",
    ["environment", "type"],
)
LOST = Counter(
    "longshore_instances_lost_total",
    "Instances given up because their agents were silent for too long.",
    ["environment"],
)
NOTICED = Counter(
    "longshore_instances_noticed_total",
    "Instances of which the provider said that it takes them back, spot ones most of all.",
    ["environment"],
)

#: Queues and environments of which something was counted.
_seen: set[str] = set()
_environments: set[str] = set()
_gone_queues, _gone_environments = Departures(), Departures()


def measure(tally: Tally) -> None:
    """Counts what a transaction committed."""
    for queue, of in tally.queues.items():
        _seen.add(queue)
        for status, number in of.moved.items():
            MOVED.labels(queue, status.value).inc(number)
        for by, number in of.stopped.items():
            STOPPED.labels(queue, by.value).inc(number)
        if of.retried:
            RETRIED.labels(queue).inc(of.retried)
        for stage in Stage:
            if of.spans[stage]:
                DURATIONS[stage].observe_each((queue,), of.spans[stage])
        for (stage, seconds), number in of.alike:
            DURATIONS[stage].observe((queue,), seconds, number)


def measure_boot(environment: str, instance_type: str, seconds: float) -> None:
    """Notes how long an instance took to boot."""
    _environments.add(environment)
    BOOT.observe((environment, instance_type), seconds)


def count_lost(environment: str) -> None:
    """An instance of an environment was given up."""
    _environments.add(environment)
    LOST.labels(environment).inc()


def count_noticed(environment: str) -> None:
    """An instance of an environment will be taken away."""
    _environments.add(environment)
    NOTICED.labels(environment).inc()


def forget_others(queues: Container[str], environments: Container[str]) -> None:
    """Shows no more what was counted of queues and environments that are gone."""
    for environment in _gone_environments.gone(_environments, environments):
        _environments.discard(environment)
        BOOT.forget("environment", environment)
        LOST.remove_by_labels({"environment": environment})
        NOTICED.remove_by_labels({"environment": environment})
    for queue in _gone_queues.gone(_seen, queues):
        _seen.discard(queue)
        for counter in (MOVED, STOPPED, RETRIED):
            counter.remove_by_labels({"queue": queue})
        for durations in DURATIONS.values():
            durations.forget("queue", queue)
