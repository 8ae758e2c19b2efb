"""Options of `env create` and `env update`."""

from enum import StrEnum
from typing import Annotated

import typer

from longshore_cli.command import WIRE_MAX

#: Of the silence that is borne, in seconds.
LOST_AFTER_MAX = 604_800

Name = Annotated[str, typer.Argument(metavar="NAME", help="The compute environment's name.")]
InstanceType = Annotated[
    list[str] | None,
    typer.Option(
        help="Instance type, family, `optimal`, `default_x86_64` or `default_arm64`; repeatable, "
        "in this order.",
        show_default=False,
    ),
]
Strategy = Annotated[
    str | None,
    typer.Option(
        help="Allocation strategy: which types are taken, and what happens when one is short.",
        show_default=False,
    ),
]
DesiredVcpus = Annotated[
    int | None,
    typer.Option(
        min=0, max=WIRE_MAX, help="Wanted now, idle or not; may only be raised.", show_default=False
    ),
]
BidPercentage = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=100,
        help="SPOT: highest price, in percent of the on-demand price.",
        show_default=False,
    ),
]
ScaleDownDelay = Annotated[
    int | None,
    typer.Option(
        min=0,
        max=10_080,
        metavar="MINUTES",
        help="How long an instance stays after its last job, 20 to 10080; 0: as the stack's.",
        show_default=False,
    ),
]
Subnet = Annotated[
    list[str] | None,
    typer.Option(help="Subnet of instances in a cloud; repeatable.", show_default=False),
]
SecurityGroup = Annotated[
    list[str] | None,
    typer.Option(help="Security group of instances in a cloud; repeatable.", show_default=False),
]
InstanceRole = Annotated[
    str | None,
    typer.Option(help="Instance profile of instances in a cloud.", show_default=False),
]
LaunchTemplate = Annotated[
    str | None,
    typer.Option(
        metavar="NAME[:VERSION]",
        help="Launch template of instances in a cloud.",
        show_default=False,
    ),
]
UnmanagedVcpus = Annotated[
    int | None,
    typer.Option(
        min=0, max=WIRE_MAX, help="UNMANAGED: what its machines have in all.", show_default=False
    ),
]
LostAfter = Annotated[
    int | None,
    typer.Option(
        min=10,
        max=LOST_AFTER_MAX,
        metavar="SECONDS",
        help="Silence after which an instance is given up, and its jobs with it; by default 30, "
        "600 for UNMANAGED. It is the tag longshore:lost-after-seconds.",
        show_default=False,
    ),
]
NewLostAfter = Annotated[
    int | None,
    typer.Option(
        min=0,
        max=LOST_AFTER_MAX,
        metavar="SECONDS",
        help="Silence after which an instance is given up, and its jobs with it, 10 to 604800; 0: "
        "as the stack's. It is the tag longshore:lost-after-seconds.",
        show_default=False,
    ),
]


class Kind(StrEnum):
    """Who runs the instances, and what they are."""

    MANAGED = "MANAGED"
    UNMANAGED = "UNMANAGED"
    EC2 = "EC2"
    SPOT = "SPOT"
    FARGATE = "FARGATE"
    FARGATE_SPOT = "FARGATE_SPOT"

    @property
    def resource_type(self) -> str:
        """The `type` of its compute resources."""
        return "EC2" if self is Kind.MANAGED else self.value

    @property
    def is_fargate(self) -> bool:
        """Whether each job gets a slot of its own size."""
        return self in (Kind.FARGATE, Kind.FARGATE_SPOT)


class ResourceType(StrEnum):
    """What the instances of a MANAGED environment are."""

    EC2 = "EC2"
    SPOT = "SPOT"
    FARGATE = "FARGATE"
    FARGATE_SPOT = "FARGATE_SPOT"
