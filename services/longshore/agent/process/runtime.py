"""Runs attempts as child processes, for machines without Docker.

Each attempt has a directory and a supervisor: a shell in a session of its own, which runs the
command and writes down its exit code. Nothing else tells of an attempt, so it survives the agent:

- `pid`: made by the supervisor as its first act, and only if it is not there: of two supervisors
  for one attempt, the second ends without running anything;
- `out`, `err`: what the command prints; the agent turns them into the spool's lines;
- `gpus`: the GPUs that are the attempt's alone, a line each;
- `exit`: the exit code, as a shell has it (128 and the signal's number after a signal).

When the command has ended the supervisor kills what it left in its process group, itself included,
as the end of a container ends all in it. A supervisor that is gone without an exit code was killed;
whoever finds that out kills the rest of its group.
"""

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import structlog

from longshore.agent import machine
from longshore.agent.attempts.attempt import (
    NO_SECRETS,
    Attempt,
    AttemptKey,
    Exit,
    Phase,
    StepFailed,
    no_network,
    now,
)
from longshore.agent.attempts.environment import environment
from longshore.agent.config import AgentConfig
from longshore.agent.docker.container import refuse_impossible, refused
from longshore.agent.endpoint.document import Facts
from longshore.agent.endpoint.endpoint import Endpoint, Way
from longshore.agent.endpoint.server import NotFetched
from longshore.agent.gpu import IN_PROCESS, GpuPool
from longshore.agent.logs import naming
from longshore.agent.logs.spool import Spool
from longshore.agent.process.output import ProcessOutput
from longshore.agent.runtime import Found, Joined
from longshore.agent.secret.reading import Secrets
from longshore.v1 import agent_service_pb2 as pb
from longshore.v1 import resources_pb2

log = structlog.get_logger()

KILLED = 128 + signal.SIGKILL
#: How often output is looked at, in seconds.
OUTPUT_SECONDS = 0.1
#: How long the end of a log waits for room on the disk, in seconds.
DISK_SECONDS = 60.0
DISK_RETRY_SECONDS = 1.0
#: Variables of the agent's own environment that a command gets as well.
INHERITED = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "USER")
#: Variables that name files of credentials.
MACHINE_CREDENTIALS = ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE")
#: The command's output is its own alone: a shell that redirects outside of the subshell would tell
#: there of the command's end by a signal.
_SUPERVISOR = """
d=$1; shift
set -C
echo $$ 2>/dev/null >"$d/pid" || exit 125
set +C
trap : TERM INT HUP QUIT USR1 USR2
(exec "$@" >"$d/out" 2>"$d/err" </dev/null)
echo $? >"$d/exit"
kill -KILL 0
"""


@dataclass(slots=True)
class _Process:
    """A supervisor and what it runs."""

    directory: Path
    output: ProcessOutput
    pid: int
    child: "subprocess.Popen[bytes] | None" = None
    over: asyncio.Event = field(default_factory=asyncio.Event)
    pidfd: int = -1


