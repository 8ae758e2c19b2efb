"""Multi-node jobs through AWS's own client: all nodes at once, on instances that come for them."""

import subprocess
import sys
from pathlib import Path

from acceptance.aws import IMAGE, Aws, Gate, Json
from acceptance.stand import eventually

ROOT = Path(__file__).parents[2]
TYPE = "c6i.large"
NODES = 3
ENDED_WITH_MAIN = "Main node has ended"
LISTENING = "trap 'exit 143' TERM\n"
HOLD = f"{LISTENING}while :; do sleep 0.2; done"
#: The main node's: answers whoever connects, ends when all the others did, prints what they said.
COLLECT = """
env | grep AWS_BATCH_JOB_ | sort
busybox nc -ll -p {port} -e sh -c 'read -r line; echo yes; echo "$line" >>got' &
until [ "$(cat got 2>/dev/null | wc -l)" = 2 ]; do sleep 0.2; done
sort got
"""
#: Tries until the main node listens.
CONNECT = """
env | grep AWS_BATCH_JOB_ | sort
until [ "$(echo from $AWS_BATCH_JOB_NODE_INDEX |
    busybox nc -w 5 $AWS_BATCH_JOB_MAIN_NODE_PRIVATE_IPV4_ADDRESS {port} 2>/dev/null)" = yes ]
do sleep 0.2; done
"""


def _port(user: Aws, offset: int) -> str:
    """A port of this test alone: as processes, all nodes are on one address."""
    return str(user.stack.port_base + 30 + offset)


def _queue(user: Aws, name: str, maxv_cpus: int = 2 * NODES) -> str:
    """A queue on an environment of its name, which has no instance yet."""
    user.new_environment(name, TYPE, maxv_cpus)
    return user.new_queue(name, name)


def _range(nodes: str, script: str, **container: object) -> Json:
    requirements = [{"type": "VCPU", "value": "1"}, {"type": "MEMORY", "value": "64"}]
    return {
        "targetNodes": nodes,
        "container": {
            "image": IMAGE,
            "command": ["sh", "-c", script],
            "resourceRequirements": requirements,
            **container,
        },
    }


def _submit(user: Aws, queue: str, *ranges: Json, **members: object) -> str:
    """Registers a definition of three nodes, the first of which is the main node; submits it."""
    answer = user.client.register_job_definition(
        jobDefinitionName=queue,
        type="multinode",
        nodeProperties={"numNodes": NODES, "mainNode": 0, "nodeRangeProperties": ranges},
    )
    definition = f"{queue}:{answer['revision']}"
    return user.submit(queue, definition, queue=queue, **members)


def _nodes(user: Aws, job_id: str) -> list[Json]:
    return user.describe(f"{job_id}#{index}" for index in range(NODES))


def _orders(user: Aws, queue: str) -> list[Json]:
    """Decisions that ordered instances for a queue's own environment."""
    return [a for a in user.stack.json("activities", queue) if a["ordered"]]


def _until_all(user: Aws, job_id: str, status: str) -> list[Json]:
    """Waits until all nodes are so far."""
    nodes: list[Json] = eventually(
        lambda: (
            (found := _nodes(user, job_id)) and {n["status"] for n in found} == {status} and found
        ),
        f"all nodes are {status}",
        60,
    )
    return nodes


def _environment(lines: list[str]) -> dict[str, str]:
    pairs = (line.split("=", 1) for line in lines if line.startswith("AWS_BATCH_JOB_"))
    return {name.removeprefix("AWS_BATCH_JOB_"): value for name, value in pairs}


def test_nodes_find_each_other(user: Aws) -> None:
    """Three instances of one type in one order; what the main node collects is the job's result."""
    queue = _queue(user, "together")
    port = _port(user, 0)
    job_id = _submit(
        user,
        queue,
        _range("0:0", COLLECT.format(port=port)),
        _range("1:", LISTENING + CONNECT.format(port=port) + HOLD),
    )
    job = user.end(job_id)
    assert (job["status"], job["nodeProperties"]["numNodes"]) == ("SUCCEEDED", NODES), job
    [attempt] = job["attempts"]
    assert attempt["container"]["exitCode"] == 0

    orders = _orders(user, queue)
    assert [(order["ordered"], order["desiredVcpus"]) for order in orders] == [(NODES, 2 * NODES)]
    instances = user.stack.json("instances", "--env", queue, "--all")
    assert [item["instanceType"] for item in instances] == [TYPE] * NODES

    main, *others = _nodes(user, job_id)
    assert main["nodeDetails"] == {"nodeIndex": 0, "isMainNode": True}
    assert (main["status"], main["container"]["exitCode"]) == ("SUCCEEDED", 0)
    for index, node in enumerate(others, 1):
        assert node["jobId"] == f"{job_id}#{index}"
        assert node["nodeDetails"] == {"nodeIndex": index, "isMainNode": False}
        assert (node["status"], node["statusReason"]) == ("FAILED", ENDED_WITH_MAIN)
        assert node["container"]["exitCode"] == 143
    assert len({node["container"]["containerInstanceArn"] for node in (main, *others)}) == NODES
    listed = [
        user.listed(multiNodeJobId=job_id, jobStatus=status) for status in ("SUCCEEDED", "FAILED")
    ]
    assert [sorted(ids) for ids in listed] == [[f"{job_id}#0"], [f"{job_id}#1", f"{job_id}#2"]]

    outputs = [user.output(f"{job_id}#{index}").splitlines() for index in range(NODES)]
    assert outputs[0][-2:] == ["from 1", "from 2"]
    common = {"ATTEMPT": "1", "NUM_NODES": "3", "MAIN_NODE_INDEX": "0"}
    seen = [_environment(lines) for lines in outputs]
    address = seen[1]["MAIN_NODE_PRIVATE_IPV4_ADDRESS"]
    assert seen[0] == common | {"ID": f"{job_id}#0", "NODE_INDEX": "0"}
    for index in (1, 2):
        assert seen[index] == common | {
            "ID": f"{job_id}#{index}",
            "NODE_INDEX": str(index),
            "MAIN_NODE_PRIVATE_IPV4_ADDRESS": address,
        }
    assert (address == "127.0.0.1") == (user.stack.runtime == "process")
    eventually(lambda: user.stack.json("instances", "--env", queue) == [], "all are given back")


