"""Scheduling policies, queues that have one, and the shares of jobs."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from support.submission import Stand, a_queue, submission_stand

from longshore.domain.errors import (
    InvalidRequest,
    LimitExceeded,
    NotFound,
    PreconditionFailed,
    Unimplemented,
)
from longshore_client import Client


@pytest.fixture
async def stand(database_url: str) -> AsyncIterator[Stand]:
    async with submission_stand(database_url) as stand:
        await stand.prepare()
        yield stand


FAIR = {
    "shareDecaySeconds": 3600,
    "computeReservation": 10,
    "shareDistribution": [
        {"shareIdentifier": "A1", "weightFactor": 0.125},
        {"shareIdentifier": "B*"},
    ],
}


async def a_fair_queue(stand: Stand, name: str = "fair") -> str:
    """A queue with a policy of the same name; returns the policy's ARN."""
    arn = str((await stand("CreateSchedulingPolicy", name=name, fairsharePolicy=FAIR))["arn"])
    await stand("CreateJobQueue", **a_queue(name, schedulingPolicyArn=arn))
    return arn


async def test_a_policy_is_described_as_it_was_created_and_changed(stand: Stand) -> None:
    made = await stand("CreateSchedulingPolicy", name="p", fairsharePolicy=FAIR, tags={"team": "a"})
    assert made["name"] == "p"
    assert made["arn"].endswith(":scheduling-policy/p")
    (found,) = (await stand("DescribeSchedulingPolicies", arns=[made["arn"], "none"]))[
        "schedulingPolicies"
    ]
    assert found == {**made, "fairsharePolicy": FAIR, "tags": {"team": "a"}}
    await stand(
        "UpdateSchedulingPolicy", arn=made["arn"], fairsharePolicy={"computeReservation": 5}
    )
    await stand("UpdateSchedulingPolicy", arn="p")
    (found,) = (await stand("DescribeSchedulingPolicies", arns=["p"]))["schedulingPolicies"]
    assert found["fairsharePolicy"] == {"computeReservation": 5}
    await stand("DeleteSchedulingPolicy", arn=made["arn"])
    assert await stand("DescribeSchedulingPolicies", arns=["p"]) == {}


async def test_two_who_change_parts_of_a_policy_at_once_undo_nothing_of_each_other(
    stand: Stand,
) -> None:
    """By the client, which changes a policy only while it is what it knows of it."""
    async with Client(stand.target) as client:
        await client.create_policy("p", weights={"a": 1})
        for number in range(1, 6):
            await asyncio.gather(
                client.update_policy("p", weights={"a": number}),
                client.update_policy("p", decay_seconds=number * 60),
                client.update_policy("p", reservation=number),
            )
            [found] = [policy async for policy in client.list_policies(["p"])]
            policy = found.fairshare_policy
            assert [share.weight_factor for share in policy.share_distribution] == [number]
            assert policy.share_decay_seconds == number * 60
            assert policy.compute_reservation == number


async def test_what_is_expected_of_a_policy_must_be_one(stand: Stand) -> None:
    await stand("CreateSchedulingPolicy", name="p", fairsharePolicy=FAIR)
    key = "x-longshore-expected-policy-bin"
    with pytest.raises(InvalidRequest, match="is no FairsharePolicy"):
        await stand("UpdateSchedulingPolicy", {key: b"\xff"}, arn="p")
    with pytest.raises(PreconditionFailed, match="p was changed meanwhile"):
        await stand("UpdateSchedulingPolicy", {key: b""}, arn="p")
    with pytest.raises(NotFound, match="q does not exist"):
        await stand("UpdateSchedulingPolicy", {key: b""}, arn="q")


async def test_policies_are_listed_page_by_page(stand: Stand) -> None:
    arns = [(await stand("CreateSchedulingPolicy", name=f"p{n}"))["arn"] for n in range(3)]
    first = await stand("ListSchedulingPolicies", maxResults=2)
    second = await stand("ListSchedulingPolicies", maxResults=2, nextToken=first["nextToken"])
    assert [p["arn"] for p in first["schedulingPolicies"] + second["schedulingPolicies"]] == arns
    assert "nextToken" not in second
    with pytest.raises(InvalidRequest, match="nextToken"):
        await stand("ListSchedulingPolicies", nextToken="x")
    with pytest.raises(InvalidRequest, match="maxResults"):
        await stand("ListSchedulingPolicies", maxResults=101)


