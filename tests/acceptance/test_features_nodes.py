"""Multi-node jobs: their nodes run together, know each other, and end with the main node."""

import pytest
from acceptance.aws import IMAGE, Aws, Gate, Json
from acceptance.stand import eventually

_WHO = "echo node $AWS_BATCH_JOB_NODE_INDEX of $AWS_BATCH_JOB_NUM_NODES, main is"
_HOLD = "trap 'exit 143' TERM; while :; do sleep 0.05; done"


@pytest.fixture(scope="module")
def queue(aws: Aws) -> str:
    """A queue on instances of one type."""
    aws.new_environment("nodes", "local.eighth", 8)
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


def test_nodes_run_together_and_end_with_the_main_node(aws: Aws, queue: str, gate: Gate) -> None:
    """A node that fails before disturbs nobody."""
    definition = _register(
        aws,
        "nodes-together",
        (":", _container(f"{_WHO} $AWS_BATCH_JOB_MAIN_NODE_PRIVATE_IPV4_ADDRESS; {_HOLD}")),
        ("1:1", _container(f"{_WHO} me; {gate.script()}; exit 0", **gate.volumes)),
        ("2:2", _container("exit 9")),
        num_nodes=4,
        main=1,
    )
    job = aws.submit(
        "together",
        definition,
        queue=queue,
        nodeOverrides={
            "nodePropertyOverrides": [
                {
                    "targetNodes": "1:1",
                    "containerOverrides": {"environment": [{"name": "A", "value": "1"}]},
                }
            ]
        },
    )
    for node in (0, 1, 3):
        aws.until(f"{job}#{node}", "RUNNING")
    failed = aws.end(f"{job}#2")
    assert (failed["status"], failed["container"]["exitCode"]) == ("FAILED", 9)
    assert aws.job(job)["status"] == "RUNNING"
    assert aws.listed(multiNodeJobId=job) == [f"{job}#{n}" for n in (0, 1, 3)]
    main = aws.job(f"{job}#1")
    [interface] = main["container"]["networkInterfaces"]
    assert main["nodeDetails"] == {"nodeIndex": 1, "isMainNode": True}
    assert main["container"]["environment"] == [{"name": "A", "value": "1"}]
    address = interface["privateIpv4Address"]
    said = f"node 3 of 4, main is {address}\n"
    eventually(lambda: aws.output(f"{job}#3") == said, "node 3 knows the main node")

    gate.open()
    ended = aws.end(job)
    assert (ended["status"], ended["nodeProperties"]["numNodes"]) == ("SUCCEEDED", 4)
    [attempt] = ended["attempts"]
    assert attempt["container"]["exitCode"] == 0
    for node in (0, 3):
        stopped = aws.job(f"{job}#{node}")
        assert (stopped["status"], stopped["statusReason"]) == ("FAILED", "Main node has ended")
    assert aws.output(job) == "node 1 of 4, main is me\n"
    told = aws.stack.cli("describe", f"{job}#1", check=True).stdout
    assert "1, the main node" in told
    assert len(aws.stack.json("jobs", "--nodes", job)) == 4


def test_every_node_is_renewed_when_the_main_node_fails(aws: Aws, queue: str) -> None:
    definition = _register(
        aws,
        "nodes-again",
        ("0:0", _container("[ $AWS_BATCH_JOB_ATTEMPT = 2 ]")),
        ("1:", _container(_HOLD)),
        num_nodes=5,
        main=0,
    )
    job = aws.submit(
        "again",
        definition,
        queue=queue,
        nodeOverrides={"numNodes": 2},
        retryStrategy={"attempts": 2},
    )
    ended = aws.end(job)
    assert ended["status"] == "SUCCEEDED"
    assert [a["container"]["exitCode"] for a in ended["attempts"]] == [1, 0]
    assert len(aws.job(f"{job}#1")["attempts"]) == 2
    assert aws.client.describe_jobs(jobs=[f"{job}#2"])["jobs"] == []


def test_terminating_the_job_stops_every_node(aws: Aws, queue: str) -> None:
    definition = _register(aws, "nodes-stop", (":", _container(_HOLD)), num_nodes=2, main=0)
    job = aws.submit("stop", definition, queue=queue)
    for node in (0, 1):
        aws.until(f"{job}#{node}", "RUNNING")
    aws.client.terminate_job(jobId=job, reason="Enough.")
    ended = aws.end(job)
    assert (ended["status"], ended["statusReason"]) == ("FAILED", "Enough.")
    for node in (0, 1):
        assert aws.job(f"{job}#{node}")["status"] == "FAILED"
