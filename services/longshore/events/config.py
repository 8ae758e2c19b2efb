"""Settings of the event service."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from longshore.domain.arn import Arns
from longshore.identity.doors import Doors
from longshore.runtime.config import AccessSettings, AuditSettings, Settings, installation


@dataclass(frozen=True, slots=True, kw_only=True)
class EventsConfig:
    """Where the event service listens, where its database is, and what stands in its ARNs."""

    address: str
    metrics_address: str
    database_url: str
    database_connections: int
    arns: Arns
    #: Where jobs are submitted that events ask for.
    submission_address: str
    #: Where log groups are that get events.
    logs_address: str
    #: Whether webhooks may be in loopback and private networks.
    allows_private: bool
    #: The file with the key of connections' secrets.
    key_path: Path
    #: What is recorded of calls.
    audit: AuditSettings = field(default_factory=AuditSettings)
    #: Who is let in.
    access: AccessSettings = field(default_factory=AccessSettings)
    #: How it is reached beside the address for users; None: by anyone, in tests.
    doors: Doors | None = None

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> Self:
        """Reads the settings.

        - LONGSHORE_EVENTS_ADDRESS, LONGSHORE_EVENTS_PEER_ADDRESS, LONGSHORE_EVENTS_METRICS_ADDRESS;
          LONGSHORE_TLS_*;
        - LONGSHORE_DATABASE_URL; LONGSHORE_EVENTS_CONNECTIONS (8): most connections to it;
        - LONGSHORE_ACCOUNT (123456789012), LONGSHORE_REGION (us-east-1): what stands in ARNs;
        - LONGSHORE_SUBMISSION_PEER_ADDRESS, LONGSHORE_LOGS_PEER_ADDRESS: where targets are that are
          job queues and log groups;
        - LONGSHORE_EVENTS_PRIVATE_TARGETS (refuse): `allow` lets webhooks be at loopback and
          private addresses; those of a machine's metadata they never may;
        - LONGSHORE_EVENTS_KEY_FILE (events.key in LONGSHORE_DATA_DIR, ~/.longshore): has the key
          of the secrets of connections; made when there is none.
        - LONGSHORE_AUDIT_READS, LONGSHORE_AUDIT_GATEWAYS: what is recorded of calls;
        - LONGSHORE_STACK_KEY_FILE, LONGSHORE_OPEN.
        """
        settings = Settings(environ)
        return cls(
            address=settings.address("events"),
            doors=settings.doors("events"),
            metrics_address=settings.metrics_address("events"),
            database_url=settings.database_url(),
            database_connections=settings.integer("LONGSHORE_EVENTS_CONNECTIONS", 8, 2, 100),
            arns=Arns(*installation(settings)),
            submission_address=settings.peer_address("submission"),
            logs_address=settings.peer_address("logs"),
            allows_private=settings.choice(
                "LONGSHORE_EVENTS_PRIVATE_TARGETS", ("refuse", "allow"), "refuse"
            )
            == "allow",
            key_path=settings.path(
                "LONGSHORE_EVENTS_KEY_FILE",
                settings.directory("LONGSHORE_DATA_DIR", Path("~/.longshore")) / "events.key",
            ),
            audit=settings.audit(),
            access=settings.access(),
        )
