"""Settings of the log service."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Self

from longshore.runtime.config import HISTORY, AuditSettings, Settings, installation


@dataclass(frozen=True, slots=True, kw_only=True)
class LogsConfig:
    """Where the log service listens and where it keeps its files."""

    address: str
    metrics_address: str
    directory: Path
    #: What stands in ARNs.
    account: str
    region: str
    #: Where calls are put on record.
    submission_address: str
    history: timedelta = HISTORY
    #: What is recorded of calls.
    audit: AuditSettings = field(default_factory=AuditSettings)

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> Self:
        """Reads the settings.

        - LONGSHORE_LOGS_ADDRESS, LONGSHORE_LOGS_METRICS_ADDRESS;
        - LONGSHORE_ACCOUNT (123456789012), LONGSHORE_REGION (us-east-1): what stands in ARNs;
        - LONGSHORE_LOGS_DIR (~/.longshore/logs): where the files are;
        - LONGSHORE_HISTORY_DAYS (90): for how long finished jobs are kept, and their logs a week
          longer;
        - LONGSHORE_SUBMISSION_ADDRESS: where calls are put on record;
        - LONGSHORE_AUDIT_READS, LONGSHORE_AUDIT_GATEWAYS: which, and whose word is taken.
        """
        settings = Settings(environ)
        account, region = installation(settings)
        return cls(
            address=settings.listen_address("logs"),
            metrics_address=settings.metrics_address("logs"),
            directory=settings.directory("LONGSHORE_LOGS_DIR", Path("~/.longshore/logs")),
            account=account,
            region=region,
            submission_address=settings.address("submission"),
            history=settings.history(),
            audit=settings.audit(),
        )
