"""Decisions and capacity orders, from the domain to the wire."""

from collections.abc import Iterable, Sequence
from datetime import datetime

from google.protobuf.timestamp_pb2 import Timestamp

from longshore.domain.order import ON_DEMAND, SPOT, CapacityError, CapacityOrder
from longshore.domain.page import Page
from longshore.domain.scaling.decision import Decision
from longshore.state.views.capacity_report import EnvironmentCapacity, InstanceSum, ScalingActivity
from longshore.v1 import provisioning_service_pb2 as provisioning_pb
from longshore.v1 import scaler_service_pb2 as pb

_OPTIONS = {
    ON_DEMAND: provisioning_pb.PURCHASE_OPTION_ON_DEMAND,
    SPOT: provisioning_pb.PURCHASE_OPTION_SPOT,
}
_NAMES = {option: name for name, option in _OPTIONS.items()}


def order_to_request(
    order: CapacityOrder, decision_token: int | None = None
) -> provisioning_pb.ProvisionRequest:
    """An order for provisioning, decided under a lease of that token."""
    return provisioning_pb.ProvisionRequest(
        decision_token=decision_token or 0,
        order=provisioning_pb.CapacityOrder(
            order_id=str(order.order_id),
            compute_environment=order.compute_environment,
            generation=order.generation,
            allocation_strategy=order.allocation_strategy,
            target_vcpus=order.target_vcpus,
            reason=order.reason,
            entries=[
                provisioning_pb.CapacityOrderEntry(
                    instance_type=entry.instance_type,
                    purchase_option=_OPTIONS[entry.purchase_option],
                    zone=entry.zone,
                    weight=entry.weight,
                    max_count=entry.max_count,
                    price_per_hour=entry.price_per_hour,
                    rank=entry.rank,
                    max_price_per_hour=entry.max_price_per_hour,
                )
                for entry in order.entries
            ],
        ),
    )


def errors_of(response: provisioning_pb.ProvisionResponse) -> list[CapacityError]:
    """What an order could not get."""
    return [
        CapacityError(
            error.instance_type,
            error.zone,
            _NAMES.get(error.purchase_option, ON_DEMAND),
            error.reason,
            error.message,
        )
        for error in response.errors
    ]


def termination_to_request(
    instance_ids: Sequence[str], reason: str, drain_until: datetime | None
) -> provisioning_pb.TerminateInstancesRequest:
    """Instances for provisioning to take back."""
    request = provisioning_pb.TerminateInstancesRequest(instance_ids=instance_ids, reason=reason)
    if drain_until is not None:
        request.drain_until.FromDatetime(drain_until)
    return request


def decisions_to_response(decisions: Iterable[Decision]) -> pb.EvaluateResponse:
    """What an evaluation decided."""
    return pb.EvaluateResponse(
        decisions=[
            pb.ScalingDecision(
                compute_environment=decision.compute_environment,
                desired_vcpus=decision.desiredv_cpus,
                instances_ordered=sum(launch.count for launch in decision.launches),
                instances_terminated=[give.instance_id for give in decision.terminate],
                reason=decision.reason,
            )
            for decision in decisions
        ]
    )


def capacity_to_response(
    environments: Iterable[EnvironmentCapacity],
) -> pb.DescribeCapacityResponse:
    """What compute environments have."""
    return pb.DescribeCapacityResponse(compute_environments=[_capacity(e) for e in environments])


def activities_to_response(page: Page[ScalingActivity]) -> pb.ListScalingActivitiesResponse:
    """A page of the history of decisions."""
    return pb.ListScalingActivitiesResponse(
        activities=[_activity(activity) for activity in page.items],
        next_token=page.next_token or "",
    )


def _capacity(environment: EnvironmentCapacity) -> pb.EnvironmentCapacity:
    message = pb.EnvironmentCapacity(
        compute_environment=environment.compute_environment,
        type=environment.type,
        resource_type=environment.resource_type,
        state=environment.state,
        status=environment.status,
        status_reason=environment.status_reason,
        min_vcpus=environment.minv_cpus,
        desired_vcpus=environment.desiredv_cpus,
        max_vcpus=environment.maxv_cpus,
        busy=_sum(environment.busy),
        idle=_sum(environment.idle),
        booting=_sum(environment.booting),
        draining=_sum(environment.draining),
        unfit=_sum(environment.unfit),
        held_vcpus=environment.held_vcpus,
        runnable_jobs=environment.runnable_jobs,
        cost_per_hour=environment.cost_per_hour,
        remarks=environment.remarks,
    )
    if environment.last_activity is not None:
        message.last_activity.CopyFrom(_activity(environment.last_activity))
    return message


def _sum(instances: InstanceSum) -> pb.InstanceSum:
    return pb.InstanceSum(instances=instances.instances, vcpus=instances.vcpus)


def _activity(activity: ScalingActivity) -> pb.ScalingActivity:
    time = Timestamp()
    time.FromDatetime(activity.at)
    return pb.ScalingActivity(
        activity_id=activity.activity_id,
        compute_environment=activity.compute_environment,
        time=time,
        desired_vcpus=activity.desiredv_cpus,
        ordered=activity.ordered,
        terminated=activity.terminated,
        reason=activity.reason,
        order_id=str(activity.order_id) if activity.order_id else "",
    )
