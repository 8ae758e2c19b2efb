"""What provisioning asks of a provider of instances: the local machine now, clouds later."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from longshore.domain.catalogue import InstanceType
from longshore.domain.errors import LongshoreError
from longshore.domain.instance import InstanceRecord
from longshore.domain.order import CapacityError, OrderEntry


class LaunchError(LongshoreError):
    """The provider could not launch an instance; trying again would not help."""

    reason = "LAUNCH_FAILED"


@dataclass(frozen=True, slots=True)
class Found:
    """An instance that the provider has; `provider_id` is its own name for it."""

    instance_id: str
    provider_id: str


class Provider(Protocol):
    """A place that instances come from; all of it is idempotent, by our own ids."""

    name: str

    def refuse(self, entry: OrderEntry, kind: InstanceType, live: int) -> CapacityError | None:
        """Why one more instance cannot be had besides those live, None if it can be tried."""
        ...

    async def launch(self, instance: InstanceRecord) -> Found:
        """Starts an instance, or finds that it runs already.

        Raises:
            LaunchError: it cannot be started.
        """
        ...

    async def terminate(self, instance_ids: Sequence[str], *, force: bool) -> None:
        """Ends instances: by asking, or at once. Those it does not have are ignored."""
        ...

    async def describe(self) -> list[Found]:
        """Every instance that the provider has now, whoever ordered it."""
        ...

    async def clean(self, instance_id: str) -> None:
        """Removes what an instance that is gone has left behind. `remains` tells if that failed."""
        ...

    async def remains(self) -> list[str]:
        """Instances that are gone and have left something behind, those to come back included."""
        ...
