"""Launches what one rank of an order asks for."""

import math
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence

import structlog

from longshore.domain.catalogue import LOCAL_FAMILY, InstanceType
from longshore.domain.checks import Json
from longshore.domain.errors import InvalidRequest, Unavailable
from longshore.domain.order import (
    PROVIDER_ERROR,
    UNSUPPORTED,
    CapacityError,
    CapacityOrder,
    OrderEntry,
)
from longshore.provisioning.ec2.api import Api, RefusedByAws
from longshore.provisioning.ec2.fleet import (
    FleetInstance,
    LaunchTarget,
    fleet_errors,
    fleet_instances,
    fleet_request,
    reason_of,
)
from longshore.provisioning.ec2.image import InstanceClass
from longshore.provisioning.ec2.template import (
    ENVIRONMENT_TAG,
    GENERATION_TAG,
    STACK_TAG,
    Templates,
)

log = structlog.get_logger()

ORDER_TAG = "longshore:order"
_NO_TEMPLATE = frozenset(
    {"InvalidLaunchTemplateName.NotFoundException", "InvalidLaunchTemplateId.NotFound"}
)


#: Makes the token of an order, given its environment and most instances; the same each time.
NewToken = Callable[[uuid.UUID, str, int], Awaitable[str]]


class Launcher:
    """Asks for fleets, on the environment's subnets and from its launch templates."""

    def __init__(self, ec2: Api, templates: Templates, stack: str, new_token: NewToken) -> None:
        self._new_token = new_token
        self._ec2 = ec2
        self._templates = templates
        self._stack = stack
        #: Zones of subnets; a subnet never moves.
        self._zones: dict[str, str] = {}

    async def launch(
        self,
        order: CapacityOrder,
        rank: int,
        group: Sequence[OrderEntry],
        kinds: Mapping[str, InstanceType],
        resources: Json,
        left: float,
    ) -> tuple[list[FleetInstance], list[CapacityError]]:
        """Asks for a rank's instances, once.

        Args:
            order: the order.
            rank: which of its ranks.
            group: the rank's entries.
            kinds: their types.
            resources: `computeResources` of the compute environment.
            left: vCPUs still to get.

        Returns:
            What was launched, and what could not be had.

        Raises:
            Unavailable: AWS does not answer; whether it launched anything is not known.
        """
        is_asked = False
        try:
            targets, errors = await self._targets(order, group, kinds, resources, left)
            if not targets:
                return [], errors
            tags = self._tags(order, rank, resources)
            request = fleet_request(order, rank, targets, left, tags)
            is_asked = True
            answer = await self._ec2.call("create_fleet", repeatable=False, **request)
        except InvalidRequest as error:
            return [], [failed(entry, PROVIDER_ERROR, error.message) for entry in group]
        except RefusedByAws as error:
            if error.code == "IdempotentParameterMismatch":
                # Asked before with less known; what that launched is about to show.
                raise Unavailable(str(error)) from error
            if error.code in _NO_TEMPLATE and is_asked:
                # Ours, deleted behind our back: made again at the next try.
                self._templates.forget()
                raise Unavailable(str(error)) from error
            log.warning("order.refused", order_id=str(order.order_id), rank=rank, error=str(error))
            return [], [failed(entry, reason_of(error.code), str(error)) for entry in group]
        got = fleet_instances(answer, self._zones)
        return got, errors + fleet_errors(answer, group, self._zones)

    async def _targets(
        self,
        order: CapacityOrder,
        group: Sequence[OrderEntry],
        kinds: Mapping[str, InstanceType],
        resources: Json,
        left: float,
    ) -> tuple[list[LaunchTarget], list[CapacityError]]:
        """Where each entry may be launched, and why some cannot be."""
        subnets = await self._subnets(resources)
        most = math.ceil(left / min(entry.weight for entry in group))
        token = await self._new_token(order.order_id, order.compute_environment, most)
        targets, errors = [], []
        for entry in group:
            kind = kinds[entry.instance_type]
            if not is_of_ec2(kind):
                message = f"EC2 has no instances of type {kind.name}."
                errors.append(failed(entry, UNSUPPORTED, message))
                continue
            places = _places(order, entry, subnets)
            if not places:
                message = f"The compute environment has no subnet in {entry.zone}."
                errors.append(failed(entry, UNSUPPORTED, message))
                continue
            template = await self._templates.ensure(
                order.compute_environment,
                order.generation,
                resources,
                InstanceClass.of(kind),
                token,
            )
            targets += [LaunchTarget(entry, zone, subnet, template) for zone, subnet in places]
        return targets, errors

    async def _subnets(self, resources: Json) -> dict[str, str]:
        """Zones of the environment's subnets."""
        subnets = list(resources.get("subnets") or ())
        if unknown := [subnet for subnet in subnets if subnet not in self._zones]:
            answer = await self._ec2.call("describe_subnets", SubnetIds=unknown)
            self._zones |= {
                subnet["SubnetId"]: subnet["AvailabilityZone"] for subnet in answer["Subnets"]
            }
        return {subnet: self._zones.get(subnet, "") for subnet in subnets}

    def _tags(self, order: CapacityOrder, rank: int, resources: Json) -> dict[str, str]:
        return {
            "Name": f"longshore-{order.compute_environment}",
            **resources.get("tags", {}),
            ORDER_TAG: f"{order.order_id}/{rank}",
            ENVIRONMENT_TAG: order.compute_environment,
            GENERATION_TAG: str(order.generation),
            STACK_TAG: self._stack,
        }


def is_of_ec2(kind: InstanceType) -> bool:
    """Whether EC2 has instances of a type: not of slots, nor of the local family."""
    return not kind.is_slot and kind.family != LOCAL_FAMILY


def failed(entry: OrderEntry, reason: str, message: str) -> CapacityError:
    """Why an entry cannot be had."""
    return CapacityError(entry.instance_type, entry.zone, entry.purchase_option, reason, message)


def _places(
    order: CapacityOrder, entry: OrderEntry, subnets: Mapping[str, str]
) -> list[tuple[str, str]]:
    """Zones and subnets in which an entry may be launched.

    One subnet of a zone: EC2 refuses a fleet that has two, as duplicate instance pools. Which one
    it is follows from the order, so that orders share them and one asked for again stays the same.
    """
    if not subnets:
        return [(entry.zone, "")]
    by_zone: dict[str, list[str]] = {}
    for subnet, zone in subnets.items():
        if entry.zone in ("", zone):
            by_zone.setdefault(zone, []).append(subnet)
    return [(zone, those[order.order_id.int % len(those)]) for zone, those in by_zone.items()]
