"""A provider, EC2 behind it, and orders for it."""

import uuid
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

from support.ec2 import FaultProxy

from longshore.domain.catalogue import Catalogue, InstanceType
from longshore.domain.order import CapacityOrder, OrderEntry
from longshore.provisioning.ec2.api import Api
from longshore.provisioning.ec2.config import Ec2Config
from longshore.provisioning.ec2.provider import Ec2Provider, open_ec2_provider
from longshore.provisioning.provider import Fulfilment

STACK = "stack-of-tests"
CATALOGUE = Catalogue()


def entry(
    name: str = "c6i.large", count: int = 1, rank: int = 0, option: str = "ON_DEMAND", **more: Any
) -> OrderEntry:
    kind = a_type(name)
    fields: dict[str, Any] = {"weight": kind.vcpus, "price_per_hour": kind.price_per_hour, **more}
    return OrderEntry(
        instance_type=name, max_count=count, rank=rank, purchase_option=option, **fields
    )


def a_type(name: str) -> InstanceType:
    kind = CATALOGUE.get(name)
    assert kind is not None
    return kind


def an_order(*entries: OrderEntry, **more: Any) -> CapacityOrder:
    target = sum(entry.weight * entry.max_count for entry in entries)
    fields: dict[str, Any] = {"target_vcpus": target, "order_id": uuid.uuid4(), **more}
    return CapacityOrder(compute_environment="blue", entries=entries, reason="a test", **fields)


async def a_token(order_id: uuid.UUID, compute_environment: str, most: int) -> str:
    """What instances of an order join with; here that of all."""
    del order_id, compute_environment
    assert most > 0
    return "lsjoin.token"


@dataclass
class Stand:
    """A provider, EC2 behind it, and the subnets by zone."""

    provider: Ec2Provider
    proxy: FaultProxy
    ec2: Api
    config: Ec2Config
    subnets: dict[str, str]
    stack: AsyncExitStack

    @property
    def resources(self) -> dict[str, Any]:
        """Of a compute environment in two zones."""
        return {
            "subnets": [self.subnets["us-east-1a"], self.subnets["us-east-1b"]],
            "securityGroupIds": ["sg-0123456789abcdef0"],
            "instanceRole": "ecsInstanceRole",
            "tags": {"team": "blue"},
        }

    async def another(self, config: Ec2Config | None = None, holder: str = STACK) -> Ec2Provider:
        """A provider that knows nothing of the first, as after a crash."""
        opened = open_ec2_provider(config or self.config, holder, a_token)
        return await self.stack.enter_async_context(opened)

    async def instances(self) -> list[dict[str, Any]]:
        """All that EC2 has running."""
        states = [{"Name": "instance-state-name", "Values": ["pending", "running"]}]
        found = await self.ec2.pages("describe_instances", "Reservations", Filters=states)
        return [instance for reservation in found for instance in reservation["Instances"]]

    async def fulfil(
        self, order: CapacityOrder, provider: Ec2Provider | None = None, live: int = 0, **more: Any
    ) -> Fulfilment:
        kinds = {item.instance_type: a_type(item.instance_type) for item in order.entries}
        asked = provider or self.provider
        return await asked.fulfil(order, kinds, {**self.resources, **more}, live)
