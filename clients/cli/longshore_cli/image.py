"""`image`: what container images cost those who pull them."""

import asyncio
import platform as machine
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from longshore.docker_login import Login, engine_config, login_of_engine
from longshore_cli import console
from longshore_cli.command import Json, coroutine
from longshore_cli.images import engine, words
from longshore_cli.images.advice import Difference, Finding, Image, by_place, compare, findings
from longshore_cli.images.fleet import Measured, expected_seconds, measured
from longshore_cli.images.registry import Read, Reference, Registry, check_platform
from longshore_cli.settings import settings
from longshore_client import InvalidRequest, LongshoreError, Unavailable

app = typer.Typer(no_args_is_help=True, help="Container images.", rich_markup_mode=None)

#: Most layers that a person is shown, the largest.
SHOWN_LAYERS = 12
#: Longest step that a person is shown.
STEP_CHARACTERS = 60
#: Columns of what an image took; the first for lists of several.
_TOOK = ("IMAGE", "TYPE", "STARTS", "FOUND THERE", "PULL", "SLOWEST")
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


@app.callback()
def options() -> None:
    """Container images."""


@app.command()
def advise(
    image: Annotated[str, typer.Argument(metavar="IMAGE", help="As jobs name it.")],
    against: Annotated[
        str | None,
        typer.Option(
            metavar="IMAGE", help="An earlier one, to see what changes.", show_default=False
        ),
    ] = None,
    platform: Annotated[
        str | None,
        typer.Option(
            metavar="OS/ARCHITECTURE", help="Which of an index.", show_default="this machine's"
        ),
    ] = None,
    local: Annotated[
        bool, typer.Option("--local", help="Ask this machine's engine, which has the image.")
    ] = False,
    json: Json = False,
) -> None:
    """Say what an image costs to pull, and what to change about it.

    Nothing is pulled: the registry is asked for descriptions alone, with the login of `docker
    login`. Beside it stands what pulls of it took in this fleet, where a longshore answers.
    """
    wanted = platform or f"linux/{_ARCHITECTURES.get(machine.machine(), machine.machine())}"
    read = _read(image, wanted, local=local)
    if platform is not None:
        check_platform(platform, read)
    earlier = None if against is None else _read(against, wanted, local=local)
    difference = None if earlier is None else compare(read.image, earlier.image)
    found = findings(read.image, difference)
    fleet = asyncio.run(_fleet(image, read.image))
    if json:
        console.print_json(_plain(image, read, found, difference) | _plain_fleet(fleet))
        return
    _show(image, read, found, difference)
    if fleet is not None:
        _show_fleet(fleet)


@app.command("list")
@coroutine
async def list_images(
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Most to list.")] = 100,
    json: Json = False,
) -> None:
    """List what images took of this fleet's starts, the busiest first."""
    async with settings.connect() as client:
        starts = await client.list_image_starts(limit=limit)
    if json:
        console.print_json([console.whole(one) for one in starts])
        return
    rows = [
        (one.image, took.instance_type, *_took(took), words.size(one.pulled_bytes))
        for one, took in zip(starts, measured(starts), strict=True)
    ]
    console.table((*_TOOK, "PULLED"), rows, spare=("PULLED", "SLOWEST"))


@dataclass(frozen=True, slots=True)
class FleetFigures:
    """What an image took here, and what it would take."""

    measured: list[Measured]
    expected: dict[str, float]


async def _fleet(name: str, image: Image) -> FleetFigures | None:
    """What this fleet knows of an image; None where no longshore tells."""
    try:
        async with settings.connect() as client:
            own = await client.list_image_starts(name)
            every = await client.list_image_starts(limit=1000)
    except Unavailable:
        console.say("No longshore answers, so nothing is known of pulls in its fleet.")
        return None
    except LongshoreError as error:
        console.say(f"Nothing is known of pulls in this fleet: {error.message}")
        return None
    # What a registry tells is what comes over the network; an engine tells what that becomes.
    expected = expected_seconds(every, image.size_bytes) if image.is_packed else {}
    return FleetFigures(measured(own), expected)


def _took(one: Measured) -> tuple[str, str, str, str]:
    if one.mean_seconds is None:
        return str(one.starts), f"{one.found_share:.0%}", "", ""
    mean, slowest = f"{one.mean_seconds:.1f}s", f"{one.slowest_seconds:.1f}s"
    return str(one.starts), f"{one.found_share:.0%}", mean, slowest


