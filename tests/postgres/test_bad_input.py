"""What cannot be: each request is answered with a text that names what is wrong.

It changes nothing.
"""

import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from support.submission import a_container
from support.wire import Json, Tables, Wire

QUEUE = "default"
DEFINITION = "bad-input"
_NOWHERE = str(uuid.UUID(int=0))


@pytest.fixture(scope="module")
def remembered(wire: Wire) -> Tables:
    """A queue on a compute environment of local instances, and a good definition.

    So a request has one fault.
    """
    wire.call(
        "CreateComputeEnvironment",
        **_environment(desiredvCpus=1) | {"computeEnvironmentName": "default"},
    )
    wire.run(wire.stand.conn.execute("UPDATE compute_environments SET status = 'VALID'"))
    order = [{"order": 1, "computeEnvironment": "default"}]
    wire.call("CreateJobQueue", jobQueueName=QUEUE, priority=1, computeEnvironmentOrder=order)
    container = a_container(command=["echo", "Ref::who"])
    wire.run(wire.stand.register(DEFINITION, container, parameters={"who": "you"}))
    return Tables(wire)


@pytest.fixture(autouse=True)
def unchanged(wire: Wire, remembered: Tables) -> Iterator[None]:
    """Nothing comes to be and nothing goes."""
    yield
    assert remembered.changed() == set()
    assert wire.complaints.taken() == []


def _refused(wire: Wire, operation: str, body: Json, *words: str) -> None:
    answer = wire.post(operation, body)
    assert (answer.code, answer.error) == ("400", "ClientException"), answer
    for word in words:
        assert word in answer.message


def _job(**members: Any) -> Json:
    """A submission with one member wrong, or without those that are None."""
    good: Json = {"jobName": "bad", "jobQueue": QUEUE, "jobDefinition": DEFINITION}
    return {name: value for name, value in (good | members).items() if value is not None}


