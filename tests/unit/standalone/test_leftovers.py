"""Ending what runs on a data directory."""

import subprocess
import sys

import psutil

from longshore.standalone import leftovers

HOUR = 3600.0
UNREAPED = """
import subprocess, sys
child = subprocess.Popen(["sleep", "60"])
print(child.pid, flush=True)
sys.stdin.read()
"""


def test_what_nobody_reaps_is_not_waited_for() -> None:
    """As in a container whose first process reaps nobody."""
    with subprocess.Popen(
        [sys.executable, "-c", UNREAPED], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        leftovers.stop([child], HOUR)
        assert child.status() == psutil.STATUS_ZOMBIE
