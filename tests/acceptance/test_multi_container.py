"""Jobs of several containers, by boto3, on a stack that all share."""

from typing import Any

import pytest
from acceptance.aws import IMAGE, Aws, Json
from acceptance.stand import RUNTIME

needs_containers = pytest.mark.skipif(RUNTIME != "docker", reason="processes share no volume")

FOREVER = "trap 'echo told to stop; exit 5' TERM; echo up; while :; do sleep 0.05; done"


def a_container(name: str, script: str, **members: Any) -> Json:
    return {
        "name": name,
        "image": IMAGE,
        "command": ["sh", "-c", script],
        "resourceRequirements": [
            {"type": "VCPU", "value": "1"},
            {"type": "MEMORY", "value": "64"},
        ],
    } | members


def after(name: str, condition: str = "START") -> list[Json]:
    return [{"containerName": name, "condition": condition}]


def register(aws: Aws, name: str, *containers: Json, **members: Any) -> str:
    """Registers a definition of several containers; other members are the task's."""
    own = ("parameters", "retryStrategy", "timeout", "tags")
    task = {k: v for k, v in members.items() if k not in own}
    answer = aws.client.register_job_definition(
        jobDefinitionName=name,
        type="container",
        ecsProperties={"taskProperties": [{"containers": list(containers)} | task]},
        **{k: v for k, v in members.items() if k in own},
    )
    return f"{name}:{answer['revision']}"


def run(aws: Aws, name: str, *containers: Json, **members: Any) -> str:
    return aws.submit(name, register(aws, name, *containers, **members))


def states(job: Json) -> dict[str, Json]:
    """The containers of a job by name."""
    [task] = job["ecsProperties"]["taskProperties"]
    return {container["name"]: container for container in task["containers"]}


def test_a_sidecar_that_would_run_for_ever_is_stopped(aws: Aws) -> None:
    job_id = run(
        aws,
        "sidecar",
        a_container("main", "echo done", dependsOn=after("helper")),
        a_container("helper", FOREVER, essential=False),
    )
    job = aws.end(job_id)
    assert (job["status"], job["statusReason"]) == (
        "SUCCEEDED",
        "Essential container in task exited",
    )
    assert "container" not in job
    found = states(job)
    assert found["main"]["exitCode"] == 0
    assert found["helper"]["exitCode"] == 5
    [attempt] = job["attempts"]
    assert "container" not in attempt
    [task] = attempt["taskProperties"]
    task_id = task["taskArn"].rpartition("/")[2]
    assert [(c["name"], c["exitCode"], c["logStreamName"]) for c in task["containers"]] == [
        ("main", 0, f"sidecar/main/{task_id}"),
        ("helper", 5, f"sidecar/helper/{task_id}"),
    ]
    assert aws.output(job_id) == "done\n"
    assert aws.output(job_id, container="helper") == "up\ntold to stop\n"
