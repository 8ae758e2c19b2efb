"""`catalogue`: instance types that services know here, and how to know them anew."""

import importlib.util
import json as json_format
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from longshore_cli import console, exit_code
from longshore_cli.command import Json
from longshore_cli.settings import absolute

app = typer.Typer(
    help="Instance types: what they offer and cost.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.command(name="list")
def list_types(
    family: Annotated[
        str | None, typer.Option(help="Only types of this family.", show_default=False)
    ] = None,
    json: Json = False,
) -> None:
    """Show the types of the built-in catalogue, or of the one that LONGSHORE_CATALOGUE names.

    MEMORY is what jobs may have of an instance.
    """
    arguments = ["list"] if family is None else ["list", "--family", family]
    kinds = json_format.loads(_run(arguments))
    if json:
        console.print_json(kinds)
        return
    if not kinds:
        console.fail(f"There is no family {family} in the catalogue.")
        raise typer.Exit(exit_code.NEGATIVE)
    console.table(
        ("TYPE", "ARCHITECTURE", "VCPUS", "MEMORY MIB", "GPUS", "DOLLARS PER HOUR"),
        [
            (
                kind["name"],
                kind["architecture"],
                f"{kind['vcpus']:g}",
                str(kind["memoryMib"]),
                str(kind["gpus"] or ""),
                f"{kind['pricePerHour']:.4f}",
            )
            for kind in kinds
        ],
    )


@app.command()
def refresh(
    region: Annotated[
        str | None,
        typer.Option(help="Whose types and prices (AWS_REGION).", show_default="us-east-1"),
    ] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="Where to write it.")] = Path(
        "~/.longshore/catalogue.json"
    ),
) -> None:
    """Read types and prices from AWS into a file that services use with LONGSHORE_CATALOGUE.

    Needs credentials that may call DescribeInstanceTypes and, for prices, GetProducts.
    """
    arguments = ["refresh", "--output", str(absolute(output, "--output"))]
    if region is not None:
        arguments += ["--region", region]
    _run(arguments)


def _run(arguments: list[str]) -> str:
    """What the services' own program prints; it says by itself what goes wrong."""
    if importlib.util.find_spec("aiobotocore") is None:
        console.fail("The services are not installed here; install longshore[server].")
        raise typer.Exit(exit_code.USAGE)
    done = subprocess.run(  # noqa: S603 - our own program, no shell
        [sys.executable, "-m", "longshore.provisioning.ec2.catalogue", *arguments],
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.returncode:
        raise typer.Exit(exit_code.NEGATIVE)
    return done.stdout
