"""Whatever dies and comes back: no attempt is lost, none runs twice, no line is lost or doubled."""

import asyncio
import resource
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from support.agent import Process, Stand, key_of, until

from longshore.agent.docker.engine import Engine, filters
from longshore.v1 import agent_service_pb2 as pb
from longshore.v1 import container_pb2, key_value_pb2, resources_pb2

pytestmark = [pytest.mark.asyncio(loop_scope="session")]

#: Counts to 40 in 4 s on both outputs, from the middle on once it may, then ends with 7.
COUNTING = """
echo started >>$COUNT_FILE
i=0
while [ $i -lt 40 ]; do
  i=$((i+1)); echo out $i; echo err $i >&2; sleep 0.1
  if [ $i -eq 20 ]; then until [ -e $COUNT_FILE.on ]; do sleep 0.1; done; fi
done
touch $COUNT_FILE.over
exit 7
"""


@pytest.fixture(params=[pytest.param("own_containers", marks=pytest.mark.docker), "own_processes"])
def stand(request: pytest.FixtureRequest) -> Stand:
    stand: Stand = request.getfixturevalue(request.param)
    return stand


def shared(directory: Path) -> dict[str, Any]:
    """A directory that an attempt and its test share."""
    path = str(directory)
    return {
        "volumes": [container_pb2.Volume(name="data", host=container_pb2.Host(source_path=path))],
        "mount_points": [container_pb2.MountPoint(source_volume="data", container_path=path)],
    }


def counting(stand: Stand, path: Path, *, held: bool = False) -> pb.Assignment:
    path.parent.mkdir()
    path.touch()
    if not held:
        path.with_name("count.on").touch()
    return stand.an_attempt(
        "sh",
        "-c",
        COUNTING,
        environment=[key_value_pb2.KeyValuePair(name="COUNT_FILE", value=str(path))],
        **shared(path.parent),
    )


async def check_counted(stand: Stand, assignment: pb.Assignment, path: Path) -> None:
    """It ran once, and each of its lines was kept once, in order."""
    entries = await stand.entries(assignment)
    for name, source in (("out", 1), ("err", 2)):
        lines = [entry.text.decode() for entry in entries if entry.source == source]
        assert lines == [f"{name} {index}" for index in range(1, 41)]
    assert await asyncio.to_thread(path.read_text) == "started\n"


async def test_disk_is_full_for_a_while(stand: Stand, tmp_path: Path) -> None:
    """Neither the end of an attempt nor a line of its log is lost, and the agent stays."""
    await stand.open()
    path = tmp_path / "shared" / "count"
    assignment = counting(stand, path)
    assert stand.agent is not None
    await stand.scheduler.assign(assignment)
    await stand.scheduler.running(assignment)
    agent = stand.agent.popen.pid
    limits = resource.prlimit(agent, resource.RLIMIT_FSIZE, (1, resource.RLIM_INFINITY))
    await asyncio.sleep(2.5)  # some of the output finds no room
    resource.prlimit(agent, resource.RLIMIT_FSIZE, limits)
    assert (await stand.scheduler.ended(assignment)).exit_code == 7
    await check_counted(stand, assignment, path)
    assert stand.agent.popen.poll() is None


@pytest.mark.parametrize("way", ["kill", "terminate"])
async def test_agent_comes_back_while_it_runs(stand: Stand, way: str, tmp_path: Path) -> None:
    await stand.open()
    path = tmp_path / "shared" / "count"
    assignment = counting(stand, path, held=True)
    assert stand.agent is not None
    await stand.scheduler.assign(assignment)
    await stand.scheduler.running(assignment)
    while not await stand.entries_so_far(assignment):
        pass  # some of the output was taken, and some was not
    await (stand.agent.kill() if way == "kill" else stand.agent.terminate())
    last = stand.scheduler.last(assignment)
    assert last is not None
    assert last.status == pb.ATTEMPT_STATUS_RUNNING
    await stand.start_agent()
    register = stand.scheduler.registrations[-1]
    assert [key_of(key) for key in register.attempts] == [key_of(assignment.key)]
    path.with_name("count.on").touch()
    end = await stand.scheduler.ended(assignment)
    assert (end.exit_code, end.reason) == (7, "")
    changes = stand.scheduler.changes[key_of(assignment.key)]
    starts = [change.start_time.ToNanoseconds() for change in changes if change.status > 1]
    assert len(set(starts)) == 1
    await check_counted(stand, assignment, path)


async def test_it_ends_while_the_agent_is_away(stand: Stand, tmp_path: Path) -> None:
    await stand.open()
    path = tmp_path / "shared" / "count"
    assignment = counting(stand, path)
    assert stand.agent is not None
    await stand.scheduler.assign(assignment)
    await stand.scheduler.running(assignment)
    await stand.agent.kill()

    async def over() -> bool:
        return path.with_name("count.over").exists()

    await until(over)
    await asyncio.sleep(1)  # it is at its very end, and nobody is there to be told
    back_at = time.time_ns()
    await stand.start_agent()
    end = await stand.scheduler.ended(assignment)
    assert end.exit_code == 7
    assert end.stop_time.ToNanoseconds() < back_at
    await check_counted(stand, assignment, path)


