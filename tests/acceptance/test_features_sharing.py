"""Scheduling policies through boto3 and the command, and jobs that take turns by them."""

from typing import Any

import pytest
from acceptance.aws import Aws, Gate
from acceptance.stand import Stack, eventually


def _shared_queue(aws: Aws, name: str, **fairshare: Any) -> str:
    """A queue on the narrow environment with a policy of the same name."""
    arn = aws.client.create_scheduling_policy(name=name, fairsharePolicy=fairshare)["arn"]
    aws.client.create_job_queue(
        jobQueueName=name,
        priority=5,
        schedulingPolicyArn=arn,
        computeEnvironmentOrder=[{"order": 1, "computeEnvironment": "narrow"}],
    )
    return name


def test_the_five_operations(aws: Aws) -> None:
    policy = {
        "shareDecaySeconds": 3600,
        "computeReservation": 10,
        "shareDistribution": [
            {"shareIdentifier": "A1", "weightFactor": 0.1},
            {"shareIdentifier": "B*"},
        ],
    }
    made = aws.client.create_scheduling_policy(name="five", fairsharePolicy=policy, tags={"a": "b"})
    assert (made["name"], made["arn"].rpartition(":")[2]) == ("five", "scheduling-policy/five")
    (found,) = aws.client.describe_scheduling_policies(arns=[made["arn"]])["schedulingPolicies"]
    assert found == {
        "name": "five",
        "arn": made["arn"],
        "fairsharePolicy": policy,
        "tags": {"a": "b"},
    }
    pages = aws.client.get_paginator("list_scheduling_policies").paginate(
        PaginationConfig={"PageSize": 1}
    )
    assert {"arn": made["arn"]} in [p for page in pages for p in page["schedulingPolicies"]]
    assert aws.client.list_tags_for_resource(resourceArn=made["arn"])["tags"] == {"a": "b"}
    aws.client.update_scheduling_policy(
        arn=made["arn"], fairsharePolicy={"shareDecaySeconds": 60, "shareDistribution": []}
    )
    (found,) = aws.client.describe_scheduling_policies(arns=[made["arn"]])["schedulingPolicies"]
    assert found["fairsharePolicy"] == {"shareDecaySeconds": 60, "shareDistribution": []}
    aws.client.delete_scheduling_policy(arn=made["arn"])
    assert not aws.client.describe_scheduling_policies(arns=[made["arn"]])["schedulingPolicies"]


def test_their_errors(aws: Aws, narrow: str) -> None:
    refused = aws.client.exceptions.ClientException
    queue = _shared_queue(aws, "errors")
    (found,) = aws.client.describe_job_queues(jobQueues=[queue])["jobQueues"]
    arn = found["schedulingPolicyArn"]
    with pytest.raises(refused, match="used by job queue errors"):
        aws.client.delete_scheduling_policy(arn=arn)
    with pytest.raises(refused, match="already exists"):
        aws.client.create_scheduling_policy(name="errors")
    with pytest.raises(refused, match="overlaps with UserA"):
        aws.client.create_scheduling_policy(
            name="overlap",
            fairsharePolicy={
                "shareDistribution": [{"shareIdentifier": "UserA*"}, {"shareIdentifier": "UserA1"}]
            },
        )
    for call in (aws.client.update_scheduling_policy, aws.client.delete_scheduling_policy):
        with pytest.raises(refused, match="does not exist"):
            call(arn=arn.replace("errors", "none"))
    with pytest.raises(refused, match="nextToken"):
        aws.client.list_scheduling_policies(nextToken="none")
    with pytest.raises(refused, match="quotaSharePolicy"):
        aws.client.create_scheduling_policy(
            name="quota", quotaSharePolicy={"idleResourceAssignmentStrategy": "FIFO"}
        )
    quick = aws.register("queue-quick", "true")
    with pytest.raises(refused, match="shareIdentifier must be specified"):
        aws.submit("none", quick, queue=queue)
    with pytest.raises(refused, match="can onlybe submitted to job queue with fair share"):
        aws.submit("none", quick, queue=narrow, shareIdentifier="a")


