"""What the scaler says to provisioning, over gRPC to a servicer that writes it down."""

import contextlib
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest

from longshore.domain.catalogue import Catalogue
from longshore.domain.errors import Unavailable
from longshore.domain.order import CapacityError, CapacityOrder, OrderEntry
from longshore.domain.scaling.capacity import Offer
from longshore.domain.scaling.decision import Decision, GiveBack, Launch, Leave
from longshore.rpc.channel import open_channel
from longshore.rpc.server import GrpcServer
from longshore.scaler import ordering
from longshore.scaler.ordering import Ordering
from longshore.v1 import provisioning_service_pb2 as pb
from longshore.v1 import provisioning_service_pb2_grpc as pb_grpc

SOON = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


class Provisioning(pb_grpc.ProvisioningServiceServicer):
    """Gives a c6i.xlarge where a c6i.large was asked for, and is short of the rest."""

    def __init__(self) -> None:
        self.terminations: list[pb.TerminateInstancesRequest] = []
        self.orders: list[pb.ProvisionRequest] = []
        self.is_away = False

    async def Provision(  # noqa: N802 - the rpc's name
        self, request: pb.ProvisionRequest, context: Any
    ) -> pb.ProvisionResponse:
        del context
        if self.is_away:
            raise Unavailable("Away.")
        self.orders.append(request)
        return pb.ProvisionResponse(
            order_id=request.order.order_id,
            instances=[pb.ProvisionedInstance(instance_id="i-1", instance_type="c6i.xlarge")],
            errors=[
                pb.CapacityError(
                    instance_type="c6i.large",
                    zone="z",
                    purchase_option=pb.PURCHASE_OPTION_SPOT,
                    reason="INSUFFICIENT_INSTANCE_CAPACITY",
                    message="None left.",
                )
            ],
        )

    async def TerminateInstances(  # noqa: N802 - the rpc's name
        self, request: pb.TerminateInstancesRequest, context: Any
    ) -> pb.TerminateInstancesResponse:
        del context
        self.terminations.append(request)
        return pb.TerminateInstancesResponse(instance_ids=request.instance_ids[:2])


@pytest.fixture
def provisioning() -> Provisioning:
    return Provisioning()


@pytest.fixture
async def placing(provisioning: Provisioning) -> AsyncIterator[Ordering]:
    server = GrpcServer("127.0.0.1:0")
    server.add(
        pb_grpc.add_ProvisioningServiceServicer_to_server,
        provisioning,
        "longshore.v1.ProvisioningService",
    )
    async with contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(server)
        channel = await stack.enter_async_context(open_channel(f"127.0.0.1:{server.port}"))
        yield Ordering(pb_grpc.ProvisioningServiceStub(channel))


def an_order() -> tuple[CapacityOrder, Decision]:
    """Of three c6i.large or, where those are short, c6i.xlarge."""
    kind = Catalogue().get("c6i.large")
    assert kind is not None
    decision = Decision(
        compute_environment="e",
        desiredv_cpus=6,
        launches=(Launch(Offer(kind=kind, price_per_hour=0.1), 3),),
        headroom=6,
        terminate=(),
        status="VALID",
        status_reason="",
        reason="why",
    )
    entries = tuple(
        OrderEntry(instance_type=name, weight=weight, max_count=3, price_per_hour=0.1, rank=rank)
        for rank, (name, weight) in enumerate([("c6i.large", 2), ("c6i.xlarge", 4)])
    )
    order = CapacityOrder(
        order_id=uuid.uuid4(),
        compute_environment="e",
        target_vcpus=6,
        entries=entries,
        reason="why",
    )
    return order, decision


async def test_what_an_order_got_is_counted_in_vcpus(placing: Ordering) -> None:
    order, decision = an_order()
    got = await placing.place(order, decision, 7)
    assert (got.order_id, got.ordered, got.vcpus, got.vcpus_missed) == (order.order_id, 1, 4, 2)
    assert got.errors == [
        CapacityError("c6i.large", "z", "SPOT", "INSUFFICIENT_INSTANCE_CAPACITY", "None left.")
    ]


async def test_an_order_that_is_not_answered_is_an_error(
    placing: Ordering, provisioning: Provisioning
) -> None:
    provisioning.is_away = True
    with pytest.raises(Unavailable):
        await placing.place(*an_order(), 7)


async def test_instances_are_given_back_by_reason_and_time(
    placing: Ordering, provisioning: Provisioning, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One call for those that leave alike, and not too many in one; what was live is counted."""
    monkeypatch.setattr(ordering, "GIVE_BACK_LIMIT", 2)
    leaving = [
        GiveBack("i-1", Leave.LOST),
        GiveBack("i-2", Leave.LATE, SOON),
        GiveBack("i-3", Leave.LOST),
        GiveBack("i-4", Leave.LOST),
        GiveBack("i-5", Leave.LATE),
    ]
    assert await placing.give_back(leaving) == 5
    calls = [
        (
            call.reason,
            list(call.instance_ids),
            call.drain_until.ToDatetime(UTC) if call.HasField("drain_until") else None,
        )
        for call in provisioning.terminations
    ]
    assert calls == [
        ("It was lost.", ["i-1", "i-3"], None),
        ("It was lost.", ["i-4"], None),
        ("It did not register in time.", ["i-2"], SOON),
        ("It did not register in time.", ["i-5"], None),
    ]
    assert await placing.give_back([]) == 0
