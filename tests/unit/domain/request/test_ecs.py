"""What `ecsProperties` may say, and what overrides make of it."""

from typing import Any

import pytest

from longshore.domain.checks import Json
from longshore.domain.errors import InvalidRequest, LongshoreError
from longshore.domain.limits import AWS, LONGSHORE
from longshore.domain.request.definition import new_definition
from longshore.domain.request.ecs import (
    ContainerOverrides,
    EcsOverrides,
    check_ecs,
    resolve_ecs,
)
from longshore.domain.request.merge import Overrides
from longshore.domain.request.reference import COMMAND_BYTES_MAX
from longshore.domain.resources import Resources

TASK = "ecsProperties.taskProperties[0]"
ROLE = "arn:aws:iam::123456789012:role/runs"


def a_container(name: str, **members: Any) -> Json:
    return {
        "name": name,
        "image": "busybox",
        "resourceRequirements": [
            {"type": "VCPU", "value": "1"},
            {"type": "MEMORY", "value": "64"},
        ],
    } | members


def after(name: str, condition: str = "START") -> Json:
    return {"containerName": name, "condition": condition}


def register(*containers: Json, task: Json | None = None, **members: Any) -> Json:
    return new_definition(
        {
            "jobDefinitionName": "d",
            "type": "container",
            "ecsProperties": {
                "taskProperties": [{"containers": list(containers)} | (task or {})],
            },
        }
        | members
    )


def refusal(*containers: Json, task: Json | None = None, **members: Any) -> LongshoreError:
    with pytest.raises(LongshoreError) as caught:
        register(*containers, task=task, **members)
    return caught.value


def test_what_is_kept() -> None:
    variables = [{"name": "A", "value": "1"}, {"name": "EMPTY", "value": ""}]
    kept = register(a_container("main", environment=variables), task={"ipcMode": "task"})
    [task] = kept["ecsProperties"]["taskProperties"]
    assert task["ipcMode"] == "task"
    assert task["containers"] == [a_container("main", environment=variables[:1])]
    assert "containerProperties" not in kept


CONTAINERS = f"{TASK}.containers"
REFUSED: list[tuple[list[Json], str, str]] = [
    ([], CONTAINERS, "must have 1 to 10 containers"),
    ([a_container(f"c{n}") for n in range(11)], CONTAINERS, "must have 1 to 10 containers"),
    ([a_container("a"), a_container("a")], f"{CONTAINERS}[1].name", "a is used twice"),
    ([a_container("")], f"{CONTAINERS}[0].name", "1 to 255 letters"),
    ([a_container("a" * 256)], f"{CONTAINERS}[0].name", "1 to 255 letters"),
    ([a_container("a/b")], f"{CONTAINERS}[0].name", "1 to 255 letters"),
    ([a_container("a\n")], f"{CONTAINERS}[0].name", "1 to 255 letters"),
    ([a_container("a", essential=False)], CONTAINERS, "at least one container must be essential"),
    (
        [a_container("a", dependsOn=[after("b")]), a_container("b", dependsOn=[after("a")])],
        CONTAINERS,
        "in a circle: a -> b -> a",
    ),
    ([a_container("a", dependsOn=[after("a")])], CONTAINERS, "in a circle: a -> a"),
    (
        [a_container("a", dependsOn=[after("c")])],
        f"{CONTAINERS}[0].dependsOn[0].containerName",
        "'c', which is not the name of a container",
    ),
    (
        [a_container("a", dependsOn=[after("b", "HEALTHY")]), a_container("b")],
        f"{CONTAINERS}[0].dependsOn[0].condition",
        "must be one of START, COMPLETE, SUCCESS",
    ),
    (
        [a_container("a", dependsOn=[after("b", "SUCCESS")]), a_container("b")],
        f"{CONTAINERS}[0].dependsOn[0].condition",
        "can't be set on an essential container",
    ),
    (
        [a_container("a", dependsOn=[after("b"), after("b")]), a_container("b")],
        f"{CONTAINERS}[0].dependsOn[1].containerName",
        "b is named twice",
    ),
    ([a_container("a", startTimeout=1)], f"{CONTAINERS}[0].startTimeout", "at least 2"),
    ([a_container("a", stopTimeout=0)], f"{CONTAINERS}[0].stopTimeout", "at least 2"),
    ([a_container("a", image="")], f"{CONTAINERS}[0].image", "is required"),
    (
        [a_container("a", resourceRequirements=[])],
        f"{CONTAINERS}[0].resourceRequirements",
        "vCPU is not provided",
    ),
    (
        [a_container("a", mountPoints=[{"sourceVolume": "v", "containerPath": "/v"}])],
        f"{CONTAINERS}[0].mountPoints[0].sourceVolume",
        "not the name of a volume",
    ),
    (
        [
            a_container(
                "n" * 255,
                logConfiguration={
                    "logDriver": "awslogs",
                    "options": {"awslogs-stream-prefix": "p" * 300},
                },
            )
        ],
        f"{CONTAINERS}[0].name",
        "too long for a log's name",
    ),
]


