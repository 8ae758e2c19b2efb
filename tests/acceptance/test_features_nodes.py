"""Multi-node jobs by the command: nested ranges, overrides, a main node that is not the first."""

import pytest
from acceptance.aws import IMAGE, Aws, Gate, Json
from acceptance.stand import eventually

from longshore_cli import exit_code

_WHO = "echo node $AWS_BATCH_JOB_NODE_INDEX of $AWS_BATCH_JOB_NUM_NODES, main is"
_HOLD = "trap 'exit 143' TERM; while :; do sleep 0.2; done"


@pytest.fixture(scope="module")
def queue(aws: Aws) -> str:
    """A queue on instances of one type."""
    aws.new_environment("nodes", "c6i.large", 8)
    return aws.new_queue("nodes", "nodes")


def _container(script: str, **members: object) -> Json:
    return {
        "image": IMAGE,
        "command": ["sh", "-c", script],
        "resourceRequirements": [
            {"type": "VCPU", "value": "1"},
            {"type": "MEMORY", "value": "32"},
        ],
        **members,
    }


def _register(aws: Aws, name: str, *ranges: tuple[str, Json], num_nodes: int, main: int) -> str:
    answer = aws.client.register_job_definition(
        jobDefinitionName=name,
        type="multinode",
        nodeProperties={
            "numNodes": num_nodes,
            "mainNode": main,
            "nodeRangeProperties": [
                {"targetNodes": targets, "container": container} for targets, container in ranges
            ],
        },
    )
    return f"{name}:{answer['revision']}"


def test_nodes_are_shown_by_the_command(aws: Aws, queue: str, gate: Gate) -> None:
    """The definition says five nodes, the submission three."""
    definition = _register(
        aws,
        "nodes-shown",
        (":", _container(f"{_WHO} $AWS_BATCH_JOB_MAIN_NODE_PRIVATE_IPV4_ADDRESS; {_HOLD}")),
        ("1:1", _container(f"{_WHO} me; {gate.script()}; exit 0", **gate.volumes)),
        num_nodes=5,
        main=1,
    )
    changed = {"environment": [{"name": "A", "value": "1"}]}
    job = aws.submit(
        "shown",
        definition,
        queue=queue,
        nodeOverrides={
            "numNodes": 3,
            "nodePropertyOverrides": [{"targetNodes": "1:1", "containerOverrides": changed}],
        },
    )
    for node in range(3):
        aws.until(f"{job}#{node}", "RUNNING")
    assert aws.job(f"{job}#1")["container"]["environment"] == changed["environment"]
    assert aws.job(f"{job}#2")["container"]["environment"] == []
    assert aws.listed(multiNodeJobId=job) == [f"{job}#{node}" for node in range(3)]
    [interface] = aws.job(f"{job}#1")["container"]["networkInterfaces"]
    said = f"node 2 of 3, main is {interface['privateIpv4Address']}\n"
    eventually(
        lambda: aws.stack.call("logs", f"{job}#2", check=True).stdout == said,
        "node 2 knows the main node",
    )
    refused = aws.stack.call("terminate", f"{job}#2")
    assert refused.returncode == exit_code.USAGE
    assert f"give the job's id, {job}" in refused.stderr

    gate.open()
    aws.stack.call("wait", job, check=True)
    assert aws.stack.call("logs", "-f", job, check=True).stdout == "node 1 of 3, main is me\n"
    told = aws.stack.call("describe", f"{job}#1", check=True).stdout
    assert "1, the main node" in told
    assert "3, the main node is 1" in aws.stack.call("describe", job, check=True).stdout
    ended = {node["jobId"]: node["status"] for node in aws.stack.json("jobs", "--nodes", job)}
    assert ended == {f"{job}#0": "FAILED", f"{job}#1": "SUCCEEDED", f"{job}#2": "FAILED"}
