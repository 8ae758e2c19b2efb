"""A stand for the agent: a scheduler that only follows orders, real agents, a real log service."""

import asyncio
import contextlib
import io
import os
import signal
import subprocess
import sys
import tarfile
import time
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import duration_pb2
from support.identity import identity_of, joined, tls_settings
from support.patience import PATIENCE_SECONDS
from support.ports import free_port

from longshore.agent.docker.engine import Engine, EngineError
from longshore.agent.logs.naming import group_of
from longshore.agent.secret.file import SecretsFile
from longshore.rpc.credentials import server_credentials
from longshore.v1 import agent_service_pb2 as pb
from longshore.v1 import agent_service_pb2_grpc as pb_grpc
from longshore.v1 import (
    container_pb2,
    ecs_pb2,
    job_definition_pb2,
    log_service_pb2,
    log_service_pb2_grpc,
    resources_pb2,
)

IMAGE = "busybox:latest"
Key = tuple[str, int]


def key_of(key: pb.AttemptKey) -> Key:
    return key.job_id, key.attempt


class Scheduler(pb_grpc.AgentServiceServicer):
    """Plays the scheduler's side of the stream: a set of attempts, and what was said of them."""

    def __init__(self) -> None:
        self.wanted: dict[Key, pb.Assignment] = {}
        self.stops: dict[Key, pb.AttemptStop] = {}
        self.changes: dict[Key, list[pb.AttemptChange]] = {}
        self.sequences: list[int] = []
        self.registrations: list[pb.AgentRegister] = []
        self.heartbeats = 0
        self.health = pb.AgentHealth()
        self.notices: list[pb.AgentNotice] = []
        self.acknowledging = True
        self.over = False
        self.stored = 0
        self._streams: list[Any] = []
        self._writing = asyncio.Lock()
        self._told = asyncio.Condition()

    async def Connect(  # noqa: N802
        self,
        request_iterator: AsyncIterator[pb.ConnectRequest],  # noqa: ARG002
        context: Any,
    ) -> None:
        """Registers the agent, then takes reports and acknowledges them."""
        first = await context.read()
        if self.over:
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, "the instance is over")
        self.registrations.append(first.register)
        await context.write(
            pb.ConnectResponse(
                registered=pb.AgentRegistered(
                    session_id="s",
                    heartbeat_interval=duration_pb2.Duration(nanos=300_000_000),
                    assignments=self.wanted.values(),
                    stops=self.stops.values(),
                )
            )
        )
        self._streams.append(context)
        await self._notify()
        try:
            while (request := await context.read()) is not grpc.aio.EOF:
                await self._take(context, request)
        finally:
            self._streams.remove(context)
            await self._notify()

    async def _take(self, context: Any, request: pb.ConnectRequest) -> None:
        if request.WhichOneof("message") == "heartbeat":
            self.heartbeats += 1
            self.health = request.heartbeat.health
            await self._notify()
            return
        if request.WhichOneof("message") == "notice":
            self.notices.append(request.notice)
            await self._notify()
            return
        report = request.report
        self.sequences.append(report.sequence)
        if not self.acknowledging:
            return
        if report.sequence > self.stored:
            self.stored = report.sequence
            for change in report.changes:
                self.changes.setdefault(key_of(change.key), []).append(change)
                if change.status >= pb.ATTEMPT_STATUS_ENDED:
                    self.wanted.pop(key_of(change.key), None)
        acknowledge = pb.AgentAcknowledge(sequence=report.sequence)
        await self._write(context, pb.ConnectResponse(acknowledge=acknowledge))
        await self._notify()

    async def _notify(self) -> None:
        async with self._told:
            self._told.notify_all()

    async def until(self, condition: Any, seconds: float = PATIENCE_SECONDS) -> None:
        """Waits until a condition holds; it is looked at whenever an agent said something."""
        async with asyncio.timeout(seconds), self._told:
            await self._told.wait_for(condition)

    async def _send(self, response: pb.ConnectResponse) -> None:
        for stream in list(self._streams):
            await self._write(stream, response)

    async def _write(self, stream: Any, response: pb.ConnectResponse) -> None:
        async with self._writing:
            await stream.write(response)

    async def assign(self, *assignments: pb.Assignment) -> None:
        """Wants attempts from now on, and says so."""
        for assignment in assignments:
            self.wanted[key_of(assignment.key)] = assignment
        await self._send(pb.ConnectResponse(assign=pb.AgentAssign(assignments=assignments)))

    async def stop(self, assignment: pb.Assignment, status_reason: str = "stopped") -> None:
        """Wants the end of an attempt, and says so."""
        stop = pb.AttemptStop(key=assignment.key, status_reason=status_reason)
        self.stops[key_of(assignment.key)] = stop
        await self._send(pb.ConnectResponse(stop=pb.AgentStop(stops=[stop])))

    async def drain(self) -> None:
        """Says that there will be no more attempts."""
        await self._send(pb.ConnectResponse(drain=pb.AgentDrain(reason="scale down")))

    def last(self, assignment: pb.Assignment) -> pb.AttemptChange | None:
        """The last change of an attempt."""
        changes = self.changes.get(key_of(assignment.key))
        return changes[-1] if changes else None

    async def reached(
        self, assignment: pb.Assignment, status: pb.AttemptStatus.ValueType
    ) -> pb.AttemptChange:
        """Waits for an attempt to get so far."""

        def there() -> bool:
            last = self.last(assignment)
            return last is not None and last.status >= status

        await self.until(there)
        last = self.last(assignment)
        assert last is not None
        return last

    async def running(self, assignment: pb.Assignment) -> pb.AttemptChange:
        """Waits for an attempt to run."""
        return await self.reached(assignment, pb.ATTEMPT_STATUS_RUNNING)

    async def ended(self, assignment: pb.Assignment) -> pb.AttemptChange:
        """Waits for the end of an attempt."""
        return await self.reached(assignment, pb.ATTEMPT_STATUS_ENDED)


