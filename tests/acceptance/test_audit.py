"""The audit log and ECS's reads of the whole system: by the command and by boto3."""

import json
from typing import Any

import boto3
from acceptance.aws import Aws
from acceptance.stand import Stack, eventually


def client(aws: Aws, name: str) -> Any:
    return boto3.client(
        name,
        endpoint_url=aws.stack.gateway_url,
        region_name="us-east-1",
        aws_access_key_id=aws.stack.access_key.access_key_id,
        aws_secret_access_key=aws.stack.access_key.secret_access_key,
    )


def records(stack: Stack, *options: str) -> list[Any]:
    """What `longshore audit` prints for programs."""
    printed = stack.cli("audit", "--json", *options, check=True).stdout
    return [json.loads(line) for line in printed.splitlines()]


def test_a_job_is_followed_from_its_submission_to_its_machine(stack: Stack, aws: Aws) -> None:
    batch, ecs = client(aws, "batch"), client(aws, "ecs")
    definition = aws.register("audited", "true")
    job_id = batch.submit_job(jobName="audited", jobQueue="default", jobDefinition=definition)[
        "jobId"
    ]
    [submitted] = eventually(
        lambda: records(stack, "--name", "SubmitJob", "--user", "admin", "--resource", job_id),
        "record of the call",
    )
    assert submitted["sourceIPAddress"] == "127.0.0.1"
    assert submitted["userAgent"].startswith("Boto3/")
    assert submitted["responseElements"]["jobId"] == job_id

    place = aws.end(job_id)["attempts"][0]["container"]
    cluster = place["taskArn"].split("/")[1]
    [task] = ecs.describe_tasks(cluster=cluster, tasks=[place["taskArn"]])["tasks"]
    [instance] = ecs.describe_container_instances(
        cluster=cluster, containerInstances=[task["containerInstanceArn"]]
    )["containerInstances"]
    assert instance["ec2InstanceId"] in {
        entry["instanceId"] for entry in stack.json("instances", "--all")
    }

    def is_placed() -> bool:
        placed = records(stack, "--name", "RunTask", "--since", "1h", "--limit", "1000")
        told = [record["requestParameters"]["overrides"]["containerOverrides"] for record in placed]
        return any(
            {"name": "AWS_BATCH_JOB_ID", "value": job_id} in override["environment"]
            for [override] in told
        )

    eventually(is_placed, "record of the placement")
    assert "SubmitJob" in stack.cli("audit", "--limit", "1000", check=True).stdout
    verified = stack.json("audit", "verify")
    assert [day["fault"] for day in verified] == [""] * len(verified)


def test_calls_of_the_log_service_are_recorded_too(stack: Stack, aws: Aws) -> None:
    client(aws, "logs").create_log_group(logGroupName="/audited/group")
    [created] = eventually(
        lambda: records(stack, "--name", "CreateLogGroup", "--resource", "/audited/group"),
        "record of the call",
    )
    assert created["eventSource"] == "logs.amazonaws.com"
    assert created["userIdentity"]["accessKeyId"] == stack.access_key.access_key_id