class ProcessRuntime:
    """Attempts as process groups of this machine."""

    kind = resources_pb2.RUNTIME_PROCESS

    def __init__(
        self, config: AgentConfig, spool: Spool, endpoint: Endpoint, secrets: Secrets
    ) -> None:
        self._config = config
        self._spool = spool
        self._endpoint = endpoint
        self._secrets = secrets
        endpoint.tell_of(self)
        self._root = config.data_dir / "attempts"
        self._root.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._processes: dict[AttemptKey, _Process] = {}
        self._gpus = GpuPool(config.gpu_ids, IN_PROCESS)

    async def answers(self) -> bool:
        """Always: there is nothing in between."""
        return True

    def joined(self) -> Joined:
        """There are no containers."""
        return Joined()

    async def trial(self) -> None:
        """Runs a process in a directory of its own."""
        try:
            await asyncio.to_thread(_try, self._root / "trial")
        except OSError as error:
            raise StepFailed("CannotStartContainerError", str(error)) from error

    async def room(self) -> tuple[str, int] | None:
        """What is left in the data directory."""
        return await machine.least_room([self._config.data_dir])

    async def find(self) -> dict[AttemptKey, Found]:
        """The attempts that have a directory with a supervisor's mark in it."""
        found: dict[AttemptKey, Found] = {}
        for key, directory, started_at in await asyncio.to_thread(_supervised, self._root):
            address = await self._address() if "#" in key.job_id else ""
            found[key] = Found(str(directory), started_at, address)
            self._gpus.restore(key, _gpus_of(directory))
        return found

    def adopt(self, attempt: Attempt) -> None:
        """Watches a supervisor that an earlier life of the agent started."""
        if attempt.handle and attempt.started_at is not None:
            self._endpoint.take_up(attempt)
            directory = Path(attempt.handle)
            self._watch(attempt, directory, _supervisor_pid(directory), None)

    def prepared(self, attempt: Attempt) -> bool:
        """Refuses what a process cannot have; the image is not looked at."""
        refuse_impossible(attempt.assignment.container)
        if not self._config.process_lenient:
            refuse_unsupported(attempt.assignment)
            if attempt.of is not None and attempt.of.assignment.task.ipc_mode == "none":
                raise refused("ipcMode", "processes share that of the machine")
        return self._endpoint.prepared(attempt) and self._secrets.ready(attempt)

    async def prepare(self, attempt: Attempt) -> None:
        """Assumes the role and reads secrets; there is nothing to pull."""
        await self._endpoint.prepare(attempt)
        await self._secrets.fetch(attempt)

    async def started(self, attempt: Attempt) -> datetime | None:  # noqa: ARG002
        """None: a start is never broken off, and a second supervisor runs nothing."""
        return None

    async def launch(self, attempt: Attempt) -> datetime:
        """Starts the supervisor."""
        assignment = attempt.assignment
        variables = {name: os.environ[name] for name in INHERITED if name in os.environ}
        if assignment.container.job_role_arn:
            # SDKs look there first, and what is there is the machine's and not the job's.
            variables |= dict.fromkeys(MACHINE_CREDENTIALS, os.devnull)
        secrets = attempt.secrets or NO_SECRETS
        variables |= environment(
            assignment,
            self._config.compute_environment,
            secrets.environment,
            self._config.jobs_otlp_endpoint,
        )
        variables |= await self._endpoint.let_in(attempt, Way.LOOPBACK)
        gpus = self._gpus.take(attempt.key, assignment.resources.gpus)
        variables |= self._gpus.variables(gpus)
        command = list(assignment.container.command)
        if not command:
            raise StepFailed(
                "CannotStartContainerError", "the process runtime needs a command: it has no image"
            )
        if shutil.which(command[0], path=variables.get("PATH")) is None:
            raise StepFailed(
                "CannotStartContainerError",
                f'exec: "{command[0]}": executable file not found in $PATH',
            )
        if attempt.is_node:
            attempt.address = await self._address()
            if not attempt.address:
                raise no_network("the machine's address is not known")
        directory = self._root / attempt.key.path()
        attempt.handle = str(directory)
        try:
            child = _start(directory, attempt.key, command, variables, gpus)
        except OSError as error:
            raise StepFailed(
                "CannotStartContainerError", str(error), may_be_machine=True
            ) from error
        self._watch(attempt, directory, child.pid, child)
        return now()

    async def wait(self, attempt: Attempt) -> Exit:
        """Waits for the supervisor's end and reads what it wrote down."""
        process = self._process(attempt)
        while True:
            await process.over.wait()
            code = _exit_code(process.directory)
            if code is not None:
                stopped_at = _made_at(process.directory / "exit") or now()
                return Exit(code, stopped_at, lost=await self._lost(process.output))
            first = _supervisor_pid(process.directory)
            if first in (0, process.pid):
                _kill_group(process.pid, process.directory)
                return Exit(KILLED, now(), lost=await self._lost(process.output))
            # Ours found another supervisor there before it: that one counts.
            self._watch(attempt, process.directory, first, None)
            process = self._process(attempt)

    async def stop(self, attempt: Attempt) -> None:
        """SIGTERM to the group, the stop timeout, SIGKILL."""
        process = self._process(attempt)
        _signal(process.pid, signal.SIGTERM)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(attempt.stop_seconds):
                await process.over.wait()
                return
        _signal(process.pid, signal.SIGKILL)

    async def collect(self, attempt: Attempt) -> None:
        """Takes the rest of the output and closes the log."""
        self._endpoint.shut_out(attempt)
        # The attempt is over for the scheduler, which may place the next one on its GPUs.
        self._gpus.release(attempt.key)
        process = self._processes.get(attempt.key)
        name = naming.name_of(attempt.assignment)
        if process is not None:
            await self._take_rest(process.output)
        elif not self._spool.finished(name):
            # Of what ran and left nothing behind the end is not known.
            self._spool.finish(name, whole=attempt.started_at is None)

    async def remove(self, attempt: Attempt) -> None:
        """Removes the attempt's directory."""
        self._processes.pop(attempt.key, None)
        if attempt.handle:
            await asyncio.to_thread(shutil.rmtree, attempt.handle, ignore_errors=True)
        # What was collected before the agent's last start was found with them.
        self._gpus.release(attempt.key)

    async def discard(self, key: AttemptKey, found: Found) -> None:
        """Kills and removes what belongs to no attempt."""
        directory = Path(found.handle)
        _kill_group(_supervisor_pid(directory), directory)
        await asyncio.to_thread(shutil.rmtree, directory, ignore_errors=True)
        self._gpus.release(key)

    async def run(self, suspect: Callable[[], object]) -> None:  # noqa: ARG002 - always there
        """Takes output as it comes, until cancelled."""
        while True:
            await asyncio.sleep(OUTPUT_SECONDS)
            outputs = [process.output for process in self._processes.values()]
            for name in await asyncio.to_thread(_take_new, outputs):
                self._spool.touch(name)

    async def close(self, *, last: bool) -> None:  # noqa: ARG002 - nothing is the instance's alone
        """Lets go of the processes; they run on."""
        for process in self._processes.values():
            process.output.suspend()
            self._forget(process)
        await self._secrets.close()

    async def facts(self, attempt: Attempt) -> Facts:
        """What is known of an attempt's processes."""
        started_at = (attempt.started_at or now()).isoformat().replace("+00:00", "Z")
        return Facts(
            id=attempt.scope,
            name=f"longshore-{self._config.instance_id}-{attempt.key.path()}",
            image_id="",
            created_at=started_at,
            started_at=started_at if attempt.started_at else "",
            network_mode="host",
            addresses=tuple(filter(None, [await self._address()])),
        )

    async def statistics(self, attempt: Attempt) -> Any:  # noqa: ARG002 - of none there are any
        """There are none: nothing counts what processes use.

        Raises:
            NotFetched: always.
        """
        raise NotFetched("processes have no statistics")

    async def _address(self) -> str:
        """The machine's address, which is that of its processes; empty if it cannot be told."""
        try:
            return await machine.address_toward(self._config.scheduler_address)
        except OSError as error:
            log.warning("address.unknown", error=str(error))
            return ""

    async def _lost(self, output: ProcessOutput) -> str:
        """What is known to be missing in the log of what has ended, in words."""
        if output.full and not await self._take_rest(output):
            return "the rest of the output could not be kept"
        missing = output.left_out
        return f"{missing} bytes of the output are left out of the log" if missing else ""

    async def _take_rest(self, output: ProcessOutput) -> bool:
        """Takes the rest of an output and closes its log; returns whether there was room for it."""
        clock = asyncio.get_running_loop().time
        patience_ends = clock() + DISK_SECONDS
        while not output.closed and clock() < patience_ends:
            try:
                await asyncio.to_thread(output.close)
            except OSError as error:
                log.warning("output.not_taken", log=output.log_name, error=str(error))
                await asyncio.sleep(DISK_RETRY_SECONDS)
            else:
                self._spool.finish(output.log_name)
        if not output.closed:
            self._spool.finish(output.log_name, whole=False)
        return output.closed

    def _process(self, attempt: Attempt) -> _Process:
        process = self._processes.get(attempt.key)
        if process is None:
            raise StepFailed("DockerStateError", "The process is gone")
        return process

    def _watch(
        self,
        attempt: Attempt,
        directory: Path,
        pid: int,
        child: "subprocess.Popen[bytes] | None",
    ) -> None:
        earlier = self._processes.get(attempt.key)
        if earlier is not None:
            output = earlier.output
        else:
            name = naming.name_of(attempt.assignment)
            kept = self._config.spool_mib * 1024 * 1024
            output = ProcessOutput(self._spool, name, directory, kept)
        process = _Process(directory, output, pid, child)
        self._processes[attempt.key] = process
        if attempt.phase >= Phase.ENDED or not (child or _is_supervisor(pid, directory)):
            process.over.set()
            return
        try:
            process.pidfd = os.pidfd_open(pid)
        except ProcessLookupError:
            process.over.set()
            return
        asyncio.get_running_loop().add_reader(process.pidfd, self._ended, process)

    def _ended(self, process: _Process) -> None:
        if process.child is not None:
            process.child.poll()
        process.over.set()
        self._forget(process)

    def _forget(self, process: _Process) -> None:
        if process.pidfd >= 0:
            asyncio.get_running_loop().remove_reader(process.pidfd)
            os.close(process.pidfd)
            process.pidfd = -1


