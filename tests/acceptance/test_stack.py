"""`up`, `status`, `down`: stacks that tests start, break and stop themselves."""

import os
import signal
import socket
import subprocess
from pathlib import Path

import psutil
from acceptance.stand import LONGSHORE, Stack, eventually


def test_up_announces_addresses_and_choices(own_stack: Stack) -> None:
    announced = own_stack.up()
    assert f"127.0.0.1:{own_stack.port_base}" in announced
    assert own_stack.gateway_url in announced
    assert "process" in announced
    assert "embedded PostgreSQL" in announced
    again = own_stack.cli("up", "--detach", check=True)
    assert "runs already" in again.stderr
    assert own_stack.gateway_url in again.stdout


def test_history_survives_down_and_up(own_stack: Stack) -> None:
    own_stack.up()
    own_stack.cli("run", "busybox:latest", "--", "echo", "kept", check=True)
    (before,) = own_stack.json("jobs")
    own_stack.down()
    assert own_stack.cli("status").returncode == 1
    assert own_stack.agents() == []
    own_stack.up()
    (after,) = own_stack.json("jobs")
    assert after == before
    assert own_stack.cli("logs", before["jobId"], check=True).stdout == "kept\n"
    assert own_stack.cli("run", "busybox:latest", "--", "echo", "new").stdout == "new\n"


def test_two_stacks_live_side_by_side(own_stack: Stack, place: Path) -> None:
    own_stack.up()
    other = Stack(place / "other", runtime="process")
    try:
        other.up()
        assert own_stack.cli("run", "--name", "mine", "busybox", "--", "echo", "1").stdout == "1\n"
        assert other.json("jobs") == []
    finally:
        other.down()
    assert own_stack.cli("status").returncode == 0


def test_status_tells_of_every_service(own_stack: Stack) -> None:
    own_stack.up()
    own_stack.cli("run", "busybox:latest", "--", "true", check=True)
    status = own_stack.json("status")
    assert status["status"] == "ready"
    assert {service["health"] for service in status["services"].values()} == {"SERVING"}
    assert status["jobs"]["default"]["SUCCEEDED"] == 1
    assert status["computeEnvironments"][0]["name"] == "default"
    shown = own_stack.cli("status", check=True).stdout
    assert "1 SUCCEEDED" in shown
    assert "scheduler" in shown


def test_killed_services_are_started_again(own_stack: Stack) -> None:
    own_stack.up()
    for service in ("scheduler", "submission", "gateway"):
        own_stack.kill(service)
    eventually(
        lambda: (
            own_stack.cli("status").returncode == 0
            and own_stack.json("status")["services"]["scheduler"]["restarts"] == 1
        ),
        "all services serve again",
    )
    assert own_stack.cli("run", "busybox:latest", "--", "echo", "back").stdout == "back\n"


def test_killed_postgres_is_started_again(own_stack: Stack) -> None:
    own_stack.up()
    postmaster = own_stack.data_dir / "postgres" / "postmaster.pid"
    os.kill(int(postmaster.read_text().split()[0]), signal.SIGKILL)
    eventually(
        lambda: own_stack.cli("run", "busybox:latest", "--", "echo", "kept").stdout == "kept\n",
        "jobs run again",
        seconds=60,
    )


def test_killed_supervisor_is_succeeded(own_stack: Stack) -> None:
    """What a killed supervisor leaves behind is stopped or adopted by the next one."""
    own_stack.up()
    orphan = psutil.Process(own_stack.record["services"]["scheduler"]["pid"])
    os.kill(own_stack.record["supervisor"]["pid"], signal.SIGKILL)
    own_stack.up()
    assert not orphan.is_running()
    assert own_stack.cli("run", "busybox:latest", "--", "echo", "on").stdout == "on\n"


def test_down_stops_what_a_killed_supervisor_left(own_stack: Stack) -> None:
    own_stack.up()
    processes = [psutil.Process(item["pid"]) for item in own_stack.record["services"].values()]
    processes += own_stack.agents()
    os.kill(own_stack.record["supervisor"]["pid"], signal.SIGKILL)
    own_stack.down()
    _, alive = psutil.wait_procs(processes, timeout=5)
    assert alive == []
    assert not (own_stack.data_dir / "postgres" / "postmaster.pid").exists()


def test_foreground_up_stops_on_interrupt(own_stack: Stack) -> None:
    with subprocess.Popen(
        [LONGSHORE, "up", "--runtime", "process"],
        env=own_stack.environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as running:
        assert running.stdout is not None
        assert "is ready" in running.stdout.readline()
        running.send_signal(signal.SIGINT)
        assert running.wait(timeout=60) == 0
    assert own_stack.record["status"] == "stopped"


def test_taken_port_is_told_in_a_sentence(own_stack: Stack) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", own_stack.port_base + 10))
        taken.listen()
        refused = own_stack.cli("up", "--detach", "--runtime", "process")
    assert refused.returncode == 1
    assert f"127.0.0.1:{own_stack.port_base + 10}" in refused.stderr
    assert "--port-base" in refused.stderr


def test_missing_engine_is_told_in_a_sentence(own_stack: Stack) -> None:
    nowhere = "unix:///nowhere/docker.sock"
    refused = own_stack.cli("up", "--detach", "--runtime", "docker", DOCKER_HOST=nowhere)
    assert refused.returncode == 1
    assert "Docker" in refused.stderr
    assert "--runtime process" in refused.stderr


def test_auto_runtime_without_an_engine_takes_processes(own_stack: Stack) -> None:
    nowhere = "unix:///nowhere/docker.sock"
    started = own_stack.cli("up", "--detach", DOCKER_HOST=nowhere, check=True)
    assert "process" in started.stdout
    assert "no Docker engine answers" in started.stdout


def test_down_without_a_stack(tmp_path: Path) -> None:
    stack = Stack(tmp_path / "nothing")
    assert "Nothing to stop" in stack.cli("down", check=True).stderr


def test_unreachable_server_is_told_in_a_sentence(tmp_path: Path) -> None:
    stack = Stack(tmp_path / "nothing")
    for arguments in (("jobs",), ("run", "busybox", "--", "true"), ("queue", "list")):
        refused = stack.cli(*arguments)
        assert refused.returncode == 3
        assert "longshore up" in refused.stderr
        assert len(refused.stderr.strip().splitlines()) == 1
