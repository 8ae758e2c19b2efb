"""Every container property does on a real container what AWS Batch says it does."""

import signal
from pathlib import Path

import pytest
from google.protobuf import timestamp_pb2
from support.agent import IMAGE, Stand, until

from longshore.agent.docker.engine import Engine, filters
from longshore.v1 import container_pb2, key_value_pb2

pytestmark = [pytest.mark.docker, pytest.mark.asyncio(loop_scope="session")]

MIB = 1024 * 1024


def linux(**parameters: object) -> container_pb2.LinuxParameters:
    return container_pb2.LinuxParameters(**parameters)


def a_volume(name: str, source_path: str = "") -> container_pb2.Volume:
    if source_path:
        return container_pb2.Volume(name=name, host=container_pb2.Host(source_path=source_path))
    return container_pb2.Volume(name=name)


def a_mount(name: str, path: str, *, read_only: bool = False) -> container_pb2.MountPoint:
    return container_pb2.MountPoint(source_volume=name, container_path=path, read_only=read_only)


async def test_command_replaces_the_image_command(containers: Stand) -> None:
    assert await containers.printed("echo", "a  b", "$HOME") == "a  b $HOME\n"


async def test_without_a_command_the_image_command_runs(containers: Stand) -> None:
    """Busybox's is `sh`, which ends at once without a terminal."""
    assert await containers.printed() == ""


async def test_environment_of_the_job_and_of_batch(containers: Stand) -> None:
    assignment = containers.an_attempt(
        "env",
        attempt=2,
        job_id="6d6f2b32-0000-4000-8000-000000000001:7",
        array=(7, 10),
        environment=[
            key_value_pb2.KeyValuePair(name="MINE", value="a=b c"),
            key_value_pb2.KeyValuePair(name="AWS_BATCH_JOB_ID", value="forged"),
        ],
    )
    await containers.run(assignment)
    lines = set((await containers.output(assignment)).splitlines())
    assert lines >= {
        "MINE=a=b c",
        "AWS_BATCH_JOB_ID=6d6f2b32-0000-4000-8000-000000000001:7",
        "AWS_BATCH_JOB_ATTEMPT=2",
        "AWS_BATCH_JQ_NAME=queue",
        "AWS_BATCH_CE_NAME=ce",
        "AWS_BATCH_JOB_ARRAY_INDEX=7",
        "AWS_BATCH_JOB_ARRAY_SIZE=10",
    }


async def test_memory_is_a_hard_limit_and_cpu_a_share(containers: Stand) -> None:
    script = (
        "if [ -e /sys/fs/cgroup/memory.max ]; then cat /sys/fs/cgroup/memory.max;"
        " else cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/cpu/cpu.shares; fi"
    )
    values = (await containers.shell(script, memory_mib=48)).split()
    assert values[0] == str(48 * MIB)
    assert values[1:] in ([], ["512"])


async def test_out_of_memory(containers: Stand) -> None:
    end = await containers.run(containers.an_attempt("sh", "-c", "tail /dev/zero", memory_mib=16))
    assert end.exit_code == 137
    assert end.reason == "OutOfMemoryError: Container killed due to memory usage"
    assert end.status_reason == "Essential container in task exited"


async def test_ulimits(containers: Stand) -> None:
    limit = container_pb2.Ulimit(name="nofile", soft_limit=123, hard_limit=456)
    assert await containers.shell("ulimit -Sn; ulimit -Hn", ulimits=[limit]) == "123\n456\n"


async def test_tmpfs(containers: Stand) -> None:
    mount = container_pb2.Tmpfs(container_path="/scratch", size=5, mount_options=["noatime"])
    printed = await containers.shell(
        "grep ' /scratch ' /proc/mounts", linux_parameters=linux(tmpfs=[mount])
    )
    assert printed.startswith("tmpfs /scratch tmpfs")
    assert "size=5120k" in printed
    assert "noatime" in printed


async def test_shared_memory_size(containers: Stand) -> None:
    printed = await containers.shell(
        "grep ' /dev/shm ' /proc/mounts", linux_parameters=linux(shared_memory_size=7)
    )
    assert "size=7168k" in printed


async def test_readonly_root_file_system(containers: Stand) -> None:
    printed = await containers.shell(
        "touch /file 2>&1 || echo refused", readonly_root_filesystem=True
    )
    assert printed.endswith("refused\n")


async def test_user(containers: Stand) -> None:
    assert await containers.shell("id -u; id -g", user="nobody:1234") == "65534\n1234\n"


