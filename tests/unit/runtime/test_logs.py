"""Our own logs: JSON lines without what users submit."""

import json
import subprocess
import sys
from pathlib import Path

from support.patience import PATIENCE_SECONDS

_PROGRAM = """
import structlog
from longshore.runtime.logs import configure_logging

configure_logging("submission")

def handle(environment):
    raise RuntimeError("a bug")

try:
    handle({"TOKEN": "hunter2"})
except RuntimeError:
    structlog.get_logger().exception("rpc.failed", method="SubmitJob")
"""


def test_a_traceback_tells_no_values() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM],
        capture_output=True,
        text=True,
        check=True,
        timeout=PATIENCE_SECONDS,
    )
    [line] = done.stderr.splitlines()
    entry = json.loads(line)
    assert entry["event"] == "rpc.failed"
    assert entry["service"] == "submission"
    assert entry["exception"][0]["exc_value"] == "a bug"
    assert "hunter2" not in line


def test_a_full_disk_ends_nobody() -> None:
    """Services log to files; work goes on although a line finds no room."""
    program = """
import structlog
from longshore.runtime.logs import configure_logging

configure_logging("agent")
for _ in range(1000):
    structlog.get_logger().info("attempt.placed")
print("went on")
"""
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-c", program],
            stdout=subprocess.PIPE,
            stderr=full,
            text=True,
            check=False,
            timeout=PATIENCE_SECONDS,
        )
    assert done.stdout == "went on\n"


def test_what_takes_long_to_load_is_loaded_by_those_who_need_it() -> None:
    """A service starts in a fraction of a second: nothing large comes along by the way."""
    program = """
import importlib, sys

def load(*services):
    for name in services:
        importlib.import_module(f"longshore.{name}.__main__")
    heavy = ("rich", "numpy", "matplotlib", "botocore")
    print(*[name for name in heavy if name in sys.modules])

load("standalone", "logs", "submission", "events", "provisioning", "gateway", "agent")
load("scheduler", "scaler")
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        timeout=PATIENCE_SECONDS,
    )
    assert done.stdout == "\nnumpy\n"
