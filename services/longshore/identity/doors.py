"""How a service is reached, and by whom, beside its address for users."""

from dataclasses import dataclass

from longshore.identity.material import Identity


@dataclass(frozen=True, slots=True)
class Doors:
    """The settings of a service's ports."""

    #: Of the service itself.
    identity: Identity
    #: `host:port` for services and agents; empty: they are not served.
    peers: str
    #: What users see who come by TLS; None: they come by plaintext, on loopback.
    users: Identity | None = None
