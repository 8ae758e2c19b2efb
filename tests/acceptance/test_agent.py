"""A machine that joins an unmanaged compute environment by itself."""

import signal
import subprocess
from pathlib import Path

import pytest
from acceptance.aws import Gate
from acceptance.stand import LONGSHORE, Stack, eventually


def test_machine_joins_runs_jobs_and_leaves(stack: Stack, tmp_path: Path) -> None:
    stack.call("env", "create", "lan", "--type", "UNMANAGED", check=True)
    stack.call("queue", "create", "lan", "--env", "lan", check=True)
    with subprocess.Popen(
        [
            *(LONGSHORE, "agent", "--compute-environment", "lan", "--runtime", "process"),
            *("--scheduler", f"127.0.0.1:{stack.port_base + 1}", "--data-dir", str(tmp_path)),
        ],
        env=stack.environ,
        stderr=subprocess.DEVNULL,
    ) as agent:
        try:
            done = stack.call("run", "--queue", "lan", "busybox:latest", "--", "echo", "joined")
            assert done.stdout == "joined\n", done.stderr
        finally:
            agent.send_signal(signal.SIGTERM)
            assert agent.wait(timeout=30) == 0
    stack.call("queue", "delete", "--force", "lan", check=True)
    eventually(
        lambda: stack.call("env", "delete", "--force", "lan").returncode == 0,
        "the queue is gone and the compute environment can go",
    )


@pytest.mark.parametrize(
    ("environment", "why"),
    [
        ("nowhere", "Compute environment nowhere does not exist; create it first"),
        ("default", "Compute environment default is MANAGED: its instances are ordered"),
    ],
)
def test_a_machine_that_may_not_join_ends_and_says_why(
    stack: Stack, tmp_path: Path, environment: str, why: str
) -> None:
    scheduler = f"127.0.0.1:{stack.port_base + 1}"
    done = stack.cli(
        *("agent", "--compute-environment", environment, "--runtime", "process"),
        *("--scheduler", scheduler, "--data-dir", str(tmp_path)),
    )
    assert done.returncode == 1
    assert why in done.stderr


def test_what_a_lost_machine_knows_stands_when_it_is_back(own_stack: Stack, gate: Gate) -> None:
    """Its container ended well while it was away, and nobody has run the job again."""
    own_stack.up()
    own_stack.call(
        *("env", "create", "lan", "--type", "UNMANAGED", "--lost-after", "10"), check=True
    )
    own_stack.call("queue", "create", "lan", "--env", "lan", check=True)
    command = ("--image", "busybox:latest", "--", "sh", "-c", gate.script())
    own_stack.call("definition", "register", "waiting", *command, check=True)
    job = own_stack.json(
        *("submit", "once", "--definition", "waiting", "--queue", "lan", "--attempts", "2")
    )["jobId"]
    data_dir = str(own_stack.data_dir / "agent")
    agent = (
        *(LONGSHORE, "agent", "--compute-environment", "lan", "--runtime", "process"),
        *("--scheduler", f"127.0.0.1:{own_stack.port_base + 1}", "--data-dir", data_dir),
    )

    def status() -> str:
        return str(own_stack.json("jobs", "--queue", "lan")[0]["status"])

    with subprocess.Popen(agent, env=own_stack.environ, stderr=subprocess.DEVNULL) as first:
        eventually(lambda: status() == "RUNNING", "it runs")
        first.kill()
    gate.open()
    eventually(lambda: status() == "RUNNABLE", "the machine is lost")
    with subprocess.Popen(agent, env=own_stack.environ, stderr=subprocess.DEVNULL) as second:
        try:
            eventually(lambda: status() == "SUCCEEDED", "what it knows is told")
        finally:
            second.send_signal(signal.SIGTERM)
            assert second.wait(timeout=30) == 0
    (described,) = own_stack.json("describe", job)
    (attempt,) = described["attempts"]
    assert attempt["container"]["exitCode"] == 0
