"""Capacity orders between the wire and the domain."""

import re
import uuid

from longshore.domain.errors import InvalidRequest
from longshore.domain.order import ON_DEMAND, SPOT, CapacityOrder, OrderEntry
from longshore.provisioning.service import Provisioned
from longshore.v1 import provisioning_service_pb2 as pb

ENTRIES_LIMIT = 300
COUNT_LIMIT = 10_000
TERMINATE_LIMIT = 1_000
REASON_LIMIT = 2_000
_OPTIONS = {pb.PURCHASE_OPTION_ON_DEMAND: ON_DEMAND, pb.PURCHASE_OPTION_SPOT: SPOT}
_INSTANCE_ID = re.compile(r"i-[0-9a-f]{17}")


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
        target_vcpus=order.target_vcpus,
        entries=tuple(_entry(number, entry) for number, entry in enumerate(order.entries)),
        reason=order.reason[:REASON_LIMIT],
    )


def ids_from_request(request: pb.TerminateInstancesRequest) -> list[str]:
    """The instance ids of a request, checked for form.

    Raises:
        InvalidRequest: too many, or not instance ids.
    """
    if len(request.instance_ids) > TERMINATE_LIMIT:
        raise InvalidRequest(
            f"instanceIds: at most {TERMINATE_LIMIT} at one time.", member="instanceIds"
        )
    for number, instance_id in enumerate(request.instance_ids):
        if not _INSTANCE_ID.fullmatch(instance_id):
            raise InvalidRequest(
                f"{instance_id!r} is not an instance id (`i-` and 17 hexadecimal digits).",
                member=f"instanceIds[{number}]",
            )
    return list(request.instance_ids)


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
    )


def _wrong(member: str, text: str) -> InvalidRequest:
    return InvalidRequest(f"order.{member}: {text}.", member=f"order.{member}")
