"""Capacity, instances and costs."""

from datetime import UTC, datetime

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from unit.client.service import Client, Script

from longshore.domain import errors
from longshore.v1 import provisioning_service_pb2, scaler_service_pb2
from longshore_client import NotFound, PreconditionFailed, Unavailable

END = datetime(2026, 1, 1, tzinfo=UTC)


async def test_capacity_of_named_environments(script: Script, client: Client) -> None:
    script.on(
        "DescribeCapacity",
        lambda request: scaler_service_pb2.DescribeCapacityResponse(
            compute_environments=[
                scaler_service_pb2.EnvironmentCapacity(compute_environment=name, max_vcpus=8)
                for name in request.compute_environments
            ]
        ),
    )
    found = await client.describe_capacity(["a", "b"])
    assert [(item.compute_environment, item.max_vcpus) for item in found] == [("a", 8), ("b", 8)]


async def test_activities_come_page_after_page(script: Script, client: Client) -> None:
    def answer(
        request: scaler_service_pb2.ListScalingActivitiesRequest,
    ) -> scaler_service_pb2.ListScalingActivitiesResponse:
        first = int(request.next_token or 4)
        return scaler_service_pb2.ListScalingActivitiesResponse(
            activities=[
                scaler_service_pb2.ScalingActivity(activity_id=number)
                for number in range(first, first - request.max_results, -1)
            ],
            next_token=str(first - 2) if first > 2 else "",
        )

    script.on("ListScalingActivities", answer)
    found = [item.activity_id async for item in client.list_activities("lab", page_size=2)]
    assert found == [4, 3, 2, 1]
    sent = script.sent("ListScalingActivities")
    assert [request.compute_environment for request in sent] == ["lab", "lab"]


async def test_instances_come_page_after_page(script: Script, client: Client) -> None:
    script.on(
        "ListInstances",
        lambda request: provisioning_service_pb2.ListInstancesResponse(
            instances=[
                provisioning_service_pb2.InstanceDetail(instance_id=request.next_token or "i-0")
            ],
            next_token="" if request.next_token else "i-1",
        ),
    )
    found = [item.instance_id async for item in client.list_instances(ended=True)]
    assert found == ["i-0", "i-1"]
    assert script.sent("ListInstances")[0].ended


async def test_one_instance_live_or_over(script: Script, client: Client) -> None:
    script.on(
        "ListInstances",
        lambda request: provisioning_service_pb2.ListInstancesResponse(
            instances=[provisioning_service_pb2.InstanceDetail(instance_id=request.instance_id)]
        ),
        lambda _: provisioning_service_pb2.ListInstancesResponse(),
    )
    assert (await client.describe_instance("i-7")).instance_id == "i-7"
    assert script.sent("ListInstances")[0].ended
    with pytest.raises(NotFound, match="i-8"):
        await client.describe_instance("i-8")


async def test_interruption_tells_the_end(script: Script, client: Client) -> None:
    end = Timestamp()
    end.FromDatetime(END)
    script.on(
        "InterruptInstance",
        lambda _: provisioning_service_pb2.InterruptInstanceResponse(end_time=end),
        errors.PreconditionFailed("It is over."),
    )
    assert await client.interrupt_instance("i-7", notice_seconds=0) == END
    with pytest.raises(PreconditionFailed):
        await client.interrupt_instance("i-7")
    first, second = script.sent("InterruptInstance")
    assert first.HasField("notice_seconds")
    assert not second.HasField("notice_seconds")


async def test_interruption_is_not_tried_again_blindly(script: Script, client: Client) -> None:
    """The answer may have been lost, not the call; the second one would be refused."""
    script.on("InterruptInstance", grpc.StatusCode.UNAVAILABLE)
    with pytest.raises(Unavailable):
        await client.interrupt_instance("i-7")
    assert len(script.sent("InterruptInstance")) == 1


async def test_costs(script: Script, client: Client) -> None:
    script.on(
        "DescribeCosts",
        lambda request: provisioning_service_pb2.DescribeCostsResponse(
            jobs=[
                provisioning_service_pb2.Cost(name=job_id, cost=0.5) for job_id in request.job_ids
            ]
        ),
    )
    found = await client.describe_costs(job_ids=["a"])
    assert [(item.name, item.cost) for item in found.jobs] == [("a", 0.5)]


async def test_evaluation_on_demand(script: Script, client: Client) -> None:
    script.on(
        "Evaluate",
        lambda _: scaler_service_pb2.EvaluateResponse(
            decisions=[scaler_service_pb2.ScalingDecision(compute_environment="a")]
        ),
    )
    assert [item.compute_environment for item in await client.evaluate_capacity()] == ["a"]
