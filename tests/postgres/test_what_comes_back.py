"""What AWS's clients get back is what AWS answers, which is not always what went in."""

from typing import Any

import pytest
from support.submission import a_queue
from support.wire import Json, Wire

LISTS: Json = {
    name: []
    for name in (
        *("command", "environment", "mountPoints", "resourceRequirements"),
        *("secrets", "ulimits", "volumes"),
    )
}
STATUSES = ("SUBMITTED", "PENDING", "RUNNABLE", "STARTING", "RUNNING", "SUCCEEDED", "FAILED")
DEPRECATED = {"image": "busybox", "vcpus": 2, "memory": 64}


@pytest.fixture(scope="module")
def place(wire: Wire) -> None:
    """A queue `q`."""
    wire.call("CreateComputeEnvironment", computeEnvironmentName="ce", type="UNMANAGED")
    wire.call("CreateJobQueue", **a_queue("q", "ce"))


def registered(wire: Wire, name: str, container: Json, **members: Any) -> Json:
    """A definition as it is described."""
    arn = wire.aws(
        "RegisterJobDefinition",
        jobDefinitionName=name,
        type="container",
        containerProperties=container,
        **members,
    )["jobDefinitionArn"]
    (found,) = wire.aws("DescribeJobDefinitions", jobDefinitions=[arn])["jobDefinitions"]
    return dict(found)


def submitted(wire: Wire, definition: str, **members: Any) -> Json:
    """A job as it is described."""
    job = wire.aws("SubmitJob", jobName="j", jobQueue="q", jobDefinition=definition, **members)
    (found,) = wire.aws("DescribeJobs", jobs=[job["jobId"]])["jobs"]
    return dict(found)


def test_a_definition_comes_back_with_its_empty_lists(wire: Wire) -> None:
    found = registered(wire, "bare", DEPRECATED)

    assert found["containerProperties"] == LISTS | DEPRECATED
    assert (found["parameters"], found["tags"], found["propagateTags"]) == ({}, {}, False)
    assert (found["status"], found["containerOrchestrationType"]) == ("ACTIVE", "ECS")


def test_lists_within_are_there_where_what_holds_them_is(wire: Wire) -> None:
    given = {"linuxParameters": {}, "logConfiguration": {"logDriver": "awslogs"}}
    container = registered(wire, "within", DEPRECATED | given)["containerProperties"]

    assert container["linuxParameters"] == {"devices": [], "tmpfs": []}
    assert container["logConfiguration"] == {
        "logDriver": "awslogs",
        "options": {},
        "secretOptions": [],
    }


def test_variables_without_a_value_are_gone(wire: Wire) -> None:
    variables = [{"name": "A", "value": ""}, {"name": "B"}, {"name": "C", "value": "c"}]
    found = registered(wire, "variables", DEPRECATED | {"environment": variables})

    assert found["containerProperties"]["environment"] == [{"name": "C", "value": "c"}]


def test_a_fargate_definition_has_the_platform_version_that_holds(wire: Wire) -> None:
    container = {
        "image": "busybox",
        "executionRoleArn": "arn:aws:iam::123456789012:role/r",
        "resourceRequirements": [
            {"type": "VCPU", "value": "0.25"},
            {"type": "MEMORY", "value": "512"},
        ],
    }
    found = registered(wire, "fargate", container, platformCapabilities=["FARGATE"])

    assert found["containerProperties"]["fargatePlatformConfiguration"] == {
        "platformVersion": "LATEST"
    }
    assert found["platformCapabilities"] == ["FARGATE"]


