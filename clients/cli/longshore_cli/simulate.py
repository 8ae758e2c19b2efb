"""`simulate`: a workload in virtual time, on compute environments that cost nothing to try.

The simulation is a program of its own, started as the services are: the command itself stays small
and quick to load.
"""

import importlib.util
import subprocess
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from longshore_cli import console, exit_code
from longshore_cli.command import Json


class Strategy(StrEnum):
    """Allocation strategies, as in AWS Batch."""

    BEST_FIT = "BEST_FIT"
    BEST_FIT_PROGRESSIVE = "BEST_FIT_PROGRESSIVE"
    BEST_FIT_PROGRESSIVE_ORDERED = "BEST_FIT_PROGRESSIVE_ORDERED"
    SPOT_CAPACITY_OPTIMIZED = "SPOT_CAPACITY_OPTIMIZED"
    SPOT_PRICE_CAPACITY_OPTIMIZED = "SPOT_PRICE_CAPACITY_OPTIMIZED"
    SPOT_CAPACITY_OPTIMIZED_PRIORITIZED = "SPOT_CAPACITY_OPTIMIZED_PRIORITIZED"


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(simulate)


def simulate(
    workload: Annotated[
        Path, typer.Argument(metavar="WORKLOAD.yaml", help="What to simulate.", show_default=False)
    ],
    json: Json = False,
    picture: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Draw the timeline, as .png or .svg.", show_default=False
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(min=0, help="Of all that is drawn.", show_default="the workload's"),
    ] = None,
    until: Annotated[
        str | None,
        typer.Option(
            metavar="DURATION", help="Virtual time to end at: 90s, 5m, 2h, 1d.", show_default=False
        ),
    ] = None,
    strategy: Annotated[
        Strategy | None,
        typer.Option(
            metavar="STRATEGY",
            help="Allocation strategy for all environments that may have it.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Run a workload in virtual time; print makespan, waiting times and cost.

    Scheduling and scaling decide as they do for real; instances are simulated. Exit code 1 if jobs
    are left that did not end.
    """
    if any(importlib.util.find_spec(name) is None for name in ("msgspec", "matplotlib", "numpy")):
        console.fail("The simulation is not installed here; install longshore[server].")
        raise typer.Exit(exit_code.USAGE)
    options = {
        "--picture": picture,
        "--seed": seed,
        "--until": until,
        "--strategy": None if strategy is None else strategy.value,
    }
    arguments = [f"{name}={value}" for name, value in options.items() if value is not None]
    if json:
        arguments.append("--json")
    process = subprocess.Popen(  # noqa: S603 - our own program, no shell
        [sys.executable, "-m", "longshore.simulation", *arguments, "--", str(workload)]
    )
    try:
        code = process.wait()
    except KeyboardInterrupt:
        process.terminate()  # it was interrupted with us; this is for one that was not
        process.wait()
        raise
    if code:
        raise typer.Exit(code)
