"""The demonstration, and what it survives."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from acceptance.stand import RUNTIME, Stack
from support.patience import PATIENCE_SECONDS
from support.ports import free_port_base

ROOT = Path(__file__).parents[2]
CHILDREN = 24


@contextmanager
def _demo(directory: Path) -> Iterator[subprocess.Popen[str]]:
    sizes = ("--children", str(CHILDREN), "--paths", "16000")
    with subprocess.Popen(
        [
            *(sys.executable, "-m", "examples.monte_carlo"),
            *("--runtime", RUNTIME, "--data-dir", str(directory)),
            *("--port-base", str(free_port_base()), *sizes),
        ],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as running:
        try:
            yield running
        finally:
            if running.poll() is None:
                running.send_signal(signal.SIGINT)
                running.wait(timeout=2 * PATIENCE_SECONDS)


def _wait_for_children(directory: Path, running: subprocess.Popen[str], started: int) -> None:
    """Until so many children have started, as their own marks say."""
    marks = directory / "results" / "started"
    deadline = time.monotonic() + 2 * PATIENCE_SECONDS
    while not marks.exists() or len(marks.read_text().splitlines()) < started:
        assert running.poll() is None, running.communicate()[0]
        assert time.monotonic() < deadline, "the children do not start"
        time.sleep(0.02)


def _assert_right(running: subprocess.Popen[str]) -> None:
    said, _ = running.communicate(timeout=150)
    assert running.returncode == 0, said
    assert "Black-Scholes" in said
    assert "capacity 0 -> " in said, "instances come"
    assert "capacity        0 instances again" in said, "and go"
    assert "the demo is right" in said


def test_demo_prices_the_option_though_a_scheduler_and_an_agent_are_killed(place: Path) -> None:
    """Both are started again, agents reconnect and find what they ran; no child runs twice."""
    with _demo(place / "demo") as running:
        _wait_for_children(place / "demo", running, 3)
        Stack(place / "demo").kill("scheduler")
        _wait_for_children(place / "demo", running, CHILDREN // 2)
        agents = Stack(place / "demo").agents()
        ours = [a for a in agents if a.environ()["LONGSHORE_COMPUTE_ENVIRONMENT"] == "demo"]
        assert len(ours) > 1
        os.kill(ours[0].pid, signal.SIGKILL)
        _assert_right(running)
    assert Stack(place / "demo").agents() == []
