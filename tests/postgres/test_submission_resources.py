"""Compute environments, job queues, job definitions and tags: their lives, and what is refused."""

import asyncio
import copy
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
from support.patience import PATIENCE_SECONDS
from support.submission import Json, Stand, a_container, a_queue, submission_stand

from longshore.domain.errors import (
    InvalidRequest,
    LimitExceeded,
    LongshoreError,
    NotFound,
    PreconditionFailed,
    Unimplemented,
)
from longshore.domain.page import encode_token

MANAGED: Json = {
    "computeEnvironmentName": "m",
    "type": "MANAGED",
    "serviceRole": "arn:aws:iam::123456789012:role/service",
    "tags": {"a": "b"},
    "computeResources": {
        "type": "EC2",
        "allocationStrategy": "BEST_FIT_PROGRESSIVE",
        "minvCpus": 0,
        "maxvCpus": 16,
        "instanceTypes": ["c6i"],
        "subnets": ["subnet-0a1b2c"],
        "securityGroupIds": ["sg-1"],
        "instanceRole": "ecsInstanceRole",
        "ec2KeyPair": "my key",
        "scalingPolicy": {"minScaleDownDelayMinutes": 20},
    },
}


@pytest.fixture
async def stand(database_url: str) -> AsyncIterator[Stand]:
    async with submission_stand(database_url) as stand:
        yield stand


async def environment(stand: Stand, name: str = "m") -> Json:
    answer = await stand("DescribeComputeEnvironments", computeEnvironments=[name])
    (found,) = answer["computeEnvironments"]
    return dict(found)


def changed(members: Json, path: str, value: Any) -> Json:
    """A copy with the member at a dotted path replaced, or removed by None."""
    copied = copy.deepcopy(members)
    *way, last = path.split(".")
    target = copied
    for step in way:
        target = target[step]
    if value is None:
        target.pop(last, None)
    else:
        target[last] = value
    return copied


async def managed(stand: Stand, **resources: Any) -> None:
    """The compute environment `m` after the scaler has looked at it."""
    members = copy.deepcopy(MANAGED)
    members["computeResources"] |= resources
    await stand("CreateComputeEnvironment", **members)
    await looked_at(stand)


async def looked_at(stand: Stand) -> None:
    """What the scaler does when it finds nothing wrong."""
    await stand.conn.execute(
        "UPDATE compute_environments SET status = 'VALID', status_reason = ''"
        " WHERE status IN ('CREATING', 'UPDATING')"
    )


async def test_the_cap_of_a_queue_is_kept_changed_and_taken_away(stand: Stand) -> None:
    async def cap() -> int | None:
        (queue,) = (await stand("DescribeJobQueues", jobQueues=["capped"]))["jobQueues"]
        most: int | None = queue.get("maxRunning")
        return most

    await managed(stand)
    with pytest.raises(InvalidRequest, match="maxRunning must not be below 0"):
        await stand("CreateJobQueue", **a_queue("capped", "m"), maxRunning=-1)
    await stand("CreateJobQueue", **a_queue("capped", "m"), maxRunning=5)
    assert await cap() == 5
    for change, after in (({"priority": 2}, 5), ({"maxRunning": 7}, 7), ({"maxRunning": 0}, None)):
        await stand("UpdateJobQueue", jobQueue="capped", **change)
        assert await cap() == after


async def test_a_managed_environment_comes_back_as_given_and_waits_for_the_scaler(
    stand: Stand,
) -> None:
    await stand("CreateComputeEnvironment", **MANAGED)
    found = await environment(stand)
    assert found["status"] == "CREATING"
    with pytest.raises(PreconditionFailed, match="m is CREATING, not VALID"):
        await stand("CreateJobQueue", **a_queue("q", "m"))
    with pytest.raises(PreconditionFailed, match="resource is being modified"):
        await stand("UpdateComputeEnvironment", computeEnvironment="m", state="DISABLED")
    with pytest.raises(PreconditionFailed, match="Cannot delete, resource is being modified"):
        await stand("DeleteComputeEnvironment", computeEnvironment="m")
    assert found["ecsClusterArn"].endswith(f":cluster/m_Batch_{found['uuid']}")
    assert found["computeResources"] == {**MANAGED["computeResources"], "desiredvCpus": 0}
    assert (found["tags"], found["serviceRole"]) == (MANAGED["tags"], MANAGED["serviceRole"])
    with pytest.raises(PreconditionFailed, match="Object already exists"):
        await stand("CreateComputeEnvironment", **MANAGED)


