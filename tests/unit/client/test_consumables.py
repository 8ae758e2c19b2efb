"""The calls about consumable resources."""

from unit.client.service import Script

from longshore.v1 import consumable_resource_pb2 as pb
from longshore.v1 import job_pb2
from longshore_client import Client


async def test_a_change_has_a_token_of_its_own(script: Script, client: Client) -> None:
    script.on(
        "UpdateConsumableResource",
        lambda _: pb.UpdateConsumableResourceResponse(total_quantity=7),
    )
    assert await client.update_consumable("licence", 2, operation="ADD") == 7
    assert await client.update_consumable("licence", 2) == 7
    first, second = script.sent("UpdateConsumableResource")
    assert (first.operation, first.quantity) == ("ADD", 2)
    assert second.operation == "SET"
    assert first.client_token != second.client_token


async def test_resources_and_their_jobs_are_listed_page_by_page(
    script: Script, client: Client
) -> None:
    script.on(
        "ListConsumableResources",
        lambda _: pb.ListConsumableResourcesResponse(
            consumable_resources=[pb.ConsumableResourceSummary(consumable_resource_name="a")],
            next_token="more",  # noqa: S106 - of a page
        ),
        lambda _: pb.ListConsumableResourcesResponse(
            consumable_resources=[pb.ConsumableResourceSummary(consumable_resource_name="b")]
        ),
    )
    found = [one.consumable_resource_name async for one in client.list_consumables("*")]
    assert found == ["a", "b"]
    first, second = script.sent("ListConsumableResources")
    assert [(f.name, list(f.values)) for f in first.filters] == [
        ("CONSUMABLE_RESOURCE_NAME", ["*"])
    ]
    assert second.next_token == "more"  # noqa: S105 - of a page
    script.on(
        "ListJobsByConsumableResource",
        lambda _: pb.ListJobsByConsumableResourceResponse(
            jobs=[pb.ListJobsByConsumableResourceSummary(job_name="j")]
        ),
    )
    jobs = [one.job_name async for one in client.list_jobs_of_consumable("a", status="RUNNING")]
    assert jobs == ["j"]


async def test_a_job_says_what_it_needs_in_place_of_its_definition(
    script: Script, client: Client
) -> None:
    script.on("SubmitJob", lambda _: job_pb2.SubmitJobResponse(job_id="j"))
    await client.submit_job("n", queue="q", definition="d", consumables={"licence": 2})
    await client.submit_job("n", queue="q", definition="d", consumables={})
    await client.submit_job("n", queue="q", definition="d")
    some, none, as_defined = script.sent("SubmitJob")
    (need,) = some.consumable_resource_properties_override.consumable_resource_list
    assert (need.consumable_resource, need.quantity) == ("licence", 2)
    assert none.HasField("consumable_resource_properties_override")
    assert not as_defined.HasField("consumable_resource_properties_override")