class Process:
    """One of our own processes, with its log in a file."""

    def __init__(self, module: str, environment: dict[str, str], log: Path) -> None:
        self.log = log
        with log.open("ab") as file:
            self.popen = subprocess.Popen(
                [sys.executable, "-m", module],
                env=os.environ | environment,
                stdout=file,
                stderr=file,
            )

    async def ends(self, seconds: float = PATIENCE_SECONDS) -> int:
        """Waits for the end of the process and returns its exit code."""
        return await asyncio.to_thread(self.popen.wait, seconds)

    async def kill(self) -> None:
        """SIGKILL."""
        self.popen.kill()
        await self.ends()

    async def terminate(self) -> int:
        """SIGTERM."""
        self.popen.terminate()
        return await self.ends()

    async def close(self) -> None:
        """Ends it as an instance is ended; as the log service knows no such end, that is killed."""
        if self.popen.poll() is None:
            self.popen.send_signal(signal.SIGUSR1)
            with contextlib.suppress(subprocess.TimeoutExpired):
                await self.ends(15)
        if self.popen.poll() is None:
            await self.kill()


def a_part(
    name: str,
    script: str,
    *needs: tuple[str, str],
    memory_mib: int = 64,
    **container: Any,
) -> ecs_pb2.TaskContainerProperties:
    """One of several containers, which runs a script; with whom it waits for, and for what."""
    return ecs_pb2.TaskContainerProperties(
        name=name,
        depends_on=[
            ecs_pb2.TaskContainerDependency(container_name=other, condition=condition)
            for other, condition in needs
        ],
        resource_requirements=[
            container_pb2.ResourceRequirement(type="VCPU", value="1"),
            container_pb2.ResourceRequirement(type="MEMORY", value=str(memory_mib)),
        ],
        **({"image": IMAGE, "command": ["sh", "-c", script]} | container),
    )