def _definition(container: Json | None = None, **members: Any) -> Json:
    """A registration with one member wrong."""
    needs = [{"type": "VCPU", "value": "1"}, {"type": "MEMORY", "value": "64"}]
    good = {"image": "busybox", "resourceRequirements": needs}
    return {
        "jobDefinitionName": "never",
        "type": "container",
        "containerProperties": good | (container or {}),
        **members,
    }


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (_job(jobQueue="nowhere"), ["JobQueue nowhere not found."]),
        (_job(jobQueue="arn:aws:batch:us-east-1:1:x"), ["jobQueue"]),
        (
            _job(jobDefinition="nothing"),
            ["JobDefinition name nothing does not exist or is not in ACTIVE status"],
        ),
        (_job(jobDefinition=f"{DEFINITION}:99"), [f"{DEFINITION}:99"]),
        (
            _job(jobDefinition="arn:aws:batch:us-east-1:123456789012:job-definition/nothing:1"),
            [
                "JobDefinition arn:aws:batch:us-east-1:123456789012:job-definition/nothing:1",
                "found",
            ],
        ),
        (_job(jobName="bad name"), ["Job name should match valid pattern"]),
        (_job(jobName=""), ["Job name should match valid pattern"]),
        (_job(jobName="x" * 129), ["Job name should match valid pattern"]),
        (_job(jobName=None), ["jobName", "required"]),
        (_job(jobQueue=None), ["jobQueue", "required"]),
        (_job(jobDefinition=None), ["jobDefinition", "required"]),
        (_job(jobName=7), ["jobName", "string"]),
        (_job(jobName=["a"]), ["jobName", "string"]),
        (_job(jobName="nul\0"), ["jobName"]),
        (_job(arrayProperties={"size": 0}), ["arrayProperties.size", "1", "1000000"]),
        (_job(arrayProperties={"size": 1_000_001}), ["arrayProperties.size", "1000000"]),
        (_job(arrayProperties={"size": 2.5}), ["arrayProperties.size", "whole number"]),
        (_job(arrayProperties={"size": 10**12}), ["arrayProperties.size"]),
        (_job(arrayProperties=[]), ["arrayProperties"]),
        (
            _job(dependsOn=[{"jobId": str(uuid.uuid4())} for _ in range(1001)]),
            ["Job cannot have more than 1000 dependencies"],
        ),
        (_job(dependsOn=[{"jobId": _NOWHERE}]), [_NOWHERE, "not found"]),
        (_job(dependsOn=[{"jobId": "no-id"}]), ["dependsOn[0].jobId"]),
        (_job(dependsOn=[{"type": "SEQUENTIAL"}]), ["dependsOn[0]", "array"]),
        (_job(dependsOn=[{"type": "SOMETIMES"}]), ["dependsOn[0].type", "N_TO_N", "SEQUENTIAL"]),
        (
            _job(dependsOn=[{"type": "N_TO_N"}], arrayProperties={"size": 2}),
            ["dependsOn[0]", "jobId"],
        ),
        (_job(dependsOn={"jobId": _NOWHERE}), ["dependsOn", "list"]),
        (
            _job(containerOverrides={"command": ["Ref::nobody"]}),
            ["Unable to substitute value. No parameter found for reference nobody"],
        ),
        (_job(containerOverrides={"command": [""]}), ["containerOverrides.command"]),
        (_job(containerOverrides={"comand": ["x"]}), ["containerOverrides.comand", "command"]),
        (
            _job(containerOverrides={"resourceRequirements": [{"type": "VCPU", "value": "many"}]}),
            ["containerOverrides.resourceRequirements[0].value", "many"],
        ),
        (
            _job(containerOverrides={"resourceRequirements": [{"type": "DISK", "value": "1"}]}),
            ["containerOverrides.resourceRequirements[0].type", "DISK", "GPU, MEMORY, VCPU"],
        ),
        (_job(retryStrategy={"attempts": 11}), ["retryStrategy.attempts", "10"]),
        (_job(retryStrategy={"attempts": 0}), ["retryStrategy.attempts"]),
        (_job(retryStrategy={}), ["RetryAttempts must be provided with retry strategy"]),
        (
            _job(retryStrategy={"attempts": 2, "evaluateOnExit": [{"action": "HOPE"}]}),
            ["retryStrategy.evaluateOnExit[0].action", "HOPE"],
        ),
        (
            _job(
                retryStrategy={
                    "attempts": 2,
                    "evaluateOnExit": [{"action": "EXIT", "onExitCode": "1*2"}],
                }
            ),
            ["retryStrategy.evaluateOnExit[0].onExitCode"],
        ),
        (_job(timeout={"attemptDurationSeconds": 0}), ["timeout.attemptDurationSeconds", "1"]),
        (_job(tags={"aws:x": "y"}), ["tags", "aws:"]),
        (_job(tags={str(n): "" for n in range(51)}), ["tags", "50"]),
        (_job(tags={"a": 1}), ["tags", "string"]),
        (_job(jobname="x"), ["jobname", "jobName"]),
        (_job(schedulingPriorityOverride=1), ["schedulingPriority"]),
        (_job(shareIdentifier="someone"), ["shareIdentifier"]),
        (_job(parameters={f"who{n}": "x" * 30_000 for n in range(9)}), ["262144"]),
    ],
    ids=lambda value: value[0][:60] if isinstance(value, list) else "",
)
def test_submit_job(wire: Wire, body: Json, words: list[str]) -> None:
    _refused(wire, "SubmitJob", body, *words)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (_definition(jobDefinitionName="bad name"), ["jobDefinitionName"]),
        (_definition(type="magic"), ["type", "magic"]),
        (_definition(type="multinode"), ["multinode"]),
        (_definition(nodeProperties={"numNodes": 2, "mainNode": 0}), ["nodeProperties"]),
        (_definition(eksProperties={}), ["eksProperties"]),
        (_definition({"resourceRequirements": []}), ["vCPU is not provided."]),
        (_definition({"image": ""}), ["containerProperties.image"]),
        (_definition({"image": "not an image!"}), ["containerProperties.image"]),
        (_definition({"image": "x" * 256}), ["containerProperties.image"]),
        (_definition({"vcpus": "one"}), ["containerProperties.vcpus", "whole number"]),
        (
            _definition({"resourceRequirements": [{"type": "VCPU", "value": 1}]}),
            ["containerProperties.resourceRequirements[0].value", "string"],
        ),
        (
            _definition({"resourceRequirements": [{"type": "VCPU", "value": "0"}]}),
            ["containerProperties.resourceRequirements[0].value"],
        ),
        (_definition({"user": "no body"}), ["User 'no body' does not match regex"]),
        (
            _definition({"networkConfiguration": {}}),
            ["networkConfiguration not applicable for EC2."],
        ),
        (
            _definition({"mountPoints": [{"sourceVolume": "a", "containerPath": "/a"}]}),
            ["containerProperties.mountPoints[0].sourceVolume"],
        ),
        (
            _definition({"ulimits": [{"name": "hope", "softLimit": 1, "hardLimit": 1}]}),
            ["containerProperties.ulimits[0].name", "hope"],
        ),
        (
            _definition({"linuxParameters": {"devices": [{"hostPath": "zero"}]}}),
            ["containerProperties.linuxParameters.devices[0]"],
        ),
        (
            _definition(
                {"linuxParameters": {"devices": [{"hostPath": "/d", "permissions": ["LOOK"]}]}}
            ),
            ["containerProperties.linuxParameters.devices[0].permissions[0]", "LOOK"],
        ),
        (
            _definition({"secrets": [{"name": "a", "valueFrom": "arn:aws:s3:::b"}]}),
            ["containerProperties.secrets[0].valueFrom", "arn:aws:s3:::b"],
        ),
        (_definition({"privileged": "yes"}), ["containerProperties.privileged", "true or false"]),
        (_definition({"imagge": "busybox"}), ["containerProperties.imagge", "image"]),
        (_definition(platformCapabilities=["MOON"]), ["platformCapabilities[0]", "MOON"]),
        (_definition({"command": ["x" * 30_000] * 9}), ["262144"]),
    ],
    ids=lambda value: value[0][:60] if isinstance(value, list) else "",
)
def test_register_job_definition(wire: Wire, body: Json, words: list[str]) -> None:
    _refused(wire, "RegisterJobDefinition", body, *words)