async def test_policies_have_tags_as_queues_do(stand: Stand) -> None:
    arn = (await stand("CreateSchedulingPolicy", name="p", tags={"a": "1"}))["arn"]
    await stand("TagResource", resourceArn=arn, tags={"b": "2"})
    await stand("UntagResource", resourceArn=arn, tagKeys=["a"])
    assert (await stand("ListTagsForResource", resourceArn=arn))["tags"] == {"b": "2"}


async def test_what_is_wrong_with_a_policy_is_told_and_changes_nothing(stand: Stand) -> None:
    await stand("CreateSchedulingPolicy", name="p")
    with pytest.raises(PreconditionFailed, match="already exists"):
        await stand("CreateSchedulingPolicy", name="p")
    with pytest.raises(InvalidRequest, match="computeReservation"):
        await stand("CreateSchedulingPolicy", name="x", fairsharePolicy={"computeReservation": 100})
    with pytest.raises(Unimplemented, match="quotaSharePolicy"):
        await stand(
            "CreateSchedulingPolicy",
            name="x",
            quotaSharePolicy={"idleResourceAssignmentStrategy": "FIFO"},
        )
    for operation in ("UpdateSchedulingPolicy", "DeleteSchedulingPolicy"):
        with pytest.raises(NotFound, match="does not exist"):
            await stand(operation, arn="x")
        with pytest.raises(InvalidRequest, match="arn"):
            await stand(operation, arn="arn:aws:batch:us-east-1:000000000000:job-queue/q")
    with pytest.raises(InvalidRequest, match="arns"):
        await stand("DescribeSchedulingPolicies")
    assert len((await stand("ListSchedulingPolicies"))["schedulingPolicies"]) == 1


async def test_a_queue_shows_its_policy_keeps_it_and_may_change_it(stand: Stand) -> None:
    arn = await a_fair_queue(stand)
    with pytest.raises(PreconditionFailed, match="used by job queue fair"):
        await stand("DeleteSchedulingPolicy", arn=arn)
    other = (await stand("CreateSchedulingPolicy", name="other"))["arn"]
    await stand("UpdateJobQueue", jobQueue="fair", priority=7)
    await stand("UpdateJobQueue", jobQueue="fair", schedulingPolicyArn=other)
    (queue,) = (await stand("DescribeJobQueues", jobQueues=["fair"]))["jobQueues"]
    assert (queue["schedulingPolicyArn"], queue["priority"]) == (other, 7)
    await stand("DeleteSchedulingPolicy", arn=arn)
    with pytest.raises(NotFound, match="SchedulingPolicy fair not found"):
        await stand("UpdateJobQueue", jobQueue="fair", schedulingPolicyArn=arn)
    with pytest.raises(NotFound, match="SchedulingPolicy fair not found"):
        await stand("CreateJobQueue", **a_queue("new", schedulingPolicyArn=arn))


async def test_a_queue_without_a_policy_never_gets_one(stand: Stand) -> None:
    arn = await a_fair_queue(stand)
    with pytest.raises(InvalidRequest, match="cannot get one"):
        await stand("UpdateJobQueue", jobQueue="q", schedulingPolicyArn=arn)
    (queue,) = (await stand("DescribeJobQueues", jobQueues=["q"]))["jobQueues"]
    assert "schedulingPolicyArn" not in queue


async def test_jobs_name_a_share_where_there_is_a_policy_and_only_there(stand: Stand) -> None:
    await a_fair_queue(stand)
    with pytest.raises(InvalidRequest, match=r"shareIdentifier must be specified\."):
        await stand.submit(jobQueue="fair")
    with pytest.raises(InvalidRequest, match="can onlybe submitted"):
        await stand.submit(shareIdentifier="A1")
    with pytest.raises(InvalidRequest, match="can onlybe submitted"):
        await stand.submit(schedulingPriorityOverride=1)
    with pytest.raises(InvalidRequest, match="letters and digits"):
        await stand.submit(jobQueue="fair", shareIdentifier="A1*")


