"""Attempts of several containers, and of several processes alike."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from support.agent import Stand, a_part, key_of, until

from longshore.agent.docker.engine import Engine, filters
from longshore.domain.job.job import ESSENTIAL_EXITED, FAILED_TO_START
from longshore.v1 import agent_service_pb2 as pb
from longshore.v1 import container_pb2

pytestmark = [pytest.mark.asyncio(loop_scope="session")]

FOREVER = "trap 'echo bye; exit 5' TERM; echo up; while :; do sleep 0.2; done"
_GET = "wget -qO- 127.0.0.1:8123/greeting"
_SERVE = "echo hello > /tmp/greeting; exec httpd -f -p 127.0.0.1:8123 -h /tmp"
STUBBORN = "trap '' TERM; echo up; while :; do sleep 0.2; done"


@pytest.fixture(params=[pytest.param("containers", marks=pytest.mark.docker), "processes"])
def stand(request: pytest.FixtureRequest) -> Stand:
    stand: Stand = request.getfixturevalue(request.param)
    return stand


@pytest.fixture(params=[pytest.param("own_containers", marks=pytest.mark.docker), "own_processes"])
def own(request: pytest.FixtureRequest) -> Stand:
    stand: Stand = request.getfixturevalue(request.param)
    return stand


@pytest_asyncio.fixture(loop_scope="session")
async def bridged(engine: Engine, tmp_path: Path) -> AsyncIterator[Stand]:
    """An agent that gives each attempt a network of its own."""
    stand = Stand(tmp_path, "docker", LONGSHORE_NETWORK="bridge")
    await stand.open()
    yield stand
    await stand.close()


def ends(change: pb.AttemptChange) -> dict[str, tuple[int | None, str]]:
    """Exit code and reason of each container."""
    return {
        one.name: (one.exit_code if one.HasField("exit_code") else None, one.reason)
        for one in change.containers
    }


def volumes(directory: Path) -> list[container_pb2.Volume]:
    """A directory of the machine, as a volume."""
    host = container_pb2.Host(source_path=str(directory))
    return [container_pb2.Volume(name="shared", host=host)]


def shared(directory: Path) -> dict[str, Any]:
    """Members of a container that sees the directory."""
    mount = container_pb2.MountPoint(source_volume="shared", container_path=str(directory))
    return {"mount_points": [mount]}


async def nothing_is_left(stand: Stand, engine: Engine | None, assignment: pb.Assignment) -> None:
    """Neither containers nor volumes nor directories."""
    attempt_id = assignment.attempt_id

    async def gone() -> bool:
        directory = stand.directory / "agent" / "attempts"
        if any(directory.glob(f"{assignment.key.job_id}*")):
            return False
        if engine is None:
            return True
        label = filters(label=[f"longshore.attempt-id={attempt_id}"])
        containers = await engine.docker.containers.list(all="1", filters=label)
        volumes = (await engine.docker.volumes.list())["Volumes"] or ()  # type: ignore[no-untyped-call]
        return not containers and not any(attempt_id in volume["Name"] for volume in volumes)

    await until(gone)


async def test_they_start_in_order_and_the_essential_one_ends_them(stand: Stand) -> None:
    assignment = stand.several(
        a_part("main", "echo main", ("set-up", "SUCCESS"), ("sidecar", "START")),
        a_part("sidecar", FOREVER, ("set-up", "COMPLETE"), essential=False),
        a_part("set-up", "echo ready", essential=False),
    )
    end = await stand.run(assignment)
    assert (end.exit_code, end.reason, end.status_reason) == (0, "", ESSENTIAL_EXITED)
    assert {name: code for name, (code, _) in ends(end).items()}["main"] == 0
    began = {one.name: one.start_time.ToNanoseconds() for one in end.containers}
    ended = {one.name: one.stop_time.ToNanoseconds() for one in end.containers}
    assert ended["set-up"] <= began["sidecar"] <= began["main"]
    # How processes end is told by files, whose times go by the kernel's tick.
    assert ended["main"] <= ended["sidecar"] + 10_000_000
    assert await stand.output_of(assignment, "main") == "main\n"
    assert await stand.output_of(assignment, "set-up") == "ready\n"


async def test_what_others_end_with(stand: Stand) -> None:
    """A failure of one that is not essential is one only to whoever waits for its success."""
    fine = stand.several(
        a_part("main", "exit 0", ("odd", "COMPLETE")),
        a_part("odd", "exit 3", essential=False),
        a_part("never", "echo no", ("odd", "SUCCESS"), essential=False),
    )
    end = await stand.run(fine)
    assert end.exit_code == 0
    assert ends(end)["odd"] == (3, "")
    assert ends(end)["never"] == (
        None,
        "TaskDependencyError: container odd ended with exit code 3",
    )
    assert await stand.output_of(fine, "never") == ""
    failed = stand.several(
        a_part("main", "echo no", ("odd", "SUCCESS")),
        a_part("odd", "exit 3", essential=False),
    )
    end = await stand.run(failed)
    assert not end.HasField("exit_code")
    assert end.reason == "TaskDependencyError: container odd ended with exit code 3"
    assert end.status_reason == FAILED_TO_START
    assert not end.HasField("start_time")


async def test_the_first_essential_one_that_fails_counts(stand: Stand, tmp_path: Path) -> None:
    up, members = tmp_path / "up", shared(tmp_path)
    one = f"trap 'exit 7' TERM; touch {up}; while :; do sleep 0.2; done"
    assignment = stand.several(
        a_part("one", one, **members),
        a_part("two", f"until [ -e {up} ]; do sleep 0.2; done", **members),
        volumes=volumes(tmp_path),
    )
    end = await stand.run(assignment)
    assert (end.exit_code, end.status_reason) == (7, ESSENTIAL_EXITED)
    assert ends(end)["two"] == (0, "")


async def test_a_stop_ends_all_and_the_stubborn_are_killed(stand: Stand) -> None:
    assignment = stand.several(
        a_part("main", FOREVER),
        a_part("stubborn", STUBBORN, stop_timeout=2, essential=False),
    )
    await stand.scheduler.assign(assignment)
    running = await stand.scheduler.running(assignment)
    assert [one.HasField("start_time") for one in running.containers] == [True, True]
    for name in ("main", "stubborn"):
        await until_printed(stand, assignment, name, "up\n")
    await stand.scheduler.stop(assignment, "enough")
    end = await stand.scheduler.ended(assignment)
    assert end.status_reason == "enough"
    assert ends(end) == {"main": (5, ""), "stubborn": (137, "")}
    assert (await stand.output_of(assignment, "main")).startswith("up\nbye\n")


async def until_printed(stand: Stand, assignment: pb.Assignment, name: str, text: str) -> None:
    log = pb.Assignment(log_stream_name=f"definition/{name}/{assignment.attempt_id}")

    async def printed() -> bool:
        entries = await stand.entries_so_far(log)
        return text in "".join(f"{entry.text.decode()}\n" for entry in entries)

    await until(printed)


async def test_a_stop_while_one_waits_for_another(stand: Stand) -> None:
    assignment = stand.several(
        a_part("main", "echo no", ("set-up", "SUCCESS")),
        a_part("set-up", FOREVER, essential=False),
    )
    await stand.scheduler.assign(assignment)
    await until_printed(stand, assignment, "set-up", "up\n")
    starting = await stand.scheduler.reached(assignment, pb.ATTEMPT_STATUS_STARTING)
    assert starting.status == pb.ATTEMPT_STATUS_STARTING
    assert [one.HasField("start_time") for one in starting.containers] == [False, True]
    await stand.scheduler.stop(assignment, "enough")
    end = await stand.scheduler.ended(assignment)
    assert (end.status_reason, end.HasField("exit_code")) == ("enough", False)
    assert ends(end) == {"main": (None, ""), "set-up": (5, "")}


async def test_a_start_timeout_is_of_the_one_that_is_waited_for(stand: Stand) -> None:
    assignment = stand.several(
        a_part("main", "echo no", ("slow", "COMPLETE")),
        a_part("slow", FOREVER, essential=False, start_timeout=2, stop_timeout=2),
    )
    end = await stand.run(assignment)
    assert end.reason == "TaskDependencyError: container slow did not end within its startTimeout"
    assert ends(end)["slow"][0] is not None


async def test_an_agent_that_comes_back_goes_on(own: Stand, tmp_path: Path, engine: Engine) -> None:
    """While one waits for another, and once all run; none is started twice."""
    await own.open()
    gate = tmp_path / "gate"
    gate.mkdir()
    count = f"echo $NAME >>{gate}/count; until [ -e {gate}/$NAME ]; do sleep 0.2; done"

    def counted(name: str, *needs: tuple[str, str], **members: Any) -> Any:
        return a_part(name, f"NAME={name}; {count}", *needs, **shared(gate), **members)

    assignment = own.several(
        counted("main", ("set-up", "SUCCESS")),
        counted("beside", essential=False, stop_timeout=2),
        counted("set-up", essential=False),
        volumes=volumes(gate),
    )

    async def begun(*names: str) -> bool:
        path = gate / "count"
        return path.exists() and sorted(path.read_text().split()) == sorted(names)

    async def restart() -> None:
        assert own.agent is not None
        await own.agent.kill()
        await own.start_agent()

    await own.scheduler.assign(assignment)
    await until(lambda: begun("beside", "set-up"))
    await restart()
    (gate / "set-up").touch()
    await until(lambda: begun("beside", "set-up", "main"))
    await own.scheduler.running(assignment)
    await restart()
    (gate / "main").touch()
    end = await own.scheduler.ended(assignment)
    assert end.exit_code == 0
    assert {name for name, (code, _) in ends(end).items() if code == 0} == {"main", "set-up"}
    assert await begun("beside", "set-up", "main")
    await nothing_is_left(own, engine if own.runtime == "docker" else None, assignment)


async def test_they_end_while_the_agent_is_away(own: Stand) -> None:
    await own.open()
    assignment = own.several(
        a_part("main", "sleep 1; exit 4"),
        a_part("beside", STUBBORN, essential=False, stop_timeout=2),
    )
    await own.scheduler.assign(assignment)
    await own.scheduler.running(assignment)
    assert own.agent is not None
    await own.agent.kill()
    await asyncio.sleep(2)  # nobody is there to be told
    await own.start_agent()
    end = await own.scheduler.ended(assignment)
    assert ends(end) == {"main": (4, ""), "beside": (137, "")}
    assert end.exit_code == 4


async def test_an_agent_that_forgot_them_finds_them(own: Stand) -> None:
    """The journal is gone; what runs is not."""
    await own.open()
    assignment = own.several(a_part("main", FOREVER), a_part("beside", FOREVER))
    await own.scheduler.assign(assignment)
    await own.scheduler.running(assignment)
    for name in ("main", "beside"):
        await until_printed(own, assignment, name, "up\n")
    assert own.agent is not None
    await own.agent.kill()
    (own.directory / "agent" / "journal").unlink()
    await own.start_agent()
    register = own.scheduler.registrations[-1]
    assert [key_of(key) for key in register.attempts] == [key_of(assignment.key)]
    await own.scheduler.stop(assignment, "enough")
    assert ends(await own.scheduler.ended(assignment)) == {"main": (5, ""), "beside": (5, "")}


@pytest.mark.docker
async def test_one_network_one_volume_and_nothing_left(containers: Stand, engine: Engine) -> None:
    mounts = [container_pb2.MountPoint(source_volume="data", container_path="/data")]
    assignment = containers.several(
        a_part(
            "main",
            f"until {_GET}; do sleep 0.2; done",
            ("set-up", "SUCCESS"),
        ),
        a_part(
            "server",
            "exec httpd -f -p 127.0.0.1:8123 -h /data",
            ("set-up", "SUCCESS"),
            essential=False,
            mount_points=mounts,
            stop_timeout=2,
        ),
        a_part("set-up", "echo hello > /data/greeting", essential=False, mount_points=mounts),
        volumes=[container_pb2.Volume(name="data")],
    )
    end = await containers.run(assignment)
    assert end.exit_code == 0, end
    assert (await containers.output_of(assignment, "main")).endswith("hello\n")
    await nothing_is_left(containers, engine, assignment)


@pytest.mark.docker
async def test_without_a_sandbox_they_share_a_network_too(bridged: Stand, engine: Engine) -> None:
    """Also where the first of them has ended before the next one starts."""
    assignment = bridged.several(
        a_part("main", f"until {_GET}; do sleep 0.2; done", ("set-up", "COMPLETE")),
        a_part("server", _SERVE, essential=False, stop_timeout=2),
        a_part("set-up", "true", essential=False),
    )
    end = await bridged.run(assignment)
    assert end.exit_code == 0, end
    await nothing_is_left(bridged, engine, assignment)


@pytest.mark.docker
async def test_modes_of_the_task(containers: Stand, engine: Engine) -> None:
    """With `task` they see each other's processes and shared memory."""
    assignment = containers.several(
        a_part(
            "main",
            "until ps | grep -q '[m]arked' && [ -e /dev/shm/seen ]; do sleep 0.2; done",
            linux_parameters=container_pb2.LinuxParameters(shared_memory_size=8),
        ),
        a_part(
            "beside",
            "touch /dev/shm/seen; : marked; while :; do sleep 0.2; done",
            essential=False,
            stop_timeout=2,
        ),
        pid_mode="task",
        ipc_mode="task",
    )
    end = await containers.run(assignment)
    assert end.exit_code == 0, end
    await nothing_is_left(containers, engine, assignment)


