"""Certificates for what tests start."""

import atexit
import functools
import shutil
import tempfile
import time
from pathlib import Path

from longshore.agent.joining import Membership, Place
from longshore.identity.authority import Authority
from longshore.identity.material import Identity, service_identity
from longshore.identity.name import AgentName
from longshore.identity.request import requested_key


@functools.cache
def tls_directory() -> Path:
    """An authority with certificates of all services; of all tests of this process."""
    made = Path(tempfile.mkdtemp(prefix="longshore-test-tls-"))
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    Authority.opened(made).renew(["localhost", "127.0.0.1"])
    return made


def tls_settings() -> dict[str, str]:
    """What a service's process is told of it."""
    return {"LONGSHORE_TLS_DIR": str(tls_directory()), "LONGSHORE_OPEN": "true"}


def identity_of(role: str) -> Identity:
    """A service's."""
    return service_identity(tls_directory(), role)


def joined(
    data_dir: Path, instance_id: str, environment: str, scheduler: str, logs: str
) -> Identity:
    """Makes an agent's data directory that of a machine that has joined already."""
    membership = Membership(data_dir)
    authority = Authority(tls_directory())
    name = AgentName(authority.stack, environment, instance_id)
    certificate = authority.issue_agent(requested_key(membership.request()), name)
    place = Place(instance_id, environment, scheduler, logs, "127.0.0.1:1", time.time())
    membership.keep(place, certificate, authority.trusted_pem())
    return membership.identity
