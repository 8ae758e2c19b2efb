"""Who does not belong gets at nothing that services and agents call; machines join with tokens."""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import psutil
import pytest
from acceptance.aws import Aws, Gate
from acceptance.stand import LONGSHORE, Stack, eventually
from acceptance.test_agent import remove
from support.identity import identity_of
from support.patience import PATIENCE_SECONDS

from longshore.agent.config import AgentConfig
from longshore.agent.joining import Membership, enrol
from longshore.contract import JOIN_OFFSET
from longshore.domain.errors import Unauthenticated
from longshore.domain.log_group import AGENTS
from longshore.identity.material import Identity, service_identity
from longshore.rpc.channel import open_channel, peer_channel
from longshore.rpc.credentials import channel_credentials
from longshore.runtime.config import PEER_OFFSET
from longshore.v1 import (
    agent_service_pb2,
    agent_service_pb2_grpc,
    audit_service_pb2,
    audit_service_pb2_grpc,
    log_service_pb2,
    log_service_pb2_grpc,
    provisioning_service_pb2,
    provisioning_service_pb2_grpc,
    resources_pb2,
    scaler_service_pb2,
    scaler_service_pb2_grpc,
)

CODES = grpc.StatusCode
OFFSETS = {"submission": 0, "scheduler": 1, "scaler": 2, "provisioning": 3, "logs": 4, "events": 5}
Call = Callable[[grpc.aio.Channel], Awaitable[Any]]


def for_users(stack: Stack, service: str) -> str:
    """Where users reach a service."""
    return f"127.0.0.1:{stack.port_base + OFFSETS[service]}"


def for_peers(stack: Stack, service: str) -> str:
    """Where services and agents reach it."""
    return f"127.0.0.1:{stack.port_base + OFFSETS[service] + PEER_OFFSET}"


def as_service(stack: Stack, role: str) -> Identity:
    """A service of the stack."""
    return service_identity(stack.data_dir / "tls", role)


@pytest.fixture(scope="module")
def agent(stack: Stack) -> tuple[str, Identity]:
    """The instance that the first start ordered, and its identity."""

    def found() -> list[str]:
        return [
            item["instanceId"]
            for item in stack.json("instances", "--env", "default")
            if (directory(item["instanceId"]) / "identity" / "place.json").exists()
        ]

    def directory(instance_id: str) -> Path:
        return stack.data_dir / "instances" / instance_id

    instance_id = eventually(found, "an instance has joined", PATIENCE_SECONDS)[0]
    return instance_id, Membership(directory(instance_id)).identity


async def refused(channel: grpc.aio.Channel, call: Call) -> grpc.StatusCode:
    """How a call is refused."""
    try:
        async with channel:
            await call(channel)
    except grpc.aio.AioRpcError as error:
        return error.code()
    return CODES.OK


def registers(instance_id: str, environment: str = "default") -> Call:
    """An agent's registration."""

    async def call(channel: grpc.aio.Channel) -> None:
        stream: Any = agent_service_pb2_grpc.AgentServiceStub(channel).Connect(
            timeout=PATIENCE_SECONDS
        )
        register = agent_service_pb2.AgentRegister(
            instance_id=instance_id,
            compute_environment=environment,
            resources=resources_pb2.Resources(vcpu_milli=1000, memory_mib=64),
            runtime=resources_pb2.RUNTIME_PROCESS,
            instance_type="local.host",
            architecture="x86_64",
            unmanaged=True,
        )
        await stream.write(agent_service_pb2.ConnectRequest(register=register))
        if await stream.read() is grpc.aio.EOF:
            raise grpc.aio.AioRpcError(
                await stream.code(), grpc.aio.Metadata(), grpc.aio.Metadata()
            )

    return call


def appends(group: str, stream_name: str) -> Call:
    """An agent's chunk of a log."""

    async def call(channel: grpc.aio.Channel) -> None:
        stream: Any = log_service_pb2_grpc.LogServiceStub(channel).AppendLogs(
            timeout=PATIENCE_SECONDS
        )
        chunk = log_service_pb2.AppendLogsRequest(
            log_group_name=group, log_stream_name=stream_name, data=b""
        )
        await stream.write(chunk)
        if await stream.read() is grpc.aio.EOF:
            raise grpc.aio.AioRpcError(
                await stream.code(), grpc.aio.Metadata(), grpc.aio.Metadata()
            )

    return call


