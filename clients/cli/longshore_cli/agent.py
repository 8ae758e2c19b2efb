"""`agent`: this machine as an instance of an unmanaged compute environment."""

import importlib.util
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from longshore.contract import PORT_OFFSETS
from longshore_cli import console, exit_code
from longshore_cli.settings import directory
from longshore_cli.stack import RuntimeChoice
from longshore_client.address import split_address


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(agent)


def agent(
    compute_environment: Annotated[
        str, typer.Option(help="UNMANAGED compute environment to join.")
    ],
    scheduler: Annotated[str, typer.Option(metavar="HOST:PORT", help="The scheduler's address.")],
    logs: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT",
            help="The log service's address; three ports above the scheduler's if not given.",
            show_default=False,
        ),
    ] = None,
    runtime: Annotated[
        RuntimeChoice, typer.Option(help="auto takes Docker where it answers.")
    ] = RuntimeChoice.auto,
    data_dir: Annotated[
        Path, typer.Option(help="Journal and spooled logs; keeps the instance's identity.")
    ] = Path("~/.longshore/agent"),
) -> None:
    """Run jobs of an unmanaged compute environment on this machine.

    The machine offers what it has, less a reserve of 32 MiB; LONGSHORE_VCPU_MILLI,
    LONGSHORE_MEMORY_MIB and LONGSHORE_GPUS declare something else.
    """
    if importlib.util.find_spec("aiodocker") is None:
        console.fail("The agent is not installed here; install longshore[server].")
        raise typer.Exit(exit_code.USAGE)
    environ = {
        **os.environ,
        "LONGSHORE_UNMANAGED": "true",
        "LONGSHORE_COMPUTE_ENVIRONMENT": compute_environment,
        "LONGSHORE_SCHEDULER_ADDRESS": scheduler,
        "LONGSHORE_LOGS_ADDRESS": logs or _logs_beside(scheduler),
        "LONGSHORE_RUNTIME": runtime.value,
        "LONGSHORE_DATA_DIR": str(directory(data_dir, "--data-dir")),
    }
    os.execve(sys.executable, [sys.executable, "-m", "longshore.agent"], environ)  # noqa: S606


def _logs_beside(scheduler: str) -> str:
    host, port = split_address(scheduler, "--scheduler")
    return f"{host}:{port + PORT_OFFSETS['logs'] - PORT_OFFSETS['scheduler']}"
