"""Settings of the scaler."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Self

from longshore.domain.catalogue import Catalogue
from longshore.domain.scaling.decision import ScalingSettings
from longshore.identity.doors import Doors
from longshore.runtime.config import HISTORY, AccessSettings, Settings
from longshore.runtime.host import open_catalogue


@dataclass(frozen=True, slots=True, kw_only=True)
class ScalerConfig:
    """How the scaler runs. `from_environment` says which variable sets what."""

    address: str
    metrics_address: str
    database_url: str
    provisioning_address: str
    catalogue: Catalogue
    interval_seconds: float = 10.0
    scaling: ScalingSettings = field(default_factory=ScalingSettings)
    cool_down: timedelta = timedelta(seconds=60)
    provider: str = "local"
    history: timedelta = HISTORY
    #: Who is let in.
    access: AccessSettings = field(default_factory=AccessSettings)
    #: How it is reached beside the address for users; None: by anyone, in tests.
    doors: Doors | None = None

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> Self:
        """Reads the settings.

        - LONGSHORE_SCALER_ADDRESS, LONGSHORE_SCALER_PEER_ADDRESS, LONGSHORE_SCALER_METRICS_ADDRESS;
          LONGSHORE_TLS_*;
        - LONGSHORE_DATABASE_URL, LONGSHORE_PROVISIONING_PEER_ADDRESS;
        - LONGSHORE_SCALE_INTERVAL (10): seconds between decisions when nothing happens;
        - LONGSHORE_IDLE_SECONDS (60): how long an instance is idle before it is given back, where
          the compute environment has no minScaleDownDelayMinutes;
        - LONGSHORE_BOOT_SECONDS (300): how long an instance may take to register;
        - LONGSHORE_COOL_DOWN_SECONDS (60): how long a type that the provider was short of is left
          alone;
        - LONGSHORE_CONSOLIDATE (false): drain an instance that is less than half full when its work
          fits on others;
        - LONGSHORE_PROVIDER (local): whose quoted prices hold, as for provisioning;
        - LONGSHORE_HISTORY_DAYS (90): how long activities are kept;
        - LONGSHORE_LOCAL_VCPUS, LONGSHORE_LOCAL_MEMORY_MIB, LONGSHORE_LOCAL_GPUS,
          LONGSHORE_CATALOGUE: the instance types that there are, as for provisioning;
        - LONGSHORE_STACK_KEY_FILE, LONGSHORE_OPEN.
        """
        settings = Settings(environ)
        idle = settings.seconds("LONGSHORE_IDLE_SECONDS", 60, 0, 7 * 86_400)
        boot = settings.seconds("LONGSHORE_BOOT_SECONDS", 300, 1, 86_400)
        cool_down = settings.seconds("LONGSHORE_COOL_DOWN_SECONDS", 60, 0, 86_400)
        return cls(
            address=settings.address("scaler"),
            doors=settings.doors("scaler"),
            metrics_address=settings.metrics_address("scaler"),
            database_url=settings.database_url(),
            provisioning_address=settings.peer_address("provisioning"),
            catalogue=open_catalogue(settings),
            interval_seconds=settings.seconds("LONGSHORE_SCALE_INTERVAL", 10, 0.05, 3600),
            scaling=ScalingSettings(
                idle=timedelta(seconds=idle),
                boot=timedelta(seconds=boot),
                consolidate=settings.flag("LONGSHORE_CONSOLIDATE", False),
            ),
            cool_down=timedelta(seconds=cool_down),
            provider=settings.text("LONGSHORE_PROVIDER", "local"),
            history=settings.history(),
            access=settings.access(),
        )
