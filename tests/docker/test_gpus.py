"""GPUs of a machine that NVIDIA's library tells of: each is one attempt's alone."""

from pathlib import Path

import pytest
from support.agent import Stand, a_part
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


async def test_each_of_several_has_its_own_of_what_the_attempt_holds(
    own_processes: Stand, tmp_path: Path
) -> None:
    stand = own_processes
    stand.environment.update(fake_nvml(tmp_path, UUIDS))
    await stand.open()
    show = "echo $CUDA_VISIBLE_DEVICES."
    gate = tmp_path / "gate"
    all_said = f"[ -e {gate} ] && [ -e {tmp_path}/two ] && [ -e {tmp_path}/none ]"
    parts = [
        a_part("one", f"{show}; until {all_said}; do sleep 0.1; done"),
        *(
            a_part(name, f"{show}; touch {tmp_path}/{name}; sleep 1000", essential=False)
            for name in ("two", "none")
        ),
    ]
    for part in parts[:2]:
        part.resource_requirements.add(type="GPU", value="1")
    several = stand.several(*parts)
    several.resources.gpus = 2
    await stand.scheduler.assign(several)
    await stand.scheduler.running(several)
    # What each has is on record with it.
    assert stand.agent is not None
    await stand.agent.kill()
    await stand.start_agent()
    gate.touch()
    assert (await stand.scheduler.ended(several)).exit_code == 0
    said = [await stand.output_of(several, name) for name in ("one", "two", "none")]
    assert (sorted(said[:2]), said[2]) == (["GPU-one.\n", "GPU-two.\n"], ".\n")
    # Both are free again.
    both = stand.an_attempt("sh", "-c", show)
    both.resources.gpus = 2
    assert (await stand.run(both)).exit_code == 0
    assert await printed(stand, both) == b"GPU-one,GPU-two."


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
