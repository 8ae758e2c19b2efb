"""Settings of the EC2 provider."""

import ipaddress
import re
from dataclasses import dataclass
from typing import Self

from longshore.runtime.config import ConfigError, Settings

#: Settings of agents that are passed on to those on EC2.
PASSED_ON = (
    "LONGSHORE_NETWORK",
    "LONGSHORE_NODE_NETWORK",
    "LONGSHORE_PULL",
    "LONGSHORE_PULL_ATTEMPTS",
    "LONGSHORE_AGENT_STARTS",
    "LONGSHORE_CONTAINER_PIDS",
    "LONGSHORE_CONTAINER_LOG_MIB",
    "LONGSHORE_CONTAINER_LOG_FILES",
    "LONGSHORE_SPOOL_MIB",
    "LONGSHORE_DISK_FREE_MIB",
    "LONGSHORE_LOG_DRAIN_SECONDS",
    "LONGSHORE_ACCOUNT",
    "LONGSHORE_REGION",
    "LONGSHORE_JOB_ROLES",
    "LONGSHORE_STS_REGION",
    "LONGSHORE_STS_ENDPOINT_URL",
    "LONGSHORE_FILE_SYSTEMS",
    "LONGSHORE_JOBS_OTLP_ENDPOINT",
)
_IMAGE = re.compile(r"ami-[0-9a-f]{8,17}|ssm:/[\w./-]{1,1024}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ec2Config:
    """How the provider works. `from_settings` says which variable sets what."""

    region: str
    #: As instances reach them.
    scheduler_address: str
    logs_address: str
    join_address: str
    endpoint_url: str | None = None
    user_data: str = "install"
    package: str = ""
    image: str = ""
    image_arm64: str = ""
    volume_gib: int = 0
    metadata_hops: int = 1
    instances_limit: int = 1000
    zones: tuple[str, ...] = ()
    placement_scores: bool = False
    call_seconds: float = 15.0
    agent_settings: tuple[tuple[str, str], ...] = ()

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """Reads the settings; credentials are found by AWS's own chain.

        - LONGSHORE_EC2_REGION (AWS_REGION, AWS_DEFAULT_REGION, else LONGSHORE_REGION);
        - LONGSHORE_EC2_ENDPOINT_URL: instead of AWS's own endpoints (AWS_ENDPOINT_URL_EC2 and its
          like are honoured as well);
        - LONGSHORE_EC2_SCHEDULER_ADDRESS, LONGSHORE_EC2_LOGS_ADDRESS (the services' addresses for
          agents), LONGSHORE_EC2_JOIN_ADDRESS (LONGSHORE_JOIN_ADDRESS): as instances reach them;
        - LONGSHORE_EC2_USER_DATA (install): install the agent at boot; `ready`: the image has it;
        - LONGSHORE_EC2_PACKAGE: what pip installs as the agent; needed for `install`;
        - LONGSHORE_EC2_IMAGE, LONGSHORE_EC2_IMAGE_ARM64: `ami-...` or `ssm:/parameter`, for
          compute environments that name no image; by default AWS's images with Docker;
        - LONGSHORE_EC2_VOLUME_GIB (0: the image's): size of the root volume;
        - LONGSHORE_EC2_METADATA_HOPS (1): at 2, containers reach the metadata service as well;
        - LONGSHORE_EC2_INSTANCES (1000): most instances at one time;
        - LONGSHORE_EC2_ZONES (all): zones whose spot prices are read, with commas between;
        - LONGSHORE_EC2_PLACEMENT_SCORES (false): ask EC2 how deep its spot pools are;
        - LONGSHORE_EC2_CALL_SECONDS (15): longest time for one try of a call;
        - LONGSHORE_NETWORK, LONGSHORE_NODE_NETWORK, LONGSHORE_PULL, LONGSHORE_PULL_ATTEMPTS,
          LONGSHORE_AGENT_STARTS, LONGSHORE_CONTAINER_PIDS, LONGSHORE_CONTAINER_LOG_MIB,
          LONGSHORE_CONTAINER_LOG_FILES, LONGSHORE_SPOOL_MIB, LONGSHORE_DISK_FREE_MIB,
          LONGSHORE_LOG_DRAIN_SECONDS, LONGSHORE_ACCOUNT, LONGSHORE_REGION, LONGSHORE_JOB_ROLES,
          LONGSHORE_STS_REGION, LONGSHORE_STS_ENDPOINT_URL, LONGSHORE_FILE_SYSTEMS,
          LONGSHORE_JOBS_OTLP_ENDPOINT: passed on to agents.

        Raises:
            ConfigError: a setting is wrong, or instances could not reach the services.
        """
        user_data = settings.choice("LONGSHORE_EC2_USER_DATA", ("install", "ready"), "install")
        package = settings.text("LONGSHORE_EC2_PACKAGE", "")
        if user_data == "install" and not package:
            raise ConfigError(
                "LONGSHORE_EC2_PACKAGE is not set; say what pip shall install as the agent, or "
                "use an image that has it, with LONGSHORE_EC2_USER_DATA=ready."
            )
        region = settings.text("LONGSHORE_REGION", "us-east-1")
        for name in ("AWS_DEFAULT_REGION", "AWS_REGION", "LONGSHORE_EC2_REGION"):
            region = settings.text(name, region)
        zones = settings.text("LONGSHORE_EC2_ZONES", "")
        return cls(
            region=region,
            endpoint_url=settings.text("LONGSHORE_EC2_ENDPOINT_URL", "") or None,
            scheduler_address=_reachable(settings, "SCHEDULER", settings.peer_address("scheduler")),
            logs_address=_reachable(settings, "LOGS", settings.peer_address("logs")),
            join_address=_reachable(settings, "JOIN", settings.join_address()),
            user_data=user_data,
            package=package,
            image=_image(settings, "LONGSHORE_EC2_IMAGE"),
            image_arm64=_image(settings, "LONGSHORE_EC2_IMAGE_ARM64"),
            volume_gib=settings.integer("LONGSHORE_EC2_VOLUME_GIB", 0, 0, 16_384),
            metadata_hops=settings.integer("LONGSHORE_EC2_METADATA_HOPS", 1, 1, 64),
            instances_limit=settings.integer("LONGSHORE_EC2_INSTANCES", 1000, 1, 100_000),
            zones=tuple(zone.strip() for zone in zones.split(",") if zone.strip()),
            placement_scores=settings.flag("LONGSHORE_EC2_PLACEMENT_SCORES", False),
            call_seconds=settings.seconds("LONGSHORE_EC2_CALL_SECONDS", 15, 0.1, 120),
            agent_settings=tuple(
                (name, value) for name in PASSED_ON if (value := settings.text(name, ""))
            ),
        )


def _reachable(settings: Settings, what: str, default: str) -> str:
    """An address as instances see it: not one that means the machine itself."""
    name = f"LONGSHORE_EC2_{what}_ADDRESS"
    address = settings.text(name, default)
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise ConfigError(f"{name} is {address!r}; it must be HOST:PORT.")
    if _is_own(host.strip("[]")):
        raise ConfigError(
            f"{name} would be {address}, which no instance reaches; set it to an address of "
            f"this machine in the instances' network."
        )
    return address


def _is_own(host: str) -> bool:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost"
    return address.is_loopback or address.is_unspecified


def _image(settings: Settings, name: str) -> str:
    image = settings.text(name, "")
    if image and _IMAGE.fullmatch(image) is None:
        raise ConfigError(f"{name} is {image!r}; it must be ami-... or ssm:/parameter.")
    return image
