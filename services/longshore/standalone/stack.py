"""The whole stack of one data directory, from nothing to ready and back."""

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

import structlog

from longshore.domain.errors import PreconditionFailed, Unavailable
from longshore.identity.keeping import Certificates
from longshore.identity.material import Identity, service_identity
from longshore.runtime.config import Settings, is_loopback
from longshore.runtime.host import local_catalogue
from longshore.runtime.stack_key import StackKey, make_key
from longshore.standalone import leftovers
from longshore.standalone.config import SERVICES, StandaloneConfig
from longshore.standalone.defaults import make_defaults
from longshore.standalone.engine import engine_version
from longshore.standalone.first_key import ensure_first_key
from longshore.standalone.record import ProcessRecord, Record
from longshore.standalone.service_process import ServiceProcess
from longshore.state.embedded import EmbeddedPostgres, ensure_database
from longshore.state.migrate import migrate

log = structlog.get_logger()

DATABASE = "longshore"
POSTGRES_POLL_SECONDS = 2.0
STOP_SECONDS = 15.0
#: Provisioning ends its instances before it ends: their agents, within the time below, then what
#: those have left.
INSTANCES_STOP_SECONDS = 120.0
#: Time for an instance that nobody ended to end: 30 s for its jobs to stop, 40 s in which the agent
#: looks for a scheduler and a log service to tell.
INSTANCE_SECONDS = 90.0
#: Who is stopped together: front doors first; the scheduler hears from instances how their jobs
#: end.
STOP_ORDER = (
    ("gateway", "submission", "scaler"),
    ("provisioning",),
    ("scheduler",),
    ("events",),
    ("logs",),
)


