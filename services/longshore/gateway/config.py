"""Settings of the gateway."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

from longshore.gateway.behind import SERVICES
from longshore.identity.material import Identity
from longshore.runtime.config import AccessSettings, Settings, installation


@dataclass(frozen=True, slots=True)
class GatewayConfig:
    """What the gateway is told from outside."""

    #: `host:port` to listen on: LONGSHORE_GATEWAY_ADDRESS.
    address: str
    #: `host:port` of each service behind, by its name: LONGSHORE_<SERVICE>_PEER_ADDRESS.
    addresses: Mapping[str, str]
    #: Most bytes of a request's body: LONGSHORE_GATEWAY_BODY_BYTES.
    body_bytes: int = 1024 * 1024
    #: Most requests worked on at once, more are told to slow down, and most that are being read:
    #: LONGSHORE_GATEWAY_CONCURRENCY.
    concurrency: int = 512
    #: Time for reading a request, and again for the call behind it: LONGSHORE_GATEWAY_TIMEOUT.
    timeout_seconds: float = 30.0
    #: Time that requests in hand get to end when the gateway stops: LONGSHORE_GATEWAY_GRACE.
    grace_seconds: float = 10.0
    #: Names by which the gateway is reached beside loopback's and its own address:
    #: LONGSHORE_GATEWAY_HOSTS, with commas between them.
    hosts: tuple[str, ...] = ()
    #: What stands in records of what it refuses: LONGSHORE_ACCOUNT, LONGSHORE_REGION.
    account: str = "123456789012"
    region: str = "us-east-1"
    #: Whose calls it makes of services; None: in plaintext, in tests.
    identity: Identity | None = None
    #: What users see who come by TLS; None: they come by plaintext, on loopback.
    users: Identity | None = None
    #: Who is let in: LONGSHORE_STACK_KEY_FILE, LONGSHORE_OPEN.
    access: AccessSettings = field(default_factory=AccessSettings)

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> Self:
        """Reads the settings.

        - LONGSHORE_GATEWAY_ADDRESS, and LONGSHORE_<SERVICE>_PEER_ADDRESS of those behind it;
          LONGSHORE_TLS_*;
        - LONGSHORE_GATEWAY_BODY_BYTES (1 MiB): most bytes of a request's body;
        - LONGSHORE_GATEWAY_CONCURRENCY (512): most requests worked on at once; more are told to
          slow down; of as many more that are still being read the oldest give way;
        - LONGSHORE_GATEWAY_TIMEOUT (30): time for reading a request, and again for the call behind;
        - LONGSHORE_GATEWAY_GRACE (10): time that requests in hand get when the gateway stops;
        - LONGSHORE_GATEWAY_HOSTS (none): names by which it is reached beside loopback's and its own
          address, with commas between;
        - LONGSHORE_ACCOUNT, LONGSHORE_REGION: what stands in records of what it refuses;
        - LONGSHORE_STACK_KEY_FILE, LONGSHORE_OPEN.
        """
        settings = Settings(environ)
        account, region = installation(settings)
        return cls(
            address=settings.address("gateway"),
            identity=settings.identity("gateway"),
            users=settings.user_identity("gateway"),
            addresses={name: settings.peer_address(name) for name in SERVICES},
            body_bytes=settings.integer(
                "LONGSHORE_GATEWAY_BODY_BYTES", 1024 * 1024, 64 * 1024, 8 * 1024 * 1024
            ),
            concurrency=settings.integer("LONGSHORE_GATEWAY_CONCURRENCY", 512, 1, 100_000),
            timeout_seconds=settings.seconds("LONGSHORE_GATEWAY_TIMEOUT", 30.0, 0.1, 600.0),
            grace_seconds=settings.seconds("LONGSHORE_GATEWAY_GRACE", 10.0, 0.0, 600.0),
            hosts=settings.hosts("LONGSHORE_GATEWAY_HOSTS"),
            account=account,
            region=region,
            access=settings.access(),
        )

    @property
    def known_hosts(self) -> frozenset[str]:
        """What a request may name the gateway by, beside loopback's names, in lower case."""
        return frozenset(name.lower() for name in (self.host, *self.hosts))

    @property
    def host(self) -> str:
        """The host to listen on, without an IPv6 address's brackets."""
        return self.address.rpartition(":")[0].strip("[]")

    @property
    def port(self) -> int:
        """The port to listen on; 0 takes a free one."""
        return int(self.address.rpartition(":")[2])
