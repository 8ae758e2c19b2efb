"""GPUs of a machine that NVIDIA's library tells of: each is one attempt's alone."""

from pathlib import Path

import pytest
from support.agent import Stand
from support.gpus import fake_nvml

from longshore.v1 import agent_service_pb2 as pb
from longshore.v1 import key_value_pb2

pytestmark = [pytest.mark.asyncio(loop_scope="session")]

UUIDS = ("GPU-one", "GPU-two")


def with_gpu(stand: Stand, *command: str) -> pb.Assignment:
    assignment = stand.an_attempt(*command)
    assignment.resources.gpus = 1
    return assignment


async def printed(stand: Stand, assignment: pb.Assignment) -> bytes:
    return b"".join(entry.text for entry in await stand.entries(assignment))


async def test_a_process_has_its_gpu_alone_and_keeps_it_over_a_restart(
    own_processes: Stand, tmp_path: Path
) -> None:
    stand = own_processes
    stand.environment.update(fake_nvml(tmp_path, UUIDS))
    await stand.open()
    register = stand.scheduler.registrations[-1]
    assert [(gpu.uuid, gpu.name, gpu.memory_mib) for gpu in register.gpu_devices] == [
        (uuid, "NVIDIA Fake", 24 * 1024) for uuid in UUIDS
    ]
    assert register.resources.gpus == 2
    show = "echo $CUDA_VISIBLE_DEVICES"
    gate = tmp_path / "gate"
    first = with_gpu(stand, "sh", "-c", f"{show}; until [ -e {gate} ]; do sleep 0.1; done")
    await stand.scheduler.assign(first)
    await stand.scheduler.running(first)
    assert stand.agent is not None
    await stand.agent.kill()
    await stand.start_agent()
    second = with_gpu(stand, "sh", "-c", show)
    none = stand.an_attempt("sh", "-c", f"{show} nothing")
    for assignment in (second, none):
        assert (await stand.run(assignment)).exit_code == 0
    gate.touch()
    assert (await stand.scheduler.ended(first)).exit_code == 0
    assert await printed(stand, first) == b"GPU-one"
    assert await printed(stand, second) == b"GPU-two"
    assert await printed(stand, none) == b"nothing"
    # What the first one had is free again.
    third = with_gpu(stand, "sh", "-c", show)
    assert (await stand.run(third)).exit_code == 0
    assert await printed(stand, third) == b"GPU-one"


@pytest.mark.docker
async def test_a_container_without_a_gpu_sees_none_whatever_it_asks_for(
    own_containers: Stand, tmp_path: Path
) -> None:
    stand = own_containers
    stand.environment.update(fake_nvml(tmp_path, UUIDS))
    await stand.open()
    everything = key_value_pb2.KeyValuePair(name="NVIDIA_VISIBLE_DEVICES", value="all")
    said = await stand.printed("sh", "-c", "echo $NVIDIA_VISIBLE_DEVICES", environment=[everything])
    assert said == "void\n"
    # The engine of the test has no driver for GPUs, and says so.
    end = await stand.run(with_gpu(stand, "true"))
    assert end.reason.startswith("CannotStartContainerError: ")
    assert "gpu" in end.reason