class Stack:
    """PostgreSQL and all services."""

    def __init__(self, config: StandaloneConfig, environ: Mapping[str, str]) -> None:
        self._config = config
        self._environ = dict(environ)
        self._defaults_marker = config.data_dir / "defaults-made"
        self._postgres = EmbeddedPostgres(config.postgres_directory)
        self._certificates = Certificates(config.tls_directory, config.tls_names)
        self._services: dict[str, ServiceProcess] = {}
        #: Whether a failure leaves instances alone, for the next stack to take over: those that
        #: were there when this one came up, and all once it was ready.
        self.keeps_instances = False
        self._supervising: list[asyncio.Task[None]] = []
        self._record = Record(
            supervisor=ProcessRecord.of(os.getpid()),
            version=version("longshore"),
            port_base=config.port_base,
            addresses=config.reached_at,
            ca_file=config.ca_file,
            metrics=config.metrics,
            runtime="",
            runtime_detail="",
            database="",
            log_directory=str(config.log_directory),
            is_open=config.is_open,
        )

    async def up(self) -> None:
        """Brings everything up; ready on return.

        Raises:
            Unavailable: a part does not come up; the message says which and what it said.
            PreconditionFailed: the machine lacks what the settings ask for.
        """
        async with asyncio.timeout(self._config.start_seconds):
            await self._take_over()
            self._tell("looking for a container runtime")
            await self._choose_runtime()
            self._check_ports()
            # From then on provisioning keeps them.
            await asyncio.to_thread(self._certificates.renew)
            self._tell("starting PostgreSQL")
            database_url = await self._open_database()
            await self._make_keys(database_url)
            self._tell("starting the services")
            await self._start_services(database_url)
            await self._make_defaults()
        self.keeps_instances = True
        self._tell("", status="ready")

    async def supervise(self) -> None:
        """Restarts services that die, until cancelled."""
        async with asyncio.TaskGroup() as group:
            for name, service in self._services.items():
                group.create_task(service.supervise(*self._asked_at(name)), name=name)
            if not self._config.database_url:
                group.create_task(self._supervise_postgres(), name="postgres")

    async def down(self, *, ends_instances: bool = True) -> None:
        """Stops everything that runs, each part in bounded time.

        Args:
            ends_instances: with what runs on them; else they go on, and the next stack has them.
        """
        self._tell("stopping", status="stopping")
        for names in STOP_ORDER:
            ends = ends_instances and "provisioning" in names
            async with asyncio.TaskGroup() as group:
                for name in names:
                    if name in self._services:
                        group.create_task(self._stop(name, ends=ends))
            if ends:
                await end_instances(self._config.data_dir)
        await asyncio.to_thread(self._postgres.stop)

    async def _stop(self, name: str, *, ends: bool) -> None:
        if ends:
            await self._services[name].stop(INSTANCES_STOP_SECONDS, signal.SIGUSR1)
        else:
            await self._services[name].stop(STOP_SECONDS)

    def tell_end(self, failure: str = "") -> None:
        """Leaves the last word in the record."""
        self._record.services = {}
        self._tell(failure, status="failed" if failure else "stopped")

    def _tell(self, message: str, *, status: str | None = None) -> None:
        self._record.status = status or self._record.status
        self._record.message = message
        self._write_record()
        log.info("stack.progress", status=self._record.status, message=message)

    async def _take_over(self) -> None:
        """Stops the services of a killed supervisor; instances, and jobs on them, go on."""
        directory = self._config.data_dir
        self.keeps_instances = bool(await asyncio.to_thread(leftovers.instances, directory))
        orphans = leftovers.orphans(directory)
        if orphans:
            log.info("stack.taking_over", services=len(orphans))
            await asyncio.to_thread(leftovers.stop, orphans, STOP_SECONDS)

    async def _choose_runtime(self) -> None:
        engine = None
        if self._config.runtime != "process":
            engine = await engine_version(self._environ)
        if engine is None and self._config.runtime == "docker":
            raise PreconditionFailed(
                "No Docker engine answers; start one, or use --runtime process."
            )
        if engine is None:
            asked = self._config.runtime == "process"
            self._record.runtime = "process"
            self._record.runtime_detail = "commands run on this machine without containers" + (
                "" if asked else "; no Docker engine answers"
            )
        else:
            self._record.runtime = "docker"
            self._record.runtime_detail = f"Docker Engine {engine}"

    def _check_ports(self) -> None:
        """Finds a port that is taken before a service fails on it with less of an explanation."""
        config = self._config
        for name, address in [
            *config.addresses.items(),
            *config.peers.items(),
            *config.metrics.items(),
            ("provisioning", config.join_address),
        ]:
            host, _, port = address.rpartition(":")
            with contextlib.closing(socket.socket()) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind((host, int(port)))
                except OSError as error:
                    raise PreconditionFailed(
                        f"{address}, where {name} is to listen, cannot be had ({error.strerror}); "
                        "choose other ports with --port-base."
                    ) from error

    async def _open_database(self) -> str:
        if self._config.database_url:
            self._record.database = "external, by LONGSHORE_DATABASE_URL"
            database_url = self._config.database_url
        else:
            adopted = not await asyncio.to_thread(self._postgres.start)
            self._record.database = f"embedded PostgreSQL in {self._config.postgres_directory}" + (
                " (was running already)" if adopted else ""
            )
            await ensure_database(self._postgres.url(), DATABASE)
            database_url = self._postgres.url(DATABASE)
        applied = await migrate(database_url)
        if applied:
            log.info("database.migrated", migrations=applied)
        return database_url

    async def _make_keys(self, database_url: str) -> None:
        """The key that services share, and the one of who owns the stack."""
        if self._config.is_open:
            return
        path = self._config.stack_key_path
        await asyncio.to_thread(make_key, path)
        key = await asyncio.to_thread(StackKey.read, path)
        await ensure_first_key(self._config.data_dir, database_url, key)

    async def _start_services(self, database_url: str) -> None:
        # numpy has a thread for each core otherwise, which cost at each start and help with nothing
        # as small as what is reckoned here.
        environ = {"OPENBLAS_NUM_THREADS": "1"} | self._environ
        environ |= {
            "LONGSHORE_DATA_DIR": str(self._config.data_dir),
            "LONGSHORE_DATABASE_URL": database_url,
            "LONGSHORE_TLS_DIR": str(self._config.tls_directory),
            "LONGSHORE_LOGS_DIR": str(self._config.data_dir / "logs"),
            "LONGSHORE_RUNTIME": self._record.runtime,
            "LONGSHORE_STACK_KEY_FILE": str(self._config.stack_key_path),
            # Whether instances end with provisioning is said when it is stopped.
            "LONGSHORE_STOP_INSTANCES": "false",
        }
        for name in SERVICES:
            self._services[name] = ServiceProcess(
                name, environ, self._config.log_directory / f"{name}.log", self._changed
            )
            await self._services[name].start()
        try:
            async with asyncio.TaskGroup() as group:
                for name, service in self._services.items():
                    group.create_task(service.until_serving(*self._asked_at(name)))
        except ExceptionGroup as group_error:
            raise group_error.exceptions[0] from group_error

    def _asked_at(self, name: str) -> tuple[str, Identity | None]:
        """Where a service is asked how it is, and as whom."""
        address = self._config.addresses[name]
        if is_loopback(address):
            return address, None
        identity = service_identity(self._config.tls_directory, "standalone")
        return self._config.peers.get(name, address), identity

    async def _make_defaults(self) -> None:
        """Once in the life of a data directory: what a user deletes stays deleted."""
        if self._defaults_marker.exists():
            return
        self._tell("making the defaults")
        machine = local_catalogue(Settings(self._environ))[0]
        identity = service_identity(self._config.tls_directory, "standalone")
        await make_defaults(self._config.peers["submission"], identity, machine)
        self._defaults_marker.touch()

    async def _supervise_postgres(self) -> None:
        """Starts PostgreSQL again when it is gone. It is not our child, so only looking tells."""
        while True:
            await asyncio.sleep(POSTGRES_POLL_SECONDS)
            if await asyncio.to_thread(self._postgres.is_running):
                continue
            log.warning("postgres.died")
            try:
                await asyncio.to_thread(self._postgres.start)
            except Unavailable as error:
                log.warning("postgres.not_restarted", error=error.message)
            else:
                log.info("postgres.restarted")

    def _changed(self) -> None:
        self._record.services = {
            name: service.record for name, service in self._services.items() if service.record
        }
        self._write_record()

    def _write_record(self) -> None:
        try:
            self._record.write(self._config.data_dir)
        except OSError as error:
            # The disk is full, most likely. What runs matters more than what is told of it.
            log.warning("record.not_written", error=str(error))


async def stop_orphans(data_dir: Path) -> None:
    """Stops what a killed supervisor left behind as `Stack.down` stops a stack."""
    for names in STOP_ORDER:
        ends = "provisioning" in names
        number, grace = (
            (signal.SIGUSR1, INSTANCES_STOP_SECONDS) if ends else (signal.SIGTERM, STOP_SECONDS)
        )
        await asyncio.to_thread(leftovers.stop, leftovers.orphans(data_dir, names), grace, number)
        if ends:
            await end_instances(data_dir)


async def end_instances(data_dir: Path) -> None:
    """Ends the instances that no provisioning has ended: it was gone, or had just begun."""
    agents = await asyncio.to_thread(leftovers.instances, data_dir)
    # SIGUSR1 ends an instance with all that runs on it; SIGTERM would end the agent alone.
    await asyncio.to_thread(leftovers.stop, agents, INSTANCE_SECONDS, signal.SIGUSR1)