def _supervised(root: Path) -> list[tuple[AttemptKey, Path, datetime | None]]:
    """The attempts of which there is a directory, and when each started."""
    found: list[tuple[AttemptKey, Path, datetime | None]] = []
    for directory in root.iterdir():
        with contextlib.suppress(FileNotFoundError, ValueError):
            job_id, attempt, *container = (directory / "key").read_text().split()
            key = AttemptKey(job_id, int(attempt), *map(int, container))
            found.append((key, directory, _made_at(directory / "pid")))
    return found


def _take_new(outputs: list[ProcessOutput]) -> list[str]:
    """Takes what is new of each output; returns the names of the logs that have more now."""
    names: list[str] = []
    for output in outputs:
        try:
            if output.take():
                names.append(output.log_name)
        except OSError as error:
            # The disk is full, most likely; what is not taken now is taken later.
            log.warning("output.not_taken", error=str(error))
    return names


def refuse_unsupported(assignment: pb.Assignment) -> None:
    """Refuses what a process cannot have.

    CPU and memory are advisory, and the image is not looked at: every job definition has those. A
    host volume is there already if it is mounted where it lies.

    Raises:
        StepFailed: naming the first member that cannot be honoured.
    """
    container = assignment.container
    linux = container.linux_parameters
    paths = {volume.name: volume.host.source_path for volume in container.volumes}
    for point in container.mount_points:
        if paths.get(point.source_volume) != point.container_path or point.read_only:
            raise refused(
                "mountPoints", "a process sees a host path only where it lies, and writable"
            )
    members = {
        "privileged": container.privileged,
        "readonlyRootFilesystem": container.readonly_root_filesystem,
        "user": bool(container.user),
        "ulimits": bool(container.ulimits),
        "linuxParameters.devices": bool(linux.devices),
        "linuxParameters.sharedMemorySize": bool(linux.shared_memory_size),
        "linuxParameters.tmpfs": bool(linux.tmpfs),
        "linuxParameters.maxSwap": linux.HasField("max_swap"),
        "logConfiguration.logDriver": container.log_configuration.log_driver
        not in ("", "awslogs", "json-file"),
    }
    for member, asked in members.items():
        if asked:
            raise refused(member, "the process runtime cannot honour it")


