"""The commands about definitions, queues and compute environments."""

import json
from pathlib import Path

import pytest
from acceptance.stand import Stack, eventually


def test_definition_revisions(stack: Stack) -> None:
    register = ("definition", "register", "revised", "--image", "busybox:latest")
    assert stack.call(*register, "--", "echo", "1", check=True).stdout == "revised:1\n"
    assert stack.call(*register, "--", "echo", "2", check=True).stdout == "revised:2\n"
    stack.call("definition", "deregister", "revised:1", check=True)
    assert [item["revision"] for item in stack.json("definition", "list", "revised")] == [2]
    every = stack.json("definition", "list", "revised", "--all")
    assert {item["revision"]: item["status"] for item in every} == {1: "INACTIVE", 2: "ACTIVE"}
    assert "revised:2" in stack.call("definition", "list", check=True).stdout


def test_definition_from_a_file(stack: Stack, tmp_path: Path) -> None:
    file = tmp_path / "definition.json"
    container = {"image": "busybox:latest", "vcpus": 1, "memory": 64, "command": ["true"]}
    file.write_text(json.dumps({"type": "container", "containerProperties": container}))
    registered = stack.call("definition", "register", "filed", "--file", str(file), check=True)
    assert registered.stdout == "filed:1\n"
    file.write_text('{"type": "container", "containerProperties": {"imagge": "busybox"}}')
    refused = stack.call("definition", "register", "filed", "--file", str(file))
    assert refused.returncode == 2
    assert "imagge" in refused.stderr


def test_queue_life(stack: Stack) -> None:
    created = stack.call("queue", "create", "urgent", "--env", "default", "--priority", "9")
    assert created.stdout.strip().endswith(":job-queue/urgent"), created.stderr
    (queue,) = [item for item in stack.json("queue", "list") if item["jobQueueName"] == "urgent"]
    assert (queue["priority"], queue["state"], queue["status"]) == (9, "ENABLED", "VALID")
    done = stack.call("run", "--queue", "urgent", "busybox:latest", "--", "echo", "quick")
    assert done.stdout == "quick\n"
    stack.call("queue", "update", "urgent", "--priority", "3", check=True)
    refused = stack.call("queue", "delete", "urgent")
    assert refused.returncode == 2, "an ENABLED queue cannot be deleted"
    stack.call("queue", "delete", "--force", "urgent", check=True)
    eventually(
        lambda: "urgent" not in [item["jobQueueName"] for item in stack.json("queue", "list")],
        "the queue is gone",
    )


def test_environment_life(stack: Stack) -> None:
    created = stack.call("env", "create", "spare", "--max-vcpus", "2")
    assert created.stdout.strip().endswith(":compute-environment/spare"), created.stderr
    stack.call("env", "update", "spare", "--max-vcpus", "1", check=True)
    (spare,) = [
        item for item in stack.json("env", "list") if item["computeEnvironmentName"] == "spare"
    ]
    assert spare["computeResources"]["maxvCpus"] == 1
    assert spare["status"] == "VALID"
    stack.call("env", "delete", "--force", "spare", check=True)
    eventually(
        lambda: (
            "spare" not in [item["computeEnvironmentName"] for item in stack.json("env", "list")]
        ),
        "the compute environment is gone",
    )


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("queue", "create", "bad", "--env", "nowhere"), "nowhere"),
        (("queue", "create", "bad name", "--env", "default"), "ame"),
        (("queue", "delete", "nothing"), "nothing"),
        (("env", "delete", "nothing"), "nothing"),
        (("env", "create", "bad name"), "ame"),
        (("definition", "register", "x"), "--image"),
        (("definition", "register", "x", "--file", "/nowhere"), "/nowhere"),
        (("definition", "deregister", "nothing:1"), "nothing"),
    ],
)
def test_refusals_are_sentences(stack: Stack, arguments: tuple[str, ...], word: str) -> None:
    done = stack.call(*arguments)
    assert done.returncode in (2, 4), done.stdout
    assert word in done.stderr
    assert done.stdout == ""
