"""Where the services are."""

import ipaddress
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass

from longshore.contract import DEFAULT_PORT_BASE, PORT_OFFSETS
from longshore_client.errors import InvalidRequest

PORT_MAX = 65_535


def split_address(target: str, origin: str) -> tuple[str, int]:
    """Host and port of `host:port`.

    Raises:
        InvalidRequest: it is something else; `origin` says where it comes from.
    """
    host, _, port = target.rpartition(":")
    # A slash is a URL's, and a host's name never has one.
    if not host or not host.isprintable() or " " in host or "/" in host:
        raise InvalidRequest(f"{origin} must be HOST:PORT, not {target!r}.")
    return host, _port(port, origin)


def reachable(target: str) -> str:
    """`host:port` of what listens there: at every address of this machine is on loopback too."""
    host, _, port = target.rpartition(":")
    return f"127.0.0.1:{port}" if host in ("0.0.0.0", "[::]") else target  # noqa: S104 - told apart


def is_loopback(target: str) -> bool:
    """Whether `host:port` is on this machine."""
    host = target.rpartition(":")[0].strip("[]")
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _port(text: str, origin: str) -> int:
    if not re.fullmatch("[0-9]{1,5}", text) or not 1 <= int(text) <= PORT_MAX:
        raise InvalidRequest(f"{origin} needs a port from 1 to {PORT_MAX}, not {text!r}.")
    return int(text)


@dataclass(frozen=True)
class Addresses:
    """`host:port` of each service that clients speak to."""

    submission: str
    scheduler: str
    scaler: str
    provisioning: str
    logs: str
    events: str

    @classmethod
    def from_mapping(cls, addresses: Mapping[str, str]) -> "Addresses":
        """Addresses from a mapping by service, as a stack's record has them; more is ignored.

        Raises:
            InvalidRequest: a service is missing.
        """
        missing = [name for name in cls.__dataclass_fields__ if name not in addresses]
        if missing:
            raise InvalidRequest(f"There is no address of {missing[0]}.")
        return cls(*(addresses[name] for name in cls.__dataclass_fields__))

    @classmethod
    def from_submission(cls, target: str) -> "Addresses":
        """All addresses from submission's, at the usual distances.

        Raises:
            InvalidRequest: the target is not `host:port`.
        """
        host, base = split_address(target, "The server's address")
        return cls(*(f"{host}:{base + PORT_OFFSETS[name]}" for name in cls.__dataclass_fields__))

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> "Addresses":
        """Addresses as the services take them: LONGSHORE_<SERVICE>_ADDRESS, LONGSHORE_PORT_BASE.

        Raises:
            InvalidRequest: a variable is malformed; the message names it.
        """
        host = environ.get("LONGSHORE_HOST", "127.0.0.1")
        base = _port(
            environ.get("LONGSHORE_PORT_BASE", str(DEFAULT_PORT_BASE)), "LONGSHORE_PORT_BASE"
        )
        found = []
        for name in cls.__dataclass_fields__:
            variable = f"LONGSHORE_{name.upper()}_ADDRESS"
            target = environ.get(variable) or f"{host}:{base + PORT_OFFSETS[name]}"
            split_address(target, variable)
            found.append(reachable(target))
        return cls(*found)