def _plain_fleet(fleet: FleetFigures | None) -> dict[str, Any]:
    if fleet is None:
        return {"fleet": None}
    return {
        "fleet": {
            "measured": [
                {
                    "instanceType": one.instance_type,
                    "starts": one.starts,
                    "foundShare": one.found_share,
                    "meanSeconds": one.mean_seconds,
                    "slowestSeconds": one.slowest_seconds,
                }
                for one in fleet.measured
            ],
            "expectedSeconds": fleet.expected,
        }
    }


def _show_fleet(fleet: FleetFigures) -> None:
    console.line()
    if fleet.measured:
        rows = [(one.instance_type, *_took(one)) for one in fleet.measured]
        console.table(_TOOK[1:], rows)
    else:
        console.line("No job has run it here yet.")
    for name, seconds in sorted(fleet.expected.items()):
        console.line(f"At the rate of all pulls so far, {name} takes {seconds:.1f}s for all of it.")


def _read(name: str, platform: str, *, local: bool) -> Read:
    """Reads an image. An interrupt ends it at once: nobody waits for what is on a thread."""
    if local:
        return engine.read(name)
    reference = Reference.parse(name)
    registry = Registry(reference.registry, asyncio.run(_login(name)))
    return registry.read(reference, platform)


async def _login(name: str) -> Login:
    """The login of the engine's own configuration.

    Raises:
        InvalidRequest: it cannot be used.
    """
    config = engine_config()
    try:
        return await login_of_engine(config, name)
    except (OSError, ValueError, RecursionError) as error:
        raise InvalidRequest(f"{config}: {error}.") from error


def _plain(
    name: str, read: Read, found: list[Finding], difference: Difference | None
) -> dict[str, Any]:
    image = read.image
    return {
        "image": name,
        "digest": read.digest,
        "platform": read.platform,
        "sizeBytes": image.size_bytes,
        "packed": image.is_packed,
        "evenness": round(image.evenness, 4),
        "layers": [
            {
                "digest": layer.digest,
                "sizeBytes": layer.size_bytes,
                "kind": layer.kind.name,
                "step": layer.step,
            }
            for layer in image.layers
        ],
        "places": {place.name: size for place, size in by_place(image).items()},
        "changed": None
        if difference is None
        else {
            "commonLayers": difference.common,
            "anewBytes": difference.anew_bytes,
            "draggedBytes": difference.dragged_bytes,
        },
        "findings": [
            {
                "check": one.check.value,
                "layer": one.layer,
                "value": one.value,
                "found": words.said(one)[0],
                "advice": words.said(one)[1],
            }
            for one in found
        ],
    }


def _show(name: str, read: Read, found: list[Finding], difference: Difference | None) -> None:
    image = read.image
    places = ", ".join(
        f"{place} {words.size(size)}" for place, size in by_place(image).items() if size
    )
    anew = "" if difference is None else f"{words.size(difference.anew_bytes)} pulled anew"
    console.fields(
        [
            ("image", name),
            ("digest", read.digest),
            ("platform", read.platform),
            ("size", f"{words.size(image.size_bytes)}{'' if image.is_packed else ', unpacked'}"),
            ("layers", f"{len(image.filled)}, evenness {image.evenness:.2f}"),
            ("belongs", places),
            ("change", anew),
        ]
    )
    console.line()
    _show_layers(image)
    for one in found:
        console.line()
        for text in words.said(one):
            console.line(text)
    if not found:
        console.line()
        console.line("Nothing stands out.")


def _show_layers(image: Image) -> None:
    numbered = sorted(enumerate(image.layers), key=lambda pair: -pair[1].size_bytes)
    shown = sorted(number for number, _ in numbered[:SHOWN_LAYERS])
    total = image.size_bytes or 1
    console.table(
        ("LAYER", "SIZE", "SHARE", "KIND", "STEP"),
        [
            (
                str(number + 1),
                words.size(layer.size_bytes),
                f"{layer.size_bytes / total:.0%}",
                str(layer.kind),
                layer.step[:STEP_CHARACTERS],
            )
            for number, layer in ((number, image.layers[number]) for number in shown)
        ],
        spare=("KIND", "SHARE"),
    )
    if left := len(image.layers) - len(shown):
        console.line(f"and {left} smaller ones")
