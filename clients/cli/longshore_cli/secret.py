"""`secret`: longshore's own secrets on this machine.

They are kept by a program of the agent's, which is what reads them. A value goes to it over
standard input: arguments and environments are seen by others.
"""

import importlib.util
import json as json_format
import subprocess
import sys
from typing import Annotated, Any

import typer

from longshore_cli import console, exit_code
from longshore_cli.command import Json

app = typer.Typer(
    help="Longshore's own secrets on this machine.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
Name = Annotated[str, typer.Argument(metavar="NAME", show_default=False)]


@app.command("set")
def set_secret(name: Name) -> None:
    """Set a secret to what comes over standard input, or is typed at a prompt.

    Jobs name it longshore:secret:NAME, or longshore:secret:NAME:KEY for one key of a JSON object.
    One newline at the end is not part of the value.
    """
    value = None
    if sys.stdin.isatty():
        value = typer.prompt("Value", hide_input=True, confirmation_prompt=True).encode()
    _run(["set", "--", name], value)


@app.command("list")
def list_secrets(json: Json = False) -> None:
    """List the names of secrets, and when each was set. Values are never shown."""
    found: dict[str, str] = json_format.loads(_run(["list"]))
    if json:
        console.print_json([{"name": name, "updatedAt": at} for name, at in found.items()])
        return
    console.table(("NAME", "SET AT"), list(found.items()))


@app.command("delete")
def delete_secret(name: Name) -> None:
    """Delete a secret."""
    _run(["delete", "--", name])


def _run(arguments: list[str], value: bytes | None = None) -> str:
    """What the program prints; it says by itself what goes wrong."""
    if importlib.util.find_spec("cryptography") is None:
        console.fail("The agent is not installed here; install longshore[server].")
        raise typer.Exit(exit_code.USAGE)
    standard_input: Any = {"stdin": sys.stdin} if value is None else {"input": value}
    done = subprocess.run(  # noqa: S603 - our own program, no shell
        [sys.executable, "-m", "longshore.agent.secret", *arguments],
        stdout=subprocess.PIPE,
        check=False,
        **standard_input,
    )
    if done.returncode:
        raise typer.Exit(done.returncode)
    return str(done.stdout.decode())
