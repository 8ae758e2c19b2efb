"""The local provider: each instance is an agent process on this machine.

    <directory>/<instance id>/agent.log     what the agent prints, and `agent.log.1`, put aside
    <directory>/<instance id>/...           its own data: journal, spooled logs

Agents outlive this process (`local_process`). A type of another family than `local`, or a slot, is
an agent that is told to offer just so much; nothing else tells the machine's instances apart.
"""

import asyncio
import os
import shutil
import signal
import subprocess
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from pathlib import Path

import psutil
import structlog

from longshore.domain.catalogue import Catalogue, InstanceType
from longshore.domain.checks import Json
from longshore.domain.instance import InstanceRecord
from longshore.domain.order import (
    INSTANCE_LIMIT,
    UNSUPPORTED_ARCHITECTURE,
    CapacityError,
    CapacityOrder,
    Ordered,
    OrderEntry,
    allot,
    instance_ids,
)
from longshore.domain.scaling.market import Quote
from longshore.identity.private_file import write_private
from longshore.provisioning.local.process import Processes
from longshore.provisioning.provider import Fulfilment, LaunchError, ProviderInstance
from longshore.runtime import log_file

log = structlog.get_logger()

CLEANUP_SECONDS = 30.0
#: Makes a token for an instance, given its environment and id.
NewToken = Callable[[str, str], Awaitable[str]]
#: In an instance's directory: its token, until it has joined.
TOKEN_FILE = "join-token"  # noqa: S105 - a name
#: Logs of instances that are over.
LOGS_KEPT = 200
#: A log that is larger is put aside, in the place of the one before.
LOG_BYTES = 4 * 1024 * 1024
_LOG = "agent.log"
_LOGS = (_LOG, log_file.aside(Path(_LOG)).name)
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
    "LONGSHORE_NODE_NETWORK",
    "LONGSHORE_PULL",
    "LONGSHORE_PULL_ATTEMPTS",
    "LONGSHORE_AGENT_STARTS",
    "LONGSHORE_CONTAINER_PIDS",
    "LONGSHORE_CONTAINER_LOG_MIB",
    "LONGSHORE_CONTAINER_LOG_FILES",
    "LONGSHORE_SPOOL_MIB",
    "LONGSHORE_DISK_FREE_MIB",
    "LONGSHORE_PROCESS_LENIENT",
    "LONGSHORE_LOG_DRAIN_SECONDS",
    "LONGSHORE_ACCOUNT",
    "LONGSHORE_REGION",
    "LONGSHORE_JOB_ROLES",
    "LONGSHORE_STS_REGION",
    "LONGSHORE_STS_ENDPOINT_URL",
    "LONGSHORE_SECRETS_FILE",
    "LONGSHORE_SECRETS_KEY_FILE",
    "LONGSHORE_FILE_SYSTEMS",
    "LONGSHORE_JOBS_OTLP_ENDPOINT",
)
#: Begins the names of AWS's own: the credentials, region and endpoints by which an agent assumes
#: the roles of jobs and reads their secrets. Jobs do not get them.
AWS_PREFIX = "AWS_"