async def test_privileged(containers: Stand) -> None:
    """All capabilities, or the engine's word that it has not all of them to give."""
    script = "grep CapEff /proc/self/status"
    assignment = containers.an_attempt("sh", "-c", script, privileged=True)
    end = await containers.run(assignment)
    if end.exit_code or end.reason:
        assert "unable to apply caps" in end.reason
    else:
        assert await containers.output(assignment) != await containers.shell(script)


async def test_init_process(containers: Stand) -> None:
    script = "cat /proc/1/comm; true"
    assert "init" in await containers.shell(
        script, linux_parameters=linux(init_process_enabled=True)
    )
    assert await containers.shell(script) == "sh\n"


async def test_devices(containers: Stand) -> None:
    device = container_pb2.Device(
        host_path="/dev/zero", container_path="/dev/nought", permissions=["READ"]
    )
    printed = await containers.shell(
        "head -c 3 /dev/nought | od -An -tx1",
        linux_parameters=linux(devices=[device]),
    )
    assert printed.split() == ["00", "00", "00"]


async def test_swap(containers: Stand, engine: Engine) -> None:
    assignment = containers.an_attempt(
        "sleep", "60", memory_mib=32, linux_parameters=linux(max_swap=0), stop_seconds=0
    )
    await containers.scheduler.assign(assignment)
    await containers.scheduler.running(assignment)
    name = f"longshore-{containers.instance_id}-{assignment.key.job_id}-1"
    shown = await engine.docker.containers.container(name).show()
    await containers.scheduler.stop(assignment)
    await containers.scheduler.ended(assignment)
    # An engine without swap accounting sets neither.
    assert shown["HostConfig"]["MemorySwap"] in (32 * MIB, -1)


async def test_missing_host_path_is_made_and_stays(containers: Stand, tmp_path: Path) -> None:
    source = tmp_path / "not" / "there"
    await containers.shell(
        "echo kept >/data/file",
        volumes=[a_volume("data", str(source))],
        mount_points=[a_mount("data", "/data")],
    )
    assert (source / "file").read_text() == "kept\n"


async def test_read_only_mount(containers: Stand, tmp_path: Path) -> None:
    printed = await containers.shell(
        "touch /data/file 2>&1 || echo refused",
        volumes=[a_volume("data", str(tmp_path))],
        mount_points=[a_mount("data", "/data", read_only=True)],
    )
    assert printed.endswith("refused\n")


async def test_anonymous_volumes_are_shared_within_and_removed_after(
    containers: Stand, engine: Engine
) -> None:
    before = await _volumes(engine)
    printed = await containers.shell(
        "echo one >/a/file; cat /b/file; touch /c/file",
        volumes=[a_volume("twice"), a_volume("once")],
        mount_points=[a_mount("twice", "/a"), a_mount("twice", "/b"), a_mount("once", "/c")],
    )
    assert printed == "one\n"

    async def gone() -> bool:
        return await _volumes(engine) <= before

    await until(gone)


async def test_a_volume_of_the_network_that_cannot_be_mounted_is_named_and_left_nowhere(
    containers: Stand, engine: Engine
) -> None:
    before = await _volumes(engine)
    efs = container_pb2.EFSVolumeConfiguration(file_system_id="fs-nowhere")
    volume = container_pb2.Volume(name="shared", efs_volume_configuration=efs)
    attempt = containers.an_attempt(
        "true", volumes=[volume], mount_points=[a_mount("shared", "/a")]
    )
    end = await containers.run(attempt)
    assert end.reason.startswith("CannotCreateVolumeError: volume shared: Error response from")
    assert end.status_reason == "Task failed to start"

    async def gone() -> bool:
        return await _volumes(engine) <= before

    await until(gone)


async def _volumes(engine: Engine) -> set[str]:
    listed = await engine.docker.volumes.list()
    return {volume["Name"] for volume in listed["Volumes"] or []}


async def test_mount_point_without_its_volume(containers: Stand) -> None:
    end = await containers.run(
        containers.an_attempt("true", mount_points=[a_mount("nowhere", "/data")])
    )
    assert end.reason.startswith("CannotCreateContainerError: mountPoints.sourceVolume")
    assert end.status_reason == "Task failed to start"


@pytest.mark.parametrize("code", [1, 42, 255])
async def test_exit_codes(containers: Stand, code: int) -> None:
    end = await containers.run(containers.an_attempt("sh", "-c", f"exit {code}"))
    assert end.exit_code == code
    assert not end.HasField("reason")
    assert end.status_reason == "Essential container in task exited"