@pytest.mark.docker
async def test_reasons_are_each_containers_own(containers: Stand) -> None:
    assignment = containers.several(
        a_part("main", "sleep 300", ("hungry", "START"), stop_timeout=2),
        a_part("hungry", "tail /dev/zero", memory_mib=16),
        a_part("nowhere", "true", image="longshore.invalid/nothing:1", essential=False),
    )
    end = await containers.run(assignment)
    found = ends(end)
    assert end.reason == found["hungry"][1]
    assert found["hungry"] == (137, "OutOfMemoryError: Container killed due to memory usage")
    assert found["nowhere"][0] is None
    assert found["nowhere"][1].startswith("CannotPullContainerError")


@pytest.mark.docker
async def test_each_is_told_of_itself_and_of_all(containers: Stand, tmp_path: Path) -> None:
    """By the metadata endpoint: its own name, and under /task the names of all that started."""
    ask = "wget -qO- $ECS_CONTAINER_METADATA_URI_V4"
    up, members = tmp_path / "up", shared(tmp_path)
    assignment = containers.several(
        a_part("main", f"{ask}; echo; {ask}/task; touch {up}", ("beside", "START"), **members),
        a_part("beside", f"until [ -e {up} ]; do sleep 0.2; done", **members),
        volumes=volumes(tmp_path),
    )
    end = await containers.run(assignment)
    assert end.exit_code == 0, end
    own, task = map(json.loads, (await containers.output_of(assignment, "main")).splitlines())
    assert own["Name"] == own["Labels"]["com.amazonaws.ecs.container-name"] == "main"
    assert own["Limits"]["Memory"] == 64
    assert own["LogOptions"]["awslogs-stream"] == f"definition/main/{assignment.attempt_id}"
    assert {one["Name"] for one in task["Containers"]} == {"main", "beside"}
    assert len({one["ContainerARN"] for one in task["Containers"]}) == 2
    assert task["Limits"]["Memory"] == 128