@pytest.mark.parametrize(("containers", "member", "text"), REFUSED)
def test_what_is_refused(containers: list[Json], member: str, text: str) -> None:
    error = refusal(*containers)
    assert isinstance(error, InvalidRequest)
    assert error.member == member
    assert text in error.message


@pytest.mark.parametrize(
    ("task", "member"),
    [
        ({"ipcMode": "shared"}, "ipcMode"),
        ({"pidMode": "none"}, "pidMode"),
        ({"platformVersion": "1.4.0"}, "platformVersion"),
        ({"ephemeralStorage": {"sizeInGiB": 30}}, "ephemeralStorage"),
        ({"runtimePlatform": {}}, "runtimePlatform"),
        ({"taskRoleArn": "nobody"}, "taskRoleArn"),
        ({"executionRoleArn": "nobody"}, "executionRoleArn"),
    ],
)
def test_what_the_task_may_not_say(task: Json, member: str) -> None:
    error = refusal(a_container("a"), task=task)
    assert error.fields["member"] == f"{TASK}.{member}"


def test_a_definition_has_one_kind_of_properties() -> None:
    error = refusal(a_container("a"), containerProperties={"image": "x", "vcpus": 1, "memory": 4})
    assert "must not both be given" in str(error)
    tasks = {"taskProperties": [{"containers": [a_container("a")]}] * 2}
    assert "exactly one entry" in str(refusal(ecsProperties=tasks))
    assert "exactly one entry" in str(refusal(ecsProperties={}))
    nothing = {"taskProperties": [{}]}
    assert "must have 1 to 10 containers" in str(refusal(ecsProperties=nothing))


def test_fargate() -> None:
    """Together they are of one of its sizes."""
    halves = [
        a_container(
            name,
            resourceRequirements=[
                {"type": "VCPU", "value": "0.25"},
                {"type": "MEMORY", "value": "512"},
            ],
        )
        for name in ("a", "b")
    ]
    task = {"executionRoleArn": ROLE}
    fargate = {"platformCapabilities": ["FARGATE"]}
    [kept] = register(*halves, task=task, **fargate)["ecsProperties"]["taskProperties"]
    assert kept["platformVersion"] == "LATEST"
    assert "0.75 vCPU" in str(refusal(*halves, {**halves[0], "name": "c"}, task=task, **fargate))
    assert "executionRoleArn is required" in str(refusal(*halves, **fargate))
    efs = {"volumes": [{"name": "v", "efsVolumeConfiguration": {"fileSystemId": "fs-1"}}]}
    register(*halves, task=task | efs, **fargate)
    old = task | efs | {"platformVersion": "1.3.0"}
    assert "platform version 1.4.0" in str(refusal(*halves, task=old, **fargate))
    assert "ipcMode task" in str(refusal(*halves, task=task | {"ipcMode": "task"}, **fargate))
    late = {**halves[0], "stopTimeout": 121}
    assert "at most 120" in str(refusal(late, halves[1], task=task, **fargate))


