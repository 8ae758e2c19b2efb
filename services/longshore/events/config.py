"""Settings of the event service."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

from longshore.domain.arn import Arns
from longshore.runtime.config import AuditSettings, Settings, installation


@dataclass(frozen=True, slots=True, kw_only=True)
class EventsConfig:
    """Where the event service listens, where its database is, and what stands in its ARNs."""

    address: str
    metrics_address: str
    database_url: str
    database_connections: int
    arns: Arns
    #: What is recorded of calls.
    audit: AuditSettings = field(default_factory=AuditSettings)

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> Self:
        """Reads the settings.

        - LONGSHORE_EVENTS_ADDRESS, LONGSHORE_EVENTS_METRICS_ADDRESS;
        - LONGSHORE_DATABASE_URL; LONGSHORE_EVENTS_CONNECTIONS (8): most connections to it;
        - LONGSHORE_ACCOUNT (123456789012), LONGSHORE_REGION (us-east-1): what stands in ARNs;
        - LONGSHORE_AUDIT_READS, LONGSHORE_AUDIT_GATEWAYS: what is recorded of calls.
        """
        settings = Settings(environ)
        return cls(
            address=settings.listen_address("events"),
            metrics_address=settings.metrics_address("events"),
            database_url=settings.database_url(),
            database_connections=settings.integer("LONGSHORE_EVENTS_CONNECTIONS", 8, 2, 100),
            arns=Arns(*installation(settings)),
            audit=settings.audit(),
        )
