"""docs/clients.md, run: the files and commands of a client's section, with that client."""

import os
import re
import shlex
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
from acceptance import tour
from acceptance.stand import LONGSHORE, Stack

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "clients.md"
#: Where the page says that an object store is.
STORE = "http://127.0.0.1:9000"
_MARK = "=== end of step ==="
_STEP_SECONDS = 900


def section(client: str) -> str:
    """What the page says of a client."""
    (found,) = re.findall(
        rf"^## {re.escape(client)}\n(.*?)(?=^## |\Z)",
        PAGE.read_text("utf-8"),
        re.MULTILINE | re.DOTALL | re.IGNORECASE,
    )
    return str(found)


def files(text: str) -> dict[str, str]:
    """Blocks that have a name behind their language, by that name."""
    blocks = re.findall(r"^```\w+ (\S+)\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return dict(blocks)


@dataclass
class User:
    """Somebody with one client in an empty directory."""

    client: str
    stack: Stack
    home: Path
    #: Variables besides those that `longshore credentials` prints.
    more: Mapping[str, str] = field(default_factory=dict)

    @property
    def environ(self) -> dict[str, str]:
        """What the user's shell has."""
        commands = self.home / ".commands"
        commands.mkdir(exist_ok=True)
        if not (commands / "longshore").exists():
            (commands / "longshore").symlink_to(LONGSHORE)
        venv = ROOT / ".venv" / "clients" / self.client / "bin"
        environ = {
            "PATH": f"{venv}:{commands}:{os.defpath}",
            "HOME": str(self.home),
            "LONGSHORE_DATA_DIR": str(self.stack.data_dir),
            "LONGSHORE_PORT_BASE": str(self.stack.port_base),
            "COLUMNS": "200",
        }
        printed = self.stack.call("credentials", check=True, HOME=str(self.home)).stdout
        for line in shlex.split(printed, comments=True):
            name, is_set, value = line.partition("=")
            if is_set:
                environ[name] = value
        return environ | {"AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "any", **self.more}

    def follow(self) -> list[str]:
        """Does what the client's section says, and returns what each command printed.

        Each prints what the page shows.
        """
        text = section(self.client).replace(STORE, self.more.get("AWS_ENDPOINT_URL_S3", STORE))
        for name, content in files(text).items():
            place = self.home / name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(content, "utf-8")
        steps = tour.steps(text)
        script = "\n".join(
            f'{command}\ncode=$?; [ $code = 0 ] || echo "[exit code $code]"; echo "{_MARK}"'
            for command, _ in steps
        )
        done = subprocess.run(
            ["bash", "-c", script],
            capture_output=True,
            text=True,
            timeout=_STEP_SECONDS,
            check=False,
            cwd=self.home,
            env=self.environ,
        )
        printed = done.stdout.split(_MARK + "\n")[:-1]
        assert len(printed) == len(steps), done.stdout + done.stderr
        for (command, expected), output in zip(steps, printed, strict=True):
            assert tour.matches(expected, output), f"$ {command}\n{output}\n{done.stderr[-8000:]}"
        return printed

    def boto3(self, service: str, endpoint: str = "") -> Any:
        """A client of boto3 to look with at what was done."""
        return boto3.client(
            service,
            endpoint_url=endpoint or self.stack.gateway_url,
            region_name="us-east-1",
            aws_access_key_id="any",
            aws_secret_access_key="any",  # noqa: S106 - any credentials will do
        )

    def jobs(self, name: str, queue: str = "default") -> list[dict[str, Any]]:
        """Details of the jobs of that name, or whose names begin so if it ends with `*`."""
        batch = self.boto3("batch")
        wanted = [{"name": "JOB_NAME", "values": [name]}]
        found = batch.list_jobs(jobQueue=queue, filters=wanted)["jobSummaryList"]
        ids = [job["jobId"] for job in found]
        jobs = batch.describe_jobs(jobs=ids)["jobs"] if ids else []
        batch.close()
        return list(jobs)
