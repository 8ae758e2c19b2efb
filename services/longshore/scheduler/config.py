"""Settings of the scheduler."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Self

from longshore.domain.catalogue import Catalogue
from longshore.identity.doors import Doors
from longshore.runtime.config import HISTORY, AccessSettings, Settings
from longshore.runtime.host import open_catalogue


@dataclass(frozen=True, slots=True, kw_only=True)
class SchedulerConfig:
    """What the scheduler is told by its environment; times in seconds."""

    address: str
    metrics_address: str
    database_url: str
    domain: str
    catalogue: Catalogue
    lease_seconds: float = 10.0
    heartbeat_seconds: float = 5.0
    lost_seconds: float = 30.0
    unmanaged_lost_seconds: float = 600.0
    cool_down: timedelta = timedelta(seconds=60)
    history: timedelta = HISTORY
    #: Who is let in.
    access: AccessSettings = field(default_factory=AccessSettings)
    #: How it is reached beside the address for users; None: by anyone, in tests.
    doors: Doors | None = None

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> Self:
        """Reads the settings.

        - LONGSHORE_SCHEDULER_ADDRESS, LONGSHORE_SCHEDULER_PEER_ADDRESS,
          LONGSHORE_SCHEDULER_METRICS_ADDRESS; LONGSHORE_TLS_*;
        - LONGSHORE_DATABASE_URL;
        - LONGSHORE_DOMAIN (default): the scheduling domain to hold;
        - LONGSHORE_LEASE_SECONDS (10): how long a silent holder keeps the domain;
        - LONGSHORE_HEARTBEAT_SECONDS (5): time between signs of life of an agent;
        - LONGSHORE_LOST_SECONDS (30, at least two heartbeats): silence after which an instance of a
          MANAGED compute environment is lost, and replaced;
        - LONGSHORE_UNMANAGED_LOST_SECONDS (600, at least two heartbeats): the same for a machine of
          an UNMANAGED one, which nobody replaces: it may be restarting. For one environment the tag
          `longshore:lost-after-seconds` says otherwise;
        - LONGSHORE_COOL_DOWN_SECONDS (60): how long the scaler leaves alone what the provider was
          short of, to say when it asks again;
        - LONGSHORE_HISTORY_DAYS (90): for how long finished jobs are kept, to the end of the week,
          and lost machines that had joined by themselves;
        - LONGSHORE_LOCAL_*: see `longshore.runtime.host`;
        - LONGSHORE_STACK_KEY_FILE, LONGSHORE_OPEN.
        """
        settings = Settings(environ)
        heartbeat = settings.seconds("LONGSHORE_HEARTBEAT_SECONDS", 5, 0.1, 300)
        return cls(
            address=settings.address("scheduler"),
            doors=settings.doors("scheduler"),
            metrics_address=settings.metrics_address("scheduler"),
            database_url=settings.database_url(),
            domain=settings.text("LONGSHORE_DOMAIN", "default"),
            lease_seconds=settings.seconds("LONGSHORE_LEASE_SECONDS", 10, 1, 300),
            heartbeat_seconds=heartbeat,
            lost_seconds=settings.seconds("LONGSHORE_LOST_SECONDS", 30, 2 * heartbeat, 3600),
            unmanaged_lost_seconds=settings.seconds(
                "LONGSHORE_UNMANAGED_LOST_SECONDS", 600, 2 * heartbeat, 604_800
            ),
            cool_down=timedelta(
                seconds=settings.seconds("LONGSHORE_COOL_DOWN_SECONDS", 60, 0, 86_400)
            ),
            history=settings.history(),
            catalogue=open_catalogue(settings),
            access=settings.access(),
        )