REFUSED: list[tuple[str, Any, type[LongshoreError], str]] = [
    ("computeEnvironmentName", "a b", InvalidRequest, "computeEnvironmentName must have"),
    ("type", "OTHER", InvalidRequest, "type is 'OTHER'"),
    ("type", "UNMANAGED", InvalidRequest, "computeResources is for type MANAGED alone."),
    ("computeResources", None, InvalidRequest, "computeResources is required"),
    ("state", "DISABLED", InvalidRequest, "must be created ENABLED"),
    ("unmanagedvCpus", 4, InvalidRequest, "unmanagedvCpus is for type UNMANAGED"),
    ("serviceRole", "a b", InvalidRequest, "serviceRole"),
    ("computeResources.maxvCpus", None, InvalidRequest, "computeResources.maxvCpus is required"),
    ("computeResources.maxvCpus", 0, InvalidRequest, "maxvCpus must be"),
    ("computeResources.minvCpus", 17, InvalidRequest, "maxvCpus must be"),
    ("computeResources.minvCpus", -1, InvalidRequest, "minvCpus must be from 0 to 1000000"),
    ("computeResources.minvCpus", 2**31 - 1, InvalidRequest, "minvCpus must be from 0"),
    ("computeResources.desiredvCpus", 17, InvalidRequest, "desiredvCpus must be from"),
    (
        "computeResources.instanceTypes",
        ["zz9.big"],
        InvalidRequest,
        "instanceTypes[0] is 'zz9.big'",
    ),
    ("computeResources.instanceTypes", ["c6i", "c6g"], InvalidRequest, "mixes CPU architectures"),
    ("computeResources.type", "SPOT", InvalidRequest, "BEST_FIT_PROGRESSIVE_ORDERED"),
    ("computeResources.type", "FARGATE", InvalidRequest, "minvCpus is not applicable for Fargate."),
    ("computeResources.type", "ECS_MANAGED_INSTANCES", Unimplemented, "computeResources.type"),
    ("computeResources.instanceRole", None, InvalidRequest, "Instance role is required."),
    ("computeResources.minvCpus", None, InvalidRequest, "Resource minvCpus is required."),
    ("computeResources.bidPercentage", 50, InvalidRequest, "bidPercentage is for SPOT"),
    ("computeResources.allocationStrategy", "SPOT_CAPACITY_OPTIMIZED", InvalidRequest, "for SPOT"),
    ("computeResources.subnets", ["net 1"], InvalidRequest, "computeResources.subnets"),
    ("computeResources.securityGroupIds", ["x"], InvalidRequest, "securityGroupIds"),
    ("computeResources.imageId", "x", InvalidRequest, "imageId"),
    ("computeResources.instanceRole", "a b", InvalidRequest, "instanceRole"),
    ("computeResources.tags", {"aws:a": "b"}, InvalidRequest, "reserved prefix"),
    ("computeResources.launchTemplate", {}, InvalidRequest, "launchTemplateId or"),
    (
        "computeResources.launchTemplate",
        {
            "launchTemplateId": "lt-1",
            "overrides": [{"launchTemplateId": "lt-2", "targetInstanceTypes": ["c6i"]}],
        },
        Unimplemented,
        "computeResources.launchTemplate.overrides is not supported",
    ),
    (
        "computeResources.launchTemplate",
        {"launchTemplateId": "lt-1", "userdataType": "EKS_NODEADM"},
        Unimplemented,
        "computeResources.launchTemplate.userdataType is not supported",
    ),
    (
        "computeResources.ec2Configuration",
        [{"imageType": "ECS_AL2", "imageKubernetesVersion": "1.2"}],
        InvalidRequest,
        "At least one imageKubernetesVersion in EC2Configuration is not supported.",
    ),
    (
        "computeResources.scalingPolicy.minScaleDownDelayMinutes",
        19,
        InvalidRequest,
        "minScaleDownDelayMinutes must be",
    ),
    (
        "eksConfiguration",
        {"eksClusterArn": "x", "kubernetesNamespace": "y"},
        Unimplemented,
        "eksConfiguration",
    ),
    ("ecsSettings", {"containerInsights": "ENABLED"}, Unimplemented, "containerInsights"),
]


async def test_environments_that_cannot_be_are_refused(
    stand: Stand, subtests: pytest.Subtests
) -> None:
    for path, value, kind, text in REFUSED:
        members = changed(MANAGED, path, value)
        if value == "SPOT":
            members["computeResources"]["allocationStrategy"] = "BEST_FIT_PROGRESSIVE_ORDERED"
        with subtests.test(f"{path} {value}"), pytest.raises(kind) as caught:
            await stand("CreateComputeEnvironment", **members)
        assert text in caught.value.message
    assert await stand.conn.fetchval("SELECT count(*) FROM compute_environments") == 0


async def test_best_fit_on_spot_needs_a_fleet_role(stand: Stand) -> None:
    resources = {"type": "SPOT", "maxvCpus": 4}
    with pytest.raises(InvalidRequest, match="spotIamFleetRole cannot not be null or empty"):
        await stand(
            "CreateComputeEnvironment",
            computeEnvironmentName="s",
            type="MANAGED",
            computeResources=resources,
        )


