"""The local provider: each instance is an agent process on this machine.

    <directory>/<instance id>/agent.log     what the agent prints
    <directory>/<instance id>/...           its own data: journal, spooled logs

Agents are started in a session of their own and outlive this process. The one that comes after
finds them by what their environment says: instance id and directory. So there is no file of process
ids that could be missing, stale, or name a process that got an old id; and from then on a process
is known by its id together with its start time, which is what psutil checks before any signal.
"""

import asyncio
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

import psutil
import structlog

from longshore.domain.catalogue import Catalogue, InstanceType
from longshore.domain.instance import InstanceRecord
from longshore.domain.order import CapacityError, OrderEntry
from longshore.provisioning.provider import Found, LaunchError

log = structlog.get_logger()

CLEANUP_SECONDS = 30.0
#: Logs of instances that are over.
LOGS_KEPT = 200
#: Of our own environment, what an agent gets besides what describes its instance.
PASSED_ON = (
    "PATH",
    "HOME",
    "LANG",
    "TMPDIR",
    "XDG_RUNTIME_DIR",
    "DOCKER_HOST",
    "DOCKER_CONFIG",
    "DOCKER_CERT_PATH",
    "DOCKER_TLS_VERIFY",
    "LONGSHORE_NETWORK",
    "LONGSHORE_PULL",
    "LONGSHORE_PULL_ATTEMPTS",
    "LONGSHORE_AGENT_STARTS",
    "LONGSHORE_PROCESS_LENIENT",
    "LONGSHORE_LOG_DRAIN_SECONDS",
)


