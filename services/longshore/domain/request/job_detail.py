"""A job in AWS's shape, as DescribeJobs and events show it; names are ARNs there."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from longshore.domain.arn import Arns
from longshore.domain.checks import Json
from longshore.domain.job.job import JobStatus
from longshore.domain.job.nodes import range_of_each, ranges_of
from longshore.domain.request.container import log_name, log_prefix
from longshore.domain.request.ecs import task_of
from longshore.domain.request.reading import AttemptRecord, DescribedJob, JobRecord

_STARTED = (JobStatus.STARTING, JobStatus.RUNNING, JobStatus.SUCCEEDED, JobStatus.FAILED)


def job_detail(described: DescribedJob, arns: Arns) -> Json:
    """A job as AWS shows it: what it was submitted as, and where it is now."""
    job, key = described.job, str(described.job.key)
    detail: Json = {
        **described.detail,
        "jobArn": arns.job(key),
        "jobId": key,
        "jobName": job.name,
        "jobQueue": arns.job_queue(job.job_queue),
        "jobDefinition": arns.job_definition(job.definition_name, job.definition_revision),
        "status": str(job.status),
        "attempts": [
            _attempt(a, described, arns) for a in described.attempts if a.stopped_at is not None
        ],
        "isCancelled": job.is_cancelled,
        "isTerminated": job.is_terminated,
        # Tags belong to the whole; AWS never shows them on children and nodes.
        "tags": {} if job.is_child or job.key.is_node else dict(described.tags),
        **job_times(job),
    }
    put(detail, "statusReason", job.status_reason)
    put(detail, "shareIdentifier", job.share)
    if job.array_size is not None:
        kept = {} if job.is_child else detail.get("arrayProperties", {})
        detail["arrayProperties"] = kept | array_detail(job)
    if job.key.is_node:
        detail["nodeDetails"] = {
            "nodeIndex": job.key.node_index,
            "isMainNode": is_main(job),
        }
        detail |= _run_by_node(detail.pop("nodeProperties"), job.key.node_index)
    if "container" in detail:
        detail["container"] = {**detail["container"], **_container_state(described, arns)}
    elif "ecsProperties" in detail:
        # There, as AWS has it, for clients that look into it whatever the job is.
        detail["container"] = {}
        detail["ecsProperties"] = _ecs_detail(detail["ecsProperties"], described, arns)
    lower_actions(detail)
    put(detail, "rerunOf", job.rerun_of and str(job.rerun_of))
    put(detail, "rerunIndex", described.rerun_index)
    put(detail, "memoryMib", described.memory_mib)
    put(detail, "rerunIndexes", ", ".join(described.rerun_indexes) or None)
    return detail


def _run_by_node(properties: Json, node_index: int) -> Json:
    """The member of a job that tells what a node runs."""
    entries = properties["nodeRangeProperties"]
    ranges = ranges_of([entry["targetNodes"] for entry in entries])
    entry: Json = entries[range_of_each(ranges, properties["numNodes"])[node_index]]
    return {name: entry[name] for name in ("container", "ecsProperties") if name in entry}


def job_times(job: JobRecord) -> Json:
    """Since when it is there, and when it started and stopped."""
    times: Json = {"createdAt": milliseconds(job.created_at)}
    if job.started_at is not None:
        times["startedAt"] = milliseconds(job.started_at)
    if job.stopped_at is not None:
        times["stoppedAt"] = milliseconds(job.stopped_at)
    return times


def array_detail(job: JobRecord) -> Json:
    """What is shown of an array, or of a child's place in it."""
    if job.is_child:
        return {"index": job.key.array_index, "size": job.array_size}
    counts: Mapping[str, int] = {str(status): 0 for status in JobStatus}
    detail: Json = {"size": job.array_size, "statusSummary": counts}
    if job.counts is not None:
        detail["statusSummary"] = job.counts.by_status
        detail["statusSummaryLastUpdatedAt"] = milliseconds(job.counts.changed_at)
    return detail


def is_main(job: JobRecord) -> bool:
    """Whether this is the main node of a multi-node job."""
    return job.nodes is not None and job.nodes.main_node == job.key.node_index


