"""Capacity orders, instances and costs between the wire and the domain."""

import uuid
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from google.protobuf.timestamp_pb2 import Timestamp

from longshore.domain.arn import COMPUTE_ENVIRONMENT, JOB_QUEUE, parse_name
from longshore.domain.checks import NAMES_MAX
from longshore.domain.errors import InvalidRequest
from longshore.domain.instance import is_instance_id
from longshore.domain.job.job import JobKey
from longshore.domain.order import (
    COUNT_LIMIT,
    ENTRIES_LIMIT,
    GIVE_BACK_LIMIT,
    ON_DEMAND,
    SPOT,
    CapacityOrder,
    OrderEntry,
)
from longshore.domain.page import LIST_DEFAULT, LIST_MOST, page_size
from longshore.provisioning.instances.reporting import Costs, InstanceFilter
from longshore.provisioning.orders.fulfilling import Provisioned
from longshore.state.views.instance_report import Cost, InstanceDetail
from longshore.v1 import provisioning_service_pb2 as pb

REASON_LIMIT = 2_000
NOTICE_LIMIT = 600
NOTICE_DEFAULT = 120
_OPTIONS = {pb.PURCHASE_OPTION_ON_DEMAND: ON_DEMAND, pb.PURCHASE_OPTION_SPOT: SPOT}
_WIRE_OPTIONS = {name: option for option, name in _OPTIONS.items()}


def order_from_request(request: pb.ProvisionRequest) -> CapacityOrder:
    """The order of a request, checked for form.

    Raises:
        InvalidRequest: a member is wrong; the message names it.
    """
    order = request.order
    try:
        order_id = uuid.UUID(order.order_id)
    except ValueError:
        raise _wrong("orderId", f"{order.order_id!r} is not a UUID") from None
    if not order.compute_environment:
        raise _wrong("computeEnvironment", "it is required")
    if order.target_vcpus <= 0:
        raise _wrong("targetVcpus", "it must be above zero")
    if not 1 <= len(order.entries) <= ENTRIES_LIMIT:
        raise _wrong("entries", f"there must be 1 to {ENTRIES_LIMIT}")
    return CapacityOrder(
        order_id=order_id,
        compute_environment=order.compute_environment,
        generation=max(order.generation, 1),
        allocation_strategy=order.allocation_strategy or "BEST_FIT",
        target_vcpus=order.target_vcpus,
        entries=tuple(_entry(number, entry) for number, entry in enumerate(order.entries)),
        reason=order.reason[:REASON_LIMIT],
    )


def ids_from_request(request: pb.TerminateInstancesRequest) -> list[str]:
    """The instance ids of a request, checked for form.

    Raises:
        InvalidRequest: too many, or not instance ids.
    """
    if len(request.instance_ids) > GIVE_BACK_LIMIT:
        raise InvalidRequest(
            f"instanceIds: at most {GIVE_BACK_LIMIT} at one time.", member="instanceIds"
        )
    for number, instance_id in enumerate(request.instance_ids):
        _check_id(instance_id, f"instanceIds[{number}]")
    return list(request.instance_ids)


def wanted_from_request(request: pb.ListInstancesRequest) -> tuple[InstanceFilter, int]:
    """Which instances are asked for, and how many at most.

    Raises:
        InvalidRequest: a member is wrong; the message names it.
    """
    if request.instance_id:
        _check_id(request.instance_id, "instanceId")
    asked = request.max_results if request.HasField("max_results") else LIST_DEFAULT
    environment = request.compute_environment
    if environment:
        environment = parse_name(COMPUTE_ENVIRONMENT, environment, member="computeEnvironment")
    wanted = InstanceFilter(environment, request.instance_id, request.ended)
    return wanted, page_size(asked, LIST_MOST)


def drain_from_request(request: pb.TerminateInstancesRequest) -> datetime | None:
    """From when on attempts on the instances are stopped; None: they run to their end.

    Raises:
        InvalidRequest: it is no time of the years 1 to 9999.
    """
    if not request.HasField("drain_until"):
        return None
    try:
        return request.drain_until.ToDatetime(UTC)
    except (ValueError, OverflowError):
        raise InvalidRequest(
            "drainUntil is no time of the years 1 to 9999.", member="drainUntil"
        ) from None


def interrupt_from_request(request: pb.InterruptInstanceRequest) -> tuple[str, timedelta]:
    """The instance to interrupt and the notice that it gets.

    Raises:
        InvalidRequest: a member is wrong; the message names it.
    """
    _check_id(request.instance_id, "instanceId")
    notice = request.notice_seconds if request.HasField("notice_seconds") else NOTICE_DEFAULT
    if not 0 <= notice <= NOTICE_LIMIT:
        raise InvalidRequest(
            f"noticeSeconds is {notice}; it must be from 0 to {NOTICE_LIMIT}.",
            member="noticeSeconds",
        )
    return request.instance_id, timedelta(seconds=notice)


