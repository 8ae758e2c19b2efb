"""Instances from EC2. The package's docstring says how."""

import contextlib
import re
import uuid
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog

from longshore.domain.catalogue import InstanceType
from longshore.domain.checks import Json
from longshore.domain.errors import Unavailable
from longshore.domain.instance import InstanceRecord
from longshore.domain.order import (
    INSTANCE_LIMIT,
    CapacityError,
    CapacityOrder,
    Ordered,
    OrderEntry,
)
from longshore.domain.scaling.market import Quote
from longshore.provisioning.ec2.api import Api, RefusedByAws, chunks, open_api
from longshore.provisioning.ec2.config import Ec2Config
from longshore.provisioning.ec2.fleet import FleetInstance, by_rank, entry_for
from longshore.provisioning.ec2.image import MachineImages
from longshore.provisioning.ec2.launching import (
    ORDER_TAG,
    Launcher,
    NewToken,
    failed,
    is_of_ec2,
)
from longshore.provisioning.ec2.market import Ec2Prices
from longshore.provisioning.ec2.template import STACK_TAG, Templates
from longshore.provisioning.provider import Fulfilment, LaunchError, ProviderInstance

log = structlog.get_logger()

#: States of instances that are there. One that shuts down costs nothing any more.
_LIVE = ("pending", "running", "stopping", "stopped")
#: What EC2 shows for about an hour of those that are gone.
_GONE = ("shutting-down", "terminated")
#: Codes of reasons for an end that has nothing to do with the instance itself.
_TAKEN_BACK = frozenset(
    {
        "Server.SpotInstanceTermination",
        "Server.SpotInstanceShutdown",
        "Server.InsufficientInstanceCapacity",
    }
)
#: Instances that one request names: values of a filter.
DESCRIBE_AT_ONCE = 200
#: Instances in one request to end them.
TERMINATE_AT_ONCE = 100
#: Most that EC2 takes as the target of one fleet. An order of more gets so much; the rest is for
#: the next one.
TARGET_MAXIMUM = 10_000.0
#: Refusals that have nothing to do with which instances are to end.
_REFUSED_ALL = frozenset({"UnauthorizedOperation", "AuthFailure"})
#: How often templates that nothing uses are looked for.
SWEEP_EVERY = timedelta(minutes=10)
_ORDER = re.compile(r"([0-9a-f-]{36})/([0-9]+)")


def _utc_now() -> datetime:
    return datetime.now(UTC)


@contextlib.asynccontextmanager
async def open_ec2_provider(
    config: Ec2Config, holder: str, new_token: NewToken
) -> AsyncIterator["Ec2Provider"]:
    """The provider, with its connections to AWS.

    Args:
        config: how it works.
        holder: name of this stack, by which its instances are told from others in the account.
        new_token: makes the token of an order, the same each time.
    """
    async with open_api("ec2", config) as ec2, open_api("ssm", config) as ssm:
        yield Ec2Provider(ec2, ssm, config, holder, new_token)


