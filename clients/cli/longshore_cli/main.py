"""The command's entry point."""

import sys
from typing import Annotated

import typer

from longshore_cli import console, exit_code
from longshore_cli.loading import LazyGroup
from longshore_cli.settings import settings
from longshore_client import LongshoreError

app = typer.Typer(
    name="longshore",
    cls=LazyGroup,
    help="Run jobs, not servers.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=True,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def options(
    server: Annotated[
        str | None,
        typer.Option(
            "--server",
            metavar="HOST:PORT",
            help="Submission's address; without it LONGSHORE_* variables or the stack that runs "
            "here say where.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Run jobs, not servers: containers as batch jobs on capacity that comes and goes."""
    settings.server = server


@app.command()
def version() -> None:
    """Print the version."""
    import importlib.metadata  # noqa: PLC0415 - slow to load, and for this alone

    console.line(importlib.metadata.version("longshore"))


def main() -> None:
    """Runs the command and leaves with its exit code; no failure shows a traceback."""
    try:
        app()
    except LongshoreError as error:
        try:
            server = settings.addresses.submission
        except LongshoreError:
            server = settings.server or ""
        console.fail(exit_code.sentence(error, server))
        sys.exit(exit_code.of(error))
    except BrokenPipeError:
        # The reader of a pipe has seen enough.
        sys.stderr.close()
        sys.exit(exit_code.OK)
    except KeyboardInterrupt:
        sys.exit(exit_code.INTERRUPTED)