def costs_from_request(
    request: pb.DescribeCostsRequest,
) -> tuple[list[str], list[str], list[JobKey]]:
    """Compute environments, queues and jobs whose costs are asked for.

    Raises:
        InvalidRequest: too many, a name that cannot be one, or a job's id that is none.
    """
    for member, names in (
        ("computeEnvironments", request.compute_environments),
        ("jobQueues", request.job_queues),
        ("jobIds", request.job_ids),
    ):
        if len(names) > NAMES_MAX:
            raise InvalidRequest(f"{member}: at most {NAMES_MAX} at one time.", member=member)
    keys = [JobKey.named(text, f"jobIds[{n}]") for n, text in enumerate(request.job_ids)]
    environments = [
        parse_name(COMPUTE_ENVIRONMENT, text, member=f"computeEnvironments[{n}]")
        for n, text in enumerate(request.compute_environments)
    ]
    queues = [
        parse_name(JOB_QUEUE, text, member=f"jobQueues[{n}]")
        for n, text in enumerate(request.job_queues)
    ]
    return environments, queues, keys


def instance_to(detail: InstanceDetail) -> pb.InstanceDetail:
    """An instance, for the wire."""
    return pb.InstanceDetail(
        instance_id=detail.instance_id,
        compute_environment=detail.compute_environment,
        status=detail.status,
        status_reason=detail.status_reason,
        provider=detail.provider,
        provider_id=detail.provider_id,
        instance_type=detail.instance_type,
        zone=detail.zone,
        purchase_option=_WIRE_OPTIONS[detail.purchase_option],
        vcpus=detail.vcpus,
        memory_mib=detail.memory_mib,
        gpus=detail.gpus,
        price_per_hour=detail.price_per_hour,
        cost=detail.cost,
        live_attempts=detail.live_attempts,
        held_vcpus=detail.held_vcpus,
        held_memory_mib=detail.held_memory_mib,
        order_time=_timestamp(detail.ordered_at),
        launch_time=_timestamp(detail.launched_at),
        register_time=_timestamp(detail.registered_at),
        drain_time=_timestamp(detail.terminating_at),
        end_time=_timestamp(detail.ended_at),
        order_reason=detail.order_reason,
        tags=detail.tags,
        network=detail.network,
        gpu_devices=detail.gpu_devices,
    )


def costs_to_response(costs: Costs) -> pb.DescribeCostsResponse:
    """Costs, for the wire."""

    def wire(found: Sequence[Cost]) -> list[pb.Cost]:
        return [pb.Cost(name=one.name, cost=one.cost) for one in found]

    return pb.DescribeCostsResponse(
        compute_environments=wire(costs.environments),
        job_queues=wire(costs.queues),
        jobs=wire(costs.jobs),
    )


def provisioned_to_response(provisioned: Provisioned) -> pb.ProvisionResponse:
    """What an order got, for the wire."""
    return pb.ProvisionResponse(
        order_id=str(provisioned.order_id),
        instances=[
            pb.ProvisionedInstance(instance_id=instance_id, instance_type=kind, zone=zone)
            for instance_id, kind, zone in provisioned.instances
        ],
        errors=[
            pb.CapacityError(
                instance_type=error.instance_type,
                zone=error.zone,
                purchase_option=_WIRE_OPTIONS[error.purchase_option],
                reason=error.reason,
                message=error.message,
            )
            for error in provisioned.errors
        ],
    )


def _entry(number: int, entry: pb.CapacityOrderEntry) -> OrderEntry:
    path = f"entries[{number}]"
    if entry.purchase_option not in _OPTIONS:
        raise _wrong(f"{path}.purchaseOption", "it must be on-demand or spot")
    if entry.weight <= 0:
        raise _wrong(f"{path}.weight", "it must be above zero")
    if not 1 <= entry.max_count <= COUNT_LIMIT:
        raise _wrong(f"{path}.maxCount", f"it must be 1 to {COUNT_LIMIT}")
    if not entry.price_per_hour >= 0:  # NaN, too
        raise _wrong(f"{path}.pricePerHour", "it must not be negative")
    return OrderEntry(
        instance_type=entry.instance_type,
        weight=entry.weight,
        max_count=entry.max_count,
        price_per_hour=entry.price_per_hour,
        purchase_option=_OPTIONS[entry.purchase_option],
        zone=entry.zone,
        rank=entry.rank,
        max_price_per_hour=(
            entry.max_price_per_hour if entry.HasField("max_price_per_hour") else None
        ),
    )


def _check_id(text: str, member: str) -> None:
    if not is_instance_id(text):
        raise InvalidRequest(
            f"{text[:64]!r} is not an instance id (`i-` and 17 hexadecimal digits).", member=member
        )


def _timestamp(at: datetime | None) -> Timestamp | None:
    if at is None:
        return None
    stamp = Timestamp()
    stamp.FromDatetime(at)
    return stamp


def _wrong(member: str, text: str) -> InvalidRequest:
    return InvalidRequest(f"order.{member}: {text}.", member=f"order.{member}")
