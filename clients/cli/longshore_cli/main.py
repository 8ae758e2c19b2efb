"""The command's entry point."""

import sys
from importlib.metadata import version as package_version
from typing import Annotated

import typer

from longshore_cli import (
    agent,
    capacity,
    catalogue,
    console,
    definition,
    environment,
    exit_code,
    inspect_jobs,
    instance,
    queue,
    run,
    simulate,
    stack,
    stop_jobs,
    submit,
)
from longshore_cli.settings import settings
from longshore_client import LongshoreError

app = typer.Typer(
    name="longshore",
    help="Run jobs, not servers.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=True,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for module in (stack, run, submit, inspect_jobs, stop_jobs, capacity, instance, simulate, agent):
    module.register(app)
app.add_typer(queue.app, name="queue")
app.add_typer(environment.app, name="env")
app.add_typer(definition.app, name="definition")
app.add_typer(catalogue.app, name="catalogue")


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
    console.out().print(package_version("longshore"))


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