class LocalProvider:
    """Runs instances as processes. Not for use from several threads or processes at once."""

    name = "local"
    revives = True

    def __init__(  # noqa: PLR0913 - as many settings as it has
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
        new_token: NewToken | None = None,
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
            new_token: makes a token for the instance of an environment; None: agents need none, in
                tests.
        """
        self._directory = directory
        self._catalogue = catalogue
        self._architecture = architecture
        self._environment = environment
        self._limit = instances_limit
        self._agent_command = tuple(agent_command)
        self._cleanup_command = tuple(cleanup_command)
        self._new_token = new_token
        self._processes = Processes(directory, on_exit)
        self._remains: list[str] | None = None

    async def fulfil(
        self,
        order: CapacityOrder,
        kinds: Mapping[str, InstanceType],
        resources: Json,
        live: int,
    ) -> Fulfilment:
        """Takes what this machine may run; processes are started by `launch`."""
        del resources
        taken, errors = allot(
            order,
            lambda entry, count: self._refuse(entry, kinds[entry.instance_type], live + count),
        )
        ids = instance_ids(order.order_id, len(taken))
        return Fulfilment(
            tuple(
                Ordered(instance_id=instance_id, entry=entry, zone=entry.zone)
                for instance_id, entry in zip(ids, taken, strict=True)
            ),
            tuple(errors),
        )

    async def taken_back(self, instance_ids: Sequence[str]) -> Mapping[str, str]:
        """None: this machine takes nothing back."""
        del instance_ids
        return {}

    async def quote(self, kinds: Sequence[InstanceType]) -> list[Quote]:
        """Nothing: this machine has no market."""
        del kinds
        return []

    def _refuse(self, entry: OrderEntry, kind: InstanceType, live: int) -> CapacityError | None:
        """Refuses other architectures, and more instances than the limit."""
        if kind.architecture != self._architecture:
            reason = UNSUPPORTED_ARCHITECTURE
            message = f"This machine is {self._architecture}, {kind.name} is {kind.architecture}."
        elif live >= self._limit:
            reason = INSTANCE_LIMIT
            message = f"This machine runs at most {self._limit} instances."
        else:
            return None
        return CapacityError(kind.name, entry.zone, entry.purchase_option, reason, message)

    async def launch(self, instance: InstanceRecord) -> ProviderInstance:
        """Starts the agent of an instance unless it runs."""
        await self._found_remains()
        process = self._processes.get(instance.instance_id)
        if process is None or not process.is_running():
            command, environment = self._agent_command, self._agent_environment(instance)
            token = b""
            if self._new_token is not None:
                made = await self._new_token(instance.compute_environment, instance.instance_id)
                token = made.encode()
            try:
                if token:
                    path = self._directory / instance.instance_id / TOKEN_FILE
                    await asyncio.to_thread(write_private, path, token)
                process = self._processes.start(instance.instance_id, command, environment)
            except (OSError, psutil.Error) as error:
                raise LaunchError(f"The agent could not be started: {error}.") from error
        return ProviderInstance(instance.instance_id, str(process.pid))

    async def terminate(self, instance_ids: Sequence[str], *, force: bool) -> None:
        """Has the agent end its instance, or kills the agent alone.

        SIGUSR1 stops what runs there as a job is stopped, and tells of it; SIGTERM would leave it
        to a next agent, and so to `clean`, which removes it without a word.
        """
        await self._found_remains()
        for instance_id in instance_ids:
            if process := self._processes.get(instance_id):
                try:
                    process.send_signal(signal.SIGKILL if force else signal.SIGUSR1)
                except psutil.NoSuchProcess:
                    continue

    async def describe(self) -> list[ProviderInstance]:
        """Every agent that runs; what they print is bounded on the way."""
        await self._found_remains()
        running = self._processes.running()
        await asyncio.to_thread(self._bound_logs, list(running))
        return [ProviderInstance(key, str(pid)) for key, pid in running.items()]

    def _bound_logs(self, instance_ids: Sequence[str]) -> None:
        for instance_id in instance_ids:
            try:
                log_file.bound(self._directory / instance_id / _LOG, LOG_BYTES)
            except OSError as error:
                log.warning("log.not_put_aside", instance_id=instance_id, error=str(error))

    async def clean(self, instance_id: str) -> None:
        """Removes what the agent left running, then everything of its directory but its log.

        If the first does not work, the directory stays as it is: it tells that, and of what.
        """
        directory = self._directory / instance_id
        remains = await self._found_remains()
        if instance_id in remains:
            remains.remove(instance_id)
        if not directory.is_dir():
            return
        if await asyncio.to_thread(self._run_cleanup, instance_id, directory):
            await asyncio.to_thread(_keep_only_log, directory)
        else:
            remains.append(instance_id)

    async def remains(self) -> list[str]:
        """Instances whose directory holds more than a log, the longest untried first."""
        return list(await self._found_remains())

    def close(self) -> None:
        """Stops watching; instances go on."""
        self._processes.close()

    def _run_cleanup(self, instance_id: str, directory: Path) -> bool:
        with (directory / _LOG).open("ab") as output:
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

    async def _found_remains(self) -> list[str]:
        """What remains to be cleaned up; the first time, finds what a process before this left."""
        if self._remains is None:
            self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            await self._processes.adopt()
            running = frozenset(self._processes.running())
            remains = await asyncio.to_thread(_remains, self._directory, running)
            # Of two who look at once the first counts: what it found may be dealt with by now.
            self._remains = remains if self._remains is None else self._remains
        return self._remains

    def _agent_environment(self, instance: InstanceRecord) -> dict[str, str]:
        kind = self._catalogue.get(instance.instance_type)
        if kind is None:
            raise LaunchError(f"Instance type {instance.instance_type} is not known.")
        offer = kind.offer
        return self._base_environment(instance.instance_id) | {
            "LONGSHORE_COMPUTE_ENVIRONMENT": instance.compute_environment,
            "LONGSHORE_INSTANCE_TYPE": instance.instance_type,
            "LONGSHORE_VCPU_MILLI": str(offer.vcpu_milli),
            "LONGSHORE_MEMORY_MIB": str(offer.memory_mib),
            "LONGSHORE_GPUS": str(offer.gpus),
        }

    def _base_environment(self, instance_id: str) -> dict[str, str]:
        passed_on = {
            name: value
            for name, value in os.environ.items()
            if name in PASSED_ON or name.startswith(AWS_PREFIX)
        }
        return passed_on | {
            **self._environment,
            "LONGSHORE_INSTANCE_ID": instance_id,
            "LONGSHORE_DATA_DIR": str(self._directory / instance_id),
            # The agent removes it once it has joined.
            "LONGSHORE_JOIN_TOKEN_FILE": str(self._directory / instance_id / TOKEN_FILE),
            # One engine for all instances: its log would be told as often as there are any.
            "LONGSHORE_ENGINE_LOG": "none",
        }


def _remains(directory: Path, running: Collection[str]) -> list[str]:
    """The instances that do not run and left more than a log; of the others few logs are kept."""
    remains = [
        path.name
        for path in directory.glob("i-*")
        if path.name not in running and not _is_only_log(path)
    ]
    _prune(directory, running)
    return remains


def _prune(directory: Path, running: Collection[str]) -> None:
    """Removes the oldest logs of instances that do not run, beyond a number."""
    logs = [path for path in directory.glob(f"i-*/{_LOG}") if path.parent.name not in running]
    alone = [path for path in logs if _is_only_log(path.parent)]
    for path in sorted(alone, key=lambda path: path.stat().st_mtime)[:-LOGS_KEPT]:
        shutil.rmtree(path.parent, ignore_errors=True)


def _is_only_log(directory: Path) -> bool:
    return all(path.name in _LOGS for path in directory.iterdir())


def _keep_only_log(directory: Path) -> None:
    for path in directory.iterdir():
        if path.name in _LOGS:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
