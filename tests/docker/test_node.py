"""Nodes of multi-node jobs: they know which they are, and reach each other."""

import asyncio
import ipaddress
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from support.agent import Process, Stand, key_of, until
from support.ports import free_port

from longshore.agent.docker.engine import Engine
from longshore.v1 import agent_service_pb2 as pb

pytestmark = [pytest.mark.asyncio(loop_scope="session")]

PRINT = "env | grep AWS_BATCH_JOB | sort"
#: Answers whoever connects, and ends when somebody did.
LISTEN = """
busybox nc -ll -p {port} -e sh -c 'read -r line; echo from main; echo "$line" >>got' &
until [ -s got ]; do sleep 0.05; done
cat got
"""
#: Tries until the main node listens.
CONNECT = """
until answer=$(echo from $AWS_BATCH_JOB_NODE_INDEX |
    busybox nc -w 20 $AWS_BATCH_JOB_MAIN_NODE_PRIVATE_IPV4_ADDRESS {port} 2>/dev/null)
do sleep 0.05; done
echo $answer
"""


@pytest.fixture(params=[pytest.param("docker", marks=pytest.mark.docker), "process"])
def runtime(request: pytest.FixtureRequest) -> str:
    if request.param == "docker":
        request.getfixturevalue("engine")
    return str(request.param)


@pytest_asyncio.fixture(loop_scope="session")
async def instances(runtime: str, tmp_path: Path) -> AsyncIterator[tuple[Stand, Stand]]:
    """Two instances, each with its agent."""
    stands = Stand(tmp_path / "main", runtime), Stand(tmp_path / "other", runtime)
    try:
        for stand in stands:
            stand.directory.mkdir()
            await stand.open()
        yield stands
    finally:
        for stand in stands:
            await stand.close()


@pytest.fixture(params=[pytest.param("containers", marks=pytest.mark.docker), "processes"])
def stand(request: pytest.FixtureRequest) -> Stand:
    stand: Stand = request.getfixturevalue(request.param)
    return stand


async def test_a_node_knows_which_one_it_is(stand: Stand) -> None:
    """The main node's address is told to all but the main node."""
    main = stand.an_attempt("sh", "-c", PRINT, node=(0, 3, ""), attempt=2)
    assert (await stand.run(main)).exit_code == 0
    job_id = main.key.job_id.removesuffix("#0")
    assert (await stand.output(main)).splitlines() == [
        "AWS_BATCH_JOB_ATTEMPT=2",
        f"AWS_BATCH_JOB_ID={job_id}#0",
        "AWS_BATCH_JOB_MAIN_NODE_INDEX=0",
        "AWS_BATCH_JOB_NODE_INDEX=0",
        "AWS_BATCH_JOB_NUM_NODES=3",
    ]
    other = stand.an_attempt("sh", "-c", PRINT, node=(2, 3, "10.1.2.3"), job_id=job_id)
    assert (await stand.run(other)).exit_code == 0
    assert (await stand.output(other)).splitlines() == [
        "AWS_BATCH_JOB_ATTEMPT=1",
        f"AWS_BATCH_JOB_ID={job_id}#2",
        "AWS_BATCH_JOB_MAIN_NODE_INDEX=0",
        "AWS_BATCH_JOB_MAIN_NODE_PRIVATE_IPV4_ADDRESS=10.1.2.3",
        "AWS_BATCH_JOB_NODE_INDEX=2",
        "AWS_BATCH_JOB_NUM_NODES=3",
    ]


async def test_only_nodes_have_an_address(stand: Stand) -> None:
    assignment = stand.an_attempt("sleep", "300", stop_seconds=0)
    await stand.scheduler.assign(assignment)
    assert (await stand.scheduler.running(assignment)).address == ""
    await stand.scheduler.stop(assignment)
    await stand.scheduler.ended(assignment)


async def test_nodes_reach_each_other(instances: tuple[Stand, Stand]) -> None:
    """Node 1, on another instance, gets to node 0 by the address that node 0's agent told."""
    first, second = instances
    port = free_port()
    main = first.an_attempt("sh", "-c", LISTEN.format(port=port), node=(0, 2, ""))
    await first.scheduler.assign(main)
    address = (await first.scheduler.running(main)).address
    job_id = main.key.job_id.removesuffix("#0")
    child = second.an_attempt(
        "sh", "-c", CONNECT.format(port=port), node=(1, 2, address), job_id=job_id
    )
    await second.scheduler.assign(child)
    for instance, node in ((first, main), (second, child)):
        end = await instance.scheduler.ended(node)
        assert end.exit_code == 0
        ipaddress.IPv4Address(end.address)
    assert await first.output(main) == "from 1\n"
    assert await second.output(child) == "from main\n"


