"""Fargate through AWS's own client: each job in a slot of its own, from nothing to nothing."""

import pytest
from acceptance.aws import IMAGE, Aws
from acceptance.stand import eventually

NAME = "slots"


@pytest.fixture(scope="module")
def queue(aws: Aws) -> str:
    """A queue on an environment with room for four of the smallest slots."""
    aws.client.create_compute_environment(
        computeEnvironmentName=NAME,
        type="MANAGED",
        computeResources={
            "type": "FARGATE",
            "maxvCpus": 1,
            "subnets": ["subnet-local"],
            "securityGroupIds": ["sg-local"],
        },
    )
    eventually(lambda: _environment(aws)["status"] == "VALID", f"{NAME} is VALID")
    return aws.new_queue(NAME, NAME)


@pytest.fixture(scope="module")
def definition(aws: Aws) -> str:
    """A job of the smallest size."""
    answer = aws.client.register_job_definition(
        jobDefinitionName=NAME,
        type="container",
        platformCapabilities=["FARGATE"],
        containerProperties={
            "image": IMAGE,
            "command": ["true"],
            "executionRoleArn": "arn:aws:iam::123456789012:role/execution",
            "resourceRequirements": [
                {"type": "VCPU", "value": "0.25"},
                {"type": "MEMORY", "value": "512"},
            ],
        },
    )
    return f"{NAME}:{answer['revision']}"


def _environment(aws: Aws) -> dict[str, object]:
    [found] = aws.client.describe_compute_environments(computeEnvironments=[NAME])[
        "computeEnvironments"
    ]
    return dict(found)


def test_each_job_has_a_slot_to_itself(aws: Aws, queue: str, definition: str) -> None:
    """More jobs than fit at one time; no slot is used twice, and none is left over."""
    array = aws.submit("array", definition, queue=queue, arrayProperties={"size": 6})
    assert aws.end(array)["status"] == "SUCCEEDED"
    slots = {child["container"]["containerInstanceArn"] for child in aws.children(array, 6)}
    assert len(slots) == 6
    instances = aws.stack.json("instances", "--env", NAME, "--all")
    assert {item["instanceType"] for item in instances} == {"fargate.0.25x512"}
    eventually(lambda: aws.stack.json("instances", "--env", NAME) == [], "all slots are gone")


def test_a_job_may_be_larger_than_its_definition(aws: Aws, queue: str, definition: str) -> None:
    """Its slot is as large as the job."""
    larger = [{"type": "VCPU", "value": "0.5"}, {"type": "MEMORY", "value": "1024"}]
    job = aws.submit(
        "larger", definition, queue=queue, containerOverrides={"resourceRequirements": larger}
    )
    assert aws.end(job)["status"] == "SUCCEEDED"
    types = {item["instanceType"] for item in aws.stack.json("instances", "--env", NAME, "--all")}
    assert "fargate.0.5x1024" in types


def test_other_platforms_jobs_are_refused(aws: Aws, queue: str, definition: str) -> None:
    """On both sides, in AWS's words."""
    other = aws.register("no-slot", "true")
    text = "Job Queue is attached to Compute Environment that can not run Jobs with capability"
    with pytest.raises(aws.client.exceptions.ClientException, match=f"{text} EC2."):
        aws.submit("never", other, queue=queue)
    with pytest.raises(aws.client.exceptions.ClientException, match=f"{text} FARGATE."):
        aws.submit("never", definition)


def test_the_environment_goes_when_nothing_needs_it(aws: Aws, queue: str) -> None:
    """Disabled, out of every queue, empty: then its name is free again."""
    aws.client.update_job_queue(jobQueue=queue, state="DISABLED")
    aws.client.update_compute_environment(computeEnvironment=NAME, state="DISABLED")
    with pytest.raises(
        aws.client.exceptions.ClientException,
        match="Cannot delete, found existing JobQueue relationship",
    ):
        aws.client.delete_compute_environment(computeEnvironment=NAME)
    aws.client.delete_job_queue(jobQueue=queue)
    eventually(
        lambda: aws.client.describe_job_queues(jobQueues=[queue])["jobQueues"] == [],
        "the queue is gone",
    )
    aws.client.delete_compute_environment(computeEnvironment=NAME)
    eventually(
        lambda: (
            aws.client.describe_compute_environments(computeEnvironments=[NAME])[
                "computeEnvironments"
            ]
            == []
        ),
        "the environment is gone",
    )
