"""What ECS's clients read: boto3 over the gateway, from a taskArn to the machine."""

import asyncio
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from support.clusters import GONE, INSTANCE, OVER, TASK, fill
from support.wire import Wire, running_wire


class Ecs:
    """ECS's client before a job that ran twice."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self._boto = boto3.client(
            "ecs",
            endpoint_url=wire.url,
            region_name="us-east-1",
            aws_access_key_id="anyone",
            aws_secret_access_key="anything",  # noqa: S106 - any credentials will do
            config=Config(retries={"total_max_attempts": 1}, parameter_validation=False),
        )
        wire.run(wire.stand.prepare())
        self.job_id = wire.call("SubmitJob", jobName="j", jobQueue="q", jobDefinition="d")["jobId"]
        wire.run(fill(wire.stand.conn, self.job_id))
        [environment] = wire.call("DescribeComputeEnvironments")["computeEnvironments"]
        self.cluster = environment["ecsClusterArn"]

    def __call__(self, operation: str, **members: Any) -> dict[str, Any]:
        """A call by boto3."""
        method = getattr(self._boto, operation)
        return dict(self.wire.run(asyncio.to_thread(method, **members)))


@pytest.fixture(scope="module")
def ecs(module_database_url: str) -> Iterator[Ecs]:
    with running_wire(module_database_url) as wire:
        yield Ecs(wire)


def test_from_a_job_to_its_machine(ecs: Ecs) -> None:
    """As Nextflow goes."""
    [job] = ecs.wire.aws("DescribeJobs", jobs=[ecs.job_id])["jobs"]
    place = job["container"]
    cluster = place["taskArn"].split("/")[1]
    assert cluster.split("_Batch")[0] == "ce"

    [task] = ecs("describe_tasks", cluster=cluster, tasks=[place["taskArn"]])["tasks"]
    assert task["containerInstanceArn"] == place["containerInstanceArn"]
    assert (task["lastStatus"], task["clusterArn"]) == ("RUNNING", ecs.cluster)
    assert task["taskDefinitionArn"].endswith(":task-definition/d:1")
    [override] = task["overrides"]["containerOverrides"]
    assert {entry["name"]: entry["value"] for entry in override["environment"]} == {
        "AWS_BATCH_JOB_ID": ecs.job_id,
        "AWS_BATCH_JQ_NAME": "q",
        "AWS_BATCH_CE_NAME": "ce",
        "AWS_BATCH_JOB_ATTEMPT": "2",
    }

    found = ecs(
        "describe_container_instances",
        cluster=cluster,
        containerInstances=[task["containerInstanceArn"]],
    )
    [instance] = found["containerInstances"]
    assert found["failures"] == []
    assert (instance["ec2InstanceId"], instance["status"]) == (INSTANCE, "ACTIVE")
    attributes = {entry["name"]: entry["value"] for entry in instance["attributes"]}
    assert attributes["ecs.instance-type"] == "m5.large"
    assert attributes["ecs.availability-zone"] == "us-east-1a"
    left = {entry["name"]: entry["integerValue"] for entry in instance["remainingResources"]}
    assert left == {"CPU": 1536, "MEMORY": 7936}
    assert instance["runningTasksCount"] == 1
    assert instance["registeredAt"].year >= 2026


def test_what_is_over_is_told_as_long_as_it_is_on_record(ecs: Ecs) -> None:
    [task] = ecs("describe_tasks", cluster=ecs.cluster, tasks=[OVER])["tasks"]
    assert (task["lastStatus"], task["stopCode"]) == ("STOPPED", "EssentialContainerExited")
    assert task["stoppedReason"] == "Essential container in task exited"
    assert task["containers"][0]["exitCode"] == 3
    [instance] = ecs(
        "describe_container_instances",
        cluster=ecs.cluster,
        containerInstances=[task["containerInstanceArn"]],
    )["containerInstances"]
    assert (instance["ec2InstanceId"], instance["status"]) == (GONE, "INACTIVE")
    assert instance["agentConnected"] is False


def test_what_is_not_there_is_missing_and_no_error(ecs: Ecs) -> None:
    none = "0" * 32
    answer = ecs("describe_tasks", cluster=ecs.cluster, tasks=[none, TASK, "é"])
    assert [task["taskArn"].rpartition("/")[2] for task in answer["tasks"]] == [TASK]
    assert [failure["reason"] for failure in answer["failures"]] == ["MISSING", "MISSING"]
    assert answer["failures"][0]["arn"].endswith(f"/{none}")

    answer = ecs("describe_container_instances", cluster=ecs.cluster, containerInstances=[none])
    assert (answer["containerInstances"], len(answer["failures"])) == ([], 1)

    answer = ecs("describe_clusters", clusters=["ce", ecs.cluster])
    assert [failure["arn"].rpartition("/")[2] for failure in answer["failures"]] == ["ce"]
    [cluster] = answer["clusters"]
    assert (cluster["runningTasksCount"], cluster["registeredContainerInstancesCount"]) == (1, 1)
    assert ecs("describe_clusters")["failures"][0]["reason"] == "MISSING"


def test_lists(ecs: Ecs) -> None:
    assert ecs("list_clusters")["clusterArns"] == [ecs.cluster]
    name = ecs.cluster.rpartition("/")[2]
    [task] = ecs("list_tasks", cluster=name)["taskArns"]
    assert task.endswith(f":task/{name}/{TASK}")
    [instance] = ecs("list_container_instances", cluster=name)["containerInstanceArns"]
    assert ecs("list_tasks", cluster=name, containerInstance=instance)["taskArns"] == [task]
    assert ecs("list_tasks", cluster=name, family="d", launchType="EC2")["taskArns"] == [task]
    for none in ({"family": "e"}, {"launchType": "FARGATE"}, {"launchType": "EXTERNAL"}):
        assert ecs("list_tasks", cluster=name, **none)["taskArns"] == []
    draining = ecs("list_container_instances", cluster=name, status="DRAINING")
    assert draining["containerInstanceArns"] == []


@pytest.mark.parametrize(
    ("operation", "members", "code", "says"),
    [
        ("describe_tasks", {"tasks": ["x"]}, "ClusterNotFoundException", "Cluster not found."),
        ("list_tasks", {"cluster": "ce"}, "ClusterNotFoundException", "Cluster not found."),
        ("describe_tasks", {"tasks": []}, "InvalidParameterException", "Tasks cannot be empty."),
        ("describe_tasks", {"tasks": ["x"] * 101}, "InvalidParameterException", "at most 100"),
        ("list_clusters", {"maxResults": 101}, "InvalidParameterException", "from 1 to 100"),
        ("list_clusters", {"nextToken": "x"}, "InvalidParameterException", "nextToken is not"),
        ("list_tasks", {"desiredStatus": "STOPPED"}, "InvalidParameterException", "ListJobs"),
        ("list_tasks", {"serviceName": "s"}, "InvalidParameterException", "no services"),
        ("list_container_instances", {"filter": "x"}, "InvalidParameterException", "filter"),
        ("describe_services", {"services": ["s"]}, "UnknownOperationException", "DescribeServices"),
    ],
)
def test_refusals(ecs: Ecs, operation: str, members: dict[str, Any], code: str, says: str) -> None:
    with pytest.raises(ClientError) as refused:
        ecs(operation, **members)
    error = refused.value.response["Error"]
    assert error["Code"] == code
    assert says in error["Message"]