async def test_jobs_show_their_share_and_priority(stand: Stand) -> None:
    await a_fair_queue(stand)
    await stand.register(schedulingPriority=3)
    one = await stand.submit(jobQueue="fair", shareIdentifier="A1")
    two = await stand.submit(
        jobQueue="fair",
        shareIdentifier="B1",
        schedulingPriorityOverride=9,
        arrayProperties={"size": 3},
    )
    first, second = await stand.describe(one), await stand.describe(two)
    assert (first["shareIdentifier"], first["schedulingPriority"]) == ("A1", 3)
    assert (second["shareIdentifier"], second["schedulingPriority"]) == ("B1", 9)
    shapes = await stand.conn.fetch(
        "SELECT share_identifier, priority FROM shapes WHERE job_queue = 'fair' ORDER BY 1"
    )
    assert [tuple(row) for row in shapes] == [("A1", 3), ("B1", 9)]

    async def listed(**members: Any) -> list[tuple[str, str]]:
        filters = [{"name": "SHARE_IDENTIFIER", "values": ["B1"]}]
        answer = await stand("ListJobs", jobQueue="fair", filters=filters, **members)
        return [(j["jobId"], j["shareIdentifier"]) for j in answer.get("jobSummaryList", [])]

    assert await listed() == [(two, "B1")]
    # The one filter that goes together with a status.
    assert await listed(jobStatus="SUBMITTED") == [(two, "B1")]
    assert await listed(jobStatus="RUNNABLE") == []


async def test_a_priority_of_a_definition_is_without_effect_in_other_queues(stand: Stand) -> None:
    await stand.register(schedulingPriority=3)
    job = await stand.describe(await stand.submit())
    assert job["schedulingPriority"] == 3
    assert "shareIdentifier" not in job
    assert await stand.conn.fetchval("SELECT max(priority) FROM shapes") == 0


async def test_so_many_shares_are_active_and_no_more_until_one_is_not(stand: Stand) -> None:
    await a_fair_queue(stand)
    first = await stand.submit(jobQueue="fair", shareIdentifier="A1")
    await stand.conn.execute(
        "INSERT INTO shares SELECT 'fair', 's' || n FROM generate_series(1, 499) AS n"
    )
    await stand.conn.execute(
        "INSERT INTO share_usages SELECT 'fair', 's' || n, 1, 0, now(), now()"
        " FROM generate_series(1, 499) AS n"
    )
    with pytest.raises(LimitExceeded, match="500 active shares"):
        await stand.submit(jobQueue="fair", shareIdentifier="new")
    await stand.submit(jobQueue="fair", shareIdentifier="s7")
    # The window of the policy and five minutes more have gone by for one that has no job.
    await stand.conn.execute(
        "UPDATE share_usages SET used_at = now() - interval '3901 s' WHERE share_identifier = 's8'"
    )
    await stand.submit(jobQueue="fair", shareIdentifier="new")
    with pytest.raises(LimitExceeded, match="500 active shares"):
        await stand.submit(jobQueue="fair", shareIdentifier="s8")
    # A share whose only job ended counts no longer, if it ran nothing.
    await stand.conn.execute(
        "UPDATE jobs SET status = 'FAILED', stopped_at = now() WHERE job_id = $1", first
    )
    await stand.submit(jobQueue="fair", shareIdentifier="s8")
    known = await stand.conn.fetch("SELECT share_identifier FROM shares")
    assert len(known) == 500
    assert "A1" not in {row["share_identifier"] for row in known}


async def test_what_is_stored_of_a_policy_is_awss_shape(stand: Stand) -> None:
    await stand("CreateSchedulingPolicy", name="p", fairsharePolicy=FAIR)
    stored = await stand.conn.fetchval("SELECT fairshare FROM scheduling_policies")
    assert (json.loads(stored) if isinstance(stored, str) else stored) == FAIR