def test_a_job_comes_back_with_what_nobody_gave_it(wire: Wire, place: None) -> None:
    registered(wire, "job", DEPRECATED)
    job = submitted(wire, "job")

    assert job["container"] == LISTS | DEPRECATED | {"networkInterfaces": []}
    shown = {
        "platformCapabilities": [],
        "parameters": {},
        "retryStrategy": {"attempts": 1, "evaluateOnExit": []},
        "dependsOn": [],
        "attempts": [],
        "eksAttempts": [],
        "tags": {},
        "propagateTags": False,
        "isCancelled": False,
        "isTerminated": False,
        "status": "SUBMITTED",
    }
    assert {name: job[name] for name in shown} == shown
    # Epoch milliseconds as a number; and nothing of what has not been yet.
    assert 1.7e12 < job["createdAt"] < 1e14
    for name in ("startedAt", "stoppedAt", "statusReason", "timeout", "arrayProperties"):
        assert name not in job


def test_vcpus_and_requirements_are_kept_apart(wire: Wire, place: None) -> None:
    needs = [{"type": "MEMORY", "value": "128"}]
    registered(wire, "mixed", {"image": "busybox", "vcpus": 1, "resourceRequirements": needs})
    overrides = {"vcpus": 4, "memory": 256}
    job = submitted(wire, "mixed", containerOverrides=overrides)

    # The memory that the definition requires is not overridden by the deprecated member.
    assert job["container"]["vcpus"] == 4
    assert job["container"]["resourceRequirements"] == needs
    assert "memory" not in job["container"]


def test_actions_are_in_lower_case(wire: Wire, place: None) -> None:
    rules = [{"onExitCode": "1", "action": "RETRY"}, {"onReason": "*", "action": "Exit"}]
    retry = {"attempts": 2, "evaluateOnExit": rules}
    lowered = [{**rule, "action": rule["action"].lower()} for rule in rules]

    found = registered(wire, "rules", DEPRECATED, retryStrategy=retry)
    assert found["retryStrategy"] == {"attempts": 2, "evaluateOnExit": lowered}
    registered(wire, "plain", DEPRECATED)
    for job in (submitted(wire, "rules"), submitted(wire, "plain", retryStrategy=retry)):
        assert job["retryStrategy"] == {"attempts": 2, "evaluateOnExit": lowered}


def test_variables_of_aws_batch_are_dropped_and_others_merged(wire: Wire, place: None) -> None:
    given = [{"name": "A", "value": "1"}, {"name": "B", "value": "1"}]
    registered(wire, "merged", DEPRECATED | {"environment": given})
    overrides = [{"name": "B", "value": "2"}, {"name": "AWS_BATCH_JOB_ID", "value": "mine"}]
    job = submitted(wire, "merged", containerOverrides={"environment": overrides})

    assert job["container"]["environment"] == [
        {"name": "A", "value": "1"},
        {"name": "B", "value": "2"},
    ]


def test_an_array_counts_its_children_in_every_status(wire: Wire, place: None) -> None:
    registered(wire, "array", DEPRECATED)
    job = submitted(wire, "array", arrayProperties={"size": 3}, tags={"a": "b"})

    assert job["arrayProperties"]["size"] == 3
    assert job["arrayProperties"]["statusSummary"] == dict.fromkeys(STATUSES, 0)
    assert job["tags"] == {"a": "b"}


def test_a_listing_says_that_a_job_is_cancelled_only_where_it_is(wire: Wire, place: None) -> None:
    registered(wire, "listed", DEPRECATED)
    kept, cancelled = submitted(wire, "listed"), submitted(wire, "listed")
    wire.aws("CancelJob", jobId=cancelled["jobId"], reason="enough")
    filters = [{"name": "JOB_DEFINITION", "values": ["listed"]}]
    listed = wire.aws("ListJobs", jobQueue="q", filters=filters)["jobSummaryList"]

    assert [job["jobId"] for job in listed] == [cancelled["jobId"], kept["jobId"]]
    assert listed[0]["isCancelled"] is True
    assert not {"isCancelled", "isTerminated", "capacityUsage", "startedAt"} & set(listed[1])
    assert listed[1]["jobArn"] == kept["jobArn"]


def test_empty_pages_have_their_list_and_no_token(wire: Wire, place: None) -> None:
    answer = wire.aws("ListJobs", jobQueue="q")

    assert answer["jobSummaryList"] == []
    assert "nextToken" not in answer
