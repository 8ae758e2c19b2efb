"""`up`, `status`, `down`: stacks that tests start, break and stop themselves."""

import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
from acceptance.aws import Gate
from acceptance.stand import LONGSHORE, Stack, eventually
from support.patience import PATIENCE_SECONDS

from longshore_cli.settings import is_watched, read_record

CHILDREN = 4


def submit_waiting(stack: Stack, gate: Gate) -> str:
    """Submits an array whose children run until the gate opens; its id, once all of them run."""
    command = ("--", "sh", "-c", gate.script())
    image = ("--image", "busybox:latest", "--memory", "64")
    stack.call("definition", "register", "waiting", *image, *command, check=True)
    array = str(
        stack.json("submit", "many", "--definition", "waiting", "--array", str(CHILDREN))["jobId"]
    )
    eventually(lambda: statuses(stack, array) == ["RUNNING"] * CHILDREN, "all children run")
    return array


def statuses(stack: Stack, array: str) -> list[str]:
    """The status of each child that was placed."""
    return [child["status"] for child in stack.json("jobs", "--array", array)]


@contextmanager
def foreground(
    stack: Stack, number: signal.Signals, *arguments: str, **environ: str
) -> Iterator[Iterator[str]]:
    """The lines of an `up` that stays; it gets the signal in the end, and stops everything."""
    with subprocess.Popen(
        [LONGSHORE, "up", *arguments],
        env=stack.environ | environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        # Who runs tests by nohup has them inherit that it is ignored.
        preexec_fn=lambda: signal.signal(number, signal.SIG_DFL),  # noqa: PLW1509 - no threads
    ) as running:
        try:
            assert running.stdout is not None
            yield running.stdout
        finally:
            running.send_signal(number)
            code = running.wait(timeout=2 * PATIENCE_SECONDS)
    assert code == 0
    assert stack.record["status"] == "stopped"


def test_up_again_announces_what_runs(lasting_stack: Stack) -> None:
    again = lasting_stack.cli("up", "--detach", check=True)
    assert "runs already" in again.stderr
    assert f"127.0.0.1:{lasting_stack.port_base}" in again.stdout
    assert lasting_stack.gateway_url in again.stdout
    assert "process" in again.stdout
    assert "embedded PostgreSQL" in again.stdout


def test_two_stacks_live_side_by_side(lasting_stack: Stack, own_stack: Stack) -> None:
    """And `down` stops what a killed supervisor of one left, and nothing of the other."""
    own_stack.up()
    assert lasting_stack.cli("run", "--name", "mine", "busybox", "--", "echo", "1").stdout == "1\n"
    assert own_stack.json("jobs") == []
    processes = [psutil.Process(item["pid"]) for item in own_stack.record["services"].values()]
    processes += own_stack.agents()
    os.kill(own_stack.record["supervisor"]["pid"], signal.SIGKILL)
    own_stack.down()
    _, alive = psutil.wait_procs(processes, timeout=5)
    assert alive == []
    assert not (own_stack.data_dir / "postgres" / "postmaster.pid").exists()
    assert lasting_stack.cli("status").returncode == 0


def test_status_tells_of_every_service(lasting_stack: Stack) -> None:
    before = lasting_stack.json("status")["jobs"].get("default", {}).get("SUCCEEDED", 0)
    lasting_stack.cli("run", "busybox:latest", "--", "true", check=True)
    assert lasting_stack.json("status")["status"] == "ready"

    def serving() -> dict[str, Any] | None:
        told: dict[str, Any] = lasting_stack.json("status")
        healths = {service["health"] for service in told["services"].values()}
        return told if healths == {"SERVING"} else None

    status = eventually(serving, "all services answer")
    assert status["jobs"]["default"]["SUCCEEDED"] == before + 1
    assert status["computeEnvironments"][0]["name"] == "default"
    shown = lasting_stack.cli("status", check=True).stdout
    assert f"{before + 1} SUCCEEDED" in shown
    assert "scheduler" in shown


