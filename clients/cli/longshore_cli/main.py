"""The command's entry point."""

import atexit
import gc
import sys
from typing import Annotated

import typer

from longshore_cli import console, exit_code, streams
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
    streams.prepare()
    try:
        code = _run()
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader of a pipe has seen enough.
        streams.discard(sys.stdout)
        code = exit_code.OK
    except OSError as error:
        code = _failed(error)
    # What is left goes with the process: nobody need look through it for what could go before.
    atexit.register(gc.freeze)
    sys.exit(code)


def _run() -> int:
    for argument in sys.argv[1:]:
        if not argument.isascii() and not _is_text(argument):
            console.fail(f"{argument!a} is not text in UTF-8.")
            return exit_code.USAGE
    try:
        app()
    except SystemExit as left:
        return left.code if isinstance(left.code, int) else exit_code.OK
    except LongshoreError as error:
        try:
            server = settings.addresses.submission
        except LongshoreError:
            server = settings.server or ""
        console.fail(exit_code.sentence(error, server))
        return exit_code.of(error)
    except KeyboardInterrupt:
        return exit_code.INTERRUPTED
    return exit_code.OK


def _is_text(argument: str) -> bool:
    """Whether it has a form on the wire; bytes that are no UTF-8 come in as lone surrogates."""
    try:
        argument.encode()
    except UnicodeEncodeError:
        return False
    return True


def _failed(error: OSError) -> int:
    """Tells of a file, or of standard output, that cannot be used."""
    why = error.strerror or str(error)
    if streams.is_output(error):
        streams.discard(sys.stdout)
        console.fail(f"Standard output cannot be written: {why}.")
    elif error.filename is not None:
        console.fail(f"{error.filename}: {why}.")
    else:
        console.fail(f"{why}.")
    return exit_code.NEGATIVE
