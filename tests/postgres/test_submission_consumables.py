"""Consumable resources at the submission service, and what definitions and jobs need of them."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from support.submission import Stand, a_container, a_range, some_nodes, submission_stand

from longshore.domain.errors import InvalidRequest, NotFound, PreconditionFailed
from longshore.state.views import job_reading

Json = dict[str, Any]


@pytest.fixture
async def stand(database_url: str) -> AsyncIterator[Stand]:
    async with submission_stand(database_url) as stand:
        await stand.prepare()
        yield stand


async def create(stand: Stand, name: str = "licence", total: int = 10, **members: Any) -> str:
    """A resource; returns its ARN."""
    answer = await stand(
        "CreateConsumableResource",
        consumableResourceName=name,
        totalQuantity=total,
        **members,
    )
    return str(answer["consumableResourceArn"])


def needs(**quantities: int) -> Json:
    return {
        "consumableResourceList": [
            {"consumableResource": name, "quantity": quantity}
            for name, quantity in quantities.items()
        ]
    }


async def describe(stand: Stand, name: str = "licence") -> Json:
    return await stand("DescribeConsumableResource", consumableResource=name)


async def test_a_resource_is_described_as_it_was_created(stand: Stand) -> None:
    arn = await create(stand, tags={"team": "a"})
    assert arn.endswith(":consumable-resource/licence")
    for name in ("licence", arn):
        found = await describe(stand, name)
        assert found.pop("createdAt")
        # The witness's JSON has 64-bit numbers as text.
        assert found == {
            "consumableResourceName": "licence",
            "consumableResourceArn": arn,
            "totalQuantity": "10",
            "inUseQuantity": "0",
            "availableQuantity": "10",
            "resourceType": "REPLENISHABLE",
            "tags": {"team": "a"},
        }
    with pytest.raises(PreconditionFailed, match="already exists"):
        await create(stand)
    await create(stand, "tokens", 0, resourceType="NON_REPLENISHABLE")
    assert (await describe(stand, "tokens"))["resourceType"] == "NON_REPLENISHABLE"


async def test_what_is_in_use_is_told(stand: Stand) -> None:
    await create(stand)
    await create(stand, "tokens", resourceType="NON_REPLENISHABLE")
    await stand.conn.execute("INSERT INTO consumable_usages VALUES ('licence', 12), ('tokens', 2)")
    found = await describe(stand)
    assert (found["inUseQuantity"], found["availableQuantity"]) == ("12", "0")
    found = await describe(stand, "tokens")
    assert (found["inUseQuantity"], found["availableQuantity"]) == ("0", "10")
    listed = (await stand("ListConsumableResources"))["consumableResources"]
    assert [one["inUseQuantity"] for one in listed] == ["12", "0"]


@pytest.mark.parametrize(
    ("operation", "quantity", "after"),
    [("SET", 3, 3), ("ADD", 5, 15), ("REMOVE", 10, 0), (None, 4, 4), ("SET", 0, 0)],
)
async def test_the_total_is_changed(
    stand: Stand, operation: str | None, quantity: int, after: int
) -> None:
    await create(stand)
    asked = {"operation": operation} if operation else {}
    answer = await stand(
        "UpdateConsumableResource", consumableResource="licence", quantity=quantity, **asked
    )
    assert answer["totalQuantity"] == str(after)
    assert (await describe(stand))["totalQuantity"] == str(after)


@pytest.mark.parametrize(
    ("members", "member"),
    [
        ({"operation": "REMOVE", "quantity": 11}, "quantity"),
        ({"operation": "ADD", "quantity": 2**63 - 1}, "quantity"),
        ({"operation": "SET", "quantity": -1}, "quantity"),
        ({"operation": "add", "quantity": 1}, "operation"),
        ({"quantity": 1, "clientToken": ""}, "clientToken"),
        ({"quantity": 1, "clientToken": "x" * 65}, "clientToken"),
        ({"consumableResource": "no such!"}, "consumableResource"),
        (
            {"consumableResource": "arn:aws:batch:us-east-1:123456789012:job-queue/q"},
            "consumableResource",
        ),
    ],
)
async def test_wrong_changes_change_nothing(stand: Stand, members: Json, member: str) -> None:
    await create(stand)
    with pytest.raises(InvalidRequest) as caught:
        await stand("UpdateConsumableResource", **{"consumableResource": "licence"} | members)
    assert caught.value.member == member
    assert (await describe(stand))["totalQuantity"] == "10"


async def test_a_change_is_made_once_for_its_token(stand: Stand) -> None:
    await create(stand)
    await create(stand, "other")
    change = {
        "consumableResource": "licence",
        "operation": "ADD",
        "quantity": 1,
        "clientToken": "one",
    }
    answers = await asyncio.gather(
        *(stand("UpdateConsumableResource", **change) for _ in range(10))
    )
    assert {answer["totalQuantity"] for answer in answers} == {"11"}
    with pytest.raises(PreconditionFailed, match="clientToken"):
        await stand("UpdateConsumableResource", **change | {"quantity": 2})
    # Tokens are of one resource.
    await stand("UpdateConsumableResource", **change | {"consumableResource": "other"})
    assert (await describe(stand, "other"))["totalQuantity"] == "11"
    # After 8 hours it is a new one.
    await stand.conn.execute("UPDATE consumable_updates SET at = at - interval '8 hours 1 second'")
    answer = await stand("UpdateConsumableResource", **change)
    assert answer["totalQuantity"] == "12"


async def test_changes_side_by_side_all_count(stand: Stand) -> None:
    await create(stand, total=100)
    await asyncio.gather(
        *(
            stand(
                "UpdateConsumableResource",
                consumableResource="licence",
                operation=("ADD", "REMOVE")[index % 2],
                quantity=(3, 1)[index % 2],
            )
            for index in range(20)
        )
    )
    assert (await describe(stand))["totalQuantity"] == "120"


@pytest.mark.parametrize(
    ("members", "member"),
    [
        ({"consumableResourceName": "-x"}, "consumableResourceName"),
        ({"totalQuantity": -1}, "totalQuantity"),
        ({"resourceType": "BURSTY"}, "resourceType"),
        ({"tags": {"aws:x": "y"}}, "tags"),
    ],
)
async def test_wrong_resources_are_refused(stand: Stand, members: Json, member: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        await stand("CreateConsumableResource", **{"consumableResourceName": "x"} | members)
    assert caught.value.member == member
    assert await stand("ListConsumableResources") == {}


async def test_what_is_not_there_is_not_found(stand: Stand) -> None:
    for operation in (
        "DescribeConsumableResource",
        "UpdateConsumableResource",
        "DeleteConsumableResource",
        "ListJobsByConsumableResource",
    ):
        with pytest.raises(NotFound, match="none does not exist"):
            await stand(operation, consumableResource="none")


async def test_resources_are_listed_by_name_and_page(stand: Stand) -> None:
    for name in ("b", "a_x", "a-1", "A-2", "axx"):
        await create(stand, name)

    async def names(**members: Any) -> list[str]:
        found, token = [], {}
        while True:
            page = await stand("ListConsumableResources", maxResults=2, **members, **token)
            found += [one["consumableResourceName"] for one in page.get("consumableResources", ())]
            if "nextToken" not in page:
                return found
            token = {"nextToken": page["nextToken"]}

    assert sorted(await names()) == ["A-2", "a-1", "a_x", "axx", "b"]

    def by(value: str, name: str = "CONSUMABLE_RESOURCE_NAME") -> Json:
        return {"filters": [{"name": name, "values": [value]}]}

    assert sorted(await names(**by("a-*"))) == ["A-2", "a-1"]
    assert await names(**by("A_X")) == ["a_x"]
    assert await names(**by("none")) == []
    for wrong in (
        by("a", "JOB_NAME"),
        {"filters": [{"name": "CONSUMABLE_RESOURCE_NAME"}]},
        {"maxResults": 101},
        {"nextToken": "bm8="},
    ):
        with pytest.raises(InvalidRequest):
            await stand("ListConsumableResources", **wrong)


async def test_tags_of_resources(stand: Stand) -> None:
    arn = await create(stand, tags={"a": "1"})
    await stand("TagResource", resourceArn=arn, tags={"b": "2"})
    await stand("UntagResource", resourceArn=arn, tagKeys=["a"])
    assert (await stand("ListTagsForResource", resourceArn=arn))["tags"] == {"b": "2"}
    assert (await describe(stand))["tags"] == {"b": "2"}


async def shape_of(stand: Stand, job_id: str) -> str:
    return str(
        await stand.conn.fetchval(
            "SELECT consumables FROM jobs JOIN shapes USING (shape_id) "
            "WHERE job_id = $1::uuid AND array_index = -1",
            job_id,
        )
    )


async def test_a_job_needs_what_its_definition_or_it_says(stand: Stand) -> None:
    arn = await create(stand)
    await create(stand, "a")
    listed = needs(licence=2)
    listed["consumableResourceList"].append({"consumableResource": arn, "quantity": 3})
    with pytest.raises(InvalidRequest) as caught:
        await stand.register("twice", consumableResourceProperties=listed)
    assert caught.value.member == (
        "consumableResourceProperties.consumableResourceList[1].consumableResource"
    )
    await stand.register("needy", consumableResourceProperties=needs(licence=2, a=1))
    (definition,) = (await stand("DescribeJobDefinitions", jobDefinitionName="needy"))[
        "jobDefinitions"
    ]
    said = [
        {"consumableResource": "licence", "quantity": "2"},
        {"consumableResource": "a", "quantity": "1"},
    ]
    assert definition["consumableResourceProperties"] == {"consumableResourceList": said}
    job = await stand.submit(jobDefinition="needy")
    assert await shape_of(stand, job) == "a=1,licence=2"
    found = await stand.describe(job)
    assert found["consumableResourceProperties"] == {"consumableResourceList": said}
    by_arn = await stand.submit(
        jobDefinition="needy",
        consumableResourcePropertiesOverride={
            "consumableResourceList": [{"consumableResource": arn, "quantity": 7}]
        },
    )
    assert await shape_of(stand, by_arn) == "licence=7"
    nothing = await stand.submit(
        jobDefinition="needy", consumableResourcePropertiesOverride={"consumableResourceList": []}
    )
    assert await shape_of(stand, nothing) == ""
    assert "consumableResourceProperties" not in await stand.describe(nothing)
    array = await stand.submit(jobDefinition="needy", arrayProperties={"size": 5})
    assert await shape_of(stand, array) == "a=1,licence=2"


async def test_a_multi_node_job_needs_what_all_its_nodes_do(stand: Stand) -> None:
    await create(stand)
    await create(stand, "a")
    await stand.register_nodes(
        nodes=some_nodes(
            a_range(":", consumableResourceProperties=needs(licence=2)),
            a_range("0:0", consumableResourceProperties=needs(a=1)),
            num_nodes=3,
        ),
        consumableResourceProperties=needs(licence=1),
    )
    job = await stand.submit(jobDefinition="n")
    assert await shape_of(stand, job) == "a=1,licence=5"
    more = await stand.submit(
        jobDefinition="n",
        nodeOverrides={
            "numNodes": 4,
            "nodePropertyOverrides": [
                {
                    "targetNodes": ":",
                    "consumableResourcePropertiesOverride": needs(licence=1),
                }
            ],
        },
    )
    assert await shape_of(stand, more) == "a=1,licence=4"
    ranges = (await stand.describe(more))["nodeProperties"]["nodeRangeProperties"]
    assert ranges[0]["consumableResourceProperties"]["consumableResourceList"] == [
        {"consumableResource": "licence", "quantity": "1"}
    ]
    with pytest.raises(InvalidRequest) as caught:
        await stand.submit(
            jobDefinition="n",
            nodeOverrides={
                "nodePropertyOverrides": [
                    {
                        "targetNodes": ":",
                        "consumableResourcePropertiesOverride": needs(licence=2**62),
                    }
                ]
            },
        )
    assert caught.value.member == "consumableResourceProperties"


@pytest.mark.parametrize(
    ("wrong", "member"),
    [
        ({"quantity": 1}, "consumableResourceList[0].consumableResource"),
        ({"consumableResource": "licence"}, "consumableResourceList[0].quantity"),
        ({"consumableResource": "licence", "quantity": 0}, "consumableResourceList[0].quantity"),
        (
            {"consumableResource": "a=b", "quantity": 1},
            "consumableResourceList[0].consumableResource",
        ),
    ],
)
async def test_wrong_needs_are_refused(stand: Stand, wrong: Json, member: str) -> None:
    given = {"consumableResourceList": [wrong]}
    with pytest.raises(InvalidRequest) as caught:
        await stand.register("x", consumableResourceProperties=given)
    assert caught.value.member == f"consumableResourceProperties.{member}"
    with pytest.raises(InvalidRequest) as caught:
        await stand.submit(consumableResourcePropertiesOverride=given)
    assert caught.value.member == f"consumableResourcePropertiesOverride.{member}"
    with pytest.raises(InvalidRequest) as caught:
        await stand.register_nodes(
            nodes=some_nodes(a_range(":", a_container(), consumableResourceProperties=given))
        )
    path = "nodeProperties.nodeRangeProperties[0].consumableResourceProperties"
    assert caught.value.member == f"{path}.{member}"
    assert await stand.job_count() == 0


async def test_five_resources_are_the_most_in_a_list(stand: Stand) -> None:
    with pytest.raises(InvalidRequest, match="more than 5"):
        await stand.register("x", consumableResourceProperties=needs(a=1, b=1, c=1, d=1, e=1, f=1))


async def test_a_resource_must_be_there_when_a_job_is_submitted(stand: Stand) -> None:
    await stand.register("needy", consumableResourceProperties=needs(licence=2))
    with pytest.raises(NotFound, match="ConsumableResource licence not found"):
        await stand.submit(jobDefinition="needy")
    assert await stand.job_count() == 0
    await create(stand)
    await stand.submit(jobDefinition="needy")


async def test_a_resource_may_go_while_jobs_need_it(stand: Stand) -> None:
    await create(stand)
    job = await stand.submit(consumableResourcePropertiesOverride=needs(licence=2))
    await stand("DeleteConsumableResource", consumableResource="licence")
    with pytest.raises(NotFound):
        await describe(stand)
    await create(stand, total=1)
    (found,) = (await stand("ListJobsByConsumableResource", consumableResource="licence"))["jobs"]
    assert found["jobArn"].endswith(job)


async def test_the_jobs_that_need_a_resource_are_listed(stand: Stand) -> None:
    arn = await create(stand)
    await create(stand, "a")
    jobs = [
        await stand.submit(
            jobName=f"job-{index}",
            consumableResourcePropertiesOverride=needs(licence=index + 1, a=1),
        )
        for index in range(3)
    ]
    await stand.submit(consumableResourcePropertiesOverride=needs(a=1))

    async def listed(**members: Any) -> list[Json]:
        answer = await stand("ListJobsByConsumableResource", consumableResource=arn, **members)
        return list(answer.get("jobs", ()))

    found = await listed()
    assert [one["jobArn"].rpartition("/")[2] for one in found] == jobs[::-1]
    last = found[0]
    assert last["jobName"] == "job-2"
    assert last["quantity"] == "3"
    assert last["jobStatus"] == "SUBMITTED"
    assert last["jobQueueArn"].endswith(":job-queue/q")
    assert last["jobDefinitionArn"].endswith(":job-definition/d:1")
    assert last["createdAt"]
    assert last["consumableResourceProperties"] == {
        "consumableResourceList": [
            {"consumableResource": arn.replace("/licence", "/a"), "quantity": "1"},
            {"consumableResource": arn, "quantity": "3"},
        ]
    }

    def by(name: str, value: str) -> Json:
        return {"filters": [{"name": name, "values": [value]}]}

    assert len(await listed(**by("JOB_NAME", "JOB-*"))) == 3
    assert [one["jobName"] for one in await listed(**by("JOB_NAME", "job-1"))] == ["job-1"]
    assert len(await listed(**by("JOB_STATUS", "SUBMITTED"))) == 3
    assert await listed(**by("JOB_STATUS", "RUNNING")) == []
    page = await stand("ListJobsByConsumableResource", consumableResource=arn, maxResults=2)
    rest = await listed(maxResults=2, nextToken=page["nextToken"])
    assert [one["jobName"] for one in rest] == ["job-0"]
    for wrong in (by("JOB_STATUS", "running"), by("JOB_QUEUE", "q"), {"nextToken": "x"}):
        with pytest.raises(InvalidRequest):
            await listed(**wrong)


async def test_a_page_of_jobs_that_need_a_resource_ends_where_it_has_looked_at_many(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the filter leaves out, a page costs no more; what is found is found in the end."""
    monkeypatch.setattr(job_reading, "LOOKED_AT", 4)
    await create(stand)
    for n in range(10):
        await stand.submit(
            jobName="rare" if n in (1, 8) else "frequent",
            consumableResourcePropertiesOverride=needs(licence=1),
        )
    pages, token = [], {}
    while True:
        page = await stand(
            "ListJobsByConsumableResource",
            consumableResource="licence",
            filters=[{"name": "JOB_NAME", "values": ["rare"]}],
            **token,
        )
        pages.append(len(page.get("jobs", ())))
        if "nextToken" not in page:
            break
        token = {"nextToken": page["nextToken"]}
    assert pages == [1, 0, 1]