async def test_a_scaling_update_changes_what_it_names_in_place(stand: Stand) -> None:
    woken = asyncio.Event()
    await managed(stand)
    await stand.conn.add_listener("longshore_environments", lambda *_: woken.set())
    arn = "arn:aws:batch:us-east-1:123456789012:compute-environment/m"
    await stand(
        "UpdateComputeEnvironment",
        computeEnvironment=arn,
        state="DISABLED",
        updatePolicy={"jobExecutionTimeoutMinutes": "45", "terminateJobsOnUpdate": True},
        computeResources={"maxvCpus": 32, "desiredvCpus": 8},
    )
    found = await environment(stand)
    resources = found["computeResources"]
    assert (found["state"], resources["maxvCpus"], resources["desiredvCpus"]) == ("DISABLED", 32, 8)
    assert (found["status"], resources["instanceTypes"]) == ("VALID", ["c6i"])
    assert found["updatePolicy"] == {
        "jobExecutionTimeoutMinutes": "45",
        "terminateJobsOnUpdate": True,
    }
    async with asyncio.timeout(PATIENCE_SECONDS):
        await woken.wait()
    assert await generation(stand) == (1, False)
    for members, kind, text in (
        (
            {"computeResources": {"desiredvCpus": 4}},
            InvalidRequest,
            "Manually scaling down compute",
        ),
        ({"computeResources": {"minvCpus": 33}}, InvalidRequest, "maxvCpus must be"),
        (
            {"computeResources": {"instanceTypes": ["c6i", "c6g"]}},
            InvalidRequest,
            "mixes CPU architectures",
        ),
        (
            {"computeResources": {"allocationStrategy": "BEST_FIT"}},
            InvalidRequest,
            "computeResources.allocationStrategy is 'BEST_FIT'",
        ),
        (
            {"computeResources": {"type": "FARGATE"}},
            InvalidRequest,
            "cannot change from EC2 to FARGATE",
        ),
        (
            {"updatePolicy": {"jobExecutionTimeoutMinutes": "7201"}},
            InvalidRequest,
            "jobExecutionTimeoutMinutes must be from 1 to 7200.",
        ),
        ({"unmanagedvCpus": 4}, InvalidRequest, "unmanagedvCpus is for type UNMANAGED"),
        (
            {"serviceRole": "arn:aws:iam::123456789012:role/AWSServiceRoleForBatch"},
            InvalidRequest,
            "serviceRole cannot change between the service-linked role",
        ),
        ({"computeEnvironment": "x", "state": "ENABLED"}, NotFound, "x does not exist"),
    ):
        with pytest.raises(kind) as caught:
            await stand("UpdateComputeEnvironment", **{"computeEnvironment": "m"} | members)
        assert text in caught.value.message
    assert (await environment(stand))["computeResources"] == resources


async def generation(stand: Stand) -> tuple[int, bool]:
    """How often the infrastructure of `m` was updated, from 1, and whether it says when."""
    row = await stand.conn.fetchrow(
        "SELECT generation, infrastructure_updated_at IS NOT NULL AS said"
        " FROM compute_environments WHERE name = 'm'"
    )
    return row["generation"], row["said"]


async def test_an_infrastructure_update_counts_a_generation(stand: Stand) -> None:
    """What instances are changes; bounds may ride along, and the scaler is to look at it."""
    await managed(stand)
    await stand(
        "UpdateComputeEnvironment",
        computeEnvironment="m",
        computeResources={"instanceTypes": ["m6i"], "maxvCpus": 64, "ec2KeyPair": ""},
    )
    found = await environment(stand)
    resources = found["computeResources"]
    assert (found["status"], resources["maxvCpus"]) == ("UPDATING", 64)
    assert (resources["instanceTypes"], "ec2KeyPair" in resources) == (["m6i"], False)
    assert await generation(stand) == (2, True)
    with pytest.raises(PreconditionFailed, match="Cannot update, resource is being modified"):
        await stand("UpdateComputeEnvironment", computeEnvironment="m", state="DISABLED")
    await looked_at(stand)
    same = {"instanceTypes": ["m6i"], "tags": {}, "maxvCpus": 65}
    await stand("UpdateComputeEnvironment", computeEnvironment="m", computeResources=same)
    assert ((await environment(stand))["status"], await generation(stand)) == ("VALID", (2, True))
    spot = {"type": "SPOT", "bidPercentage": 60, "allocationStrategy": "SPOT_CAPACITY_OPTIMIZED"}
    await stand("UpdateComputeEnvironment", computeEnvironment="m", computeResources=spot)
    await looked_at(stand)
    back = {"type": "EC2", "allocationStrategy": "BEST_FIT_PROGRESSIVE"}
    await stand("UpdateComputeEnvironment", computeEnvironment="m", computeResources=back)
    await looked_at(stand)
    assert "bidPercentage" not in (await environment(stand))["computeResources"]
    latest = {"updateToLatestImageVersion": True}
    with pytest.raises(InvalidRequest, match="serviceRole cannot be updated together with"):
        await stand(
            "UpdateComputeEnvironment",
            computeEnvironment="m",
            serviceRole="arn:aws:iam::123456789012:role/other",
            computeResources=latest,
        )
    await stand("UpdateComputeEnvironment", computeEnvironment="m", computeResources=latest)
    assert await generation(stand) == (5, True)


async def test_a_best_fit_environment_keeps_its_instances(stand: Stand) -> None:
    await managed(stand, allocationStrategy="BEST_FIT")
    with pytest.raises(InvalidRequest, match=r"Cannot update instanceTypes: .* BEST_FIT"):
        await stand(
            "UpdateComputeEnvironment",
            computeEnvironment="m",
            computeResources={"instanceTypes": ["m6i"]},
        )
    await stand(
        "UpdateComputeEnvironment", computeEnvironment="m", computeResources={"minvCpus": 2}
    )
    assert await generation(stand) == (1, False)


async def test_an_update_heals_an_invalid_environment(stand: Stand) -> None:
    await managed(stand)
    await stand.conn.execute(
        "UPDATE compute_environments SET status = 'INVALID', status_reason = 'CLIENT_ERROR - x'"
    )
    await stand("UpdateComputeEnvironment", computeEnvironment="m", state="ENABLED")
    found = await environment(stand)
    assert (found["status"], found.get("statusReason", "")) == ("UPDATING", "")
    assert await generation(stand) == (1, False)


