"""Consumable resources through boto3 and the command, and jobs that wait for units of them."""

from typing import Any

import pytest
from acceptance.aws import Aws, Gate
from acceptance.stand import Stack, eventually


def _needs(name: str, quantity: int) -> dict[str, Any]:
    return {"consumableResourceList": [{"consumableResource": name, "quantity": quantity}]}


def test_the_six_operations(aws: Aws, stack: Stack, gate: Gate) -> None:
    """From the creation of a resource to the last job that needed it."""
    client = aws.client
    made = client.create_consumable_resource(
        consumableResourceName="six", totalQuantity=1, tags={"a": "b"}
    )
    arn = made["consumableResourceArn"]
    assert (made["consumableResourceName"], arn.rpartition(":")[2]) == (
        "six",
        "consumable-resource/six",
    )
    assert client.list_tags_for_resource(resourceArn=arn)["tags"] == {"a": "b"}

    held = aws.register(
        "six-gate",
        *("sh", "-c", gate.script()),
        **gate.volumes,
        consumableResourceProperties=_needs(arn, 1),
    )
    first = aws.submit("first", held)
    aws.until(first, "RUNNING")
    second = aws.submit("second", held, consumableResourcePropertiesOverride=_needs("six", 2))
    eventually(
        lambda: (
            "Waiting for 2 of six" in stack.call("explain", second, "--json", check=True).stdout
        ),
        "it is told what it waits for",
    )
    explained = stack.call("explain", second, "--json", check=True).stdout
    assert "WAITING_FOR_CONSUMABLE_RESOURCE" in explained
    (job,) = client.describe_jobs(jobs=[second])["jobs"]
    assert job["status"] == "RUNNABLE"
    assert job["consumableResourceProperties"] == _needs("six", 2)

    found = client.describe_consumable_resource(consumableResource=arn)
    assert found.pop("createdAt") > 0
    del found["ResponseMetadata"]
    assert found == {
        **{key: made[key] for key in ("consumableResourceName", "consumableResourceArn")},
        "totalQuantity": 1,
        "inUseQuantity": 1,
        "availableQuantity": 0,
        "resourceType": "REPLENISHABLE",
        "tags": {"a": "b"},
    }
    pages = client.get_paginator("list_consumable_resources").paginate(
        filters=[{"name": "CONSUMABLE_RESOURCE_NAME", "values": ["SI*"]}]
    )
    assert [one for page in pages for one in page["consumableResources"]] == [
        {
            "consumableResourceArn": arn,
            "consumableResourceName": "six",
            "totalQuantity": 1,
            "inUseQuantity": 1,
            "resourceType": "REPLENISHABLE",
        }
    ]
    pages = client.get_paginator("list_jobs_by_consumable_resource").paginate(
        consumableResource="six", PaginationConfig={"PageSize": 1}
    )
    listed = [job for page in pages for job in page["jobs"]]
    assert [(one["jobName"], one["jobStatus"], one["quantity"]) for one in listed] == [
        ("second", "RUNNABLE", 2),
        ("first", "RUNNING", 1),
    ]
    assert listed[0]["consumableResourceProperties"] == _needs(arn, 2)

    # boto3 makes a token of its own; one that is repeated changes nothing.
    for _ in range(2):
        answer = client.update_consumable_resource(
            consumableResource="six", operation="ADD", quantity=2, clientToken="once"
        )
        assert answer["totalQuantity"] == 3
    aws.until(second, "RUNNING")
    assert "3" in stack.call("consumable", "describe", "six", check=True).stdout
    assert second in stack.call("consumable", "jobs", "six", check=True).stdout
    gate.open()
    for job_id in (first, second):
        aws.until(job_id, "SUCCEEDED")
    found = client.describe_consumable_resource(consumableResource="six")
    assert (found["inUseQuantity"], found["availableQuantity"]) == (0, 3)
    stack.call("consumable", "update", "six", "0", check=True)
    assert "six" in stack.call("consumable", "list", check=True).stdout
    client.delete_consumable_resource(consumableResource=arn)
    assert stack.call("consumable", "describe", "six").returncode == 4


def test_what_is_used_up_does_not_come_back(aws: Aws, stack: Stack) -> None:
    stack.call("consumable", "create", "tokens", "--total", "2", "--used-up", check=True)
    quick = aws.register("tokens-quick", "true", consumableResourceProperties=_needs("tokens", 1))
    array = aws.submit("of-two", quick, arrayProperties={"size": 3})
    eventually(
        lambda: (
            aws.client.describe_jobs(jobs=[array])["jobs"][0]["arrayProperties"]["statusSummary"][
                "SUCCEEDED"
            ]
            == 2
        ),
        "two children had a unit",
    )
    found = aws.client.describe_consumable_resource(consumableResource="tokens")
    assert (found["totalQuantity"], found["inUseQuantity"]) == (0, 0)
    aws.client.update_consumable_resource(consumableResource="tokens", operation="ADD", quantity=1)
    aws.until(array, "SUCCEEDED")


def test_their_errors(aws: Aws) -> None:
    client, refused = aws.client, aws.client.exceptions.ClientException
    client.create_consumable_resource(consumableResourceName="errors", totalQuantity=1)
    with pytest.raises(refused, match="already exists"):
        client.create_consumable_resource(consumableResourceName="errors")
    with pytest.raises(refused, match="resourceType"):
        client.create_consumable_resource(consumableResourceName="x", resourceType="OTHER")
    with pytest.raises(refused, match="1 units in all"):
        client.update_consumable_resource(
            consumableResource="errors", operation="REMOVE", quantity=2
        )
    for call in (
        client.describe_consumable_resource,
        client.update_consumable_resource,
        client.delete_consumable_resource,
        client.list_jobs_by_consumable_resource,
    ):
        with pytest.raises(refused, match="does not exist"):
            call(consumableResource="none")
    with pytest.raises(refused, match="nextToken"):
        client.list_consumable_resources(nextToken="none")
    with pytest.raises(refused, match="CONSUMABLE_RESOURCE_NAME"):
        client.list_consumable_resources(filters=[{"name": "x", "values": ["y"]}])
    with pytest.raises(refused, match="must be at least 1"):
        aws.register("none", "true", consumableResourceProperties=_needs("errors", 0))
    quick = aws.register("queue-quick", "true")
    with pytest.raises(refused, match="ConsumableResource none not found"):
        aws.submit("none", quick, consumableResourcePropertiesOverride=_needs("none", 1))
