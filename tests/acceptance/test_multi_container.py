"""Jobs of several containers, by boto3, on a stack that all share."""

import json
from pathlib import Path
from typing import Any

import pytest
from acceptance.aws import IMAGE, Aws, Gate, Json
from acceptance.stand import RUNTIME
from botocore.exceptions import ClientError

ROOT = Path(__file__).parents[2]
# A process's whole group is told to stop, and a shell says so of the `sleep` that it waited for.
FOREVER = "trap 'echo told to stop; exit 5' TERM; echo up; while :; do sleep 0.2; done 2>/dev/null"


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


def up(gate: Gate) -> str:
    """Runs until it is told to stop, and says once it is ready for that."""
    return FOREVER.replace("echo up", f"echo up; touch {gate.directory}/up")


def shared(gate: Gate) -> Json:
    """Members of a container that sees the gate."""
    return {"mountPoints": gate.volumes["mountPoints"]}


def test_a_sidecar_that_would_run_for_ever_is_stopped(aws: Aws, gate: Gate) -> None:
    job_id = run(
        aws,
        "sidecar",
        a_container(
            "main", f"{gate.script('up')}; echo done", dependsOn=after("helper"), **shared(gate)
        ),
        a_container("helper", up(gate), essential=False, **shared(gate)),
        volumes=gate.volumes["volumes"],
    )
    job = aws.end(job_id)
    assert (job["status"], job["statusReason"]) == (
        "SUCCEEDED",
        "Essential container in task exited",
    )
    assert not any(job["container"].values())
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


def test_containers_start_in_order_and_share_volume_and_network(aws: Aws) -> None:
    """One writes what the next serves and the last reads over their own loopback interface."""
    if RUNTIME == "docker":
        mount = {"mountPoints": [{"sourceVolume": "data", "containerPath": "/data"}]}
        volumes: Json = {"volumes": [{"name": "data"}]}
        write, serve = "echo hello > /data/greeting", "exec httpd -f -p 127.0.0.1:8321 -h /data"
    else:
        mount, volumes, write, serve = {}, {}, "true", FOREVER
    read = "until wget -qO- 127.0.0.1:8321/greeting; do sleep 0.2; done"
    job_id = run(
        aws,
        "share",
        a_container("main", read if RUNTIME == "docker" else "echo hello", dependsOn=after("web")),
        a_container(
            "web",
            serve,
            essential=False,
            stopTimeout=2,
            dependsOn=after("set-up", "SUCCESS"),
            **mount,
        ),
        a_container("set-up", write, essential=False, **mount),
        **volumes,
    )
    job = aws.end(job_id)
    assert job["status"] == "SUCCEEDED", job
    assert aws.output(job_id).endswith("hello\n")
    assert states(job)["set-up"]["exitCode"] == 0
    [task] = job["ecsProperties"]["taskProperties"]
    assert task["taskArn"] == job["attempts"][0]["taskProperties"][0]["taskArn"]
    assert task["containerInstanceArn"]


def test_what_an_init_container_decides(aws: Aws, gate: Gate) -> None:
    """The job waits for it in STARTING, seen as it goes; where it fails, so does the job."""
    job_id = run(
        aws,
        "init",
        a_container("main", "echo no", dependsOn=after("set-up", "SUCCESS")),
        a_container("set-up", f"{gate.script()}; exit 3", essential=False, **shared(gate)),
        retryStrategy={"attempts": 3, "evaluateOnExit": [{"action": "EXIT", "onExitCode": "*"}]},
        volumes=gate.volumes["volumes"],
    )
    job = aws.until_job(
        job_id, lambda job: states(job)["set-up"].get("logStreamName"), "set-up runs"
    )
    assert job["status"] == "STARTING"
    assert "logStreamName" not in states(job)["main"]
    gate.open()
    job = aws.end(job_id)
    assert (job["status"], job["statusReason"]) == ("FAILED", "Task failed to start")
    assert states(job)["set-up"]["exitCode"] == 3
    assert "exitCode" not in states(job)["main"]
    assert states(job)["main"]["reason"].startswith("TaskDependencyError: ")
    [attempt] = job["attempts"]
    assert "startedAt" not in attempt


def test_retries_look_at_the_essential_container(aws: Aws) -> None:
    """By its exit code, whatever the others ended with."""
    job_id = run(
        aws,
        "retried",
        a_container("main", "exit $((40 + AWS_BATCH_JOB_ATTEMPT))", dependsOn=after("odd")),
        a_container("odd", "exit 9", essential=False),
        retryStrategy={
            "attempts": 4,
            "evaluateOnExit": [
                {"action": "RETRY", "onExitCode": "41"},
                {"action": "EXIT", "onExitCode": "4*"},
            ],
        },
    )
    job = aws.end(job_id)
    codes = [
        {c["name"]: c["exitCode"] for c in attempt["taskProperties"][0]["containers"]}["main"]
        for attempt in job["attempts"]
    ]
    assert (job["status"], codes) == ("FAILED", [41, 42])


