"""A machine that joins an unmanaged compute environment by itself."""

import signal
import subprocess
from pathlib import Path

import pytest
from acceptance.aws import Gate
from acceptance.stand import LONGSHORE, Stack, eventually
from support.patience import PATIENCE_SECONDS


def remove(stack: Stack, name: str) -> None:
    """Deletes a queue and its compute environment of the same name."""
    stack.call("queue", "delete", "--force", name, check=True)
    eventually(
        lambda: stack.call("env", "delete", "--force", name).returncode == 0,
        "the queue is gone and the compute environment can go",
    )


def joining(stack: Stack, environment: str, data_dir: Path) -> list[str]:
    """A command by which this machine joins an environment; also again, as a service does."""
    token = stack.json("token", "create", "--env", environment)["token"]
    file = data_dir.with_name(f"{data_dir.name}-token")
    file.write_text(token)
    return [
        *(LONGSHORE, "agent", "--join", f"127.0.0.1:{stack.port_base}", "--token", f"@{file}"),
        *("--runtime", "process", "--data-dir", str(data_dir)),
    ]


def test_machine_joins_runs_jobs_and_leaves(stack: Stack, tmp_path: Path) -> None:
    stack.call("env", "create", "lan", "--type", "UNMANAGED", check=True)
    stack.call("queue", "create", "lan", "--env", "lan", check=True)
    with subprocess.Popen(
        joining(stack, "lan", tmp_path), env=stack.environ, stderr=subprocess.DEVNULL
    ) as agent:
        try:
            done = stack.call("run", "--queue", "lan", "busybox:latest", "--", "echo", "joined")
            assert done.stdout == "joined\n", done.stderr
        finally:
            agent.send_signal(signal.SIGTERM)
            assert agent.wait(timeout=PATIENCE_SECONDS) == 0
    assert not (tmp_path / "join-token").exists(), "nobody reads it after its use"
    remove(stack, "lan")


@pytest.mark.parametrize(
    ("environment", "why"),
    [
        ("nowhere", "Compute environment nowhere does not exist; create it first"),
        ("default", "Compute environment default is MANAGED: its instances are ordered"),
    ],
)
def test_nobody_joins_what_machines_do_not_join(stack: Stack, environment: str, why: str) -> None:
    done = stack.call("token", "create", "--env", environment)
    assert done.returncode != 0
    assert why in done.stderr


def test_what_a_lost_machine_knows_stands_when_it_is_back(
    stack: Stack, gate: Gate, tmp_path: Path
) -> None:
    """Its container ended well while it was away, and nobody has run the job again."""
    stack.call(*("env", "create", "far", "--type", "UNMANAGED", "--lost-after", "10"), check=True)
    stack.call("queue", "create", "far", "--env", "far", check=True)
    command = ("--image", "busybox:latest", "--", "sh", "-c", gate.script())
    stack.call("definition", "register", "waiting", *command, check=True)
    job = stack.json(
        *("submit", "once", "--definition", "waiting", "--queue", "far", "--attempts", "2")
    )["jobId"]
    data_dir = tmp_path / "agent"
    agent = joining(stack, "far", data_dir)

    def status() -> str:
        return str(stack.json("jobs", "--queue", "far")[0]["status"])

    with subprocess.Popen(agent, env=stack.environ, stderr=subprocess.DEVNULL) as first:
        eventually(lambda: status() == "RUNNING", "it runs")
        first.kill()
    gate.open()
    eventually(lambda: status() == "RUNNABLE", "the machine is lost")
    with subprocess.Popen(agent, env=stack.environ, stderr=subprocess.DEVNULL) as second:
        try:
            eventually(lambda: status() == "SUCCEEDED", "what it knows is told")
        finally:
            second.send_signal(signal.SIGTERM)
            assert second.wait(timeout=PATIENCE_SECONDS) == 0
    (described,) = stack.json("describe", job)
    (attempt,) = described["attempts"]
    assert attempt["container"]["exitCode"] == 0
    remove(stack, "far")
