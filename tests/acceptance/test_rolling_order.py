"""The rolling order, for real: three environments of local instances, three queues."""

import subprocess
import sys
from pathlib import Path

from acceptance.stand import Stack
from support.patience import PATIENCE_SECONDS

ROOT = Path(__file__).parents[2]


def test_rolling_order_grows_all_environments_and_spills_to_the_next(lasting_stack: Stack) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "examples.rolling_order", "--seconds", "12"],
        cwd=ROOT,
        env=lasting_stack.environ,
        capture_output=True,
        text=True,
        timeout=2 * PATIENCE_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "A 2, B 2, C 2; 6 running, 0 ended" in done.stdout
    assert "the rolling order is right" in done.stdout
    left = lasting_stack.call("env", "list", check=True).stdout
    assert "rolling" not in left