def resolved(overrides: EcsOverrides | None, **parameters: str) -> tuple[list[Json], Resources]:
    kept = register(a_container("a", command=["Ref::what"]), a_container("b"))
    properties, needs = resolve_ecs(kept["ecsProperties"], overrides, parameters, "EC2")
    return properties["taskProperties"][0]["containers"], needs


def test_overrides_are_found_by_name() -> None:
    needs = ({"type": "MEMORY", "value": "100"},)
    changes = Overrides(
        command=("Ref::what", "x"),
        environment=({"name": "A", "value": "1"}, {"name": "AWS_BATCH_JOB_ID", "value": "mine"}),
        resource_requirements=needs,
    )
    [a, b], total = resolved(EcsOverrides((ContainerOverrides("b", changes),)), what="y")
    assert a["command"] == ["y"]
    assert b["command"] == ["y", "x"]
    assert b["environment"] == [{"name": "A", "value": "1"}]
    assert total == Resources(2000, 164, 0)
    assert resolved(None, what="y")[1] == Resources(2000, 128, 0)


def half_a_vcpu(text: str = "0.5") -> tuple[Json, ...]:
    return {"type": "VCPU", "value": text}, {"type": "MEMORY", "value": "64"}


def test_limits_hold_for_each_container() -> None:
    """What AWS would refuse of a single one it would refuse of one of several."""
    small = a_container("b", resourceRequirements=list(half_a_vcpu()))
    request = {"taskProperties": [{"containers": [a_container("a"), small]}]}
    check_ecs(request, "EC2", limits=LONGSHORE)
    with pytest.raises(InvalidRequest) as caught:
        check_ecs(request, "EC2", limits=AWS)
    assert caught.value.member == f"{CONTAINERS}[1].resourceRequirements[0].value"
    changes = EcsOverrides(
        (ContainerOverrides("b", Overrides(resource_requirements=half_a_vcpu())),)
    )
    kept = register(a_container("a"), a_container("b"))["ecsProperties"]
    assert resolve_ecs(kept, changes, {}, "EC2")[1].vcpu_milli == 1500
    with pytest.raises(InvalidRequest) as caught:
        resolve_ecs(kept, changes, {}, "EC2", limits=AWS)
    assert str(caught.value.member).endswith("containers[0].resourceRequirements[0].value")


def test_options_of_logs_and_volumes_of_the_network_are_checked() -> None:
    logging = {"logDriver": "splunk", "options": {"splunk-url": "https://splunk.example"}}
    error = refusal(a_container("a"), a_container("b", logConfiguration=logging))
    assert error.fields["member"] == f"{CONTAINERS}[1].logConfiguration.options.splunk-token"
    volume = {"name": "v", "efsVolumeConfiguration": {"fileSystemId": "nfs"}}
    error = refusal(a_container("a"), task={"volumes": [volume]})
    member = f"{TASK}.volumes[0].efsVolumeConfiguration.fileSystemId"
    assert error.fields["member"] == member


def test_commands_of_all_containers_together_are_bounded() -> None:
    """A value goes in as often as it is named, in whichever container."""
    command = ["Ref::what"] * 10
    kept = register(*(a_container(name, command=command) for name in "ab"))["ecsProperties"]
    fits = "x" * (COMMAND_BYTES_MAX // 20)
    [task] = resolve_ecs(kept, None, {"what": fits}, "EC2")[0]["taskProperties"]
    assert [c["command"] for c in task["containers"]] == [[fits] * 10] * 2
    with pytest.raises(InvalidRequest, match="The commands of all containers have more than 65536"):
        resolve_ecs(kept, None, {"what": fits + "xx"}, "EC2")


def test_an_override_of_no_container_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="'c', which is not the name of a container"):
        resolved(EcsOverrides((ContainerOverrides("c", Overrides()),)), what="y")
    with pytest.raises(InvalidRequest, match="No parameter found"):
        resolved(None)
