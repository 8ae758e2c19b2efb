"""Use cases of provisioning: order capacity, give instances back."""

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog

from longshore.domain.catalogue import Catalogue, InstanceType
from longshore.domain.errors import InvalidRequest, NotFound
from longshore.domain.order import (
    CapacityError,
    CapacityOrder,
    OrderEntry,
    allot,
    instance_ids,
)
from longshore.provisioning.provider import Provider
from longshore.state import capacity_order, instance
from longshore.state.pool import Pool, transaction

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Provisioned:
    """What an order got: id, type and zone of each instance, and what could not be had."""

    order_id: uuid.UUID
    instances: list[tuple[str, str, str]]
    errors: list[CapacityError]


class Provisioning:
    """Records what is ordered and given back; the loop does the rest."""

    def __init__(
        self, pool: Pool, provider: Provider, catalogue: Catalogue, wake: Callable[[], None]
    ) -> None:
        self._pool = pool
        self._provider = provider
        self._catalogue = catalogue
        self._wake = wake

    async def provision(self, order: CapacityOrder) -> Provisioned:
        """Puts an order's instances on record, once, however often it is asked.

        Raises:
            InvalidRequest: an entry names an unknown type.
            NotFound: there is no such compute environment.
        """
        kinds = [self._kind(number, entry) for number, entry in enumerate(order.entries)]
        by_name = {kind.name: kind for kind in kinds}
        async with transaction(self._pool) as conn:
            if not await instance.environment_exists(conn, order.compute_environment):
                raise NotFound(f"There is no compute environment {order.compute_environment!r}.")
            await capacity_order.record(conn, order)
            is_closed, errors = await capacity_order.lock(conn, order.order_id)
            if not is_closed:
                live = await instance.count_live(conn, self._provider.name)
                taken, errors = allot(
                    order,
                    lambda entry, count: self._provider.refuse(
                        entry, by_name[entry.instance_type], live + count
                    ),
                )
                ids = instance_ids(order.order_id, len(taken))
                ordered = [
                    (instance_id, entry, by_name[entry.instance_type])
                    for instance_id, entry in zip(ids, taken, strict=True)
                ]
                await instance.insert(conn, order, self._provider.name, ordered)
                await capacity_order.close(conn, order.order_id, errors)
                log.info(
                    "order.accepted",
                    order_id=str(order.order_id),
                    compute_environment=order.compute_environment,
                    instances=len(taken),
                    errors=len(errors),
                )
            got = await instance.of_order(conn, order.order_id)
        self._wake()
        return Provisioned(order.order_id, got, errors)

    async def terminate(self, instance_ids: Sequence[str], reason: str) -> list[str]:
        """Asks for the end of instances; returns those that were live and not asked before."""
        async with transaction(self._pool) as conn:
            terminating = await instance.terminating(conn, instance_ids, reason)
        for instance_id in terminating:
            log.info("instance.terminating", instance_id=instance_id, reason=reason)
        self._wake()
        return terminating

    def _kind(self, number: int, entry: OrderEntry) -> InstanceType:
        kind = self._catalogue.get(entry.instance_type)
        if kind is None:
            raise InvalidRequest(
                f"Instance type {entry.instance_type!r} is not in the catalogue.",
                member=f"order.entries[{number}].instanceType",
            )
        return kind