async def terminates(channel: grpc.aio.Channel) -> None:
    """What the scaler alone calls."""
    stub = provisioning_service_pb2_grpc.ProvisioningServiceStub(channel)
    request = provisioning_service_pb2.TerminateInstancesRequest(instance_ids=["i-" + "0" * 17])
    await stub.TerminateInstances(request, timeout=PATIENCE_SECONDS)


async def evaluates(channel: grpc.aio.Channel) -> None:
    """What users call."""
    stub = scaler_service_pb2_grpc.ScalerServiceStub(channel)
    await stub.DescribeCapacity(
        scaler_service_pb2.DescribeCapacityRequest(), timeout=PATIENCE_SECONDS
    )


async def records(channel: grpc.aio.Channel) -> None:
    """What the log service and the gateway call."""
    stub = audit_service_pb2_grpc.AuditServiceStub(channel)
    await stub.RecordCalls(audit_service_pb2.RecordCallsRequest(), timeout=PATIENCE_SECONDS)


async def test_ports_for_services_and_agents_take_nobody_else(
    stack: Stack, agent: tuple[str, Identity]
) -> None:
    instance_id, _ = agent
    trusted = (stack.data_dir / "tls" / "trusted.pem").read_bytes()
    named = [("grpc.ssl_target_name_override", "scheduler.longshore")]
    target = for_peers(stack, "scheduler")
    without = open_channel(target, grpc.ssl_channel_credentials(trusted), named)
    foreign = open_channel(target, channel_credentials(identity_of("scheduler")), named)
    mixed = Identity(identity_of("scheduler").own, stack.data_dir / "tls" / "trusted.pem")
    unknown = open_channel(target, channel_credentials(mixed), named)
    for channel in (open_channel(target), without, foreign, unknown):
        assert await refused(channel, registers(instance_id)) is CODES.UNAVAILABLE


async def test_users_ports_take_no_agents_and_no_services(
    stack: Stack, agent: tuple[str, Identity]
) -> None:
    instance_id, _ = agent
    for service, call in (
        ("scheduler", registers(instance_id)),
        ("logs", appends("", "a/default/b")),
        ("provisioning", terminates),
        ("submission", records),
    ):
        code = await refused(open_channel(for_users(stack, service)), call)
        assert code is CODES.UNAUTHENTICATED, service


async def test_what_answers_must_be_the_service_that_is_meant(stack: Stack) -> None:
    """Whoever has one service's key and sits at another's port is not spoken to."""
    own = as_service(stack, "gateway")
    code = await refused(peer_channel(for_peers(stack, "scaler"), "logs", own), evaluates)
    assert code is CODES.UNAVAILABLE
    # The right one answers; for whom the gateway calls it has to say.
    code = await refused(peer_channel(for_peers(stack, "scaler"), "scaler", own), evaluates)
    assert code is CODES.UNAUTHENTICATED


async def test_an_agent_is_its_instance_and_no_more(
    stack: Stack, agent: tuple[str, Identity]
) -> None:
    instance_id, own = agent
    other = "i-" + "0" * 17
    for service, call in (
        ("scheduler", registers(other)),
        ("scheduler", registers(instance_id, "elsewhere")),
        ("logs", appends(AGENTS, f"{other}/agent/2026-01-01")),
        ("provisioning", terminates),
        ("scaler", evaluates),
        ("submission", records),
    ):
        code = await refused(peer_channel(for_peers(stack, service), service, own), call)
        assert code is CODES.PERMISSION_DENIED, service


