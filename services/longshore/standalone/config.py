"""Settings of a whole stack on one machine."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from longshore.contract import PORT_OFFSETS
from longshore.runtime.config import STACK_KEY, Settings, is_loopback

RUNTIMES = ("auto", "docker", "process")
#: Every service, in the order in which they are started.
SERVICES = ("logs", "submission", "scheduler", "provisioning", "scaler", "events", "gateway")


@dataclass(frozen=True, slots=True, kw_only=True)
class StandaloneConfig:
    """What runs where."""

    data_dir: Path
    runtime: str
    port_base: int
    #: A PostgreSQL of the user's own; empty takes the embedded one.
    database_url: str
    addresses: dict[str, str]
    #: For services and agents.
    peers: dict[str, str]
    join_address: str
    metrics: dict[str, str]
    tls_directory: Path
    #: By which users reach services.
    tls_names: tuple[str, ...]
    start_seconds: float
    #: Whether whoever reaches it may do everything.
    is_open: bool = False

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> Self:
        """Reads the settings.

        - LONGSHORE_DATA_DIR (~/.longshore): everything that is kept;
        - LONGSHORE_RUNTIME (auto): auto takes docker where its socket answers, else process;
        - LONGSHORE_PORT_BASE (7070), LONGSHORE_HOST, LONGSHORE_<SERVICE>_ADDRESS: where to listen;
        - LONGSHORE_TLS_DIR, LONGSHORE_TLS_NAMES: the stack's authority and certificates;
        - LONGSHORE_DATABASE_URL: a PostgreSQL of one's own instead of the embedded one;
        - LONGSHORE_START_SECONDS (90): until when all services must be serving;
        - LONGSHORE_OPEN (false): let in whoever reaches it, on loopback alone.
        """
        settings = Settings(environ)
        for name in PORT_OFFSETS:
            settings.check_open(name)
        return cls(
            data_dir=settings.directory("LONGSHORE_DATA_DIR", Path("~/.longshore")),
            runtime=settings.choice("LONGSHORE_RUNTIME", RUNTIMES, "auto"),
            port_base=settings.port_base(),
            database_url=settings.text("LONGSHORE_DATABASE_URL", ""),
            addresses={name: settings.address(name) for name in PORT_OFFSETS},
            peers={name: settings.peer_address(name) for name in PORT_OFFSETS if name != "gateway"},
            join_address=settings.join_address(),
            tls_directory=settings.tls_directory(),
            tls_names=settings.tls_names(),
            metrics={
                name: settings.metrics_address(name) for name in PORT_OFFSETS if name != "gateway"
            },
            is_open=settings.access().is_open,
            start_seconds=settings.seconds("LONGSHORE_START_SECONDS", 90, 1, 3600),
        )

    @property
    def stack_key_path(self) -> Path:
        """Where the key is that its services share."""
        return self.tls_directory / STACK_KEY

    @property
    def reached_at(self) -> dict[str, str]:
        """Where users of this machine reach services."""
        return {name: _on_loopback(address) for name, address in self.addresses.items()}

    @property
    def ca_file(self) -> str:
        """Whom they trust, if they come by TLS; empty: by plaintext."""
        is_plain = all(map(is_loopback, self.addresses.values()))
        return "" if is_plain else str(self.tls_directory / "trusted.pem")

    @property
    def log_directory(self) -> Path:
        """Where the services' own logs are, one file each."""
        return self.data_dir / "log"

    @property
    def postgres_directory(self) -> Path:
        """Where the embedded PostgreSQL keeps its files."""
        return self.data_dir / "postgres"


def _on_loopback(address: str) -> str:
    """What listens at every address of this machine is on loopback too."""
    host, _, port = address.rpartition(":")
    return f"127.0.0.1:{port}" if host in ("0.0.0.0", "[::]") else address  # noqa: S104 - told apart
