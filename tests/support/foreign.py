"""Clients made from the protos alone: the programs of examples/clients."""

import contextlib
import hashlib
import os
import signal
import subprocess
import sys
import sysconfig
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from support.patience import PATIENCE_SECONDS

ROOT = Path(__file__).parents[2]
PROTOS = ROOT / "protos"
CLIENTS = ROOT / "examples" / "clients"
NODE_MODULES = ROOT / ".venv" / "node" / "node_modules"
#: Compiles the client in $0 into $1, once for all who ask at one time; other versions go.
_BUILD = """
mkdir -p .clients
exec 9>.clients/lock
flock 9
[ ! -x "$1/client" ] || exit 0
rm -rf .clients/*/
scripts/ensure-clients cpp
make --no-print-directory -C "$0" OUT="$1.new"
mv "$1.new" "$1"
"""

#: Left out only where the environment says so.
NODE = os.environ.get("LONGSHORE_TEST_NODE") != "none"
CPP = os.environ.get("LONGSHORE_TEST_CPP") != "none"
needs_node = pytest.mark.skipif(not NODE, reason="LONGSHORE_TEST_NODE says so")
needs_cpp = pytest.mark.skipif(not CPP, reason="LONGSHORE_TEST_CPP says so")


def ensure(language: str) -> None:
    """Gets what a language needs, if it is not there."""
    subprocess.run([ROOT / "scripts" / "ensure-clients", language], check=True, timeout=110)


def make_python(made: Path) -> list[str]:
    """Lets plain protoc make modules in an empty folder; returns a command that sees only them.

    Without `site`, whose .pth files lead to the longshore that is installed here for editing.
    """
    sources = sorted(str(path) for path in (PROTOS / "longshore" / "v1").glob("*.proto"))
    command = ["-m", "grpc_tools.protoc", "-I", str(PROTOS), f"--python_out={made}"]
    subprocess.run(
        [sys.executable, *command, f"--grpc_python_out={made}", *sources],
        check=True,
        timeout=2 * PATIENCE_SECONDS,
    )
    start = f"""
import runpy, sys
sys.path += [{str(made)!r}, {sysconfig.get_path("purelib")!r}]
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
import longshore.v1.job_pb2 as used
assert used.__file__.startswith({str(made)!r}), used.__file__
"""
    return [sys.executable, "-I", "-S", "-c", start]


@dataclass
class CppClient:
    """The client in C++, compiled beside what the tests do; kept by what it is made of."""

    _kept: Path = field(init=False)
    _build: subprocess.Popen[str] | None = None

    def __post_init__(self) -> None:
        digest = hashlib.sha256()
        sources = (*PROTOS.rglob("*.proto"), *CLIENTS.glob("*.cc"), CLIENTS / "Makefile")
        for source in sorted(sources):
            digest.update(source.name.encode() + b"\0" + source.read_bytes() + b"\0")
        self._kept = ROOT / ".clients" / digest.hexdigest()[:16]
        if not (self._kept / "client").exists():
            self._build = subprocess.Popen(
                ["sh", "-euc", _BUILD, CLIENTS, self._kept],
                cwd=ROOT,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            )

    def path(self) -> Path:
        """The program, when it is compiled."""
        if self._build is not None:
            said, _ = self._build.communicate(timeout=240)
            assert self._build.returncode == 0, said
            self._build = None
        return self._kept / "client"

    def close(self) -> None:
        """Ends a compilation that nobody waited for."""
        if self._build is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._build.pid, signal.SIGKILL)
            self._build.communicate()