async def test_the_address_is_told_again_after_a_restart(runtime: str, tmp_path: Path) -> None:
    """The agent died before it could write down that the node runs."""
    stand = Stand(tmp_path, runtime)
    try:
        await stand.open()
        assert stand.agent is not None
        first = stand.an_attempt("sleep", "300", node=(0, 2, ""), stop_seconds=0)
        await stand.scheduler.assign(first)
        told = (await stand.scheduler.running(first)).address
        ipaddress.IPv4Address(told)
        await stand.agent.kill()
        # As if the journal had never been flushed.
        await asyncio.to_thread((stand.directory / "agent" / "journal").unlink)
        stand.scheduler.changes.clear()
        await stand.start_agent()
        again = await stand.scheduler.running(first)
        assert (again.address, again.key) == (told, first.key)
        await stand.scheduler.stop(first)
        assert (await stand.scheduler.ended(first)).status_reason == "stopped"
    finally:
        await stand.close()


async def test_a_restart_finds_the_node_and_says_what_it_said(runtime: str, tmp_path: Path) -> None:
    stand = Stand(tmp_path, runtime)
    try:
        await stand.open()
        assert stand.agent is not None
        stand.scheduler.acknowledging = False
        node = stand.an_attempt(
            "sh", "-c", "echo one; sleep 300", node=(1, 2, "10.0.0.1"), stop_seconds=0
        )
        await stand.scheduler.assign(node)
        await stand.scheduler.until(lambda: stand.scheduler.sequences)

        async def journaled() -> bool:
            data = await asyncio.to_thread((stand.directory / "agent" / "journal").read_bytes)
            return node.key.job_id.encode() in data and stand.scheduler.sequences[-1] > 0

        await until(journaled)
        await stand.agent.kill()
        stand.scheduler.acknowledging = True
        await stand.start_agent()
        assert (await stand.scheduler.running(node)).address
        register = stand.scheduler.registrations[-1]
        assert [key_of(key) for key in register.attempts] == [key_of(node.key)]

        async def said() -> bool:
            return [entry.text for entry in await stand.entries_so_far(node)] == [b"one"]

        # It may have been killed before it got a turn otherwise.
        await until(said)
        await stand.scheduler.stop(node)
        await stand.scheduler.ended(node)
        assert await stand.output(node) == "one\n"
    finally:
        await stand.close()


@pytest.mark.docker
@pytest.mark.parametrize("network", ["bridge", "host"])
async def test_other_networks(engine: Engine, tmp_path: Path, network: str) -> None:
    """The container's own address on a bridge; the machine's where it shares the machine's."""
    stand = Stand(tmp_path, "docker", LONGSHORE_NODE_NETWORK=network)
    try:
        await stand.open()
        node = stand.an_attempt("sleep", "300", node=(0, 2, ""), stop_seconds=0)
        await stand.scheduler.assign(node)
        address = (await stand.scheduler.running(node)).address
        name = f"longshore-{stand.instance_id}-{node.key.job_id.replace('#', '-')}-1"
        shown = await engine.docker.containers.container(name).show()
        assert shown["HostConfig"]["NetworkMode"] == network
        own = [item["IPAddress"] for item in shown["NetworkSettings"]["Networks"].values()]
        # The scheduler of this agent is on loopback, so that is how the machine goes to it.
        assert [address] == (own if network == "bridge" else ["127.0.0.1"])
        await stand.scheduler.stop(node)
        await stand.scheduler.ended(node)
        # What is no node joins the sandbox all the same.
        assert (await stand.run(stand.an_attempt("true"))).exit_code == 0
    finally:
        await stand.close()


@pytest.mark.docker
async def test_without_a_network_there_are_no_nodes(engine: Engine, tmp_path: Path) -> None:
    del engine
    stand = Stand(tmp_path, "docker", LONGSHORE_NETWORK="none")
    try:
        await stand.open()
        end = await stand.run(stand.an_attempt("true", node=(0, 2, "")))
        assert end.reason.startswith(
            "CannotStartContainerError: nodes of multi-node jobs need a network: "
        )
        assert end.status_reason == "Task failed to start"
        assert not end.HasField("exit_code")
        assert (await stand.run(stand.an_attempt("true"))).exit_code == 0
    finally:
        await stand.close()


async def test_cleanup_removes_nodes(runtime: str, tmp_path: Path) -> None:
    stand = Stand(tmp_path, runtime)
    try:
        await stand.open()
        assert stand.agent is not None
        node = stand.an_attempt("sleep", "300", node=(0, 2, ""), stop_seconds=0)
        await stand.scheduler.assign(node)
        assert (await stand.scheduler.running(node)).status == pb.ATTEMPT_STATUS_RUNNING
        await stand.agent.kill()
        cleanup = Process("longshore.agent.cleanup", stand.environment, tmp_path / "clean.log")
        assert await cleanup.ends() == 0
        lines = map(json.loads, cleanup.log.read_text().splitlines())
        [cleaned] = [line for line in lines if line["event"] == "instance.cleaned"]
        # The sandbox is the second container.
        assert cleaned["containers" if runtime == "docker" else "processes"] == (
            2 if runtime == "docker" else 1
        )
    finally:
        await stand.close()