def test_shares_take_turns_and_priority_orders_within_one(
    aws: Aws, stack: Stack, gate: Gate, narrow: str
) -> None:
    """On room for one job at a time."""
    queue = _shared_queue(aws, "turns", shareDecaySeconds=3600)
    held = aws.register("turns-gate", "sh", "-c", gate.script(), **gate.volumes)
    blocker = aws.submit("blocker", held, queue=queue, shareIdentifier="a")
    aws.until(blocker, "RUNNING")
    quick = aws.register("queue-quick", "true")

    def submit(share: str, priority: int = 0) -> str:
        return aws.submit(
            f"of-{share}",
            quick,
            queue=queue,
            shareIdentifier=share,
            schedulingPriorityOverride=priority,
        )

    first, urgent, newcomer = submit("a"), submit("a", 9), submit("b")
    for job_id in (first, urgent, newcomer):
        aws.until_job(job_id, lambda job: job["status"] == "RUNNABLE", "it waits")
    eventually(
        lambda: "SHARE_NOT_NEXT" in stack.call("explain", first, "--json", check=True).stdout,
        "its share is not next",
    )
    front = aws.client.get_job_queue_snapshot(jobQueue=queue)
    assert [job["jobArn"].rpartition("/")[2] for job in front["frontOfQueue"]["jobs"]] == [
        newcomer,
        urgent,
        first,
    ]
    gate.open()
    ended = [aws.end(job_id) for job_id in (newcomer, urgent, first)]
    assert {job["status"] for job in ended} == {"SUCCEEDED"}
    starts = [job["startedAt"] for job in ended]
    assert starts == sorted(starts)
    assert [job["shareIdentifier"] for job in ended] == ["b", "a", "a"]
    listed = aws.client.list_jobs(
        jobQueue=queue, filters=[{"name": "SHARE_IDENTIFIER", "values": ["b"]}]
    )["jobSummaryList"]
    assert [(job["jobId"], job["shareIdentifier"]) for job in listed] == [(newcomer, "b")]


def test_the_commands(stack: Stack) -> None:
    created = stack.call(
        "policy", "create", "teams", "--weight", "a=0.5", "--weight", "b*=4", "--decay", "60"
    )
    assert created.stdout.strip().endswith(":scheduling-policy/teams"), created.stderr
    stack.call("policy", "update", "teams", "--reservation", "20", check=True)
    assert stack.json("policy", "show", "teams")["fairsharePolicy"] == {
        "shareDecaySeconds": 60,
        "computeReservation": 20,
        "shareDistribution": [
            {"shareIdentifier": "a", "weightFactor": 0.5},
            {"shareIdentifier": "b*", "weightFactor": 4.0},
        ],
    }
    assert "b*=4" in stack.call("policy", "show", "teams", check=True).stdout
    assert "a=0.5, b*=4" in stack.call("policy", "list", check=True).stdout
    stack.call("queue", "create", "teams", "--env", "default", "--policy", "teams", check=True)
    refused = stack.call("policy", "delete", "teams")
    assert refused.returncode == 2
    assert "used by job queue teams" in refused.stderr
    stack.call("definition", "register", "shared", "--image", "busybox:latest", "--", "true")
    job_id = stack.call(
        "submit",
        "s",
        "-d",
        "shared",
        "--queue",
        "teams",
        "--share",
        "a",
        "--priority",
        "3",
        check=True,
    ).stdout.strip()
    stack.call("wait", job_id, check=True)
    (job,) = stack.json("describe", job_id)
    assert (job["shareIdentifier"], job["schedulingPriority"]) == ("a", 3)
    stack.call("queue", "delete", "--force", "teams", check=True)
    eventually(
        lambda: stack.call("policy", "delete", "teams").returncode == 0, "the policy is deleted"
    )
    assert stack.call("policy", "show", "teams").returncode == 4