class LocalProvider:
    """Runs instances as processes. Not for use from several threads or processes at once."""

    name = "local"

    def __init__(
        self,
        directory: Path,
        catalogue: Catalogue,
        *,
        architecture: str,
        environment: Mapping[str, str],
        instances_limit: int,
        on_exit: Callable[[], None],
        agent_command: Sequence[str],
        cleanup_command: Sequence[str],
    ) -> None:
        """Makes a provider; `describe` must be called before anything is launched.

        Args:
            directory: where instances have their directories.
            catalogue: what types offer.
            architecture: of this machine; types of another are refused.
            environment: what every agent is told besides what describes its instance.
            instances_limit: most instances at one time.
            on_exit: called in the event loop when a process of ours has ended.
            agent_command: what is run for an instance.
            cleanup_command: what is run once it is gone, with the same environment.
        """
        self._directory = directory
        self._catalogue = catalogue
        self._architecture = architecture
        self._environment = environment
        self._limit = instances_limit
        self._on_exit = on_exit
        self._agent_command = tuple(agent_command)
        self._cleanup_command = tuple(cleanup_command)
        self._processes: dict[str, psutil.Process] | None = None
        self._remains: list[str] = []
        self._children: set[int] = set()
        self._watched: set[int] = set()

    def refuse(self, entry: OrderEntry, kind: InstanceType, live: int) -> CapacityError | None:
        """Refuses other architectures, and more instances than the limit."""
        if kind.architecture != self._architecture:
            reason = "UNSUPPORTED_ARCHITECTURE"
            message = f"This machine is {self._architecture}, {kind.name} is {kind.architecture}."
        elif live >= self._limit:
            reason = "INSUFFICIENT_INSTANCE_CAPACITY"
            message = f"This machine runs at most {self._limit} instances."
        else:
            return None
        return CapacityError(kind.name, entry.zone, reason, message)

    async def launch(self, instance: InstanceRecord) -> Found:
        """Starts the agent of an instance unless it runs."""
        processes = await self._known()
        process = processes.get(instance.instance_id)
        if process is None or not process.is_running():
            try:
                process = self._start(instance)
            except (OSError, psutil.Error) as error:
                raise LaunchError(f"The agent could not be started: {error}.") from error
            processes[instance.instance_id] = process
        return Found(instance.instance_id, str(process.pid))

    async def terminate(self, instance_ids: Sequence[str], *, force: bool) -> None:
        """Sends SIGTERM, or SIGKILL to the agent alone: its containers are left to `clean`."""
        processes = await self._known()
        for instance_id in instance_ids:
            if process := processes.get(instance_id):
                try:
                    process.send_signal(signal.SIGKILL if force else signal.SIGTERM)
                except psutil.NoSuchProcess:
                    continue

    async def describe(self) -> list[Found]:
        """Reaps and forgets what has ended, and names the rest."""
        processes = await self._known()
        self._children -= {pid for pid in self._children if _is_reaped(pid)}
        for instance_id in [key for key, process in processes.items() if not _is_alive(process)]:
            del processes[instance_id]
        return [Found(key, str(process.pid)) for key, process in processes.items()]

    async def clean(self, instance_id: str) -> None:
        """Removes what the agent left running, then everything of its directory but its log.

        If the first does not work, the directory stays as it is: it tells that, and of what.
        """
        directory = self._directory / instance_id
        if instance_id in self._remains:
            self._remains.remove(instance_id)
        if not directory.is_dir():
            return
        if await asyncio.to_thread(self._run_cleanup, instance_id, directory):
            await asyncio.to_thread(_keep_only_log, directory)
        else:
            self._remains.append(instance_id)

    async def remains(self) -> list[str]:
        """Instances whose directory holds more than a log, the longest untried first."""
        await self._known()
        return list(self._remains)

    def close(self) -> None:
        """Stops watching; instances go on."""
        loop = asyncio.get_running_loop()
        while self._watched:
            descriptor = self._watched.pop()
            loop.remove_reader(descriptor)
            os.close(descriptor)

    def _run_cleanup(self, instance_id: str, directory: Path) -> bool:
        with (directory / "agent.log").open("ab") as output:
            try:
                code = subprocess.run(  # noqa: S603 - our own command
                    self._cleanup_command,
                    env=self._base_environment(instance_id),
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    timeout=CLEANUP_SECONDS,
                    check=False,
                ).returncode
            except (OSError, subprocess.TimeoutExpired) as error:
                log.warning("instance.cleanup_failed", instance_id=instance_id, error=str(error))
                return False
        if code:
            log.warning("instance.cleanup_failed", instance_id=instance_id, code=code)
        return code == 0

    async def _known(self) -> dict[str, psutil.Process]:
        """The processes of our instances; the first time, those that an earlier process left."""
        if self._processes is None:
            self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._processes = await asyncio.to_thread(self._adopt)
            for process in self._processes.values():
                self._watch(process.pid)
        return self._processes

    def _adopt(self) -> dict[str, psutil.Process]:
        found = {}
        for process in psutil.process_iter():
            if instance_id := self._instance_of(process):
                found[instance_id] = process
        if found:
            log.info("instances.adopted", count=len(found))
        self._remains = [
            path.name
            for path in self._directory.glob("i-*")
            if path.name not in found and not _is_only_log(path)
        ]
        _prune(self._directory, found.keys())
        return found

    def _instance_of(self, process: psutil.Process) -> str | None:
        """The instance whose agent a process is, by what its environment says."""
        try:
            if os.getsid(process.pid) != process.pid:
                return None
            environ = process.environ()
        except (psutil.Error, OSError):
            return None
        instance_id = environ.get("LONGSHORE_INSTANCE_ID", "")
        directory = str(self._directory / instance_id)
        return (
            instance_id if instance_id and environ.get("LONGSHORE_DATA_DIR") == directory else None
        )

    def _start(self, instance: InstanceRecord) -> psutil.Process:
        directory = self._directory / instance.instance_id
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        kind = self._catalogue.get(instance.instance_type)
        if kind is None:
            raise LaunchError(f"Instance type {instance.instance_type} is not known.")
        offer = kind.offer
        environment = self._base_environment(instance.instance_id) | {
            "LONGSHORE_COMPUTE_ENVIRONMENT": instance.compute_environment,
            "LONGSHORE_INSTANCE_TYPE": instance.instance_type,
            "LONGSHORE_VCPU_MILLI": str(offer.vcpu_milli),
            "LONGSHORE_MEMORY_MIB": str(offer.memory_mib),
            "LONGSHORE_GPUS": str(offer.gpus),
        }
        with (directory / "agent.log").open("ab") as output:
            # Not asyncio's or subprocess's child: it is meant to outlive this process.
            pid = os.posix_spawn(
                self._agent_command[0],
                self._agent_command,
                environment,
                file_actions=[
                    (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                    (os.POSIX_SPAWN_DUP2, output.fileno(), 1),
                    (os.POSIX_SPAWN_DUP2, output.fileno(), 2),
                ],
                setsid=True,
                setsigmask=(),
                setsigdef=(signal.SIGPIPE, signal.SIGINT),
            )
        self._children.add(pid)
        process = psutil.Process(pid)
        self._watch(pid)
        return process

    def _base_environment(self, instance_id: str) -> dict[str, str]:
        passed_on = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        return passed_on | {
            **self._environment,
            "LONGSHORE_INSTANCE_ID": instance_id,
            "LONGSHORE_DATA_DIR": str(self._directory / instance_id),
        }

    def _watch(self, pid: int) -> None:
        """Has `on_exit` called when a process ends; without pidfd the next pass finds out."""
        try:
            descriptor = os.pidfd_open(pid)
        except (AttributeError, OSError):
            self._on_exit()
            return
        loop = asyncio.get_running_loop()

        def ended() -> None:
            self._watched.discard(descriptor)
            loop.remove_reader(descriptor)
            os.close(descriptor)
            self._on_exit()

        self._watched.add(descriptor)
        loop.add_reader(descriptor, ended)


def _is_reaped(pid: int) -> bool:
    """Takes note of a child's end, if it has ended."""
    return os.waitpid(pid, os.WNOHANG)[0] == pid


def _is_alive(process: psutil.Process) -> bool:
    """Whether a process is there and no zombie."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _prune(directory: Path, running: Collection[str]) -> None:
    """Removes the oldest logs of instances that do not run, beyond a number."""
    logs = [path for path in directory.glob("i-*/agent.log") if path.parent.name not in running]
    alone = [path for path in logs if _is_only_log(path.parent)]
    for path in sorted(alone, key=lambda path: path.stat().st_mtime)[:-LOGS_KEPT]:
        shutil.rmtree(path.parent, ignore_errors=True)


def _is_only_log(directory: Path) -> bool:
    return all(path.name == "agent.log" for path in directory.iterdir())


def _keep_only_log(directory: Path) -> None:
    for path in directory.iterdir():
        if path.name == "agent.log":
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
