"""A machine that joins an unmanaged compute environment by itself."""

import signal
import subprocess
from pathlib import Path

from acceptance.stand import LONGSHORE, Stack, eventually


def test_machine_joins_runs_jobs_and_leaves(stack: Stack, tmp_path: Path) -> None:
    stack.cli("env", "create", "lan", "--type", "UNMANAGED", check=True)
    stack.cli("queue", "create", "lan", "--env", "lan", check=True)
    with subprocess.Popen(
        [
            *(LONGSHORE, "agent", "--compute-environment", "lan", "--runtime", "process"),
            *("--scheduler", f"127.0.0.1:{stack.port_base + 1}", "--data-dir", str(tmp_path)),
        ],
        env=stack.environ,
        stderr=subprocess.DEVNULL,
    ) as agent:
        try:
            done = stack.cli("run", "--queue", "lan", "busybox:latest", "--", "echo", "joined")
            assert done.stdout == "joined\n", done.stderr
        finally:
            agent.send_signal(signal.SIGTERM)
            assert agent.wait(timeout=30) == 0
    stack.cli("queue", "delete", "--force", "lan", check=True)
    eventually(
        lambda: stack.cli("env", "delete", "--force", "lan").returncode == 0,
        "the queue is gone and the compute environment can go",
    )