class Ec2Provider:
    """A `longshore.provisioning.provider.Provider`."""

    name = "ec2"
    revives = False

    def __init__(
        self,
        ec2: Api,
        ssm: Api,
        config: Ec2Config,
        holder: str,
        new_token: NewToken,
        now: Callable[[], datetime] = _utc_now,
    ) -> None:
        self._ec2 = ec2
        self._config = config
        self._stack = holder
        self._now = now
        self._templates = Templates(ec2, MachineImages(ssm, config), config, holder)
        self._launcher = Launcher(ec2, self._templates, holder, new_token)
        self._market = Ec2Prices(ec2, config, now)
        self._swept_at = now()

    async def fulfil(
        self,
        order: CapacityOrder,
        kinds: Mapping[str, InstanceType],
        resources: Json,
        live: int,
    ) -> Fulfilment:
        """Gets what may be had of an order. See the protocol."""
        instances: list[Ordered] = []
        errors: list[CapacityError] = []
        left = min(order.target_vcpus, TARGET_MAXIMUM)
        launched = await self._launched_for(order.order_id)
        for rank, group in by_rank(order.entries):
            if left <= 0:
                break
            got = launched.get(rank)
            if got is None:
                room = self._config.instances_limit - live - len(instances)
                if room <= 0:
                    errors += [self._at_limit(entry) for entry in group]
                    break
                wanted = min(left, room * min(entry.weight for entry in group))
                got, failed = await self._launcher.launch(
                    order, rank, group, kinds, resources, wanted
                )
                errors += failed
            for one in got:
                entry = entry_for(one, group)
                instances.append(
                    Ordered(
                        instance_id=one.instance_id,
                        entry=entry,
                        zone=one.zone,
                        provider_id=one.instance_id,
                    )
                )
                left -= entry.weight
        return Fulfilment(tuple(instances), tuple(errors))

    async def launch(self, instance: InstanceRecord) -> ProviderInstance:
        """Finds an instance, which runs since its order was answered.

        Raises:
            LaunchError: it is gone.
        """
        if await self._live_ids([instance.instance_id]):
            return ProviderInstance(instance.instance_id, instance.instance_id)
        raise LaunchError(f"EC2 has no instance {instance.instance_id} any more.")

    async def terminate(self, instance_ids: Sequence[str], *, force: bool) -> None:
        """Ends instances; EC2 knows one way to do that.

        Raises:
            Unavailable: AWS does not answer, or refuses to end some of them, when the others were
                ended; asking again does no harm.
        """
        failure: RefusedByAws | None = None
        for some in chunks(instance_ids, TERMINATE_AT_ONCE):
            failure = await self._end(some) or failure
        if failure is not None:
            raise Unavailable(f"EC2 does not end instances: {failure}") from failure
        log.info("instances.ended", instance_ids=list(instance_ids), force=force)

    async def _end(self, instance_ids: list[str]) -> RefusedByAws | None:
        """Ends instances; returns why that is refused, if only for some of them.

        One that is not known, or may not be ended, spoils the whole request.
        """
        try:
            await self._ec2.call("terminate_instances", InstanceIds=instance_ids)
        except RefusedByAws as error:
            refused = error
        else:
            return None
        if refused.code.startswith("InvalidInstanceID"):
            known = await self._live_ids(instance_ids)
            if not known:
                return None
            if len(known) < len(instance_ids):
                return await self._end(known)
        if refused.code in _REFUSED_ALL or refused.is_throttle or len(instance_ids) == 1:
            return refused
        half = len(instance_ids) // 2
        failures = [await self._end(part) for part in (instance_ids[:half], instance_ids[half:])]
        return failures[0] or failures[1]

    async def describe(self) -> list[ProviderInstance]:
        """Every instance of this stack that EC2 has now."""
        found: list[ProviderInstance] = []
        for instance in await self._instances({f"tag:{STACK_TAG}": [self._stack]}):
            tags = _tags(instance)
            match = _ORDER.fullmatch(tags.get(ORDER_TAG, ""))
            order_id = uuid.UUID(match.group(1)) if match else None
            found.append(ProviderInstance(instance["InstanceId"], instance["InstanceId"], order_id))
        if self._now() - self._swept_at >= SWEEP_EVERY:
            self._swept_at = self._now()
            await self._templates.sweep(self._now())
        return found

    async def taken_back(self, instance_ids: Sequence[str]) -> Mapping[str, str]:
        """Those that EC2 ended for want of capacity. See the protocol."""
        taken = {}
        for some in chunks(instance_ids, DESCRIBE_AT_ONCE):
            for instance in await self._instances({"instance-id": some}, _GONE):
                reason = instance.get("StateReason") or {}
                if reason.get("Code") in _TAKEN_BACK:
                    taken[instance["InstanceId"]] = reason.get("Message") or reason["Code"]
        return taken

    async def quote(self, kinds: Sequence[InstanceType]) -> list[Quote]:
        """Prices and depths of the pools of types. See `Ec2Prices`."""
        return await self._market.quote([kind for kind in kinds if is_of_ec2(kind)])

    async def clean(self, instance_id: str) -> None:
        """Nothing is left behind."""

    async def remains(self) -> list[str]:
        """Nothing is left behind."""
        return []

    async def _launched_for(self, order_id: uuid.UUID) -> dict[int, list[FleetInstance]]:
        """What an earlier try launched for an order, by rank."""
        found: dict[int, list[FleetInstance]] = {}
        filters = {f"tag:{ORDER_TAG}": [f"{order_id}/*"], f"tag:{STACK_TAG}": [self._stack]}
        for instance in await self._instances(filters):
            if match := _ORDER.fullmatch(_tags(instance)[ORDER_TAG]):
                zone = instance.get("Placement", {}).get("AvailabilityZone", "")
                got = FleetInstance(instance["InstanceId"], instance["InstanceType"], zone)
                found.setdefault(int(match.group(2)), []).append(got)
        return found

    async def _live_ids(self, instance_ids: Sequence[str]) -> list[str]:
        found = await self._instances({"instance-id": list(instance_ids)})
        return [instance["InstanceId"] for instance in found]

    async def _instances(
        self, filters: Mapping[str, list[str]], states: Sequence[str] = _LIVE
    ) -> list[Mapping[str, Any]]:
        """Instances by filters, those that are there unless other states are named.

        Raises:
            Unavailable: AWS does not answer, or does not permit to ask.
        """
        wanted = [{"Name": name, "Values": values} for name, values in filters.items()]
        wanted.append({"Name": "instance-state-name", "Values": list(states)})
        try:
            reservations = await self._ec2.pages(
                "describe_instances", "Reservations", Filters=wanted, MaxResults=1000
            )
        except RefusedByAws as error:
            raise Unavailable(f"EC2 does not show instances: {error}") from error
        return [instance for reservation in reservations for instance in reservation["Instances"]]

    def _at_limit(self, entry: OrderEntry) -> CapacityError:
        limit = self._config.instances_limit
        return failed(entry, INSTANCE_LIMIT, f"longshore may have {limit} instances at one time.")


def _tags(instance: Mapping[str, Any]) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in instance.get("Tags") or ()}