FARGATE: Json = {
    "computeEnvironmentName": "f",
    "type": "MANAGED",
    "computeResources": {
        "type": "FARGATE",
        "maxvCpus": 16,
        "subnets": ["subnet-0a1b2c"],
        "securityGroupIds": ["sg-1"],
    },
}


async def test_a_fargate_environment_has_only_what_slots_need(stand: Stand) -> None:
    await stand("CreateComputeEnvironment", **FARGATE)
    await looked_at(stand)
    await stand.conn.execute("UPDATE compute_environments SET desiredv_cpus = 4")
    assert (await environment(stand, "f"))["computeResources"] == FARGATE["computeResources"]
    await stand(
        "UpdateComputeEnvironment",
        computeEnvironment="f",
        updatePolicy={"terminateJobsOnUpdate": True},
        computeResources={"maxvCpus": 8, "subnets": ["subnet-9"]},
    )
    found = await environment(stand, "f")
    assert (found["status"], "updatePolicy" in found) == ("VALID", False)
    assert found["computeResources"]["subnets"] == ["subnet-9"]
    for name, value in (
        ("minvCpus", 0),
        ("desiredvCpus", 1),
        ("allocationStrategy", "BEST_FIT"),
        ("instanceTypes", ["c6i"]),
        ("tags", {"a": "b"}),
        ("ec2KeyPair", "k"),
        ("instanceRole", "r"),
        ("bidPercentage", 50),
        ("scalingPolicy", {"minScaleDownDelayMinutes": 20}),
        ("launchTemplate", {"launchTemplateId": "x"}),
        ("ec2Configuration", [{"imageType": "ECS_AL2"}]),
    ):
        with pytest.raises(InvalidRequest, match=f"{name} is not applicable for Fargate."):
            await stand(
                "CreateComputeEnvironment", **changed(FARGATE, f"computeResources.{name}", value)
            )
    for update, text in (
        ({"desiredvCpus": 2}, "desiredvCpus is not applicable for Fargate."),
        ({"type": "EC2"}, "cannot change from FARGATE to EC2"),
        ({"type": "FARGATE_SPOT"}, "cannot change from FARGATE to FARGATE_SPOT"),
    ):
        with pytest.raises(InvalidRequest, match=text):
            await stand("UpdateComputeEnvironment", computeEnvironment="f", computeResources=update)


async def test_an_environment_is_deleted_when_nothing_needs_it(stand: Stand) -> None:
    await stand.prepare()
    with pytest.raises(PreconditionFailed, match="ce is ENABLED"):
        await stand("DeleteComputeEnvironment", computeEnvironment="ce")
    await stand("UpdateComputeEnvironment", computeEnvironment="ce", state="DISABLED")
    with pytest.raises(PreconditionFailed, match="found existing JobQueue relationship"):
        await stand("DeleteComputeEnvironment", computeEnvironment="ce")
    await stand("CreateComputeEnvironment", computeEnvironmentName="e2", type="UNMANAGED")
    order = [{"order": 5, "computeEnvironment": "e2"}]
    await stand("UpdateJobQueue", jobQueue="q", computeEnvironmentOrder=order)
    await stand("DeleteComputeEnvironment", computeEnvironment="ce")
    assert await stand("DescribeComputeEnvironments", computeEnvironments=["ce"]) == {}
    with pytest.raises(NotFound, match="ce does not exist"):
        await stand("DeleteComputeEnvironment", computeEnvironment="ce")


async def test_an_environment_with_instances_waits_for_them(stand: Stand) -> None:
    await managed(stand)
    await stand("UpdateComputeEnvironment", computeEnvironment="m", state="DISABLED")
    await stand.conn.execute(
        """WITH o AS (INSERT INTO capacity_orders
            (order_id, compute_environment, target_vcpus, entries, reason, closed_at)
            VALUES (gen_random_uuid(), 'm', 1, '[]', '', now()) RETURNING order_id)
        INSERT INTO instances (instance_id, order_id, compute_environment, provider, instance_type,
            purchase_option, vcpus, memory_mib, price_per_hour, status)
        SELECT 'i-0123456789abcdef0', order_id, 'm', 'local', 'c6i.large', 'ON_DEMAND', 2, 4096, 0,
            'LAUNCHED' FROM o"""
    )
    await stand("DeleteComputeEnvironment", computeEnvironment="m")
    assert (await environment(stand))["status"] == "DELETING"
    with pytest.raises(PreconditionFailed, match="is DELETING, not VALID"):
        await stand("CreateJobQueue", **a_queue("q", "m"))


async def test_describing_goes_page_by_page(stand: Stand) -> None:
    for name in ("c", "a", "b"):
        await stand("CreateComputeEnvironment", computeEnvironmentName=name, type="UNMANAGED")
        await stand("CreateJobQueue", **a_queue(name, name))
        await stand.register(name)
    for operation, member, key in (
        ("DescribeComputeEnvironments", "computeEnvironments", "computeEnvironmentName"),
        ("DescribeJobQueues", "jobQueues", "jobQueueName"),
        ("DescribeJobDefinitions", "jobDefinitions", "jobDefinitionName"),
    ):
        first = await stand(operation, maxResults=2)
        last = await stand(operation, maxResults=2, nextToken=first["nextToken"])
        assert [e[key] for e in first[member] + last[member]] == ["a", "b", "c"]
        assert "nextToken" not in last
        upper = member[0].upper() + member[1:]
        for size in (0, 2):
            with pytest.raises(InvalidRequest, match=f"{upper} and MaxResults cannot both be set"):
                await stand(operation, maxResults=size, **{member: ["a"]})
        with pytest.raises(InvalidRequest, match="from 1 to 100"):
            await stand(operation, maxResults=101)
        with pytest.raises(InvalidRequest, match="nextToken"):
            await stand(operation, nextToken="rubbish")
        assert await stand(operation, **{member: ["none"]}) == {}