async def test_what_makes_no_sense_fails_alone(stand: Stand) -> None:
    """What no scheduler of ours would say; and names as long as they get."""
    wrong = stand.several(a_part("main", "true"))
    wrong.ClearField("container_log_stream_names")
    missing = stand.several(a_part("main", "true"))
    missing.task.containers[0].ClearField("resource_requirements")
    unknown = stand.several(a_part("main", "true", ("gone", "START")))
    names = ["n" * 254 + str(number) for number in range(9)]
    fine = stand.several(
        a_part("main", "true", *((name, "COMPLETE") for name in names)),
        *(a_part(name, "echo fine", essential=False) for name in names),
    )
    await stand.scheduler.assign(wrong, missing, unknown, fine)
    for assignment in (wrong, missing, unknown):
        end = await stand.scheduler.ended(assignment)
        assert not end.HasField("exit_code")
        assert end.reason
    assert (await stand.scheduler.ended(fine)).exit_code == 0
    assert await stand.output_of(fine, names[-1]) == "fine\n"


@pytest.mark.docker
async def test_one_network_also_where_the_sandbox_has_died(
    own_containers: Stand, engine: Engine, tmp_path: Path
) -> None:
    """What starts afterwards joins those that run, not the next sandbox."""
    stand, gone, members = own_containers, tmp_path / "gone", shared(tmp_path)
    await stand.open()
    assignment = stand.several(
        a_part("main", f"until {_GET}; do sleep 0.2; done", ("wait", "COMPLETE")),
        a_part("server", _SERVE, essential=False, stop_timeout=2),
        a_part("wait", f"until [ -e {gone} ]; do sleep 0.2; done", essential=False, **members),
        volumes=volumes(tmp_path),
    )
    await stand.scheduler.assign(assignment)

    def both_run() -> bool:
        last = stand.scheduler.last(assignment)
        return last is not None and sum(c.HasField("start_time") for c in last.containers) == 2

    await stand.scheduler.until(both_run)
    name = f"longshore-{stand.instance_id}-sandbox"
    await engine.docker.containers.container(name).delete(force=True)
    gone.touch()
    end = await stand.scheduler.ended(assignment)
    assert end.exit_code == 0, end
    assert (await stand.run(stand.an_attempt("true"))).exit_code == 0
