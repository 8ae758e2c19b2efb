"""Clients made from the protos alone, in three languages: those of examples/clients."""

import os
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

from acceptance.stand import Stack
from support.foreign import (
    CLIENTS,
    NODE_MODULES,
    PROTOS,
    CppClient,
    ensure,
    make_python,
    needs_cpp,
    needs_node,
)
from support.patience import PATIENCE_SECONDS

_ID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_SAID = rf"""registered client-LANGUAGE:\d+
array {_ID}, then {_ID}
after SUCCEEDED
array SUCCEEDED
page of 2
page of 1
log child 2
refused NOT_FOUND jobQueue: JobQueue nowhere not found\.
"""


def _check(stack: Stack, language: str, command: Sequence[str | Path], place: Path) -> None:
    """Runs a client in an empty folder; all of them say the same."""
    addresses = stack.record["addresses"]
    done = subprocess.run(
        [*command, addresses["submission"], addresses["logs"]],
        cwd=place,
        env={"PATH": os.environ["PATH"], "NODE_PATH": str(NODE_MODULES), **stack.own_key},
        capture_output=True,
        text=True,
        timeout=2 * PATIENCE_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.fullmatch(_SAID.replace("LANGUAGE", language), done.stdout), done.stdout


def test_python(stack: Stack, tmp_path: Path) -> None:
    command = make_python(tmp_path)
    _check(stack, "python", [*command, CLIENTS / "client.py"], tmp_path)


@needs_node
def test_node(stack: Stack, tmp_path: Path) -> None:
    ensure("node")
    _check(stack, "node", ["node", CLIENTS / "client.js", PROTOS], tmp_path)


@needs_cpp
def test_cpp(stack: Stack, cpp_client: CppClient, tmp_path: Path) -> None:
    _check(stack, "cpp", [cpp_client.path()], tmp_path)