def _container_state(described: DescribedJob, arns: Arns) -> Json:
    """What the latest attempt adds to the container; nothing between two attempts."""
    job = described.job
    state: Json = {}
    if not described.attempts or job.status not in _STARTED:
        return state
    state.update(_attempt_container(described.attempts[-1], arns))
    put(state, "exitCode", job.exit_code)
    put(state, "reason", job.reason)
    return state


def _several(described: DescribedJob) -> list[Json]:
    """The containers of a multi-container job; of a multi-node job those of its main node."""
    run, nodes = described.detail, described.job.nodes
    if "nodeProperties" in run and nodes is not None:
        key = described.job.key
        index = key.node_index if key.is_node else nodes.main_node
        run = _run_by_node(run["nodeProperties"], index)
    containers: list[Json] = []
    if "ecsProperties" in run:
        containers = task_of(run["ecsProperties"])["containers"]
    return containers


def _ecs_detail(properties: Json, described: DescribedJob, arns: Arns) -> Json:
    """The several containers of a job, with what the latest attempt adds to them."""
    task = task_of(properties)
    if described.attempts and described.job.status in _STARTED:
        latest = described.attempts[-1]
        states = _container_states(latest, described)
        task = {
            **task,
            **_where(latest, arns),
            "containers": [
                {**container, **state}
                for container, state in zip(task["containers"], states, strict=True)
            ],
        }
    return {"taskProperties": [task]}


def _container_states(attempt: AttemptRecord, described: DescribedJob) -> list[Json]:
    """What is known of each of several containers in an attempt, in their order."""
    found = []
    for container in _several(described):
        known = attempt.containers.get(container["name"], {})
        state: Json = {"name": container["name"]}
        if known.get("started"):
            logging = container.get("logConfiguration", {})
            prefix = log_prefix(logging.get("logDriver", ""), logging.get("options", {}))
            state["logStreamName"] = log_name(
                prefix or described.job.definition_name, container["name"], attempt.attempt_id
            )
            if attempt.address is not None:
                state["networkInterfaces"] = [{"privateIpv4Address": attempt.address}]
        put(state, "exitCode", known.get("exitCode"))
        put(state, "reason", known.get("reason"))
        found.append(state)
    return found


def _attempt(attempt: AttemptRecord, described: DescribedJob, arns: Arns) -> Json:
    entry: Json = {}
    if _several(described):
        states = _container_states(attempt, described)
        entry["taskProperties"] = [{**_where(attempt, arns), "containers": states}]
    else:
        entry["container"] = _attempt_container(attempt, arns)
    put(entry, "statusReason", attempt.status_reason)
    put(entry, "memoryMib", attempt.memory_mib)
    for name, at in (("startedAt", attempt.started_at), ("stoppedAt", attempt.stopped_at)):
        if at is not None:
            entry[name] = milliseconds(at)
    return entry


def _where(attempt: AttemptRecord, arns: Arns) -> Json:
    environment = attempt.compute_environment, attempt.environment_id
    return {
        "containerInstanceArn": arns.container_instance(*environment, attempt.instance_id),
        "taskArn": arns.attempt(*environment, attempt.attempt_id),
    }


def _attempt_container(attempt: AttemptRecord, arns: Arns) -> Json:
    container = _where(attempt, arns)
    if attempt.started_at is not None:
        container["logStreamName"] = attempt.log_stream_name
    if attempt.address is not None:
        container["networkInterfaces"] = [{"privateIpv4Address": attempt.address}]
    put(container, "exitCode", attempt.exit_code)
    put(container, "reason", attempt.reason)
    return container


def lower_actions(detail: Json) -> None:
    """AWS answers the actions of evaluateOnExit in lower case, however they were given."""
    retry: Json = detail.get("retryStrategy", {})
    if rules := retry.get("evaluateOnExit"):
        lowered = [{**rule, "action": rule["action"].lower()} for rule in rules]
        detail["retryStrategy"] = {**retry, "evaluateOnExit": lowered}


def put(target: Json, name: str, value: Any) -> None:
    """Sets a member that has a value."""
    if value is not None:
        target[name] = value


def milliseconds(at: datetime) -> int:
    """A time as AWS tells it."""
    return int(at.timestamp() * 1000)