class Stand:
    """All of it, for one agent at a time."""

    def __init__(self, directory: Path, runtime: str, **environment: str) -> None:
        self.directory = directory
        self.runtime = runtime
        self.instance_id = f"i-{uuid.uuid4().hex[:17]}"
        self.scheduler = Scheduler()
        self.logs_port, self.scheduler_port = free_port(), free_port()
        self.logs_peer_port = free_port()
        self.environment = {
            "LONGSHORE_LOGS_ADDRESS": f"127.0.0.1:{self.logs_port}",
            "LONGSHORE_LOGS_PEER_ADDRESS": f"127.0.0.1:{self.logs_peer_port}",
            **tls_settings(),
            "LONGSHORE_LOGS_METRICS_ADDRESS": f"127.0.0.1:{free_port()}",
            "LONGSHORE_LOGS_DIR": str(directory / "stored"),
            "LONGSHORE_DATA_DIR": str(directory / "agent"),
            "LONGSHORE_SECRETS_FILE": str(directory / "secrets"),
            "LONGSHORE_SECRETS_KEY_FILE": str(directory / "secrets.key"),
            "DOCKER_CONFIG": str(directory),
            "LONGSHORE_INSTANCE_ID": self.instance_id,
            "LONGSHORE_COMPUTE_ENVIRONMENT": "ce",
            "LONGSHORE_RUNTIME": runtime,
            "LONGSHORE_PULL_ATTEMPTS": "1",
            **environment,
        }
        self.agent: Process | None = None
        self.logs: Process | None = None
        self._server: grpc.aio.Server | None = None

    @property
    def secrets(self) -> SecretsFile:
        """Longshore's own secrets, as the agent has them."""
        return SecretsFile(self.directory / "secrets", self.directory / "secrets.key")

    async def open(self) -> None:
        """Starts the scheduler, the log service and the agent."""
        await self.start_scheduler()
        await self.start_logs()
        await self.start_agent()

    def join(self, data_dir: Path) -> None:
        """Makes a directory that of an agent which has joined."""
        scheduler = f"127.0.0.1:{self.scheduler_port}"
        joined(data_dir, self.instance_id, "ce", scheduler, f"127.0.0.1:{self.logs_peer_port}")

    async def start_scheduler(self) -> None:
        """Starts the scheduler at the address that the agent knows."""
        self._server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
        pb_grpc.add_AgentServiceServicer_to_server(self.scheduler, self._server)
        self._server.add_secure_port(
            f"127.0.0.1:{self.scheduler_port}",
            server_credentials(identity_of("scheduler"), asks_clients=True),
        )
        await self._server.start()

    async def stop_scheduler(self) -> None:
        """Breaks all streams, and listens no more."""
        if self._server is not None:
            await self._server.stop(0)
            self._server = None

    async def start_logs(self) -> None:
        """Starts the log service."""
        self.logs = Process("longshore.logs", self.environment, self.directory / "logs.log")

    async def start_agent(self) -> None:
        """Starts the agent and, if it can, waits until it has registered."""
        data_dir = Path(self.environment["LONGSHORE_DATA_DIR"])
        if not (data_dir / "identity").exists():
            self.join(data_dir)
        seen = len(self.scheduler.registrations)
        self.agent = Process("longshore.agent", self.environment, self.directory / "agent.log")
        if self._server is not None:
            await self.scheduler.until(lambda: len(self.scheduler.registrations) > seen)

    async def close(self) -> None:
        """Ends all."""
        if self.agent is not None:
            await self.agent.close()
        if self.logs is not None and self.logs.popen.poll() is None:
            await self.logs.terminate()
        await self.stop_scheduler()

    def an_attempt(
        self,
        *command: str,
        attempt: int = 1,
        job_id: str = "",
        array: tuple[int, int] | None = None,
        node: tuple[int, int, str] | None = None,
        memory_mib: int = 64,
        stop_seconds: float = 30,
        **container: Any,
    ) -> pb.Assignment:
        """An assignment with a container that runs a command in busybox.

        An array child has index and size; a node index, number of nodes and node 0's address.
        """
        attempt_id = uuid.uuid4().hex
        assignment = pb.Assignment(
            key=pb.AttemptKey(job_id=job_id or str(uuid.uuid4()), attempt=attempt),
            attempt_id=attempt_id,
            job_name="test",
            job_queue="queue",
            job_definition="definition:3",
            resources=resources_pb2.Resources(vcpu_milli=500, memory_mib=memory_mib),
            container=job_definition_pb2.ContainerProperties(
                **({"image": IMAGE, "command": command} | container)
            ),
            log_stream_name=f"definition/default/{attempt_id}",
        )
        assignment.stop_timeout.FromMilliseconds(int(stop_seconds * 1000))
        if array is not None:
            assignment.array_index, assignment.array_size = array
        if node is not None:
            index, num_nodes, main_address = node
            assignment.key.job_id = f"{assignment.key.job_id}#{index}"
            assignment.node.CopyFrom(
                pb.NodeAssignment(index=index, num_nodes=num_nodes, main_address=main_address)
            )
        return assignment

    def several(
        self,
        *containers: ecs_pb2.TaskContainerProperties,
        node: tuple[int, int, str] | None = None,
        stop_seconds: float = 30,
        **task: Any,
    ) -> pb.Assignment:
        """An assignment of several containers."""
        assignment = self.an_attempt(node=node, stop_seconds=stop_seconds)
        assignment.ClearField("container")
        assignment.resources.vcpu_milli = 1000 * len(containers)
        assignment.resources.memory_mib = 64 * len(containers)
        assignment.task.CopyFrom(ecs_pb2.EcsTaskProperties(containers=containers, **task))
        assignment.container_log_stream_names.extend(
            f"definition/{one.name}/{assignment.attempt_id}" for one in containers
        )
        return assignment

    async def run(self, assignment: pb.Assignment) -> pb.AttemptChange:
        """Runs an attempt to its end."""
        await self.scheduler.assign(assignment)
        return await self.scheduler.ended(assignment)

    async def entries(
        self, assignment: pb.Assignment, **request: Any
    ) -> list[log_service_pb2.LogEntry]:
        """The whole log of an attempt, once it is complete."""
        entries: list[log_service_pb2.LogEntry] = []
        async with grpc.aio.insecure_channel(f"127.0.0.1:{self.logs_port}") as channel:
            stub = log_service_pb2_grpc.LogServiceStub(channel)
            message = log_service_pb2.TailLogsRequest(
                log_group_name=group_of(assignment),
                log_stream_name=assignment.log_stream_name,
                **({"follow": True} | request),
            )
            async for response in stub.TailLogs(
                message, timeout=PATIENCE_SECONDS, wait_for_ready=True
            ):
                entries += response.entries
        return entries

    async def entries_so_far(self, assignment: pb.Assignment) -> list[log_service_pb2.LogEntry]:
        """What there is of a log; none if nothing is known of it yet."""
        try:
            return await self.entries(assignment, follow=False)
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.NOT_FOUND:
                raise
            await asyncio.sleep(0.05)
            return []

    async def output(self, assignment: pb.Assignment) -> str:
        """What an attempt printed, both streams in order."""
        text = ""
        for entry in await self.entries(assignment):
            text += entry.text.decode() + ("" if entry.partial else "\n")
        return text

    async def output_of(self, assignment: pb.Assignment, name: str) -> str:
        """What one of several containers printed."""
        own = pb.Assignment(log_stream_name=f"definition/{name}/{assignment.attempt_id}")
        return await self.output(own)

    async def printed(self, *command: str, **attempt: Any) -> str:
        """Runs a command that must succeed, and returns what it printed."""
        assignment = self.an_attempt(*command, **attempt)
        end = await self.run(assignment)
        output = await self.output(assignment)
        assert (end.exit_code, end.reason) == (0, ""), (end, output)
        return output

    async def shell(self, script: str, **attempt: Any) -> str:
        """What a script printed that had to succeed."""
        return await self.printed("sh", "-c", script, **attempt)