async def test_it_ends_while_the_scheduler_is_away(stand: Stand, tmp_path: Path) -> None:
    """The report waits in the journal, survives the agent, and is told to the next scheduler."""
    await stand.open()
    go = tmp_path / "shared" / "go"
    go.parent.mkdir()
    script = f"echo hello; until [ -e {go} ]; do sleep 0.1; done; exit 9"
    assignment = stand.an_attempt("sh", "-c", script, **shared(go.parent))
    assert stand.agent is not None
    await stand.scheduler.assign(assignment)
    await stand.scheduler.running(assignment)
    await stand.stop_scheduler()
    go.touch()
    assert await stand.output(assignment) == "hello\n"

    async def journaled() -> bool:
        journal = stand.directory / "agent" / "journal"
        return b"Essential container in task exited" in journal.read_bytes()

    await until(journaled)
    await stand.agent.kill()
    await stand.start_agent()
    await stand.start_scheduler()
    assert (await stand.scheduler.ended(assignment)).exit_code == 9


async def test_unacknowledged_reports_are_sent_again(stand: Stand) -> None:
    await stand.open()
    stand.scheduler.acknowledging = False
    assignment = stand.an_attempt("true")
    await stand.scheduler.assign(assignment)
    await stand.scheduler.until(lambda: stand.scheduler.sequences)
    await stand.stop_scheduler()
    stand.scheduler.acknowledging = True
    await stand.start_scheduler()
    assert (await stand.scheduler.ended(assignment)).exit_code == 0
    sequences = sorted(set(stand.scheduler.sequences))
    assert sequences == list(range(sequences[0], sequences[-1] + 1))


async def test_log_service_comes_back(stand: Stand) -> None:
    await stand.open()
    assert stand.logs is not None
    assignment = stand.an_attempt("sh", "-c", "echo one; sleep 1.5; echo two")
    await stand.scheduler.assign(assignment)
    await stand.scheduler.running(assignment)
    await stand.logs.kill()
    await stand.scheduler.ended(assignment)
    await stand.start_logs()
    assert await stand.output(assignment) == "one\ntwo\n"

    async def emptied() -> bool:
        return not list((stand.directory / "agent" / "logs").iterdir())

    await until(emptied)


async def test_what_is_not_in_the_set_any_more_is_stopped(stand: Stand) -> None:
    await stand.open()
    lost = stand.an_attempt("sleep", "300", stop_seconds=0)
    kept = stand.an_attempt("sh", "-c", "sleep 2; exit 4")
    await stand.scheduler.assign(lost, kept)
    await stand.scheduler.running(lost)
    await stand.scheduler.running(kept)
    await stand.stop_scheduler()
    del stand.scheduler.wanted[key_of(lost.key)]
    await stand.start_scheduler()
    assert (await stand.scheduler.ended(lost)).exit_code in (137, 143)
    assert (await stand.scheduler.ended(kept)).exit_code == 4


async def test_drain(stand: Stand) -> None:
    """The agent leaves with 0 once its last attempt has ended and all is told and stored."""
    await stand.open()
    assert stand.agent is not None
    assignment = stand.an_attempt("sh", "-c", "sleep 1; echo done")
    await stand.scheduler.assign(assignment)
    await stand.scheduler.running(assignment)
    await stand.scheduler.drain()
    assert await stand.agent.ends() == 0
    last = stand.scheduler.last(assignment)
    assert last is not None
    assert last.status == pb.ATTEMPT_STATUS_ENDED
    assert await stand.output(assignment) == "done\n"


async def test_instance_is_over_on_record(stand: Stand) -> None:
    stand.environment["LONGSHORE_UNMANAGED"] = "false"
    await stand.open()
    assert stand.agent is not None
    assignment = stand.an_attempt("sh", "-c", "echo up; exec sleep 300", stop_seconds=0)
    await stand.scheduler.assign(assignment)
    await stand.scheduler.running(assignment)
    while not await stand.entries_so_far(assignment):
        pass
    stand.scheduler.over = True
    await stand.stop_scheduler()
    await stand.start_scheduler()
    assert await stand.agent.ends() == 0
    assert await stand.output(assignment) == "up\n"


async def test_instance_is_ended(stand: Stand) -> None:
    """SIGUSR1: what runs is stopped as on an instance that is shut down, told, and kept."""
    await stand.open()
    assert stand.agent is not None
    script = "trap 'echo bye; exit 3' TERM; echo up; while :; do sleep 0.2; done"
    assignment = stand.an_attempt("sh", "-c", script)
    await stand.scheduler.assign(assignment)
    await stand.scheduler.running(assignment)
    while not await stand.entries_so_far(assignment):
        pass
    stand.agent.popen.send_signal(signal.SIGUSR1)
    end = await stand.scheduler.ended(assignment)
    reason = f"Host EC2 (instance {stand.instance_id}) terminated."
    assert (end.exit_code, end.status_reason) == (3, reason)
    assert await stand.agent.ends() == 0
    assert (await stand.output(assignment)).startswith("up\nbye\n")


