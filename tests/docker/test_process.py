"""What is particular to attempts that run as processes."""

import os
import signal
from pathlib import Path

import psutil
import pytest
from support.agent import Process, Stand, until

from longshore.v1 import container_pb2, key_value_pb2

pytestmark = [pytest.mark.asyncio(loop_scope="session")]


async def test_command_and_environment(processes: Stand) -> None:
    pair = key_value_pb2.KeyValuePair(name="MINE", value="a b")
    assignment = processes.an_attempt(
        "sh", "-c", "echo $MINE $AWS_BATCH_JOB_ARRAY_INDEX", array=(3, 5), environment=[pair]
    )
    assert (await processes.run(assignment)).exit_code == 0
    assert await processes.output(assignment) == "a b 3\n"


async def test_the_agent_s_own_environment_stays_with_it(processes: Stand) -> None:
    printed = await processes.printed("env")
    assert "LONGSHORE_" not in printed
    assert f"PATH={os.environ['PATH']}" in printed.splitlines()


@pytest.mark.parametrize("code", [0, 1, 42, 255])
async def test_exit_codes(processes: Stand, code: int) -> None:
    end = await processes.run(processes.an_attempt("sh", "-c", f"exit {code}"))
    assert (end.exit_code, end.reason) == (code, "")


async def test_killed_by_a_signal(processes: Stand) -> None:
    end = await processes.run(processes.an_attempt("sh", "-c", "kill -KILL $$"))
    assert end.exit_code == 137


async def test_program_that_is_not_there(processes: Stand) -> None:
    end = await processes.run(processes.an_attempt("/no/such/program"))
    assert end.reason.startswith("CannotStartContainerError: ")
    assert "/no/such/program" in end.reason
    assert end.status_reason == "Task failed to start"


async def test_without_a_command(processes: Stand) -> None:
    end = await processes.run(processes.an_attempt())
    assert end.reason.startswith("CannotStartContainerError: ")


@pytest.mark.parametrize(
    ("member", "container"),
    [
        ("user", {"user": "nobody"}),
        ("privileged", {"privileged": True}),
        ("readonlyRootFilesystem", {"readonly_root_filesystem": True}),
        (
            "linuxParameters.tmpfs",
            {
                "linux_parameters": container_pb2.LinuxParameters(
                    tmpfs=[container_pb2.Tmpfs(container_path="/t", size=1)]
                )
            },
        ),
        (
            "ulimits",
            {"ulimits": [container_pb2.Ulimit(name="nofile", soft_limit=1, hard_limit=1)]},
        ),
        (
            "mountPoints",
            {
                "volumes": [container_pb2.Volume(name="v")],
                "mount_points": [container_pb2.MountPoint(source_volume="v", container_path="/v")],
            },
        ),
    ],
)
async def test_what_a_process_cannot_have_is_refused_by_name(
    processes: Stand, member: str, container: dict[str, object]
) -> None:
    end = await processes.run(processes.an_attempt("true", **container))
    assert end.reason.startswith(f"CannotCreateContainerError: {member}: ")


async def test_lenient(tmp_path: Path) -> None:
    stand = Stand(tmp_path, "process", LONGSHORE_PROCESS_LENIENT="true")
    await stand.open()
    assert await stand.printed("echo", "anyway", user="nobody") == "anyway\n"
    await stand.close()


async def test_host_path_where_it_lies(processes: Stand, tmp_path: Path) -> None:
    await processes.shell(
        f"echo kept >{tmp_path}/file",
        volumes=[
            container_pb2.Volume(name="v", host=container_pb2.Host(source_path=str(tmp_path)))
        ],
        mount_points=[container_pb2.MountPoint(source_volume="v", container_path=str(tmp_path))],
    )
    assert (tmp_path / "file").read_text() == "kept\n"


async def test_what_a_command_leaves_behind_ends_with_it(processes: Stand, tmp_path: Path) -> None:
    await processes.shell(f"sleep 300 & echo $! >{tmp_path}/pid")
    pid = int((tmp_path / "pid").read_text())

    async def gone() -> bool:
        return not psutil.pid_exists(pid) or psutil.Process(pid).status() == "zombie"

    await until(gone)


async def test_directory_is_removed(processes: Stand) -> None:
    await processes.shell("touch file")

    async def gone() -> bool:
        return not list((processes.directory / "agent" / "attempts").iterdir())

    await until(gone)


async def test_what_a_killed_supervisor_leaves_behind_ends_with_it(
    processes: Stand, tmp_path: Path
) -> None:
    """Else the next attempt would run beside it."""
    assignment = processes.an_attempt("sh", "-c", f"echo $$ $PPID >{tmp_path}/pids; sleep 300")
    await processes.scheduler.assign(assignment)
    await processes.scheduler.running(assignment)

    async def written() -> bool:
        return (tmp_path / "pids").exists() and (tmp_path / "pids").read_text().endswith("\n")

    await until(written)
    command, supervisor = map(int, (tmp_path / "pids").read_text().split())
    os.kill(supervisor, signal.SIGKILL)
    assert (await processes.scheduler.ended(assignment)).exit_code == 137

    async def gone() -> bool:
        return not psutil.pid_exists(command) or psutil.Process(command).status() == "zombie"

    await until(gone)


@pytest.mark.parametrize("way", ["restart", "cleanup"])
async def test_a_supervisor_killed_together_with_its_agent(
    own_processes: Stand, tmp_path: Path, way: str
) -> None:
    """Whoever comes next ends what it left behind."""
    stand = own_processes
    await stand.open()
    assert stand.agent is not None
    assignment = stand.an_attempt("sh", "-c", f"echo $$ $PPID >{tmp_path}/pids; sleep 300")
    await stand.scheduler.assign(assignment)
    await stand.scheduler.running(assignment)

    async def written() -> bool:
        return (tmp_path / "pids").exists() and (tmp_path / "pids").read_text().endswith("\n")

    await until(written)
    command, supervisor = map(int, (tmp_path / "pids").read_text().split())
    await stand.agent.kill()
    os.kill(supervisor, signal.SIGKILL)
    if way == "restart":
        await stand.start_agent()
        assert (await stand.scheduler.ended(assignment)).exit_code == 137
    else:
        cleanup = Process("longshore.agent.cleanup", stand.environment, tmp_path / "clean.log")
        assert await cleanup.ends() == 0

    async def gone() -> bool:
        return not psutil.pid_exists(command) or psutil.Process(command).status() == "zombie"

    await until(gone)


async def test_one_agent_for_one_data_directory(own_processes: Stand) -> None:
    """A second one would share the journal, and take away what the first one runs."""
    await own_processes.open()
    second = Process(
        "longshore.agent", own_processes.environment, own_processes.directory / "second.log"
    )
    try:
        assert await second.ends(15) == 1
        assert "is in use by another agent" in second.log.read_text()
    finally:
        await second.close()
