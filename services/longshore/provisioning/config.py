"""Settings of provisioning."""

import os
import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Self

from longshore.domain.catalogue import Catalogue
from longshore.identity.doors import Doors
from longshore.provisioning.ec2.config import Ec2Config
from longshore.runtime.config import HISTORY, AccessSettings, ConfigError, Settings
from longshore.runtime.host import open_catalogue

AGENT_COMMAND = (sys.executable, "-m", "longshore.agent")
CLEANUP_COMMAND = (sys.executable, "-m", "longshore.agent.cleanup")


@dataclass(frozen=True, slots=True, kw_only=True)
class ProvisioningConfig:
    """How provisioning runs. `from_environment` says which variable sets what."""

    address: str
    metrics_address: str
    database_url: str
    provider: str = "local"
    instances_dir: Path
    catalogue: Catalogue
    scheduler_address: str
    logs_address: str
    runtime: str = "auto"
    interval_seconds: float = 5.0
    grace: timedelta = timedelta(seconds=60)
    instances_limit: int = 32
    quote_interval: timedelta = timedelta(seconds=300)
    history: timedelta = HISTORY
    #: Who is let in.
    access: AccessSettings = field(default_factory=AccessSettings)
    stop_instances: bool = False
    agent_command: tuple[str, ...] = AGENT_COMMAND
    cleanup_command: tuple[str, ...] = CLEANUP_COMMAND
    ec2: Ec2Config | None = None
    #: How it is reached beside the address for users; None: by anyone, in tests.
    doors: Doors | None = None
    #: Where machines join; empty: nowhere, in tests.
    join_address: str = ""
    #: Where machines that have joined find the services; a host of this machine alone: where they
    #: joined.
    told_scheduler_address: str = ""
    told_logs_address: str = ""
    #: The stack's folder of certificates.
    tls_directory: Path | None = None
    #: By which users reach services: for the services' certificates.
    tls_names: tuple[str, ...] = ()

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> Self:
        """Reads the settings.

        - LONGSHORE_PROVISIONING_ADDRESS, LONGSHORE_PROVISIONING_PEER_ADDRESS,
          LONGSHORE_PROVISIONING_METRICS_ADDRESS; LONGSHORE_TLS_*;
        - LONGSHORE_JOIN_ADDRESS: where machines join; LONGSHORE_JOIN_SCHEDULER_ADDRESS,
          LONGSHORE_JOIN_LOGS_ADDRESS (the services' addresses for agents): where these find the
          scheduler and the log service; with 0.0.0.0 or loopback for a host, where they joined;
        - LONGSHORE_DATABASE_URL;
        - LONGSHORE_SCHEDULER_PEER_ADDRESS, LONGSHORE_LOGS_PEER_ADDRESS: passed on to agents;
        - LONGSHORE_PROVIDER (local): `local` for agents as processes on this machine, or `ec2`; its
          settings are those of `longshore.provisioning.ec2.config`;
        - LONGSHORE_INSTANCES_DIR (`instances` in LONGSHORE_DATA_DIR, by default ~/.longshore): a
          directory for each local instance;
        - LONGSHORE_RUNTIME (auto): passed on to agents;
        - LONGSHORE_LOCAL_VCPUS, LONGSHORE_LOCAL_MEMORY_MIB, LONGSHORE_LOCAL_GPUS: what the
          machine is declared to be (see `longshore.runtime.host`); LONGSHORE_LOCAL_INSTANCES
          (32): most instances on it at one time;
        - LONGSHORE_PROVISION_INTERVAL (5): seconds between comparisons of records and provider;
        - LONGSHORE_DRAIN_SECONDS (60): grace for an empty instance to drain, then to exit;
        - LONGSHORE_QUOTE_INTERVAL (300): seconds between questions for a provider's prices;
        - LONGSHORE_HISTORY_DAYS (90): how long instances that are over and their orders are kept,
          from which costs are reckoned;
        - LONGSHORE_STOP_INSTANCES (false): end all instances when the service stops, as SIGUSR1
          does in any case;
        - LONGSHORE_AGENT_COMMAND, LONGSHORE_AGENT_CLEANUP_COMMAND: what is run, with a shell's
          quoting, for a local instance and once it is gone;
        - LONGSHORE_STACK_KEY_FILE, LONGSHORE_OPEN.
        """
        settings = Settings(environ)
        data_dir = settings.directory("LONGSHORE_DATA_DIR", Path("~/.longshore"))
        provider = settings.choice("LONGSHORE_PROVIDER", ("local", "ec2"), "local")
        return cls(
            provider=provider,
            ec2=Ec2Config.from_settings(settings) if provider == "ec2" else None,
            address=settings.address("provisioning"),
            doors=settings.doors("provisioning"),
            join_address=settings.join_address(),
            told_scheduler_address=settings.host_port(
                "LONGSHORE_JOIN_SCHEDULER_ADDRESS", settings.peer_address("scheduler")
            ),
            told_logs_address=settings.host_port(
                "LONGSHORE_JOIN_LOGS_ADDRESS", settings.peer_address("logs")
            ),
            tls_directory=settings.tls_directory(),
            tls_names=settings.tls_names(),
            metrics_address=settings.metrics_address("provisioning"),
            database_url=settings.database_url(),
            instances_dir=settings.directory("LONGSHORE_INSTANCES_DIR", data_dir / "instances"),
            catalogue=open_catalogue(settings),
            scheduler_address=settings.peer_address("scheduler"),
            logs_address=settings.peer_address("logs"),
            runtime=settings.choice(
                "LONGSHORE_RUNTIME", ("auto", "docker", "process", "simulated"), "auto"
            ),
            interval_seconds=settings.seconds("LONGSHORE_PROVISION_INTERVAL", 5, 0.05, 3600),
            grace=timedelta(seconds=settings.seconds("LONGSHORE_DRAIN_SECONDS", 60, 0.1, 3600)),
            instances_limit=settings.integer("LONGSHORE_LOCAL_INSTANCES", 32, 1, 10_000),
            quote_interval=timedelta(
                seconds=settings.seconds("LONGSHORE_QUOTE_INTERVAL", 300, 1, 86_400)
            ),
            history=settings.history(),
            stop_instances=settings.flag("LONGSHORE_STOP_INSTANCES", False),
            agent_command=_command(settings, "LONGSHORE_AGENT_COMMAND", AGENT_COMMAND),
            cleanup_command=_command(settings, "LONGSHORE_AGENT_CLEANUP_COMMAND", CLEANUP_COMMAND),
            access=settings.access(),
        )


def _command(settings: Settings, name: str, default: tuple[str, ...]) -> tuple[str, ...]:
    try:
        words = tuple(shlex.split(settings.text(name, shlex.join(default))))
    except ValueError as error:
        raise ConfigError(f"{name} is not a command: {error}.") from None
    if not words:
        raise ConfigError(f"{name} is empty; it must be a command.")
    return words
