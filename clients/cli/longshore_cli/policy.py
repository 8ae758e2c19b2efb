"""`policy`: scheduling policies."""

import math
from typing import Annotated

import typer

from longshore.v1 import scheduling_policy_pb2
from longshore_cli import console
from longshore_cli.command import Json, Tag, coroutine, pairs
from longshore_cli.settings import settings
from longshore_client import NotFound

app = typer.Typer(no_args_is_help=True, help="Scheduling policies.", rich_markup_mode=None)

Name = Annotated[str, typer.Argument(metavar="NAME", help="The policy's name, or its ARN.")]
Weight = Annotated[
    list[str] | None,
    typer.Option(
        metavar="SHARE=WEIGHT",
        help="Weight of a share, or of all that begin like SHARE*; the lower the more it gets. "
        "Repeatable; others have 1.",
    ),
]
Decay = Annotated[
    int | None,
    typer.Option(
        min=0,
        max=604_800,
        metavar="SECONDS",
        help="After which what was used counts half as much; 0: 600.",
        show_default=False,
    ),
]
Reservation = Annotated[
    int | None,
    typer.Option(
        min=0,
        max=99,
        metavar="PERCENT",
        help="What a single active share leaves to those to come.",
        show_default=False,
    ),
]


@app.command()
@coroutine
async def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The policy's name.")],
    weight: Weight = None,
    decay: Decay = None,
    reservation: Reservation = None,
    tag: Tag = None,
) -> None:
    """Create a fair-share policy."""
    async with settings.connect() as client:
        arn = await client.create_policy(
            name,
            weights=_weights(weight),
            decay_seconds=decay,
            reservation=reservation,
            tags=pairs(tag, "--tag"),
        )
    console.line(arn)


@app.command("list")
@coroutine
async def list_(json: Json = False) -> None:
    """List scheduling policies."""
    async with settings.connect() as client:
        found = [item async for item in client.list_policies()]
    if json:
        console.print_json([console.plain(item) for item in found])
        return
    console.table(
        ("POLICY", "DECAY", "RESERVATION", "WEIGHTS"),
        [
            (
                item.name,
                f"{item.fairshare_policy.share_decay_seconds or 600} s",
                f"{item.fairshare_policy.compute_reservation} %",
                ", ".join(map(_weight, item.fairshare_policy.share_distribution)) or "-",
            )
            for item in found
        ],
    )


@app.command()
@coroutine
async def show(name: Name, json: Json = False) -> None:
    """Show a scheduling policy."""
    async with settings.connect() as client:
        found = [item async for item in client.list_policies([name])]
    if not found:
        raise NotFound(f"There is no scheduling policy {name}.")
    policy = found[0]
    if json:
        console.print_json(console.plain(policy))
        return
    console.table(
        ("POLICY", policy.name),
        [
            ("ARN", policy.arn),
            ("DECAY", f"{policy.fairshare_policy.share_decay_seconds or 600} s"),
            ("RESERVATION", f"{policy.fairshare_policy.compute_reservation} %"),
            *(("WEIGHT", _weight(entry)) for entry in policy.fairshare_policy.share_distribution),
            *(("TAG", f"{key}={value}") for key, value in sorted(policy.tags.items())),
        ],
    )


@app.command()
@coroutine
async def update(
    name: Name, weight: Weight = None, decay: Decay = None, reservation: Reservation = None
) -> None:
    """Change a scheduling policy; what is not given stays, weights replace all there are."""
    async with settings.connect() as client:
        await client.update_policy(
            name,
            weights=None if weight is None else _weights(weight),
            decay_seconds=decay,
            reservation=reservation,
        )
    console.say(f"policy {name} is updated")


@app.command()
@coroutine
async def delete(name: Name) -> None:
    """Delete a scheduling policy that no job queue uses."""
    async with settings.connect() as client:
        await client.delete_policy(name)
    console.say(f"policy {name} is deleted")


def _weights(items: list[str] | None) -> dict[str, float]:
    """SHARE=WEIGHT items as a mapping.

    Raises:
        BadParameter: an item is malformed.
    """
    weights = {}
    for share, text in pairs(items, "--weight").items():
        try:
            weights[share] = float(text)
        except ValueError:
            weights[share] = math.nan
        if not math.isfinite(weights[share]):
            raise typer.BadParameter(f"--weight takes SHARE=WEIGHT, not {share}={text!r}.")
    return weights


def _weight(entry: scheduling_policy_pb2.ShareAttributes) -> str:
    """A share and its weight, as they are given."""
    weight = entry.weight_factor if entry.HasField("weight_factor") else 1
    return f"{entry.share_identifier}={weight:g}"
