"""A whole longshore, as a user starts it, for tests that speak to it from outside."""

import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import psutil
from support.patience import PATIENCE_SECONDS
from support.ports import free_port_base
from support.postgres import seed

from longshore_cli import main
from longshore_cli.settings import settings
from longshore_client import AccessKey, Addresses, Client
from longshore_client.credentials import of_stack

RUNTIME = os.environ.get("LONGSHORE_TEST_RUNTIME", "docker")
LONGSHORE = str(Path(sys.executable).parent / "longshore")


def eventually(condition: Callable[[], Any], what: str, seconds: float = PATIENCE_SECONDS) -> Any:
    """Polls until the condition holds and returns what it said; fails after the deadline.

    Where asking takes long, as a command does, what is waited for gets most of the processor; and
    what has not come for long is asked for less often.
    """
    began = time.monotonic()
    deadline = began + seconds
    while True:
        asked = time.monotonic()
        if said := condition():
            return said
        now = time.monotonic()
        assert now < deadline, f"not within {seconds} s: {what}"
        time.sleep(max(0.1, min(4 * (now - asked) + (now - began) / 8, 1.0)))


@dataclass
class Stack:
    """A longshore on a data directory and ports of its own."""

    data_dir: Path
    runtime: str = RUNTIME
    port_base: int = field(default_factory=free_port_base)
    #: LONGSHORE_* variables besides.
    settings: Mapping[str, str] = field(default_factory=dict)
    #: The installed command.
    command: str = LONGSHORE

    @property
    def gateway_url(self) -> str:
        """What AWS_ENDPOINT_URL_BATCH is set to."""
        return f"http://127.0.0.1:{self.port_base + 10}"

    @property
    def environ(self) -> dict[str, str]:
        """Of a user whose commands mean this stack."""
        inherited = {
            name: value for name, value in os.environ.items() if not name.startswith("LONGSHORE_")
        }
        return inherited | {
            "LONGSHORE_DATA_DIR": str(self.data_dir),
            "LONGSHORE_PORT_BASE": str(self.port_base),
            "LONGSHORE_SECRETS_FILE": str(self.data_dir / "secrets"),
            "LONGSHORE_SECRETS_KEY_FILE": str(self.data_dir / "secrets.key"),
            # Agents that a test halts, or that a busy machine does, are not lost by it.
            "LONGSHORE_LOST_SECONDS": "300",
            "COLUMNS": "200",
            **self.settings,
        }

    def cli(
        self,
        *arguments: str,
        timeout: float = 2 * PATIENCE_SECONDS,
        check: bool = False,
        **environ: str,
    ) -> subprocess.CompletedProcess[str]:
        """Runs the command and returns its output and exit code."""
        done = subprocess.run(
            [self.command, *arguments],
            env=self.environ | environ,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        assert "Traceback" not in done.stderr, done.stderr
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done

    def call(
        self, *arguments: str, check: bool = False, **environ: str
    ) -> subprocess.CompletedProcess[str]:
        """As `cli`, in the process of the test: for what a test needs and is not about.

        It takes a tenth of a process' time, and tests ask again and again.
        """
        out, err = io.StringIO(), io.StringIO()
        with (
            mock.patch.dict(os.environ, self.environ | environ, clear=True),
            mock.patch.object(sys, "argv", ["longshore", *arguments]),
            mock.patch.multiple(settings, server=None, _addresses=None),
            redirect_stdout(out),
            redirect_stderr(err),
        ):
            try:
                main.main()
            except SystemExit as left:
                code = left.code
        assert isinstance(code, int)
        done = subprocess.CompletedProcess(arguments, code, out.getvalue(), err.getvalue())
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done

    def json(self, *arguments: str) -> Any:
        """What the command prints with --json."""
        return json.loads(self.call(*arguments, "--json", check=True).stdout)

    def up(self, *arguments: str) -> str:
        """Starts it and returns what was announced.

        Its first start is not from nothing, unless it is somebody else's: that is for tests that
        give the command themselves.
        """
        if self.command == LONGSHORE:
            seed(self.data_dir / "postgres")
        started = self.cli(
            "up",
            "--detach",
            *("--runtime", self.runtime, *arguments),
            check=True,
            timeout=200,
        )
        return started.stdout

    def down(self) -> None:
        """Stops it."""
        self.cli("down", check=True, timeout=200)

    def client(self) -> Client:
        """A client; to be made where an event loop runs."""
        return Client(
            Addresses.from_submission(f"127.0.0.1:{self.port_base}"),
            timeout=PATIENCE_SECONDS,
            access_key=self.access_key,
        )

    @property
    def access_key(self) -> AccessKey:
        """Of who owns it."""
        key = of_stack(f"127.0.0.1:{self.port_base}", self.data_dir)
        assert key is not None
        return key

    @property
    def own_key(self) -> dict[str, str]:
        """The same, as our own programs take it."""
        key = self.access_key
        return {
            "LONGSHORE_ACCESS_KEY_ID": key.access_key_id,
            "LONGSHORE_SECRET_ACCESS_KEY": key.secret_access_key,
        }

    @property
    def credentials(self) -> dict[str, str]:
        """The same, as AWS's tools take it."""
        key = self.access_key
        return {
            "AWS_ACCESS_KEY_ID": key.access_key_id,
            "AWS_SECRET_ACCESS_KEY": key.secret_access_key,
        }

    @property
    def record(self) -> dict[str, Any]:
        """What the stack says of itself."""
        record: dict[str, Any] = json.loads((self.data_dir / "longshore.json").read_text())
        return record

    @property
    def may_run(self) -> bool:
        """Whether anything of it may be left: unless it never began, or was stopped."""
        try:
            return bool(self.record["status"] != "stopped")
        except FileNotFoundError:
            return False
        except ValueError:
            return True  # a test has damaged it

    def kill(self, service: str) -> int:
        """SIGKILL to a service; its process id."""
        pid = int(self.record["services"][service]["pid"])
        os.kill(pid, signal.SIGKILL)
        return pid

    def agents(self) -> list[psutil.Process]:
        """Agents of the stack's instances."""
        found = []
        for process in psutil.process_iter(["cmdline"]):
            if "longshore.agent" in (process.info["cmdline"] or ()):
                data_dir = Path(process.environ().get("LONGSHORE_DATA_DIR", "/"))
                if self.data_dir in data_dir.parents:
                    found.append(process)
        return found