@pytest.mark.parametrize(
    ("operation", "token"),
    [
        ("DescribeComputeEnvironments", encode_token("environments", ["a\0"])),
        ("DescribeJobQueues", encode_token("queues", ["\ud800"])),
        ("DescribeJobDefinitions", encode_token("definitions", ["a\0", 1])),
        ("DescribeJobDefinitions", encode_token("definitions", ["a", 2**31])),
    ],
)
async def test_a_crafted_token_is_refused(stand: Stand, operation: str, token: str) -> None:
    """Of the right form, with a position that the query could not take."""
    with pytest.raises(InvalidRequest, match="nextToken"):
        await stand(operation, nextToken=token)


@pytest.mark.parametrize(
    ("operation", "members"),
    [
        ("CreateComputeEnvironment", {"computeEnvironmentName": "m", "type": "UNMANAGED"}),
        ("UpdateComputeEnvironment", {"computeEnvironment": "m"}),
        ("CreateJobQueue", a_queue("q", "m")),
        ("UpdateJobQueue", {"jobQueue": "q"}),
    ],
)
async def test_requests_have_a_size_that_they_may_not_pass(
    stand: Stand, operation: str, members: Json
) -> None:
    member, value = {
        "CreateComputeEnvironment": ("context", "x" * 31_000),
        "UpdateComputeEnvironment": ("context", "x" * 31_000),
        "CreateJobQueue": ("tags", {"x" * 31_000: ""}),
        "UpdateJobQueue": ("schedulingPolicyArn", "x" * 31_000),
    }[operation]
    with pytest.raises(LimitExceeded, match=f"{operation} request has .* 30720 are allowed"):
        await stand(operation, **members, **{member: value})


async def test_all_tags_that_may_be_go_into_one_request(stand: Stand) -> None:
    await stand("CreateComputeEnvironment", computeEnvironmentName="m", type="UNMANAGED")
    arn = (await environment(stand))["computeEnvironmentArn"]
    tags = {f"{n:02}" + "\U00020000" * 126: "\U00020000" * 256 for n in range(50)}
    await stand("TagResource", resourceArn=arn, tags=tags)
    assert (await environment(stand))["tags"] == tags
    with pytest.raises(LimitExceeded, match="TagResource request has"):
        await stand("TagResource", resourceArn=arn, tags={"a": "b" * 90_000})


async def test_a_queue_keeps_its_order_of_environments(stand: Stand) -> None:
    for name in ("c1", "c2", "c3", "c4"):
        await stand("CreateComputeEnvironment", computeEnvironmentName=name, type="UNMANAGED")
    order = [
        {"order": 9, "computeEnvironment": "c1"},
        {"order": 2, "computeEnvironment": "arn:aws:batch:x:111111111111:compute-environment/c2"},
    ]
    await stand("CreateJobQueue", **a_queue("q", computeEnvironmentOrder=order, tags={"k": "v"}))
    (queue,) = (await stand("DescribeJobQueues", jobQueues=["q"]))["jobQueues"]
    names = [e["computeEnvironment"].rpartition("/")[2] for e in queue["computeEnvironmentOrder"]]
    assert names == ["c2", "c1"]
    assert (queue["status"], queue["statusReason"]) == ("VALID", "JobQueue Healthy")
    assert queue["tags"] == {"k": "v"}
    await stand("UpdateJobQueue", jobQueue="q", priority=7)
    (queue,) = (await stand("DescribeJobQueues", jobQueues=["q"]))["jobQueues"]
    assert (queue["priority"], len(queue["computeEnvironmentOrder"])) == (7, 2)
    with pytest.raises(PreconditionFailed, match="Object already exists"):
        await stand("CreateJobQueue", **a_queue("q", "c1"))
    for members, kind, text in (
        (a_queue("p", "c1", "c2", "c3", "c4"), InvalidRequest, "more than 3"),
        (a_queue("p", "c1", "c1"), InvalidRequest, "twice"),
        (a_queue("p", "none"), NotFound, "ComputeEnvironment none not found"),
        (a_queue("p", computeEnvironmentOrder=[]), InvalidRequest, "at least one"),
        (a_queue("p", "c1", priority=-1), InvalidRequest, "priority"),
        (a_queue("p", "c1", schedulingPolicyArn="x"), NotFound, "SchedulingPolicy x"),
        (a_queue("p", "c1", jobQueueType="EKS"), Unimplemented, "jobQueueType"),
        (a_queue("-p", "c1"), InvalidRequest, "jobQueueName"),
    ):
        with pytest.raises(kind, match=text):
            await stand("CreateJobQueue", **members)
    with pytest.raises(NotFound, match="none does not exist"):
        await stand("UpdateJobQueue", jobQueue="none", priority=1)


