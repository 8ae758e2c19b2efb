"""Settings of the submission service."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

from longshore.domain import limits
from longshore.domain.catalogue import Catalogue
from longshore.domain.limits import Limits
from longshore.identity.doors import Doors
from longshore.runtime.config import AccessSettings, AuditSettings, Settings, installation
from longshore.runtime.host import catalogue_types


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmissionConfig:
    """Where submission listens, where its database is, and what stands in its ARNs."""

    address: str
    metrics_address: str
    database_url: str
    database_connections: int
    account: str
    region: str
    #: The instance types that there are, without those that stand for shares of a machine.
    catalogue: Catalogue
    #: What requests may ask for.
    limits: Limits
    #: What is recorded of calls.
    audit: AuditSettings = field(default_factory=AuditSettings)
    #: Who is let in.
    access: AccessSettings = field(default_factory=AccessSettings)
    #: How it is reached beside the address for users; None: by anyone, in tests.
    doors: Doors | None = None

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> Self:
        """Reads the settings.

        - LONGSHORE_SUBMISSION_ADDRESS, LONGSHORE_SUBMISSION_PEER_ADDRESS,
          LONGSHORE_SUBMISSION_METRICS_ADDRESS; LONGSHORE_TLS_*;
        - LONGSHORE_DATABASE_URL; LONGSHORE_SUBMISSION_CONNECTIONS (8): most connections to it;
        - LONGSHORE_ACCOUNT (123456789012), LONGSHORE_REGION (us-east-1): what stands in ARNs;
        - LONGSHORE_CATALOGUE: the instance types that there are, as for scaler and provisioning;
        - LONGSHORE_LIMITS (longshore): `aws` refuses what AWS Batch would refuse, where longshore
          takes more by itself;
        - LONGSHORE_AUDIT_DAYS, LONGSHORE_AUDIT_READS, LONGSHORE_AUDIT_GATEWAYS;
        - LONGSHORE_STACK_KEY_FILE, LONGSHORE_OPEN.
        """
        settings = Settings(environ)
        account, region = installation(settings)
        return cls(
            address=settings.address("submission"),
            doors=settings.doors("submission"),
            metrics_address=settings.metrics_address("submission"),
            database_url=settings.database_url(),
            database_connections=settings.integer("LONGSHORE_SUBMISSION_CONNECTIONS", 8, 2, 100),
            account=account,
            region=region,
            catalogue=Catalogue(types=catalogue_types(settings)),
            limits=limits.BY_NAME[
                settings.choice("LONGSHORE_LIMITS", tuple(limits.BY_NAME), limits.LONGSHORE_NAME)
            ],
            audit=settings.audit(),
            access=settings.access(),
        )
