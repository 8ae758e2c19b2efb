"""`ca`: the stack's certificate authority, in its data directory on this machine.

A program of the services' does it: the library of cryptography is theirs.
"""

import importlib.util
import json as json_format
import os
import subprocess
import sys
from typing import Any

import typer

from longshore_cli import console, exit_code
from longshore_cli.command import DataDir, Json
from longshore_cli.settings import data_directory

app = typer.Typer(
    help="The stack's certificate authority.", no_args_is_help=False, rich_markup_mode=None
)


@app.callback(invoke_without_command=True)
def show(context: typer.Context, data_dir: DataDir = None, json: Json = False) -> None:
    """The stack's certificate authority: without a command, fingerprints and expiry."""
    if context.invoked_subcommand is None:
        _tell(_run("show", data_dir), json=json)


@app.command()
def init(data_dir: DataDir = None, json: Json = False) -> None:
    """Make an authority, and certificates of all services, where there are none.

    `longshore up` does it by itself; this is for services that are started otherwise.
    """
    _tell(_run("init", data_dir), json=json)


@app.command()
def issue(data_dir: DataDir = None, json: Json = False) -> None:
    """Make new certificates of all services; they take them without a restart."""
    _tell(_run("issue", data_dir), json=json)


@app.command()
def rotate(data_dir: DataDir = None, json: Json = False) -> None:
    """Make the next authority, and new certificates of all services.

    The one before stays trusted for two days, in which all agents renew their certificates; jobs go
    on. `longshore ca retire` ends that earlier.
    """
    _tell(_run("rotate", data_dir), json=json)


@app.command()
def retire(data_dir: DataDir = None, json: Json = False) -> None:
    """Trust the current authority alone from now on.

    Agents that have not renewed their certificates since the rotation have to join anew.
    """
    _tell(_run("retire", data_dir), json=json)


def _tell(found: dict[str, Any], *, json: bool) -> None:
    if json:
        console.print_json(found)
        return
    console.fields([("stack", found["stack"]), ("folder", found["directory"])])
    console.line()
    console.table(
        ("FINGERPRINT (SHA-256)", "", "TRUSTED UNTIL"),
        [
            (one["fingerprint"], "signs" if one["current"] else "before it", one["notAfter"][:16])
            for one in found["trusted"]
        ],
    )


def _run(action: str, data_dir: Any) -> dict[str, Any]:
    """What the program prints; it says by itself what goes wrong."""
    if importlib.util.find_spec("cryptography") is None:
        console.fail("The services are not installed here; install longshore[server].")
        raise typer.Exit(exit_code.USAGE)
    done = subprocess.run(  # noqa: S603 - our own program, no shell
        [sys.executable, "-m", "longshore.standalone.ca", action],
        env={**os.environ, "LONGSHORE_DATA_DIR": str(data_directory(data_dir))},
        stdout=subprocess.PIPE,
        check=False,
    )
    if done.returncode:
        raise typer.Exit(done.returncode)
    found: dict[str, Any] = json_format.loads(done.stdout)
    return found
