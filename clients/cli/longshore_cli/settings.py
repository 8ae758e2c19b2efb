"""Where the services are and where a stack's data lies, from options, environment and record."""

import fcntl
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from longshore.contract import PORT_OFFSETS
from longshore_client import AccessKey, Addresses, InvalidRequest
from longshore_client.address import split_address
from longshore_client.credentials import find

if TYPE_CHECKING:
    from longshore_client import Client


def absolute(path: Path, origin: str) -> Path:
    """A path as it was given, `~` and relative ones too, made absolute.

    Raises:
        InvalidRequest: it begins with `~` and a name that nobody has here.
    """
    try:
        return path.expanduser().absolute()
    except RuntimeError as error:
        raise InvalidRequest(f"{origin} is {path}: there is no such user's home here.") from error


def directory(path: Path, origin: str) -> Path:
    """A directory that is there or can be made.

    Raises:
        InvalidRequest: something else is in its place.
    """
    found = absolute(path, origin)
    if found.exists() and not found.is_dir():
        raise InvalidRequest(f"{origin} is {found}, which is not a directory.")
    return found


def data_directory(option: Path | None) -> Path:
    """The stack's data directory: the option, else LONGSHORE_DATA_DIR, else ~/.longshore."""
    if option is not None:
        return directory(option, "--data-dir")
    chosen = Path(os.environ.get("LONGSHORE_DATA_DIR") or "~/.longshore")
    return directory(chosen, "LONGSHORE_DATA_DIR")


def read_record(data_dir: Path) -> dict[str, Any] | None:
    """What the stack of a data directory says of itself; None if there never was one."""
    try:
        record = json.loads((data_dir / "longshore.json").read_text())
    except (OSError, ValueError, RecursionError):
        return None
    is_ours = (
        isinstance(record, dict)
        and isinstance(record.get("status"), str)
        and isinstance(record.get("addresses"), dict)
    )
    return record if is_ours else None


def ca_file_of(record: dict[str, Any]) -> str:
    """Whom the stack of a record is to be trusted by; empty: it takes plaintext."""
    return str(record.get("ca_file") or "")


def is_watched(data_dir: Path) -> bool:
    """Whether a supervisor runs on a data directory: it holds the directory's lock as long."""
    try:
        with (data_dir / "lock").open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


@dataclass
class CommandSettings:
    """Options that come before the command's name."""

    server: str | None = None
    #: Seconds to try to reach a service that has never answered.
    patience: float = 2.0
    _addresses: Addresses | None = field(default=None, repr=False)

    @property
    def addresses(self) -> Addresses:
        """Of the services: --server, else LONGSHORE_* variables, else the stack that runs here.

        Raises:
            InvalidRequest: the option or a variable is malformed.
        """
        if self._addresses is None:
            self._addresses = self._find()
        return self._addresses

    @property
    def gateway(self) -> str:
        """`host:port` of the gateway, from where the other addresses are.

        Raises:
            InvalidRequest: the option or a variable is malformed.
        """
        told = os.environ.get("LONGSHORE_GATEWAY_ADDRESS")
        if told and not self.server:
            split_address(told, "LONGSHORE_GATEWAY_ADDRESS")
            return told
        if not self.server and not any(
            f"LONGSHORE_{name}" in os.environ for name in ("HOST", "PORT_BASE")
        ):
            record = read_record(data_directory(None))
            if record is not None and record["status"] in ("starting", "ready"):
                return str(record["addresses"]["gateway"])
        host, base = split_address(self.addresses.submission, "The server's address")
        return f"{host}:{base + PORT_OFFSETS['gateway']}"

    def _find(self) -> Addresses:
        if self.server:
            return Addresses.from_submission(self.server)
        services = (f"{name.upper()}_ADDRESS" for name in Addresses.__dataclass_fields__)
        if not any(f"LONGSHORE_{name}" in os.environ for name in ("HOST", "PORT_BASE", *services)):
            record = read_record(data_directory(None))
            if record is not None and record.get("status") in ("starting", "ready"):
                return Addresses.from_mapping(record["addresses"])
        return Addresses.from_environment()

    @property
    def access_key(self) -> AccessKey | None:
        """Of who calls: the environment's, else that of the stack here, if it is the one called.

        Raises:
            InvalidRequest: a variable is missing.
        """
        return find(self.addresses.submission)

    @property
    def ca_file(self) -> str:
        """Who is trusted: LONGSHORE_CA_FILE, else the stack that runs here, where it takes TLS."""
        told = os.environ.get("LONGSHORE_CA_FILE", "")
        if told or self.server:
            return told
        return ca_file_of(read_record(data_directory(None)) or {})

    def connect(self) -> "Client":
        """A client for these services."""
        from longshore_client import Client  # noqa: PLC0415 - gRPC is loaded where it is needed

        return Client(
            self.addresses,
            patience=self.patience,
            access_key=self.access_key,
            ca_file=self.ca_file,
        )


#: Of this process; the command's own options set it.
settings = CommandSettings()