async def test_heartbeats_come_at_the_interval_named(stand: Stand) -> None:
    await stand.open()
    # By default the third one would come after 15 s.
    await stand.scheduler.until(lambda: stand.scheduler.heartbeats >= 3, 14)


async def test_scheduler_is_not_there_at_the_start(stand: Stand) -> None:
    await stand.start_agent()
    await asyncio.sleep(1)
    await stand.start_scheduler()
    await stand.scheduler.until(lambda: stand.scheduler.registrations)


@pytest.mark.docker
async def test_auto_stays_with_the_engine_of_its_containers(tmp_path: Path, engine: Engine) -> None:
    """While that is away its attempts are not taken for ended: they may run on."""
    del engine
    stand = Stand(tmp_path, "auto")
    await stand.open()
    assignment = stand.an_attempt("sh", "-c", "sleep 4; exit 6")
    assert stand.agent is not None
    await stand.scheduler.assign(assignment)
    await stand.scheduler.running(assignment)
    await stand.agent.kill()
    away = stand.environment | {"DOCKER_HOST": f"unix://{tmp_path}/no.sock"}
    agent = Process("longshore.agent", away, tmp_path / "away.log")
    try:
        await stand.scheduler.until(lambda: len(stand.scheduler.registrations) > 1)
        registered = stand.scheduler.registrations[-1]
        assert registered.runtime == resources_pb2.RUNTIME_DOCKER
        assert registered.health.condition == pb.AGENT_CONDITION_ENGINE_AWAY
    finally:
        await agent.kill()
    await stand.start_agent()
    assert (await stand.scheduler.ended(assignment)).exit_code == 6
    await stand.close()


@pytest.mark.docker
async def test_what_nobody_wants_holds_no_gpu(own_containers: Stand, engine: Engine) -> None:
    """A container that was found and removed gives back what it held."""
    stand = own_containers
    stand.environment["LONGSHORE_GPUS"] = "1"
    labels = {
        "longshore.instance": stand.instance_id,
        "longshore.job-id": "unknown",
        "longshore.attempt": "1",
        "longshore.gpus": "0",
    }
    config = {"Image": "busybox:latest", "Cmd": ["sleep", "60"], "Labels": labels}
    await (await engine.docker.containers.create(config)).start()
    await stand.open()

    async def gone() -> bool:
        label = filters(label=["longshore.job-id=unknown"])
        return not await engine.docker.containers.list(all="1", filters=label)

    await until(gone)
    assignment = stand.an_attempt("true")
    assignment.resources.gpus = 1
    end = await stand.run(assignment)
    assert "GPUs are needed" not in end.reason


@pytest.mark.docker
async def test_cleanup_after_an_agent_that_is_gone(own_containers: Stand, engine: Engine) -> None:
    """Nothing of the instance stays on the engine: container, sandbox, volume."""
    stand = own_containers
    await stand.open()
    assert stand.agent is not None
    volume = container_pb2.Volume(name="v")
    mounts = [
        container_pb2.MountPoint(source_volume="v", container_path=path) for path in ("/a", "/b")
    ]
    assignment = stand.an_attempt("sleep", "300", volumes=[volume], mount_points=mounts)
    await stand.scheduler.assign(assignment)
    await stand.scheduler.running(assignment)
    await stand.agent.kill()
    cleanup = Process("longshore.agent.cleanup", stand.environment, stand.directory / "clean.log")
    assert await cleanup.ends() == 0
    label = [f"longshore.instance={stand.instance_id}"]
    assert await engine.docker.containers.list(all="1", filters=filters(label=label)) == []
    volumes = await engine.docker.volumes.list(filters={"label": label})
    assert not volumes["Volumes"]


async def test_an_engine_that_breaks_off_at_the_start(tmp_path: Path) -> None:
    """It answers, but nothing starts: the attempt fails in the end, and the agent stays."""

    async def version_alone(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readuntil(b"\r\n\r\n")
        if b"/version" in request.split(b"\r\n", 1)[0] or b"/containers/json" in request:
            body = b'{"ApiVersion": "1.41"}' if b"/version" in request else b"[]"
            head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n"
            writer.write(b"%sContent-Length: %d\r\n\r\n%s" % (head, len(body), body))
        await writer.drain()
        writer.close()

    engine = await asyncio.start_unix_server(version_alone, tmp_path / "engine.sock")
    stand = Stand(tmp_path, "docker", DOCKER_HOST=f"unix://{tmp_path}/engine.sock")
    await stand.open()
    end = await stand.run(stand.an_attempt("true"))
    assert end.reason.startswith("DockerStateError: ")
    assert stand.agent is not None
    assert stand.agent.popen.poll() is None
    await stand.agent.kill()  # it would wait to see that nothing is left on the engine
    await stand.close()
    engine.close()
