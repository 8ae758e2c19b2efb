"""Orders placed with provisioning, and instances given back to it."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Self

import grpc

from longshore.domain.order import GIVE_BACK_LIMIT, CapacityError, CapacityOrder
from longshore.domain.scaling.decision import Decision, GiveBack
from longshore.domain.scaling.words import leave
from longshore.rpc.errors import from_rpc_error
from longshore.scaler import convert
from longshore.v1 import provisioning_service_pb2_grpc as pb_grpc

#: A cloud takes its time over a large order, and over a throttled one.
PROVISION_SECONDS = 60.0
TERMINATE_SECONDS = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderResult:
    """What an order got."""

    order_id: uuid.UUID | None = None
    ordered: int = 0
    vcpus: float = 0
    #: vCPUs that were decided and could not be had; below 0 where larger instances came.
    vcpus_missed: float = 0
    errors: Sequence[CapacityError] = ()
    is_answered: bool = True

    @classmethod
    def nothing(cls, decision: Decision) -> Self:
        """Of an order that was not placed, or not answered."""
        return cls(vcpus_missed=decision.vcpus_wanted, is_answered=False)


class Ordering:
    """Provisioning, as the scaler uses it."""

    def __init__(self, provisioning: pb_grpc.ProvisioningServiceStub) -> None:
        self._provisioning = provisioning

    async def place(
        self, order: CapacityOrder, decision: Decision, token: int | None
    ) -> OrderResult:
        """Places an order, which provisioning puts on record.

        Args:
            order: what is ordered.
            decision: of which it is the order.
            token: of the lease under which that was decided.

        Raises:
            LongshoreError: it was refused, or not answered in time.
        """
        try:
            response = await self._provisioning.Provision(
                convert.order_to_request(order, token), timeout=PROVISION_SECONDS
            )
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error) from error
        weights = {entry.instance_type: entry.weight for entry in order.entries}
        had = sum(weights.get(instance.instance_type, 0) for instance in response.instances)
        return OrderResult(
            order_id=order.order_id,
            ordered=len(response.instances),
            vcpus=had,
            vcpus_missed=decision.vcpus_wanted - had,
            errors=convert.errors_of(response),
        )

    async def give_back(self, instances: Sequence[GiveBack]) -> int:
        """Gives instances back; returns how many of them were live.

        Raises:
            LongshoreError: provisioning does not answer; some may be on their way.
        """
        count = 0
        alike: dict[tuple[str, datetime | None], list[str]] = {}
        for give in instances:
            alike.setdefault((leave(give), give.drain_until), []).append(give.instance_id)
        for (reason, drain_until), ids in alike.items():
            for start in range(0, len(ids), GIVE_BACK_LIMIT):
                request = convert.termination_to_request(
                    ids[start : start + GIVE_BACK_LIMIT],
                    reason,
                    drain_until,
                )
                try:
                    response = await self._provisioning.TerminateInstances(
                        request, timeout=TERMINATE_SECONDS
                    )
                except grpc.aio.AioRpcError as error:
                    raise from_rpc_error(error) from error
                count += len(response.instance_ids)
        return count
