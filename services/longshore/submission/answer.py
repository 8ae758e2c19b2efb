"""What is answered: records in AWS's shapes, names as ARNs."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from google.protobuf.json_format import ParseDict

from longshore.domain.arn import Arns
from longshore.domain.checks import Json
from longshore.domain.environment import (
    ComputeEnvironment,
    ConsumableResource,
    JobQueue,
    SchedulingPolicy,
)
from longshore.domain.job.job import JobStatus
from longshore.domain.job.nodes import range_of_each, ranges_of
from longshore.domain.request.compute_environment import compute_resources
from longshore.domain.request.container import log_name, log_prefix
from longshore.domain.request.ecs import task_of
from longshore.domain.request.queue import TIME_LIMITS
from longshore.domain.request.reading import (
    AttemptRecord,
    DescribedJob,
    JobRecord,
    NeedingJob,
    NodeCount,
)
from longshore.state.submission.job_definition import DefinitionRecord
from longshore.state.views.queue_snapshot import QueueSnapshot, SharesInUse
from longshore.v1 import (
    compute_environment_pb2,
    consumable_resource_pb2,
    job_definition_pb2,
    job_pb2,
    job_queue_pb2,
    scheduling_policy_pb2,
)

_STARTED = (JobStatus.STARTING, JobStatus.RUNNING, JobStatus.SUCCEEDED, JobStatus.FAILED)


def environment_to(
    environment: ComputeEnvironment, arns: Arns
) -> compute_environment_pb2.ComputeEnvironmentDetail:
    """A compute environment as AWS shows it."""
    detail: Json = {
        **environment.detail,
        "computeEnvironmentName": environment.name,
        "computeEnvironmentArn": arns.compute_environment(environment.name),
        "ecsClusterArn": arns.cluster(environment.name, environment.uuid),
        "tags": dict(environment.tags),
        "type": environment.type,
        "state": environment.state,
        "status": environment.status,
        "statusReason": environment.status_reason,
        "containerOrchestrationType": "ECS",
        "uuid": str(environment.uuid),
    }
    if environment.unmanagedv_cpus is not None:
        detail["unmanagedvCpus"] = environment.unmanagedv_cpus
    if environment.resource_type is not None:
        detail["computeResources"] = compute_resources(environment)
    return ParseDict(detail, compute_environment_pb2.ComputeEnvironmentDetail())


def queue_to(queue: JobQueue, arns: Arns) -> job_queue_pb2.JobQueueDetail:
    """A queue as AWS shows it: compute environments by ARN."""
    return job_queue_pb2.JobQueueDetail(
        job_queue_name=queue.name,
        job_queue_arn=arns.job_queue(queue.name),
        state=queue.state,
        status=queue.status,
        status_reason=queue.status_reason,
        priority=queue.priority,
        compute_environment_order=[
            job_queue_pb2.ComputeEnvironmentOrder(
                order=order, compute_environment=arns.compute_environment(name)
            )
            for order, name in queue.environments
        ],
        job_queue_type=queue.detail.get("jobQueueType", "ECS"),
        tags=queue.tags,
        job_state_time_limit_actions=[
            ParseDict(action, job_queue_pb2.JobStateTimeLimitAction())
            for action in queue.detail.get(TIME_LIMITS, ())
        ],
        max_running=queue.max_running or None,
        scheduling_policy_arn=(
            arns.scheduling_policy(queue.scheduling_policy) if queue.scheduling_policy else None
        ),
    )


def snapshot_to(
    snapshot: QueueSnapshot, arns: Arns, now: datetime
) -> job_queue_pb2.GetJobQueueSnapshotResponse:
    """The front of a queue."""
    at = _milliseconds(now)
    return job_queue_pb2.GetJobQueueSnapshotResponse(
        front_of_queue=job_queue_pb2.FrontOfQueueDetail(
            jobs=[
                job_queue_pb2.FrontOfQueueJobSummary(
                    job_arn=arns.job(str(job.key)),
                    earliest_time_at_position=_milliseconds(job.since),
                )
                for job in snapshot.front
            ],
            last_updated_at=at,
        ),
        queue_utilization=job_queue_pb2.QueueSnapshotUtilizationDetail(
            total_capacity_usage=[
                job_queue_pb2.QueueSnapshotCapacityUsage(
                    capacity_unit="VCPU", quantity=snapshot.held_vcpus
                )
            ],
            fairshare_utilization=None if snapshot.shares is None else _shares(snapshot.shares),
            last_updated_at=at,
        ),
    )


def _shares(shares: SharesInUse) -> job_queue_pb2.FairshareUtilizationDetail:
    return job_queue_pb2.FairshareUtilizationDetail(
        active_share_count=shares.active,
        top_capacity_utilization=[
            job_queue_pb2.FairshareCapacityUtilization(
                share_identifier=share,
                capacity_usage=[
                    job_queue_pb2.FairshareCapacityUsage(capacity_unit="VCPU", quantity=vcpus)
                ],
            )
            for share, vcpus in shares.vcpus
        ],
    )


def policy_to(policy: SchedulingPolicy, arns: Arns) -> scheduling_policy_pb2.SchedulingPolicyDetail:
    """A scheduling policy as AWS shows it."""
    detail: Json = {
        "name": policy.name,
        "arn": arns.scheduling_policy(policy.name),
        "fairsharePolicy": policy.fairshare,
        "tags": dict(policy.tags),
    }
    return ParseDict(detail, scheduling_policy_pb2.SchedulingPolicyDetail())


def resource_to(
    resource: ConsumableResource, arns: Arns
) -> consumable_resource_pb2.DescribeConsumableResourceResponse:
    """A consumable resource as AWS shows it."""
    return consumable_resource_pb2.DescribeConsumableResourceResponse(
        consumable_resource_name=resource.name,
        consumable_resource_arn=arns.consumable_resource(resource.name),
        total_quantity=resource.total,
        in_use_quantity=resource.in_use,
        available_quantity=resource.available,
        resource_type=resource.resource_type,
        created_at=_milliseconds(resource.created_at),
        tags=resource.tags,
    )


def resource_summary_to(
    resource: ConsumableResource, arns: Arns
) -> consumable_resource_pb2.ConsumableResourceSummary:
    """A consumable resource as a listing shows it."""
    return consumable_resource_pb2.ConsumableResourceSummary(
        consumable_resource_arn=arns.consumable_resource(resource.name),
        consumable_resource_name=resource.name,
        total_quantity=resource.total,
        in_use_quantity=resource.in_use,
        resource_type=resource.resource_type,
    )


def needing_to(
    needing: NeedingJob, arns: Arns
) -> consumable_resource_pb2.ListJobsByConsumableResourceSummary:
    """A job that needs a consumable resource."""
    job = needing.job
    return consumable_resource_pb2.ListJobsByConsumableResourceSummary(
        job_arn=arns.job(str(job.key)),
        job_queue_arn=arns.job_queue(job.job_queue),
        job_name=job.name,
        job_definition_arn=arns.job_definition(job.definition_name, job.definition_revision),
        share_identifier=job.share,
        job_status=str(job.status),
        quantity=needing.quantity,
        status_reason=job.status_reason,
        started_at=None if job.started_at is None else _milliseconds(job.started_at),
        created_at=_milliseconds(job.created_at),
        consumable_resource_properties=consumable_resource_pb2.ConsumableResourceProperties(
            consumable_resource_list=[
                consumable_resource_pb2.ConsumableResourceRequirement(
                    consumable_resource=arns.consumable_resource(name), quantity=quantity
                )
                for name, quantity in needing.units
            ]
        ),
    )


def definition_to(record: DefinitionRecord, arns: Arns) -> job_definition_pb2.JobDefinition:
    """A revision as AWS shows it."""
    detail: Json = {
        "parameters": {},
        "propagateTags": False,
        **record.detail,
        "jobDefinitionName": record.name,
        "jobDefinitionArn": arns.job_definition(record.name, record.revision),
        "revision": record.revision,
        "status": record.status,
        "type": record.type,
        "tags": dict(record.tags),
        "containerOrchestrationType": "ECS",
    }
    _lower_actions(detail)
    return ParseDict(detail, job_definition_pb2.JobDefinition())


def _lower_actions(detail: Json) -> None:
    """AWS answers the actions of evaluateOnExit in lower case, however they were given."""
    retry: Json = detail.get("retryStrategy", {})
    if rules := retry.get("evaluateOnExit"):
        lowered = [{**rule, "action": rule["action"].lower()} for rule in rules]
        detail["retryStrategy"] = {**retry, "evaluateOnExit": lowered}


def job_to(described: DescribedJob, arns: Arns) -> job_pb2.JobDetail:
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
        **_times(job),
    }
    _put(detail, "statusReason", job.status_reason)
    _put(detail, "shareIdentifier", job.share)
    if job.array_size is not None:
        kept = {} if job.is_child else detail.get("arrayProperties", {})
        detail["arrayProperties"] = kept | _array_detail(job)
    if job.key.is_node:
        detail["nodeDetails"] = {
            "nodeIndex": job.key.node_index,
            "isMainNode": _is_main(job),
        }
        detail |= _run_by_node(detail.pop("nodeProperties"), job.key.node_index)
    if "container" in detail:
        detail["container"] = {**detail["container"], **_container_state(described, arns)}
    elif "ecsProperties" in detail:
        detail["ecsProperties"] = _ecs_detail(detail["ecsProperties"], described, arns)
    _lower_actions(detail)
    _put(detail, "rerunOf", job.rerun_of and str(job.rerun_of))
    _put(detail, "rerunIndex", described.rerun_index)
    _put(detail, "memoryMib", described.memory_mib)
    _put(detail, "rerunIndexes", ", ".join(described.rerun_indexes) or None)
    return ParseDict(detail, job_pb2.JobDetail())


def _run_by_node(properties: Json, node_index: int) -> Json:
    """The member of a job that tells what a node runs."""
    entries = properties["nodeRangeProperties"]
    ranges = ranges_of([entry["targetNodes"] for entry in entries])
    entry: Json = entries[range_of_each(ranges, properties["numNodes"])[node_index]]
    return {name: entry[name] for name in ("container", "ecsProperties") if name in entry}


def summary_to(job: JobRecord, arns: Arns) -> job_pb2.JobSummary:
    """A job as a listing shows it."""
    key = str(job.key)
    summary: Json = {
        "jobArn": arns.job(key),
        "jobId": key,
        "jobName": job.name,
        "status": str(job.status),
        "jobDefinition": arns.job_definition(job.definition_name, job.definition_revision),
        **_times(job),
    }
    _put(summary, "statusReason", job.status_reason)
    _put(summary, "shareIdentifier", job.share)
    container: Json = {}
    _put(container, "exitCode", job.exit_code)
    _put(container, "reason", job.reason)
    if container:
        summary["container"] = container
    if job.array_size is not None:
        summary["arrayProperties"] = _array_detail(job)
    if job.nodes is not None:
        summary["nodeProperties"] = _node_summary(job, job.nodes)
    if job.is_cancelled:
        summary["isCancelled"] = True
    if job.is_terminated:
        summary["isTerminated"] = True
    _put(summary, "rerunOf", job.rerun_of and str(job.rerun_of))
    return ParseDict(summary, job_pb2.JobSummary())


def _times(job: JobRecord) -> Json:
    times: Json = {"createdAt": _milliseconds(job.created_at)}
    if job.started_at is not None:
        times["startedAt"] = _milliseconds(job.started_at)
    if job.stopped_at is not None:
        times["stoppedAt"] = _milliseconds(job.stopped_at)
    return times


def _array_detail(job: JobRecord) -> Json:
    if job.is_child:
        return {"index": job.key.array_index, "size": job.array_size}
    counts: Mapping[str, int] = {str(status): 0 for status in JobStatus}
    detail: Json = {"size": job.array_size, "statusSummary": counts}
    if job.counts is not None:
        detail["statusSummary"] = job.counts.by_status
        detail["statusSummaryLastUpdatedAt"] = _milliseconds(job.counts.changed_at)
    return detail


def _is_main(job: JobRecord) -> bool:
    return job.nodes is not None and job.nodes.main_node == job.key.node_index


def _node_summary(job: JobRecord, nodes: NodeCount) -> Json:
    summary: Json = {"numNodes": nodes.num_nodes}
    if job.key.is_node:
        summary.update(nodeIndex=job.key.node_index, isMainNode=_is_main(job))
    return summary


def _container_state(described: DescribedJob, arns: Arns) -> Json:
    """What the latest attempt adds to the container; nothing between two attempts."""
    job = described.job
    state: Json = {}
    if not described.attempts or job.status not in _STARTED:
        return state
    state.update(_attempt_container(described.attempts[-1], arns))
    _put(state, "exitCode", job.exit_code)
    _put(state, "reason", job.reason)
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
        _put(state, "exitCode", known.get("exitCode"))
        _put(state, "reason", known.get("reason"))
        found.append(state)
    return found


def _attempt(attempt: AttemptRecord, described: DescribedJob, arns: Arns) -> Json:
    entry: Json = {}
    if _several(described):
        states = _container_states(attempt, described)
        entry["taskProperties"] = [{**_where(attempt, arns), "containers": states}]
    else:
        entry["container"] = _attempt_container(attempt, arns)
    _put(entry, "statusReason", attempt.status_reason)
    _put(entry, "memoryMib", attempt.memory_mib)
    for name, at in (("startedAt", attempt.started_at), ("stoppedAt", attempt.stopped_at)):
        if at is not None:
            entry[name] = _milliseconds(at)
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
    _put(container, "exitCode", attempt.exit_code)
    _put(container, "reason", attempt.reason)
    return container


def _put(target: Json, name: str, value: Any) -> None:
    if value is not None:
        target[name] = value


def _milliseconds(at: datetime) -> int:
    return int(at.timestamp() * 1000)