async def test_the_environments_of_a_queue_are_of_one_kind(stand: Stand) -> None:
    await managed(stand)
    await stand("CreateComputeEnvironment", **FARGATE)
    await stand("CreateComputeEnvironment", **changed(FARGATE, "computeEnvironmentName", "f2"))
    arm = changed(changed(MANAGED, "computeEnvironmentName", "arm"), "tags", None)
    await stand(
        "CreateComputeEnvironment", **changed(arm, "computeResources.instanceTypes", ["c6g"])
    )
    await stand("CreateComputeEnvironment", computeEnvironmentName="u", type="UNMANAGED")
    await looked_at(stand)
    for names, text in (
        (("m", "f"), "must all be EC2 and SPOT, or all be FARGATE"),
        (("u", "f"), "must all be EC2 and SPOT, or all be FARGATE"),
        (("m", "arm"), "one CPU architecture; these have arm64 and x86_64"),
    ):
        with pytest.raises(InvalidRequest, match=text):
            await stand("CreateJobQueue", **a_queue("q", *names))
    with pytest.raises(InvalidRequest, match="type ECS cannot have compute environments of FARG"):
        await stand("CreateJobQueue", **a_queue("q", "f", jobQueueType="ECS"))
    await stand("CreateJobQueue", **a_queue("q", "f"))
    await stand("CreateJobQueue", **a_queue("e", "m", "u"))
    found = (await stand("DescribeJobQueues"))["jobQueues"]
    assert {queue["jobQueueName"]: queue["jobQueueType"] for queue in found} == {
        "q": "ECS_FARGATE",
        "e": "ECS",
    }
    order = [{"order": 1, "computeEnvironment": "f2"}]
    await stand("UpdateJobQueue", jobQueue="q", computeEnvironmentOrder=order)
    with pytest.raises(InvalidRequest, match="type ECS cannot have compute environments of FARG"):
        await stand("UpdateJobQueue", jobQueue="e", computeEnvironmentOrder=order)


async def test_a_queue_is_deleted_in_two_steps(stand: Stand) -> None:
    await stand.prepare()
    with pytest.raises(PreconditionFailed, match="q is ENABLED"):
        await stand("DeleteJobQueue", jobQueue="q")
    await stand("UpdateJobQueue", jobQueue="q", state="DISABLED")
    await stand("DeleteJobQueue", jobQueue="q")
    (queue,) = (await stand("DescribeJobQueues", jobQueues=["q"]))["jobQueues"]
    assert queue["status"] == "DELETING"
    with pytest.raises(PreconditionFailed, match="resource is being modified"):
        await stand("UpdateJobQueue", jobQueue="q", state="ENABLED")


async def test_registrations_that_arrive_together_number_on(stand: Stand) -> None:
    arns = await asyncio.gather(*(stand.register("d") for _ in range(20)))
    assert sorted(int(arn.rpartition(":")[2]) for arn in arns) == list(range(1, 21))
    found = await stand("DescribeJobDefinitions", jobDefinitionName="d", status="ACTIVE")
    assert [entry["revision"] for entry in found["jobDefinitions"]] == list(range(20, 0, -1))


async def test_a_definition_comes_back_as_registered(stand: Stand) -> None:
    container = a_container(
        environment=[{"name": "A", "value": "1"}, {"name": "EMPTY", "value": ""}],
        volumes=[{"name": "v", "host": {"sourcePath": "/data"}}, {"name": "anonymous"}],
        mountPoints=[{"sourceVolume": "v", "containerPath": "/in", "readOnly": True}],
        ulimits=[{"name": "nofile", "softLimit": 10, "hardLimit": 20}],
        linuxParameters={"initProcessEnabled": True, "tmpfs": [{"containerPath": "/t", "size": 5}]},
        user="1000:1000",
        jobRoleArn="arn:aws:iam::123456789012:role/job",
        privileged=False,
    )
    await stand.register("d", container, parameters={"a": "b"}, tags={"t": "u"})
    await stand("DeregisterJobDefinition", jobDefinition="d:1")
    (found,) = (await stand("DescribeJobDefinitions", jobDefinitions=["d"]))["jobDefinitions"]
    container["environment"].pop()
    container["volumes"][1] = {"name": "anonymous"}
    assert found["containerProperties"] == container
    assert (found["status"], found["revision"], found["tags"]) == ("INACTIVE", 1, {"t": "u"})
    await stand.register("d")
    answer = await stand("DescribeJobDefinitions", jobDefinitionName="d", status="INACTIVE")
    assert [entry["revision"] for entry in answer["jobDefinitions"]] == [1]
    await stand.register("d")
    await stand("DeregisterJobDefinition", jobDefinition="d")
    answer = await stand("DescribeJobDefinitions", jobDefinitionName="d", status="ACTIVE")
    assert [entry["revision"] for entry in answer["jobDefinitions"]] == [2]
    await stand("DeregisterJobDefinition", jobDefinition="d")
    with pytest.raises(NotFound, match="name d does not exist or is not in ACTIVE status"):
        await stand("DeregisterJobDefinition", jobDefinition="d")
    with pytest.raises(NotFound, match="JobDefinition d:9 not found"):
        await stand("DeregisterJobDefinition", jobDefinition="d:9")