async def test_success_has_times_in_order(containers: Stand) -> None:
    moment = timestamp_pb2.Timestamp()
    moment.GetCurrentTime()
    end = await containers.run(containers.an_attempt("true"))
    assert end.HasField("exit_code")
    assert end.exit_code == 0
    assert moment.ToNanoseconds() - 10**9 < end.start_time.ToNanoseconds()
    assert end.start_time.ToNanoseconds() <= end.stop_time.ToNanoseconds()


async def test_killed_by_a_signal(containers: Stand) -> None:
    script = "kill -TERM $$"
    end = await containers.run(
        containers.an_attempt("sh", "-c", script, linux_parameters=linux(init_process_enabled=True))
    )
    assert end.exit_code == 128 + signal.SIGTERM


async def test_image_that_cannot_be_pulled(containers: Stand) -> None:
    end = await containers.run(
        containers.an_attempt("true", image="127.0.0.1:1/no/such/image:none")
    )
    assert end.reason.startswith("CannotPullContainerError: Error response from daemon: ")
    assert len(end.reason) <= 255
    assert end.status_reason == "Task failed to start"
    assert not end.HasField("exit_code")
    assert not end.HasField("start_time")


async def test_container_that_cannot_be_created(containers: Stand) -> None:
    end = await containers.run(
        containers.an_attempt("true", linux_parameters=linux(shared_memory_size=-1))
    )
    assert end.reason.startswith("CannotCreateContainerError: Error response from daemon: ")


async def test_container_that_cannot_be_started(containers: Stand, engine: Engine) -> None:
    assignment = containers.an_attempt("/no/such/program")
    end = await containers.run(assignment)
    assert end.reason.startswith("CannotStartContainerError: Error response from daemon: ")
    assert "/no/such/program" in end.reason
    assert await containers.output(assignment) == ""
    await nothing_left(containers, engine)


async def test_image_is_asked_for_again_when_it_vanished(containers: Stand, engine: Engine) -> None:
    """The agent has seen the image and then it is gone: the pull, not the creation, fails."""
    name = "longshore-test-vanishing:1"
    await engine.docker.images.tag(IMAGE, "longshore-test-vanishing", tag="1")
    assert await containers.printed("echo", "there", image=name) == "there\n"
    await engine.docker.images.delete(name)
    end = await containers.run(containers.an_attempt("true", image=name))
    assert end.reason.startswith("CannotPullContainerError")


async def nothing_left(stand: Stand, engine: Engine) -> None:
    """Waits until no container of the instance is left but its sandbox."""

    async def none() -> bool:
        listed = await engine.docker.containers.list(
            all="1", filters=filters(label=[f"longshore.instance={stand.instance_id}"])
        )
        return not [
            container for container in listed if "longshore.sandbox" not in container["Labels"]
        ]

    await until(none)


async def test_labels_and_name_carry_job_and_attempt(containers: Stand, engine: Engine) -> None:
    assignment = containers.an_attempt("sleep", "60", attempt=3, stop_seconds=0)
    await containers.scheduler.assign(assignment)
    await containers.scheduler.running(assignment)
    name = f"longshore-{containers.instance_id}-{assignment.key.job_id}-3"
    shown = await engine.docker.containers.container(name).show()
    await containers.scheduler.stop(assignment)
    await containers.scheduler.ended(assignment)
    assert shown["Config"]["Labels"] == {
        "longshore.instance": containers.instance_id,
        "longshore.job-id": assignment.key.job_id,
        "longshore.attempt": "3",
        "longshore.attempt-id": assignment.attempt_id,
        "longshore.job-name": "test",
        "com.amazonaws.ecs.container-name": "default",
        "com.amazonaws.ecs.task-definition-family": "definition",
        "com.amazonaws.ecs.task-definition-version": "3",
    }
    await nothing_left(containers, engine)


async def test_attempts_of_an_instance_share_a_network(containers: Stand) -> None:
    """What one listens on, another reaches at loopback; the machine's own ports are not there."""
    server = containers.an_attempt("sh", "-c", "echo hello | nc -l -p 7999", stop_seconds=0)
    await containers.scheduler.assign(server)
    await containers.scheduler.running(server)
    printed = await containers.shell(
        f"until nc 127.0.0.1 7999; do :; done; nc -w 1 127.0.0.1 {containers.logs_port}"
        " </dev/null 2>&1 || echo closed"
    )
    assert printed.startswith("hello\n")
    assert printed.endswith("closed\n")


async def test_a_dead_sandbox_is_made_again(containers: Stand, engine: Engine) -> None:
    sandbox = engine.docker.containers.container(f"longshore-{containers.instance_id}-sandbox")
    assert await containers.printed("echo", "before") == "before\n"
    await sandbox.delete(force=True)
    assert await containers.printed("echo", "after") == "after\n"
    assert (await sandbox.show())["State"]["Running"]