def test_killed_services_are_started_again(lasting_stack: Stack) -> None:
    before = lasting_stack.json("status")["services"]["scheduler"]["restarts"]
    for service in ("scheduler", "submission", "gateway"):
        lasting_stack.kill(service)
    eventually(
        lambda: (
            lasting_stack.call("status").returncode == 0
            and lasting_stack.json("status")["services"]["scheduler"]["restarts"] > before
        ),
        "all services serve again",
    )
    assert lasting_stack.cli("run", "busybox:latest", "--", "echo", "back").stdout == "back\n"


def test_killed_postgres_is_started_again(lasting_stack: Stack) -> None:
    postmaster = lasting_stack.data_dir / "postgres" / "postmaster.pid"
    os.kill(int(postmaster.read_text().split()[0]), signal.SIGKILL)
    eventually(
        lambda: lasting_stack.cli("run", "busybox:latest", "--", "echo", "kept").stdout == "kept\n",
        "jobs run again",
    )


def test_killed_supervisor_is_succeeded(lasting_stack: Stack, gate: Gate) -> None:
    """What a killed supervisor leaves behind is taken over: no job notices."""
    array = submit_waiting(lasting_stack, gate)
    agents = lasting_stack.agents()
    orphan = psutil.Process(lasting_stack.record["services"]["scheduler"]["pid"])
    os.kill(lasting_stack.record["supervisor"]["pid"], signal.SIGKILL)
    eventually(
        lambda: lasting_stack.json("status")["status"] == "unwatched", "the supervisor is gone"
    )
    shown = lasting_stack.cli("status", check=True)
    assert "Nobody watches" in shown.stderr
    lasting_stack.up()
    assert lasting_stack.json("status")["status"] == "ready"
    assert not orphan.is_running()
    assert lasting_stack.agents() == agents
    assert statuses(lasting_stack, array) == ["RUNNING"] * CHILDREN
    gate.open()
    eventually(lambda: statuses(lasting_stack, array) == ["SUCCEEDED"] * CHILDREN, "all succeed")
    assert lasting_stack.cli("run", "busybox:latest", "--", "echo", "on").stdout == "on\n"


def test_a_start_that_fails_leaves_jobs_to_the_next_one(lasting_stack: Stack, gate: Gate) -> None:
    array = submit_waiting(lasting_stack, gate)
    agents = lasting_stack.agents()
    os.kill(lasting_stack.record["supervisor"]["pid"], signal.SIGKILL)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        failed = lasting_stack.cli("up", "--detach", LONGSHORE_SCALER_ADDRESS=address)
    assert failed.returncode == 1
    assert lasting_stack.agents() == agents
    gate.open()
    lasting_stack.up()
    eventually(lambda: statuses(lasting_stack, array) == ["SUCCEEDED"] * CHILDREN, "all succeed")


def test_a_stack_whose_record_is_damaged_can_be_stopped(own_stack: Stack) -> None:
    own_stack.up()
    processes = [psutil.Process(item["pid"]) for item in own_stack.record["services"].values()]
    (own_stack.data_dir / "longshore.json").write_bytes(b"\xff")
    refused = own_stack.cli("up", "--detach")
    assert refused.returncode == 1
    assert "longshore.json is damaged; stop it with `longshore down`" in refused.stderr
    assert "is down" in own_stack.cli("down", check=True).stderr
    assert not any(process.is_running() for process in processes)


def test_taken_port_is_told_in_a_sentence(own_stack: Stack) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", own_stack.port_base + 10))
        taken.listen()
        refused = own_stack.cli("up", "--detach", "--runtime", "process")
    assert refused.returncode == 1
    assert f"127.0.0.1:{own_stack.port_base + 10}" in refused.stderr
    assert "--port-base" in refused.stderr


def test_wrong_settings_are_told_in_a_sentence(own_stack: Stack) -> None:
    for name, value, said in (
        ("TLS_KEY", "/key.pem", "LONGSHORE_TLS_CERTIFICATE and LONGSHORE_TLS_KEY belong together"),
        (
            "START_SECONDS",
            "soon",
            "LONGSHORE_START_SECONDS is 'soon'; it must be a number of seconds.",
        ),
        ("DATABASE_URL", "mysql://db", "LONGSHORE_DATABASE_URL cannot be used: invalid DSN"),
    ):
        refused = own_stack.cli("up", "--detach", **{f"LONGSHORE_{name}": value})
        assert refused.returncode in (1, 2)
        assert said in refused.stderr