def busybox_archive() -> bytes:
    """A root file system of busybox alone, from Debian's static one."""
    binary = Path("/bin/busybox")
    applets = subprocess.run(
        [binary, "--list"], check=True, capture_output=True, text=True
    ).stdout.split()
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.add(binary, "bin/busybox")
        for applet in applets:
            if applet != "busybox":
                link = tarfile.TarInfo(f"bin/{applet}")
                link.type, link.linkname = tarfile.SYMTYPE, "busybox"
                archive.addfile(link)
        for name, mode in (("tmp", 0o1777), ("etc", 0o755)):
            directory = tarfile.TarInfo(name)
            directory.type, directory.mode = tarfile.DIRTYPE, mode
            archive.addfile(directory)
        passwd = b"root:x:0:0:root:/:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n"
        member = tarfile.TarInfo("etc/passwd")
        member.size = len(passwd)
        archive.addfile(member, io.BytesIO(passwd))
    return buffer.getvalue()


async def ensure_busybox(engine: Engine) -> None:
    """Makes the busybox image from the machine's own binary, unless the engine has one."""
    try:
        await engine.call(engine.docker.images.inspect(IMAGE), 30)
    except EngineError as error:
        if error.status != 404:
            raise
        url = f"{engine.docker.docker_host}/{engine.docker.api_version}/images/create"
        params = {"fromSrc": "-", "repo": "busybox", "tag": "latest", "changes": 'CMD ["sh"]'}
        async with engine.docker.session.post(
            url, params=params, data=io.BytesIO(busybox_archive())
        ) as response:
            assert response.status == 200, await response.text()
            await response.read()


async def until(condition: Any, seconds: float = PATIENCE_SECONDS) -> None:
    """For what only the outside shows: looks again and again."""
    end = time.monotonic() + seconds
    while not await condition():
        assert time.monotonic() < end, "it did not happen in time"
        await asyncio.sleep(0.05)
