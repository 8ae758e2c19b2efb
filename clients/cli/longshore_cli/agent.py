"""`agent`: this machine as an instance of an unmanaged compute environment."""

import importlib.util
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from longshore.contract import JOIN_OFFSET
from longshore_cli import console, exit_code
from longshore_cli.settings import directory
from longshore_cli.stack import RuntimeChoice
from longshore_client.address import split_address

#: More than a token has.
TOKEN_CHARACTERS = 512


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(agent)


def agent(
    join: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT",
            help="Where to join: a stack's machine, and its port base (7070); needed once.",
            show_default=False,
        ),
    ] = None,
    token: Annotated[
        str | None,
        typer.Option(
            envvar="LONGSHORE_JOIN_TOKEN",
            metavar="TOKEN",
            help="From `longshore token create`; `-` reads it from standard input, @FILE from a "
            "file. What stands here others see in the list of processes until it is read.",
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

    The first start joins with a token, which says of which environment; later ones need neither.
    The machine offers what it has, less a reserve of 32 MiB; LONGSHORE_VCPU_MILLI,
    LONGSHORE_MEMORY_MIB and LONGSHORE_GPUS declare something else.
    """
    if importlib.util.find_spec("aiodocker") is None:
        console.fail("The agent is not installed here; install longshore[server].")
        raise typer.Exit(exit_code.USAGE)
    place = directory(data_dir, "--data-dir")
    environ = {
        **os.environ,
        "LONGSHORE_UNMANAGED": "true",
        "LONGSHORE_RUNTIME": runtime.value,
        "LONGSHORE_DATA_DIR": str(place),
    }
    # Environments of processes can be read for as long as these live.
    environ.pop("LONGSHORE_JOIN_TOKEN", None)
    if token is not None:
        environ["LONGSHORE_JOIN_TOKEN_FILE"] = str(_kept(_read(token), place))
    if join is not None:
        host, port = split_address(join, "--join")
        environ["LONGSHORE_JOIN"] = f"{host}:{port + JOIN_OFFSET}"
    os.execve(sys.executable, [sys.executable, "-m", "longshore.agent"], environ)  # noqa: S606


def _read(token: str) -> str:
    if token == "-":  # noqa: S105 - standard input
        return sys.stdin.readline()
    if token.startswith("@"):
        with Path(token[1:]).expanduser().open() as file:
            return file.readline(TOKEN_CHARACTERS)
    return token


def _kept(token: str, place: Path) -> Path:
    """A file of the agent's with the token, which it removes once it has joined."""
    place.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = place / "join-token"
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(token)
    return path