async def test_a_fargate_job_has_one_of_fargates_sizes(stand: Stand) -> None:
    """From its definition to its overrides; a queue takes the jobs of its own platform."""
    await stand("CreateComputeEnvironment", **FARGATE)
    await stand.prepare()
    await looked_at(stand)
    await stand("CreateJobQueue", **a_queue("fq", "f"))
    container = {
        "image": "busybox",
        "resourceRequirements": [
            {"type": "VCPU", "value": "0.25"},
            {"type": "MEMORY", "value": "512"},
        ],
        "executionRoleArn": "arn:aws:iam::123456789012:role/execution",
        "networkConfiguration": {"assignPublicIp": "ENABLED"},
        "ephemeralStorage": {"sizeInGiB": 21},
        "runtimePlatform": {"operatingSystemFamily": "LINUX", "cpuArchitecture": "X86_64"},
        "linuxParameters": {"initProcessEnabled": True},
    }
    await stand.register("fd", container, platformCapabilities=["FARGATE"])
    (found,) = (await stand("DescribeJobDefinitions", jobDefinitions=["fd"]))["jobDefinitions"]
    latest = {"fargatePlatformConfiguration": {"platformVersion": "LATEST"}}
    assert found["containerProperties"] == container | latest
    assert found["platformCapabilities"] == ["FARGATE"]
    job = await stand.submit(jobQueue="fq", jobDefinition="fd")
    assert (await stand.describe(job))["platformCapabilities"] == ["FARGATE"]
    shape = await stand.conn.fetchrow("SELECT vcpu_milli, memory_mib FROM shapes")
    assert tuple(shape) == (250, 512)
    larger = [{"type": "VCPU", "value": "0.5"}, {"type": "MEMORY", "value": "4096"}]
    await stand.submit(
        jobQueue="fq", jobDefinition="fd", containerOverrides={"resourceRequirements": larger}
    )
    before = await stand.job_count()
    capability = "Job Queue is attached to Compute Environment that can not run Jobs with"
    for members, text in (
        ({"jobQueue": "q", "jobDefinition": "fd"}, f"{capability} capability FARGATE."),
        ({"jobQueue": "fq", "jobDefinition": "d"}, f"{capability} capability EC2."),
        (
            {"containerOverrides": {"resourceRequirements": larger[:1]}},
            r"Fargate resource requirements \(0.50 vCPU, 512 MiB\) not valid.",
        ),
        (
            {"containerOverrides": {"resourceRequirements": [{"type": "GPU", "value": "1"}]}},
            "GPU is not applicable for Fargate.",
        ),
        (
            {"containerOverrides": {"vcpus": 1}},
            "vcpus is not applicable for Fargate. Use resource requirements instead.",
        ),
    ):
        with pytest.raises(InvalidRequest, match=text):
            await stand.submit(**{"jobQueue": "fq", "jobDefinition": "fd"} | members)
    assert await stand.job_count() == before


async def test_a_page_of_large_definitions_goes_into_one_answer(stand: Stand) -> None:
    await stand.register()
    await stand.conn.execute(
        """INSERT INTO job_definitions (name, revision, status, type, detail, tags)
        SELECT name, number, status, type, detail || jsonb_build_object('parameters',
            jsonb_build_object('a', repeat('x', 250000))), tags
        FROM job_definitions CROSS JOIN generate_series(2, 80) AS number"""
    )
    revisions: list[int] = []
    token: str | None = ""
    while token is not None:
        answer = await stand("DescribeJobDefinitions", nextToken=token)
        revisions += [entry["revision"] for entry in answer["jobDefinitions"]]
        token = answer.get("nextToken")
    assert revisions == list(range(80, 0, -1))
    with pytest.raises(LimitExceeded, match="Ask for fewer at once"):
        await stand("DescribeJobDefinitions", jobDefinitions=["d"])


async def test_an_oversize_registration_is_refused(stand: Stand) -> None:
    with pytest.raises(LongshoreError, match="at most 262144"):
        await stand.register(parameters={f"x{n}": "y" * 30_000 for n in range(9)})
    assert await stand("DescribeJobDefinitions") == {}


async def test_every_kind_of_resource_has_tags(stand: Stand) -> None:
    await stand.prepare()
    job = await stand.submit(tags={"own": "1"})
    prefix = "arn:aws:batch:us-east-1:123456789012:"
    for rest in ("compute-environment/ce", "job-queue/q", "job-definition/d:1", f"job/{job}"):
        arn = prefix + rest
        await stand("TagResource", resourceArn=arn, tags={"a": "1", "b": "2"})
        await stand("TagResource", resourceArn=arn, tags={"b": "3"})
        await stand("UntagResource", resourceArn=arn, tagKeys=["a", "none"])
        tags = (await stand("ListTagsForResource", resourceArn=arn))["tags"]
        assert tags == {"b": "3"} | ({"own": "1"} if "/job" in f"/{rest}" and job in rest else {})
        many = {f"k{n}": "v" for n in range(50)}
        with pytest.raises(InvalidRequest, match="more than 50 tags"):
            await stand("TagResource", resourceArn=arn, tags=many)
    assert (await stand.describe(job))["tags"] == {"own": "1", "b": "3"}
    for rest, kind, text in (
        ("job-queue/none", NotFound, "does not exist"),
        ("job-definition/d", InvalidRequest, "has no revision"),
        (f"job/{job}:0", InvalidRequest, "Children of array jobs"),
        ("scheduling-policy/x", NotFound, "scheduling-policy"),
    ):
        with pytest.raises(kind, match=text):
            await stand("ListTagsForResource", resourceArn=prefix + rest)
    with pytest.raises(InvalidRequest, match="not an ARN"):
        await stand("ListTagsForResource", resourceArn="nonsense")