def test_a_node_that_fails_is_nothing_to_the_others(user: Aws, gate: Gate) -> None:
    queue = _queue(user, "untroubled")
    job_id = _submit(
        user,
        queue,
        _range("0:0", gate.script(), **gate.volumes),
        _range("1:1", "exit 3"),
        _range("2:", HOLD),
    )
    failed = user.until(f"{job_id}#1", "FAILED")
    assert failed["container"]["exitCode"] == 3
    user.until(f"{job_id}#2", "RUNNING")
    assert user.job(job_id)["status"] == "RUNNING"
    gate.open()
    job = user.end(job_id)
    assert job["status"] == "SUCCEEDED"
    assert [node["status"] for node in _nodes(user, job_id)] == ["SUCCEEDED", "FAILED", "FAILED"]


def test_all_nodes_run_again_when_the_main_node_failed(user: Aws, gate: Gate) -> None:
    queue = _queue(user, "again")
    script = f"n=try-$AWS_BATCH_JOB_ATTEMPT; {gate.script('$n')}; [ $AWS_BATCH_JOB_ATTEMPT = 2 ]"
    others = f"echo attempt $AWS_BATCH_JOB_ATTEMPT; {HOLD}"
    job_id = _submit(
        user,
        queue,
        _range("0:0", script, **gate.volumes),
        _range("1:", others),
        retryStrategy={"attempts": 2},
    )
    _until_all(user, job_id, "RUNNING")
    gate.open("try-1")
    user.until_job(job_id, lambda job: len(job["attempts"]) == 1, "the first try is over", 60)
    _until_all(user, job_id, "RUNNING")
    gate.open("try-2")
    job = user.end(job_id)
    assert job["status"] == "SUCCEEDED"
    assert [a["container"]["exitCode"] for a in job["attempts"]] == [1, 0]
    for index in (1, 2):
        lines = user.output(f"{job_id}#{index}").splitlines()
        # A shell on the machine may tell of the end of what it waited for.
        assert [line for line in lines if line != "Terminated"] == ["attempt 1", "attempt 2"]
    assert [order["ordered"] for order in _orders(user, queue)] == [NODES]


def test_terminate_ends_every_node(user: Aws) -> None:
    queue = _queue(user, "over")
    job_id = _submit(user, queue, _range(":", HOLD), retryStrategy={"attempts": 3})
    _until_all(user, job_id, "RUNNING")
    user.client.terminate_job(jobId=job_id, reason="enough")
    job = user.end(job_id)
    assert (job["status"], job["statusReason"]) == ("FAILED", "enough")
    nodes = _nodes(user, job_id)
    assert {(node["status"], node["container"]["exitCode"]) for node in nodes} == {("FAILED", 143)}
    assert {item["liveAttempts"] for item in user.stack.json("instances", "--env", queue)} <= {0}


def test_it_waits_for_all_its_instances(user: Aws, gate: Gate) -> None:
    """Room for two of three is no room: it waits, says for what, and may be cancelled."""
    queue = _queue(user, "full")
    held = user.run("held", gate.script(), queue=queue, **gate.volumes)
    user.until(held, "RUNNING")
    waiting = [_submit(user, queue, _range(":", "true")) for _ in range(2)]
    told = f"Waiting for {NODES} empty instances of one type: 1 instance: 1 in use."
    for job_id in waiting:
        eventually(
            lambda: user.stack.json("explain", job_id)["summary"] == told,  # noqa: B023 - at once
            told,
        )
    assert [order["ordered"] for order in _orders(user, queue)] == [1]
    cancelled, goes_on = waiting
    user.client.cancel_job(jobId=cancelled, reason="not today")
    job = user.end(cancelled)
    assert (job["status"], job["statusReason"]) == ("FAILED", "not today")
    assert {node["status"] for node in _nodes(user, cancelled)} == {"FAILED"}
    assert user.job(goes_on)["status"] == "RUNNABLE"
    gate.open()
    assert user.end(held)["status"] == "SUCCEEDED"
    assert user.end(goes_on)["status"] == "SUCCEEDED"
    # The one that was in use is completed with as many as are missing.
    assert sorted(order["ordered"] for order in _orders(user, queue)) == [1, NODES - 1]


def test_it_can_never_be_larger_than_its_environment(user: Aws) -> None:
    queue = _queue(user, "small", 2 * NODES - 1)
    job_id = _submit(user, queue, _range(":", "true"))
    summary = "MISCONFIGURATION:COMPUTE_ENVIRONMENT_MAX_RESOURCE"
    eventually(
        lambda: user.stack.json("explain", job_id)["summary"].startswith(summary), summary, 30
    )
    user.client.terminate_job(jobId=job_id, reason="too large")
    assert user.end(job_id)["status"] == "FAILED"


def test_the_example_comes_to_the_right_line(user: Aws) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "examples.multi_node", "--port", _port(user, 1)],
        cwd=ROOT,
        env=user.stack.environ,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "the line is right" in done.stdout
    assert "multi-node" not in user.stack.call("env", "list", check=True).stdout
