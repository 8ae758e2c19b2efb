"""What is answered: records in AWS's shapes, names as ARNs."""

from datetime import datetime

from google.protobuf.json_format import ParseDict

from longshore.domain.arn import Arns
from longshore.domain.checks import Json
from longshore.domain.environment import (
    ComputeEnvironment,
    ConsumableResource,
    JobQueue,
    SchedulingPolicy,
)
from longshore.domain.request.compute_environment import compute_resources
from longshore.domain.request.job_detail import (
    array_detail,
    is_main,
    job_detail,
    job_times,
    lower_actions,
    milliseconds,
    put,
)
from longshore.domain.request.queue import TIME_LIMITS
from longshore.domain.request.reading import DescribedJob, JobRecord, NeedingJob, NodeCount
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
    at = milliseconds(now)
    return job_queue_pb2.GetJobQueueSnapshotResponse(
        front_of_queue=job_queue_pb2.FrontOfQueueDetail(
            jobs=[
                job_queue_pb2.FrontOfQueueJobSummary(
                    job_arn=arns.job(str(job.key)),
                    earliest_time_at_position=milliseconds(job.since),
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
        created_at=milliseconds(resource.created_at),
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
        started_at=None if job.started_at is None else milliseconds(job.started_at),
        created_at=milliseconds(job.created_at),
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
    lower_actions(detail)
    return ParseDict(detail, job_definition_pb2.JobDefinition())


def job_to(described: DescribedJob, arns: Arns) -> job_pb2.JobDetail:
    """A job as AWS shows it: what it was submitted as, and where it is now."""
    detail = job_detail(described, arns)
    put(detail, "submittedBy", described.job.submitted_by or None)
    return ParseDict(detail, job_pb2.JobDetail())


def summary_to(job: JobRecord, arns: Arns) -> job_pb2.JobSummary:
    """A job as a listing shows it."""
    key = str(job.key)
    summary: Json = {
        "jobArn": arns.job(key),
        "jobId": key,
        "jobName": job.name,
        "status": str(job.status),
        "jobDefinition": arns.job_definition(job.definition_name, job.definition_revision),
        **job_times(job),
    }
    put(summary, "statusReason", job.status_reason)
    put(summary, "shareIdentifier", job.share)
    put(summary, "submittedBy", job.submitted_by or None)
    container: Json = {}
    put(container, "exitCode", job.exit_code)
    put(container, "reason", job.reason)
    if container:
        summary["container"] = container
    if job.array_size is not None:
        summary["arrayProperties"] = array_detail(job)
    if job.nodes is not None:
        summary["nodeProperties"] = _node_summary(job, job.nodes)
    if job.is_cancelled:
        summary["isCancelled"] = True
    if job.is_terminated:
        summary["isTerminated"] = True
    put(summary, "rerunOf", job.rerun_of and str(job.rerun_of))
    return ParseDict(summary, job_pb2.JobSummary())


def _node_summary(job: JobRecord, nodes: NodeCount) -> Json:
    summary: Json = {"numNodes": nodes.num_nodes}
    if job.key.is_node:
        summary.update(nodeIndex=job.key.node_index, isMainNode=is_main(job))
    return summary
