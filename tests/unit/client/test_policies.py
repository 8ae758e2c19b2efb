"""The calls about scheduling policies."""

import pytest
from unit.client.service import Script

from longshore.domain import errors
from longshore.v1 import job_pb2
from longshore.v1 import scheduling_policy_pb2 as pb
from longshore_client import Client, NotFound

PAGE = "page"


def a_detail(name: str, **members: object) -> pb.SchedulingPolicyDetail:
    return pb.SchedulingPolicyDetail(
        name=name, arn=f"arn:{name}", fairshare_policy=pb.FairsharePolicy(**members)
    )


async def test_an_update_keeps_what_is_not_given(script: Script, client: Client) -> None:
    found = a_detail(
        "p",
        share_decay_seconds=60,
        compute_reservation=5,
        share_distribution=[pb.ShareAttributes(share_identifier="a", weight_factor=2)],
    )
    script.on(
        "DescribeSchedulingPolicies",
        lambda _: pb.DescribeSchedulingPoliciesResponse(scheduling_policies=[found]),
    )
    script.on("UpdateSchedulingPolicy", lambda _: pb.UpdateSchedulingPolicyResponse())
    await client.update_policy("p", reservation=0)
    await client.update_policy("p", weights={"b": 0.5})
    first, second = script.sent("UpdateSchedulingPolicy")
    assert first.fairshare_policy.share_decay_seconds == 60
    assert first.fairshare_policy.compute_reservation == 0
    assert first.fairshare_policy.share_distribution == found.fairshare_policy.share_distribution
    assert [
        (s.share_identifier, s.weight_factor) for s in second.fairshare_policy.share_distribution
    ] == [("b", 0.5)]


async def test_what_others_change_meanwhile_stays(script: Script, client: Client) -> None:
    """The policy is read again, until the change is one of what it is."""
    seen = [a_detail("p", compute_reservation=5), a_detail("p", compute_reservation=7)]
    script.on(
        "DescribeSchedulingPolicies",
        *(
            lambda _, one=one: pb.DescribeSchedulingPoliciesResponse(scheduling_policies=[one])
            for one in seen
        ),
    )

    script.on(
        "UpdateSchedulingPolicy",
        errors.PreconditionFailed("changed meanwhile"),
        lambda _: pb.UpdateSchedulingPolicyResponse(),
    )
    await client.update_policy("p", decay_seconds=60)
    last = script.sent("UpdateSchedulingPolicy")[-1].fairshare_policy
    assert (last.share_decay_seconds, last.compute_reservation) == (60, 7)


async def test_an_update_of_a_policy_that_is_not_there_is_told(
    script: Script, client: Client
) -> None:
    script.on("DescribeSchedulingPolicies", lambda _: pb.DescribeSchedulingPoliciesResponse())
    with pytest.raises(NotFound, match="no scheduling policy p"):
        await client.update_policy("p", reservation=0)


async def test_all_policies_are_listed_page_by_page(script: Script, client: Client) -> None:
    script.on(
        "ListSchedulingPolicies",
        lambda _: pb.ListSchedulingPoliciesResponse(
            scheduling_policies=[pb.SchedulingPolicyListingDetail(arn="arn:a")], next_token=PAGE
        ),
        lambda _: pb.ListSchedulingPoliciesResponse(
            scheduling_policies=[pb.SchedulingPolicyListingDetail(arn="arn:b")]
        ),
    )
    script.on(
        "DescribeSchedulingPolicies",
        lambda request: pb.DescribeSchedulingPoliciesResponse(
            scheduling_policies=[a_detail(arn.removeprefix("arn:")) for arn in request.arns]
        ),
    )
    assert [policy.name async for policy in client.list_policies()] == ["a", "b"]
    assert script.sent("ListSchedulingPolicies")[1].next_token == PAGE


async def test_a_job_says_its_share_and_priority(script: Script, client: Client) -> None:
    script.on("SubmitJob", lambda _: job_pb2.SubmitJobResponse(job_id="j"))
    await client.submit_job("n", queue="q", definition="d", share="a", priority=0)
    (request,) = script.sent("SubmitJob")
    assert (request.share_identifier, request.scheduling_priority_override) == ("a", 0)
    assert request.HasField("scheduling_priority_override")
