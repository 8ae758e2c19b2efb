"""A rank of an order as a CreateFleet request, and its answer. Pure.

EC2 Fleet User Guide, "Instant fleets", "Allocation strategies" and "Instance weighting".
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import groupby
from math import ceil, lcm
from typing import Any

from longshore.domain.order import (
    INSTANCE_LIMIT,
    INSUFFICIENT_INSTANCE_CAPACITY,
    NOT_PERMITTED,
    PRICE_TOO_LOW,
    PROVIDER_ERROR,
    SPOT,
    THROTTLED,
    UNSUPPORTED,
    CapacityError,
    CapacityOrder,
    OrderEntry,
)
from longshore.domain.scaling.capacity import ORDERED

#: Most launch specifications of one fleet.
OVERRIDES_MAXIMUM = 300
#: How an order's strategy is called where spot instances are asked for. The others of AWS Batch
#: rank by price themselves.
_SPOT_STRATEGIES = {
    "SPOT_CAPACITY_OPTIMIZED": "capacity-optimized",
    "SPOT_PRICE_CAPACITY_OPTIMIZED": "price-capacity-optimized",
    "SPOT_CAPACITY_OPTIMIZED_PRIORITIZED": "capacity-optimized-prioritized",
}

_REASONS = {
    "InsufficientInstanceCapacity": INSUFFICIENT_INSTANCE_CAPACITY,
    "InsufficientCapacity": INSUFFICIENT_INSTANCE_CAPACITY,
    "InsufficientHostCapacity": INSUFFICIENT_INSTANCE_CAPACITY,
    "InsufficientReservedInstanceCapacity": INSUFFICIENT_INSTANCE_CAPACITY,
    "UnfulfillableCapacity": INSUFFICIENT_INSTANCE_CAPACITY,
    "SpotMaxPriceTooLow": PRICE_TOO_LOW,
    "Unsupported": UNSUPPORTED,
    "UnsupportedOperation": UNSUPPORTED,
    "VcpuLimitExceeded": INSTANCE_LIMIT,
    "InstanceLimitExceeded": INSTANCE_LIMIT,
    "MaxSpotInstanceCountExceeded": INSTANCE_LIMIT,
    "MaxSpotFleetRequestCountExceeded": INSTANCE_LIMIT,
    "InsufficientFreeAddressesInSubnet": INSTANCE_LIMIT,
    # What is asked of Systems Manager for an order, the newest image, has its own word for it.
    "AccessDeniedException": NOT_PERMITTED,
    "AuthFailure": NOT_PERMITTED,
    "UnauthorizedOperation": NOT_PERMITTED,
    "AuthFailure.ServiceLinkedRoleCreationNotPermitted": NOT_PERMITTED,
    "RequestLimitExceeded": THROTTLED,
    "Throttling": THROTTLED,
}


@dataclass(frozen=True, slots=True)
class LaunchTarget:
    """Where instances of an entry may be launched.

    A zone with a subnet of the environment's; with neither, wherever the default network is.
    """

    entry: OrderEntry
    zone: str = ""
    subnet: str = ""
    #: Name of the launch template.
    template: str = ""


@dataclass(frozen=True, slots=True)
class FleetInstance:
    """An instance that a fleet launched."""

    instance_id: str
    instance_type: str
    zone: str


def by_rank(entries: Iterable[OrderEntry]) -> list[tuple[int, list[OrderEntry]]]:
    """Entries of equal rank together, the first rank first."""
    ranked = sorted(entries, key=lambda entry: entry.rank)
    return [(rank, list(group)) for rank, group in groupby(ranked, lambda entry: entry.rank)]


def fleet_request(
    order: CapacityOrder,
    rank: int,
    targets: Sequence[LaunchTarget],
    left: float,
    tags: Mapping[str, str],
) -> dict[str, Any]:
    """The request for what is left of an order, from one rank.

    Weights are whole numbers there, so all are multiplied by what makes them so.

    Args:
        order: the order.
        rank: which of its ranks.
        targets: of the rank's entries, at least one, the best first.
        left: vCPUs still to get.
        tags: of the instances.
    """
    targets = targets[:OVERRIDES_MAXIMUM]
    entries = list(dict.fromkeys(target.entry for target in targets))
    scale = lcm(*(_fraction(entry.weight).denominator for entry in entries))
    wanted = min(left, sum(entry.max_count * entry.weight for entry in entries))
    is_spot = entries[0].purchase_option == SPOT
    request: dict[str, Any] = {
        "Type": "instant",
        "ClientToken": f"{order.order_id.hex}-{rank}",
        "TargetCapacitySpecification": {
            "TotalTargetCapacity": max(ceil(_fraction(wanted) * scale), 1),
            "DefaultTargetCapacityType": "spot" if is_spot else "on-demand",
        },
        "LaunchTemplateConfigs": _configs(targets, scale, is_spot=is_spot),
        "TagSpecifications": [
            {
                "ResourceType": "instance",
                "Tags": [{"Key": key, "Value": value} for key, value in tags.items()],
            }
        ],
    }
    if is_spot:
        strategy = _SPOT_STRATEGIES.get(order.allocation_strategy, "lowest-price")
        request["SpotOptions"] = {
            "AllocationStrategy": strategy,
            "InstanceInterruptionBehavior": "terminate",
        }
    else:
        strategy = "prioritized" if order.allocation_strategy == ORDERED else "lowest-price"
        request["OnDemandOptions"] = {"AllocationStrategy": strategy}
    return request


def _configs(targets: Sequence[LaunchTarget], scale: int, *, is_spot: bool) -> list[dict[str, Any]]:
    configs: dict[str, list[dict[str, Any]]] = {}
    for priority, target in enumerate(targets):
        entry, weight = target.entry, int(_fraction(target.entry.weight) * scale)
        override: dict[str, Any] = {
            "InstanceType": entry.instance_type,
            "WeightedCapacity": weight,
            "Priority": float(priority),
        }
        if target.subnet:
            override["SubnetId"] = target.subnet
        elif target.zone:
            override["AvailabilityZone"] = target.zone
        if is_spot and entry.max_price_per_hour is not None:
            # EC2 compares the price of one unit of weight.
            override["MaxPrice"] = f"{entry.max_price_per_hour / weight:.6f}"
        configs.setdefault(target.template, []).append(override)
    return [
        {
            "LaunchTemplateSpecification": {"LaunchTemplateName": template, "Version": "1"},
            "Overrides": overrides,
        }
        for template, overrides in configs.items()
    ]


def _fraction(number: float) -> Fraction:
    return Fraction(number).limit_denominator(64)


def fleet_instances(answer: Mapping[str, Any], zones: Mapping[str, str]) -> list[FleetInstance]:
    """What a fleet launched; `zones` are those of subnets."""
    found = []
    for group in answer.get("Instances") or ():
        override = group.get("LaunchTemplateAndOverrides", {}).get("Overrides", {})
        zone = override.get("AvailabilityZone") or zones.get(override.get("SubnetId", ""), "")
        kind = group.get("InstanceType") or override.get("InstanceType", "")
        found += [
            FleetInstance(instance_id, kind, zone) for instance_id in group.get("InstanceIds") or ()
        ]
    return found


def fleet_errors(
    answer: Mapping[str, Any], entries: Sequence[OrderEntry], zones: Mapping[str, str]
) -> list[CapacityError]:
    """What a fleet could not have, one error for each type and zone.

    Where an entry leaves the zone open and nothing of its type was launched, it is short in any.
    """
    launched = {kind for got in fleet_instances(answer, zones) for kind in (got.instance_type,)}
    anywhere = {entry.instance_type for entry in entries if not entry.zone} - launched
    option = entries[0].purchase_option
    errors: dict[tuple[str, str], CapacityError] = {}
    for error in answer.get("Errors") or ():
        override = error.get("LaunchTemplateAndOverrides", {}).get("Overrides", {})
        kind = override.get("InstanceType") or entries[0].instance_type
        zone = override.get("AvailabilityZone") or zones.get(override.get("SubnetId", ""), "")
        zone = "" if kind in anywhere else zone
        code = error.get("ErrorCode") or "Unknown"
        message = error.get("ErrorMessage") or code
        errors.setdefault((kind, zone), CapacityError(kind, zone, option, reason_of(code), message))
    return list(errors.values())


def reason_of(code: str) -> str:
    """The constant reason that an error code of EC2's stands for."""
    return _REASONS.get(code, PROVIDER_ERROR)


def entry_for(got: FleetInstance, entries: Sequence[OrderEntry]) -> OrderEntry:
    """The entry that an instance was launched for."""
    of_type = [entry for entry in entries if entry.instance_type == got.instance_type]
    by_zone = [entry for entry in of_type if entry.zone == got.zone]
    return (by_zone or of_type or list(entries))[0]
