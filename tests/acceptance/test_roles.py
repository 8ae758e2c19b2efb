"""Roles of jobs from end to end: submitted with boto3, used with boto3 in the job."""

import json
import sys
from pathlib import Path

from acceptance.aws import REGION, Aws
from acceptance.stand import Stack
from support.sts import ROLE, agent_settings, serving_moto

#: Prints who the job is for AWS, as which task it knows itself, and what it was told.
PROGRAM = """
import boto3, json, os, urllib.request
arn = boto3.client("sts").get_caller_identity()["Arn"]
metadata = os.environ["ECS_CONTAINER_METADATA_URI_V4"]
with urllib.request.urlopen(metadata + "/taskWithTags") as answer:
    task = json.load(answer)
print(json.dumps([arn, task, sorted(name for name in os.environ if name.startswith("AWS_ACCESS"))]))
"""


def test_a_job_acts_as_its_role_and_knows_itself(place: Path) -> None:
    with serving_moto() as url:
        # ARNs are of the region in which a caller asks; a job knows itself by the installation's.
        settings = agent_settings(url) | {"LONGSHORE_REGION": REGION}
        stack = Stack(place / "stack", runtime="process", settings=settings)
        stack.up()
        try:
            aws = Aws(stack)
            definition = aws.register(
                "role",
                *(sys.executable, "-c", PROGRAM),
                jobRoleArn=ROLE,
                environment=[
                    {"name": "AWS_ENDPOINT_URL_STS", "value": url},
                    {"name": "AWS_DEFAULT_REGION", "value": "us-east-1"},
                ],
            )
            tags = {"team": "a"}
            job_id = aws.submit("role", definition, tags=tags, propagateTags=True)
            job = aws.until(job_id, "SUCCEEDED", "FAILED")
            printed = stack.call("logs", job_id, check=True).stdout
            aws.client.close()
        finally:
            stack.down()
    assert job["status"] == "SUCCEEDED", (job, printed)
    arn, task, keys = json.loads(printed)
    attempt_id = job["container"]["taskArn"].rpartition("/")[2]
    assert arn == f"arn:aws:sts::123456789012:assumed-role/job/{attempt_id}"
    assert task["TaskARN"] == job["container"]["taskArn"]
    assert task["TaskTags"] == tags
    assert keys == []
