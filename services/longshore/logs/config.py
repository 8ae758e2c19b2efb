"""Settings of the log service."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Self

from longshore.identity.doors import Doors
from longshore.logs.archive import ArchiveConfig
from longshore.runtime.config import (
    HISTORY,
    AccessSettings,
    AuditSettings,
    ConfigError,
    Settings,
    installation,
)

_PLACE = re.compile(
    r"(?P<bucket>[a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:/(?P<prefix>[A-Za-z0-9!_.*'()/-]{0,512}))?"
)


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
    #: Where complete logs are kept besides.
    archive: ArchiveConfig | None = None
    #: What is recorded of calls.
    audit: AuditSettings = field(default_factory=AuditSettings)
    #: Who is let in.
    access: AccessSettings = field(default_factory=AccessSettings)
    #: How it is reached beside the address for users; None: by anyone, in tests.
    doors: Doors | None = None

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> Self:
        """Reads the settings.

        - LONGSHORE_LOGS_ADDRESS, LONGSHORE_LOGS_PEER_ADDRESS, LONGSHORE_LOGS_METRICS_ADDRESS;
          LONGSHORE_TLS_*;
        - LONGSHORE_ACCOUNT (123456789012), LONGSHORE_REGION (us-east-1): what stands in ARNs;
        - LONGSHORE_LOGS_DIR (~/.longshore/logs): where the files are;
        - LONGSHORE_HISTORY_DAYS (90): for how long finished jobs are kept, and their logs a week
          longer;
        - LONGSHORE_LOGS_S3: bucket, or `bucket/prefix`, of an S3-compatible store that complete
          logs are kept in besides, with credentials from AWS's own chain; LONGSHORE_LOGS_S3_REGION
          (AWS_REGION, AWS_DEFAULT_REGION, else us-east-1) and LONGSHORE_LOGS_S3_ENDPOINT_URL
          (AWS's own): where it is;
        - LONGSHORE_LOGS_CACHE_MIB (10240): what is kept here of logs that are in that store;
        - LONGSHORE_SUBMISSION_PEER_ADDRESS: where calls are put on record;
        - LONGSHORE_AUDIT_READS, LONGSHORE_AUDIT_GATEWAYS: which, and whose word is taken;
        - LONGSHORE_STACK_KEY_FILE, LONGSHORE_OPEN.
        """
        settings = Settings(environ)
        account, region = installation(settings)
        return cls(
            address=settings.address("logs"),
            doors=settings.doors("logs"),
            metrics_address=settings.metrics_address("logs"),
            directory=settings.directory("LONGSHORE_LOGS_DIR", Path("~/.longshore/logs")),
            account=account,
            region=region,
            submission_address=settings.peer_address("submission"),
            history=settings.history(),
            archive=_archive(settings),
            audit=settings.audit(),
            access=settings.access(),
        )


def _archive(settings: Settings) -> ArchiveConfig | None:
    name, url = "LONGSHORE_LOGS_S3", "LONGSHORE_LOGS_S3_ENDPOINT_URL"
    place, endpoint = settings.text(name, ""), settings.text(url, "")
    if not place:
        return None
    found = _PLACE.fullmatch(place)
    if found is None:
        raise ConfigError(
            f"{name} is {place!r}; it must be the name of a bucket, or that and a prefix, as in "
            "my-bucket/longshore."
        )
    if endpoint and not endpoint.startswith(("http://", "https://")):
        raise ConfigError(f"{url} is {endpoint!r}; it must begin with http:// or https://.")
    region = "us-east-1"
    for variable in ("AWS_DEFAULT_REGION", "AWS_REGION", "LONGSHORE_LOGS_S3_REGION"):
        region = settings.text(variable, region)
    prefix = (found["prefix"] or "").strip("/")
    cache_mib = settings.integer("LONGSHORE_LOGS_CACHE_MIB", 10_240, 0, 1_000_000_000)
    return ArchiveConfig(
        bucket=found["bucket"],
        prefix=f"{prefix}/" if prefix else "",
        region=region,
        endpoint_url=endpoint,
        cache_bytes=cache_mib * 1024 * 1024,
    )