@pytest.mark.parametrize(
    ("operation", "body", "words"),
    [
        ("DescribeJobs", {"jobs": ["x"] * 101}, ["Maximum number of jobs supported is  100 ."]),
        ("DescribeJobs", {"jobs": "x"}, ["jobs", "list"]),
        ("ListJobs", {}, ["jobQueue", "arrayJobId"]),
        ("ListJobs", {"jobQueue": "nowhere"}, ["JobQueue nowhere not found."]),
        ("ListJobs", {"jobQueue": QUEUE, "jobStatus": "TIRED"}, ["jobStatus", "TIRED"]),
        ("ListJobs", {"jobQueue": QUEUE, "nextToken": "forged"}, ["nextToken"]),
        ("ListJobs", {"jobQueue": QUEUE, "filters": [{"name": "A", "values": ["b"]}]}, ["filters"]),
        (
            "CancelJob",
            {"jobId": "", "reason": "x"},
            ["'jobId' is a required field (cannot be an empty string)"],
        ),
        ("TerminateJob", {"jobId": _NOWHERE}, ["reason", "required"]),
        ("TerminateJob", {"jobId": _NOWHERE, "reason": "x" * 1025}, ["reason", "1024"]),
        ("TerminateJobs", {"jobs": [_NOWHERE] * 51, "reason": "x"}, ["jobs", "50"]),
        ("DeregisterJobDefinition", {"jobDefinition": "nothing:1"}, ["nothing:1"]),
        (
            "DescribeComputeEnvironments",
            {"computeEnvironments": ["a"], "maxResults": 1},
            ["ComputeEnvironments and MaxResults cannot both be set"],
        ),
        (
            "CreateJobQueue",
            {
                "jobQueueName": "never",
                "priority": 1,
                "computeEnvironmentOrder": [{"order": 1, "computeEnvironment": "nowhere"}],
            },
            ["nowhere"],
        ),
        ("CreateJobQueue", {"jobQueueName": "never"}, ["priority", "required"]),
        ("UpdateJobQueue", {"jobQueue": "nowhere", "priority": 2}, ["nowhere", "does not exist"]),
        ("DeleteJobQueue", {"jobQueue": QUEUE}, [QUEUE]),
        (
            "DeleteComputeEnvironment",
            {"computeEnvironment": "default"},
            ["default"],
        ),
        (
            "CreateComputeEnvironment",
            {"computeEnvironmentName": "never", "type": "MANAGED"},
            ["computeResources"],
        ),
        (
            "UpdateComputeEnvironment",
            {"computeEnvironment": "default", "computeResources": {"maxvCpus": "lots"}},
            ["computeResources.maxvCpus", "whole number"],
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_other_operations(wire: Wire, operation: str, body: Json, words: list[str]) -> None:
    _refused(wire, operation, body, *words)


def _environment(**resources: Any) -> Json:
    """A compute environment with members wrong, or without those that are None."""
    good: Json = {
        "type": "EC2",
        "minvCpus": 0,
        "maxvCpus": 4,
        "instanceTypes": ["local"],
        "subnets": ["subnet-local"],
        "instanceRole": "local",
    }
    given = {name: value for name, value in (good | resources).items() if value is not None}
    return {"computeEnvironmentName": "never", "type": "MANAGED", "computeResources": given}


_SLOTS: Json = {"type": "FARGATE", "minvCpus": None, "instanceTypes": None, "instanceRole": None}


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (_environment(instanceTypes=["zz9.large"]), ["instanceTypes[0] is 'zz9.large'"]),
        (_environment(instanceTypes=["c6i", "c6g"]), ["instanceTypes mixes CPU architectures."]),
        (_environment(minvCpus=5), ["maxvCpus must be at least 1 and at least minvCpus."]),
        (_environment(desiredvCpus=5), ["desiredvCpus must be from minvCpus to maxvCpus."]),
        (_environment(minvCpus=None), ["Resource minvCpus is required."]),
        (_environment(instanceRole=None), ["Instance role is required."]),
        (_environment(type="SPOT", bidPercentage=101, spotIamFleetRole="r"), ["bidPercentage"]),
        (
            _environment(type="SPOT"),
            ["ComputeResources.spotIamFleetRole cannot not be null or empty"],
        ),
        (_environment(allocationStrategy="SPOT_CAPACITY_OPTIMIZED"), ["is for SPOT"]),
        (_environment(type="ECS_MANAGED_INSTANCES"), ["computeResources.type"]),
        (_environment(**_SLOTS | {"desiredvCpus": 1}), ["desiredvCpus is not applicable for Far"]),
        (_environment(**_SLOTS | {"tags": {"a": "b"}}), ["tags is not applicable for Fargate."]),
        (_environment(**_SLOTS | {"maxvCpus": None}), ["computeResources.maxvCpus is required"]),
    ],
)
def test_create_compute_environment(wire: Wire, body: Json, words: list[str]) -> None:
    _refused(wire, "CreateComputeEnvironment", body, *words)


@pytest.mark.parametrize(
    ("resources", "words"),
    [
        (
            {"desiredvCpus": 0},
            ["Manually scaling down compute environment is not supported.", "scale-down to minv"],
        ),
        ({"instanceTypes": ["local.half"]}, ["Cannot update instanceTypes", "BEST_FIT"]),
        ({"allocationStrategy": "BEST_FIT"}, ["computeResources.allocationStrategy"]),
        ({"type": "FARGATE"}, ["computeResources.type cannot change from EC2 to FARGATE"]),
        ({"minvCpus": 1_000_000}, ["maxvCpus must be"]),
        ({"spotIamFleetRole": "r"}, ["spotIamFleetRole"]),
    ],
)
def test_update_compute_environment(wire: Wire, resources: Json, words: list[str]) -> None:
    body = {"computeEnvironment": "default", "computeResources": resources}
    _refused(wire, "UpdateComputeEnvironment", body, *words)


@pytest.mark.parametrize(
    ("container", "words"),
    [
        ({}, ["Fargate resource requirements (1.00 vCPU, 64 MiB) not valid."]),
        ({"executionRoleArn": None}, ["executionRoleArn is required for Fargate."]),
        ({"vcpus": 1}, ["vcpus is not applicable for Fargate. Use resource requirements instead."]),
        ({"privileged": True}, ["privileged is not applicable for Fargate."]),
    ],
)
def test_register_for_fargate(wire: Wire, container: Json, words: list[str]) -> None:
    role = {"executionRoleArn": "arn:aws:iam::123456789012:role/execution"}
    given = {name: value for name, value in (role | container).items() if value is not None}
    _refused(
        wire,
        "RegisterJobDefinition",
        _definition(given, platformCapabilities=["FARGATE"]),
        *words,
    )
