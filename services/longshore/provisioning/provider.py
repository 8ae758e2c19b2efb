"""What provisioning asks of a provider of instances."""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from longshore.domain.catalogue import InstanceType
from longshore.domain.checks import Json
from longshore.domain.errors import LongshoreError
from longshore.domain.instance import InstanceRecord
from longshore.domain.order import CapacityError, CapacityOrder, Ordered
from longshore.domain.scaling.market import Quote


class LaunchError(LongshoreError):
    """The provider could not launch an instance; trying again would not help."""

    reason = "LAUNCH_FAILED"


@dataclass(frozen=True, slots=True)
class ProviderInstance:
    """An instance that the provider has; `provider_id` is its own name for it.

    `order_id`, where the provider keeps it, is the order that `fulfil` got it for: an instance of
    an order that is being answered is not yet on record, and no stray for that.
    """

    instance_id: str
    provider_id: str
    order_id: uuid.UUID | None = None


@dataclass(frozen=True, slots=True)
class Fulfilment:
    """What an order got, and what could not be had."""

    instances: tuple[Ordered, ...]
    errors: tuple[CapacityError, ...]


class Provider(Protocol):
    """A place that instances come from; all of it is idempotent, by our own ids."""

    name: str
    #: Whether an instance that is gone can be launched again under the same id.
    revives: bool

    async def fulfil(
        self,
        order: CapacityOrder,
        kinds: Mapping[str, InstanceType],
        resources: Json,
        live: int,
    ) -> Fulfilment:
        """Gets what may be had of an order; the same order again gets the same instances.

        Args:
            order: what to get.
            kinds: the types of its entries.
            resources: `computeResources` of the compute environment, as stored.
            live: instances of this provider that are not over on record, and those that orders
                before this one may still get.

        Raises:
            Unavailable: the provider does not answer; whether it launched anything is not known.
        """
        ...

    async def launch(self, instance: InstanceRecord) -> ProviderInstance:
        """Starts an instance, or finds that it runs already.

        Raises:
            LaunchError: it cannot be started.
        """
        ...

    async def terminate(self, instance_ids: Sequence[str], *, force: bool) -> None:
        """Ends instances: by asking, or at once. Those it does not have are ignored."""
        ...

    async def describe(self) -> list[ProviderInstance]:
        """Every instance that the provider has now, whoever ordered it."""
        ...

    async def taken_back(self, instance_ids: Sequence[str]) -> Mapping[str, str]:
        """Of instances that are gone: those that the provider took back, and in which words.

        Nothing was wrong with them; it wanted their capacity for something else, as with spot
        instances. Asked where instances that are gone cannot be launched again.

        Raises:
            Unavailable: the provider does not answer.
        """
        ...

    async def quote(self, kinds: Sequence[InstanceType]) -> list[Quote]:
        """Prices and depths of the pools of types; empty where there is no market."""
        ...

    async def clean(self, instance_id: str) -> None:
        """Removes what an instance that is gone has left behind. `remains` tells if that failed."""
        ...

    async def remains(self) -> list[str]:
        """Instances that are gone and have left something behind, those to come back included."""
        ...