def _start(
    directory: Path,
    key: AttemptKey,
    command: list[str],
    variables: dict[str, str],
    gpus: Iterable[str],
) -> "subprocess.Popen[bytes]":
    work = directory / "work"
    work.mkdir(parents=True, exist_ok=True, mode=0o700)
    (directory / "key").write_text(f"{key.job_id} {key.attempt} {key.container}\n")
    (directory / "gpus").write_text("".join(f"{gpu}\n" for gpu in gpus))
    return subprocess.Popen(  # noqa: S603 - running the job's command is what this is for
        ["/bin/sh", "-c", _SUPERVISOR, "longshore-attempt", str(directory), *command],
        cwd=work,
        env=variables,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def _gpus_of(directory: Path) -> list[str]:
    """The GPUs of the attempt whose directory it is."""
    try:
        return (directory / "gpus").read_text().split()
    except FileNotFoundError:
        return []


def _try(directory: Path) -> None:
    """Does what a start does; an OSError says that it cannot be done."""
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        (directory / "key").write_text("trial\n")
        subprocess.run(["/bin/sh", "-c", ":"], cwd=directory, check=False)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _supervisor_pid(directory: Path) -> int:
    """The supervisor's process id; 0 if there never was one."""
    try:
        return int((directory / "pid").read_text() or 0)
    except FileNotFoundError:
        return 0


def _command_line(pid: int) -> list[bytes]:
    """What a process was started with; empty if it is gone, or ended and not reaped."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[:-1]
    except OSError:
        return []


def _is_supervisor(pid: int, directory: Path) -> bool:
    """Whether a process id still means the attempt's supervisor, and not a later process."""
    return pid > 0 and str(directory).encode() in _command_line(pid)


def _kill_group(pid: int, directory: Path) -> None:
    """Kills a supervisor and its group, or what is left of the group without it.

    No process gets the id of a group that has members. So where the id means another process now,
    nothing is left of the group.
    """
    if _is_supervisor(pid, directory) or (pid > 0 and not _command_line(pid)):
        _signal(pid, signal.SIGKILL)


def _exit_code(directory: Path) -> int | None:
    try:
        text = (directory / "exit").read_text()
    except FileNotFoundError:
        return None
    return int(text) if text.endswith("\n") else None


def _made_at(path: Path) -> datetime | None:
    try:
        return datetime.fromtimestamp(path.stat().st_mtime, UTC)
    except FileNotFoundError:
        return None


def _signal(group: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, number)