def test_missing_engine_is_told_in_a_sentence(own_stack: Stack) -> None:
    nowhere = "unix:///nowhere/docker.sock"
    refused = own_stack.cli("up", "--detach", "--runtime", "docker", DOCKER_HOST=nowhere)
    assert refused.returncode == 1
    assert "Docker" in refused.stderr
    assert "--runtime process" in refused.stderr


def test_down_stops_jobs_and_keeps_history(own_stack: Stack, tmp_path: Path) -> None:
    """Jobs get SIGTERM and time, what they print then is kept, and they go on after the next up.

    That one stays until Ctrl-C.
    """
    own_stack.up()
    own_stack.cli("run", "busybox:latest", "--", "echo", "kept", check=True)
    (before,) = own_stack.json("jobs")
    said = tmp_path / "said"
    stopped = f"sleep 1; echo bye; echo saved >{said}; exit 3"
    script = f"trap '{stopped}' TERM; echo up; while ! test -e {said}; do sleep 0.1; done; echo on"
    image = ("--image", "busybox:latest", "--attempts", "2", "--", "sh", "-c", script)
    own_stack.call("definition", "register", "careful", *image, check=True)
    job = str(own_stack.json("submit", "one", "--definition", "careful")["jobId"])
    eventually(lambda: own_stack.call("logs", job).stdout == "up\n", "it runs")
    own_stack.down()
    assert own_stack.cli("status").returncode == 1
    assert own_stack.agents() == []
    assert said.read_text() == "saved\n"
    with foreground(own_stack, signal.SIGINT, "--runtime", "process") as announced:
        assert "is ready" in next(announced)
        own_stack.cli("wait", job, check=True)
        (ended,) = own_stack.json("describe", job)
        first, second = ended["attempts"]
        assert first["container"]["exitCode"] == 3
        assert first["statusReason"].startswith("Host EC2 (instance i-")
        one, other = (item["container"]["containerInstanceArn"] for item in (first, second))
        assert one != other, "what was stopped went on where it was stopped"
        assert own_stack.cli("logs", job).stdout == "up\nbye\nup\non\n"
        assert before in own_stack.json("jobs")
        assert own_stack.cli("logs", before["jobId"], check=True).stdout == "kept\n"


def test_auto_runtime_without_an_engine_takes_processes(own_stack: Stack) -> None:
    """In the foreground, as a service manager starts and stops it; a second `up` waits for it."""
    nowhere = "unix:///nowhere/docker.sock"
    with foreground(own_stack, signal.SIGTERM, DOCKER_HOST=nowhere) as lines:
        eventually(lambda: is_watched(own_stack.data_dir), "the first has the directory")
        second = own_stack.cli("up", "--detach", "--runtime", "process", check=True)
        assert "runs already" in second.stderr
        assert "is ready" in second.stdout
        assert own_stack.cli("run", "busybox", "--", "echo", "1", check=True).stdout == "1\n"
        started = ""
        while not started.endswith(f"{own_stack.data_dir / 'log'}\n"):
            started += next(lines)
    assert f"127.0.0.1:{own_stack.port_base}" in started
    assert own_stack.gateway_url in started
    assert "embedded PostgreSQL" in started
    assert "process" in started
    assert "no Docker engine answers" in started


def test_a_start_ends_with_its_terminal(own_stack: Stack) -> None:
    def said() -> str:
        watched = is_watched(own_stack.data_dir)
        return str((read_record(own_stack.data_dir) or {}).get("message")) if watched else ""

    with foreground(own_stack, signal.SIGHUP, "--runtime", "process"):
        eventually(lambda: said() == "starting the services", "it starts")
    assert own_stack.record["status"] == "stopped"
    assert not (own_stack.data_dir / "postgres" / "postmaster.pid").exists()


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