async def test_a_service_calls_what_is_its_to_call(
    stack: Stack, agent: tuple[str, Identity]
) -> None:
    instance_id, _ = agent
    for role, service, call in (
        ("events", "provisioning", terminates),
        ("scaler", "submission", records),
        ("scaler", "scaler", evaluates),
        ("scheduler", "scheduler", registers(instance_id)),
    ):
        own = as_service(stack, role)
        code = await refused(peer_channel(for_peers(stack, service), service, own), call)
        assert code is CODES.PERMISSION_DENIED, (role, service)


async def test_a_log_is_the_instances_that_began_it(
    stack: Stack, aws: Aws, agent: tuple[str, Identity]
) -> None:
    _, own = agent
    target = for_peers(stack, "logs")
    log = await asyncio.to_thread(_log_of_a_callers, aws)
    assert await refused(peer_channel(target, "logs", own), appends(*log)) is (
        CODES.PERMISSION_DENIED
    )


def _log_of_a_callers(aws: Aws) -> tuple[str, str]:
    for arguments in (
        ("logs", "create-log-group", "--log-group-name", "/mine"),
        ("logs", "create-log-stream", "--log-group-name", "/mine", "--log-stream-name", "s"),
    ):
        environ = {**os.environ, **aws.stack.environ} | {
            "AWS_ENDPOINT_URL": aws.stack.gateway_url,
            **aws.stack.credentials,
            "AWS_DEFAULT_REGION": "us-east-1",
        }
        command = [str(Path(LONGSHORE).with_name("aws")), *arguments]
        subprocess.run(command, env=environ, check=True, timeout=PATIENCE_SECONDS)
    return "/mine", "s"


@pytest.fixture(scope="module")
def yard(stack: Stack) -> Iterator[str]:
    """An environment that machines join, with a queue of the same name."""
    stack.call("env", "create", "yard", "--type", "UNMANAGED", check=True)
    stack.call("queue", "create", "yard", "--env", "yard", check=True)
    yield "yard"
    remove(stack, "yard")


def _machine(stack: Stack, place: Path, token: str) -> AgentConfig:
    """The settings of an agent that is to join."""
    return AgentConfig.from_environment(
        {
            "LONGSHORE_DATA_DIR": str(place),
            "LONGSHORE_JOIN": f"127.0.0.1:{stack.port_base + JOIN_OFFSET}",
            "LONGSHORE_JOIN_TOKEN": token,
        }
    )


async def test_a_token_is_good_for_as_many_as_it_says(
    stack: Stack, yard: str, tmp_path: Path
) -> None:
    """Five at once with a token for two: two are in, and each is an instance of its own."""
    made = await asyncio.to_thread(stack.json, "token", "create", "--env", yard, "--uses", "2")
    machines = [_machine(stack, tmp_path / str(n), made["token"]) for n in range(5)]
    answers = await asyncio.gather(*map(enrol, machines), return_exceptions=True)
    joined = [answer for answer in answers if isinstance(answer, AgentConfig)]
    assert len(joined) == 2
    assert len({answer.instance_id for answer in joined}) == 2
    assert {answer.compute_environment for answer in joined} == {yard}
    others = [answer for answer in answers if answer not in joined]
    assert [type(other) for other in others] == [Unauthenticated] * 3
    # A service starts with the same command: it is who it was.
    again = await enrol(_machine(stack, joined[0].data_dir, made["token"]))
    assert again.instance_id == joined[0].instance_id
    assert await asyncio.to_thread(stack.json, "token", "list") == []


async def test_a_token_that_is_deleted_is_good_for_nothing(
    stack: Stack, yard: str, tmp_path: Path
) -> None:
    made = await asyncio.to_thread(stack.json, "token", "create", "--env", yard)
    token_id = made["details"]["tokenId"]
    assert [
        item["tokenId"]
        for item in await asyncio.to_thread(stack.json, "token", "list", "--env", yard)
    ] == [token_id]
    await asyncio.to_thread(stack.call, "token", "delete", token_id, check=True)
    with pytest.raises(Unauthenticated):
        await enrol(_machine(stack, tmp_path, made["token"]))
    assert (await asyncio.to_thread(stack.call, "token", "delete", token_id)).returncode != 0