async def test_settings_of_an_environment_are_tags(stand: Stand) -> None:
    """What has no effect is refused, when it is made and when it is tagged."""
    key = "longshore:lost-after-seconds"
    await stand("CreateComputeEnvironment", **MANAGED | {"tags": {key: "90"}})
    arn = (await environment(stand))["computeEnvironmentArn"]
    assert (await environment(stand))["tags"] == {key: "90"}
    await stand("TagResource", resourceArn=arn, tags={key: "604800"})
    for tags in ({key: "9"}, {key: "604801"}, {key: "soon"}, {key: ""}, {"longshore:lost": "90"}):
        with pytest.raises(InvalidRequest, match=re.escape(next(iter(tags)))):
            await stand("TagResource", resourceArn=arn, tags=tags)
        with pytest.raises(InvalidRequest, match=re.escape(next(iter(tags)))):
            await stand("CreateComputeEnvironment", **MANAGED | {"tags": tags})
    assert (await environment(stand))["tags"] == {key: "604800"}
    await stand("UntagResource", resourceArn=arn, tagKeys=[key])
    assert "tags" not in await environment(stand)


MAX_RESOURCE = "MISCONFIGURATION:COMPUTE_ENVIRONMENT_MAX_RESOURCE"


def a_time_limit(**members: Any) -> Json:
    """An entry of jobStateTimeLimitActions."""
    usual = {
        "reason": MAX_RESOURCE,
        "state": "RUNNABLE",
        "maxTimeSeconds": 600,
        "action": "CANCEL",
    }
    return usual | members


async def test_time_limits_of_a_queue_come_back_as_they_were_given(stand: Stand) -> None:
    await stand.prepare()

    async def known(name: str) -> Json:
        (found,) = (await stand("DescribeJobQueues", jobQueues=[name]))["jobQueues"]
        return dict(found)

    assert "jobStateTimeLimitActions" not in await known("q")
    limits = [a_time_limit(), a_time_limit(reason="CAPACITY:INSUFFICIENT_INSTANCE_CAPACITY")]
    await stand("CreateJobQueue", **a_queue("limited", jobStateTimeLimitActions=limits))
    assert (await known("limited"))["jobStateTimeLimitActions"] == limits
    await stand("UpdateJobQueue", jobQueue="limited", priority=7)
    assert (await known("limited"))["jobStateTimeLimitActions"] == limits
    await stand("UpdateJobQueue", jobQueue="q", jobStateTimeLimitActions=limits[:1])
    found = await known("q")
    assert (found["jobStateTimeLimitActions"], found["jobQueueType"]) == (limits[:1], "ECS")


async def test_time_limits_of_a_queue_are_taken_away(stand: Stand) -> None:
    await stand.prepare()
    limits = [a_time_limit()]
    await stand("UpdateJobQueue", jobQueue="q", jobStateTimeLimitActions=limits)
    clear = "clearJobStateTimeLimitActions"
    with pytest.raises(InvalidRequest, match=f"{clear} does not go together"):
        await stand(
            "UpdateJobQueue", jobQueue="q", jobStateTimeLimitActions=limits, **{clear: True}
        )
    for cleared, left in ((False, limits), (True, None)):
        await stand("UpdateJobQueue", jobQueue="q", **{clear: cleared})
        (found,) = (await stand("DescribeJobQueues", jobQueues=["q"]))["jobQueues"]
        assert found.get("jobStateTimeLimitActions") == left


@pytest.mark.parametrize(
    ("limits", "text"),
    [
        ([a_time_limit(reason="NO_ROOM")], r"\[0\].reason must be one of CAPACITY:INSUFF"),
        ([a_time_limit(), a_time_limit()], "names a reason twice"),
        ([a_time_limit(maxTimeSeconds=0)], r"\[0\].maxTimeSeconds must be from 1 to 86400"),
        ([a_time_limit(maxTimeSeconds=86_401)], r"\[0\].maxTimeSeconds must be from 1 to 86400"),
        ([a_time_limit(state="STARTING")], r"\[0\].state"),
        ([a_time_limit(action="KILL")], r"\[0\].action"),
        ([{"reason": MAX_RESOURCE, "state": "RUNNABLE", "action": "CANCEL"}], "maxTimeSeconds"),
    ],
)
async def test_a_wrong_time_limit_is_refused_by_name(
    stand: Stand, limits: list[Json], text: str
) -> None:
    await stand.prepare()
    with pytest.raises(InvalidRequest, match=text):
        await stand("CreateJobQueue", **a_queue("n", jobStateTimeLimitActions=limits))
    with pytest.raises(InvalidRequest, match=text):
        await stand("UpdateJobQueue", jobQueue="q", jobStateTimeLimitActions=limits)


@pytest.mark.parametrize(
    ("member", "value", "text"),
    [
        ("maxTimeSeconds", 599, "must be from 600 to 86400"),
        ("action", "TERMINATE", "action must be CANCEL"),
    ],
)
async def test_what_aws_refuses_of_time_limits_is_refused_where_it_is_to_be(
    database_url: str, stand: Stand, member: str, value: object, text: str
) -> None:
    await stand.prepare()
    limits = [a_time_limit(**{member: value})]
    await stand("UpdateJobQueue", jobQueue="q", jobStateTimeLimitActions=limits)
    async with submission_stand(database_url, LONGSHORE_LIMITS="aws") as strict:
        with pytest.raises(InvalidRequest, match=text):
            await strict("UpdateJobQueue", jobQueue="q", jobStateTimeLimitActions=limits)