def test_overrides_are_by_name(aws: Aws) -> None:
    definition = register(
        aws,
        "overridden",
        a_container("main", "echo $WHO; echo Ref::what", dependsOn=after("other", "COMPLETE")),
        a_container("other", "echo other", essential=False),
        parameters={"what": "nothing"},
    )
    main = {"name": "main", "environment": [{"name": "WHO", "value": "me"}]}
    other = {"name": "other", "command": ["sh", "-c", "echo another"]}
    job_id = aws.submit(
        "overridden",
        definition,
        ecsPropertiesOverride={"taskProperties": [{"containers": [main, other]}]},
        parameters={"what": "something"},
    )
    assert aws.end(job_id)["status"] == "SUCCEEDED"
    assert aws.output(job_id) == "me\nsomething\n"
    assert aws.output(job_id, container="other") == "another\n"
    for override, text in (
        ([{"name": "gone", "command": ["x"]}], "not the name of a container"),
        ([main, main], "named twice"),
    ):
        with pytest.raises(ClientError, match=text):
            aws.submit(
                "refused",
                definition,
                ecsPropertiesOverride={"taskProperties": [{"containers": override}]},
            )
    with pytest.raises(ClientError, match="use ecsPropertiesOverride"):
        aws.submit("refused", definition, "echo", "x")


def test_children_and_nodes_may_have_several(aws: Aws) -> None:
    """Each child of an array, and each node of a multi-node job, all of them together."""
    sidecar = a_container("beside", "echo beside", essential=False)
    main = a_container(
        "main", "echo $AWS_BATCH_JOB_ARRAY_INDEX", dependsOn=after("beside", "COMPLETE")
    )
    array = aws.submit(
        "several", register(aws, "several", main, sidecar), arrayProperties={"size": 2}
    )
    main = a_container(
        "main", "echo $AWS_BATCH_JOB_NODE_INDEX", dependsOn=after("beside", "COMPLETE")
    )
    answer = aws.client.register_job_definition(
        jobDefinitionName="nodes-of-several",
        type="multinode",
        nodeProperties={
            "numNodes": 1,
            "mainNode": 0,
            "nodeRangeProperties": [
                {
                    "targetNodes": ":",
                    "ecsProperties": {"taskProperties": [{"containers": [main, sidecar]}]},
                }
            ],
        },
    )
    nodes = aws.submit("nodes-of-several", f"nodes-of-several:{answer['revision']}")
    assert aws.end(array)["status"] == "SUCCEEDED"
    assert aws.output(f"{array}:1") == "1\n"
    assert states(aws.job(f"{array}:1"))["beside"]["exitCode"] == 0
    job = aws.end(nodes)
    assert job["status"] == "SUCCEEDED", job
    assert job["attempts"][0]["taskProperties"][0]["containers"][0]["exitCode"] == 0
    node = aws.job(f"{nodes}#0")
    assert states(node)["beside"]["exitCode"] == 0
    assert aws.output(nodes) == "0\n"


def test_terminate_ends_all(aws: Aws) -> None:
    job_id = run(aws, "terminated", a_container("a", FOREVER), a_container("b", FOREVER))
    aws.until(job_id, "RUNNING")
    aws.client.terminate_job(jobId=job_id, reason="No more of this.")
    job = aws.end(job_id)
    assert (job["status"], job["statusReason"]) == ("FAILED", "No more of this.")
    assert {c["name"]: "exitCode" in c for c in states(job).values()} == {"a": True, "b": True}


def test_the_command_shows_each_container(aws: Aws) -> None:
    job_id = run(
        aws,
        "shown",
        a_container("main", "echo from main", dependsOn=after("set-up", "SUCCESS")),
        a_container("set-up", "echo from set-up; exit 2", essential=False),
    )
    aws.end(job_id)
    described = aws.stack.call("describe", job_id).stdout
    assert "after set-up (SUCCESS)" in described
    assert "set-up: exit code 2" in described
    explained = aws.stack.call("explain", job_id).stdout
    assert "container set-up" in explained
    assert "ended with exit code 2" in explained
    assert aws.stack.call("logs", job_id, "--container", "set-up").stdout == "from set-up\n"
    wrong = aws.stack.call("logs", job_id, "--container", "gone")
    assert "it has main, set-up" in wrong.stderr


@pytest.mark.skipif(RUNTIME != "docker", reason="processes share no volume")
def test_the_example_of_the_docs(aws: Aws) -> None:
    text = (ROOT / "docs" / "multi-container.md").read_text("utf-8")
    definition = json.loads(text.partition("```json")[2].partition("```")[0])
    answer = aws.client.register_job_definition(**definition)
    job_id = aws.submit("greeting", f"greeting:{answer['revision']}")
    assert aws.end(job_id)["status"] == "SUCCEEDED"
    assert aws.output(job_id).endswith("hello\n")