async def test_a_token_is_shown_to_its_own_stack_alone(
    stack: Stack, yard: str, tmp_path: Path
) -> None:
    """Whoever pretends to be the stack is not told it."""
    made = await asyncio.to_thread(stack.json, "token", "create", "--env", yard)
    token, fingerprint = made["token"].rsplit(".", 1)
    other = f"{token}.{fingerprint[::-1]}"
    with pytest.raises(Unauthenticated, match="the token was not shown to it"):
        await enrol(_machine(stack, tmp_path, other))
    assert (await asyncio.to_thread(stack.json, "token", "list", "--env", yard))[0]["usesLeft"] == 1
    await asyncio.to_thread(stack.call, "token", "delete", made["details"]["tokenId"], check=True)


def test_the_authority_rotates_while_jobs_run(
    stack: Stack, yard: str, gate: Gate, tmp_path: Path
) -> None:
    """What runs goes on, a token from before is good, and what joined before connects again."""
    token = stack.json("token", "create", "--env", yard)["token"]
    before = stack.json("ca")["trusted"]
    command = ("--image", "busybox:latest", "--", "sh", "-c", gate.script())
    stack.call("definition", "register", "lasting-yard", *command, check=True)
    join = (LONGSHORE, "agent", "--join", f"127.0.0.1:{stack.port_base}", "--token", "-")
    options = ("--runtime", "process", "--data-dir", str(tmp_path / "agent"))
    job = stack.json("submit", "on", "--definition", "lasting-yard", "--queue", yard)["jobId"]

    def status() -> str:
        return str(stack.json("describe", job)[0]["status"])

    def start() -> subprocess.Popen[bytes]:
        agent = subprocess.Popen(
            [*join, *options], env=stack.environ, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        assert agent.stdin is not None
        agent.stdin.write(f"{token}\n".encode())
        agent.stdin.close()
        return agent

    agent = start()
    try:
        eventually(lambda: status() == "RUNNING", "it runs", PATIENCE_SECONDS)
        if len(before) == 1:
            stack.call("ca", "rotate", check=True)
        trusted = stack.json("ca")["trusted"]
        assert [one["current"] for one in trusted] == [True, False]
        agent.kill()
        agent.wait()
        # Its certificate is of the authority before; it is shown those of the new one.
        agent = start()
        gate.open()
        eventually(lambda: status() == "SUCCEEDED", "what ran is told of", PATIENCE_SECONDS)
        assert stack.call("ca", "rotate").returncode == 1, "one rotation at a time"
    finally:
        agent.send_signal(signal.SIGTERM)
        assert agent.wait(timeout=PATIENCE_SECONDS) == 0


def test_connections_that_say_nothing_hold_nobody_up(stack: Stack) -> None:
    with contextlib.ExitStack() as opened:
        for service in ("scheduler", "logs", "provisioning"):
            for _ in range(200):
                host, port = for_peers(stack, service).split(":")
                half = opened.enter_context(socket.create_connection((host, int(port))))
                half.send(b"\x16\x03")
        done = stack.call("run", "busybox:latest", "--", "echo", "through")
        assert done.stdout == "through\n", done.stderr


def test_no_token_is_left_where_others_read(stack: Stack, agent: tuple[str, Identity]) -> None:
    del agent
    logs = [*(stack.data_dir / "log").glob("*.log"), *stack.data_dir.glob("instances/*/agent.log")]
    assert logs
    for log in logs:
        assert b"lsjoin." not in log.read_bytes(), log
    eventually(
        lambda: not list(stack.data_dir.glob("instances/*/join-token")),
        "each agent has removed its token",
        PATIENCE_SECONDS,
    )
    for process in stack.agents():
        with contextlib.suppress(psutil.NoSuchProcess):
            assert "lsjoin." not in " ".join([*process.cmdline(), *process.environ().values()])
    modes = {
        path: path.stat().st_mode & 0o777
        for path in [stack.data_dir / "tls", *(stack.data_dir / "tls").rglob("*")]
    }
    assert {mode for path, mode in modes.items() if path.is_dir()} == {0o700}
    assert {mode for path, mode in modes.items() if path.is_file()} == {0o600}
