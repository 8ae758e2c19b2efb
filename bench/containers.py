"""Real containers through longshore against a bare aiodocker loop, in turns in one run.

Both sides run `true` in the same image with the same container settings (made by the agent's own
function), the same network sandbox and the same number at one time, on the same engine. First
throughput: containers per second of a no-op array job on a warm agent, against create, start,
wait, remove. Then latency: SubmitJob to RUNNING on the idle agent, against create and start. Last,
the same of a job of two containers against a job of one.
"""

import argparse
import asyncio
import secrets
import statistics
import sys
import time
from typing import Any

import aiodocker
from harness import register_noop, running_agents, running_stack, summary, until_succeeded

from longshore.agent.docker.container import ContainerLimits, Surroundings, container_config
from longshore.v1 import agent_service_pb2, ecs_pb2, job_definition_pb2
from longshore_client import Client, build

START_SECONDS = 60.0
#: What a user who polls sees too, so it is part of what is measured.
POLL_SECONDS = 0.002


async def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--containers", type=int, default=80)
    parser.add_argument("--concurrency", type=int, default=6)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--latencies", type=int, default=15)
    options = parser.parse_args()
    with running_stack("docker") as (base, directory):
        async with (
            running_agents(base, directory, runtime="docker", count=1, vcpus=options.concurrency),
            Client(f"127.0.0.1:{base}") as client,
            aiodocker.Docker() as docker,
        ):
            definition = await register_noop(client)
            await ours(client, definition, 10)
            config = bare_config(await sandbox_id(docker))
            await bare(docker, config, 10, options.concurrency)
            await throughput(client, definition, docker, config, options)
            await latency(client, docker, config, options)
            await pairs(client, options)


async def throughput(
    client: Client,
    definition: str,
    docker: aiodocker.Docker,
    config: dict[str, Any],
    options: argparse.Namespace,
) -> None:
    """Prints containers per second of both sides and their ratio."""
    mine, theirs = [], []
    for _ in range(options.repeats):
        theirs.append(await bare(docker, config, options.containers, options.concurrency))
        mine.append(await ours(client, definition, options.containers))
    print(f"bare aiodocker loop: {summary(theirs, 'containers/s', 2)}")
    print(f"longshore: {summary(mine, 'containers/s', 2)}")
    print(f"ratio of medians: {statistics.median(mine) / statistics.median(theirs):.2f}")


async def ours(client: Client, definition: str, count: int) -> float:
    """Containers per second of a no-op array job."""
    started = time.time()
    job_id = await client.submit_job(
        "noop", queue="machines", definition=definition, array_size=count
    )
    # The end as the scheduler stored it: a waiting client looks only every second or so.
    [job] = await until_succeeded(client, [job_id], START_SECONDS + count)
    return count / (job.stopped_at / 1000 - started)


async def bare(
    docker: aiodocker.Docker, config: dict[str, Any], count: int, concurrency: int
) -> float:
    """Containers per second of a plain loop."""
    numbers = iter(range(count))

    async def loop() -> None:
        for _ in numbers:
            container = await docker.containers.create(config, name=f"bare-{secrets.token_hex(8)}")
            await container.start()
            await container.wait()
            await container.delete(v=True)

    started = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for _ in range(concurrency):
            group.create_task(loop())
    return count / (time.perf_counter() - started)


async def latency(
    client: Client,
    docker: aiodocker.Docker,
    config: dict[str, Any],
    options: argparse.Namespace,
) -> None:
    """Prints the time from submission to RUNNING, and from create to started, in turns."""
    definition = await client.register_container_definition("sleeper", sleeper())
    mine, theirs = [], []
    for _ in range(options.latencies):
        theirs.append(await bare_start(docker, {**config, "Cmd": ["sleep", "1"]}))
        mine.append(await our_start(client, definition))
    print(f"bare create and start: {summary(theirs, 'ms')}")
    print(f"longshore, SubmitJob to RUNNING seen: {summary(mine, 'ms')}")
    print(f"difference of medians: {statistics.median(mine) - statistics.median(theirs):+.1f} ms")


async def pairs(client: Client, options: argparse.Namespace) -> None:
    """Prints the time from submission to RUNNING of jobs of one and of two containers, in turns."""
    single = await client.register_container_definition("single", sleeper())
    one = ecs_pb2.TaskContainerProperties(
        image="busybox:latest",
        command=["sleep", "1"],
        resource_requirements=sleeper().resource_requirements,
    )
    pair = [ecs_pb2.TaskContainerProperties(name=name) for name in ("first", "second")]
    for container in pair:
        container.MergeFrom(one)
    double = await client.register_definition(
        job_definition_pb2.RegisterJobDefinitionRequest(
            job_definition_name="pair",
            type="container",
            ecs_properties=ecs_pb2.EcsProperties(
                task_properties=[ecs_pb2.EcsTaskProperties(containers=pair)]
            ),
        )
    )
    ones, twos = [], []
    for _ in range(options.latencies):
        ones.append(await our_start(client, single))
        twos.append(await our_start(client, double))
    print(f"one container, SubmitJob to RUNNING seen: {summary(ones, 'ms')}")
    print(f"two containers: {summary(twos, 'ms')}")
    print(f"ratio of medians: {statistics.median(twos) / statistics.median(ones):.2f}")


def sleeper() -> job_definition_pb2.ContainerProperties:
    """A container that lasts for a second."""
    return build.container("busybox:latest", ["sleep", "1"], vcpus=1, memory_mib=16)


async def bare_start(docker: aiodocker.Docker, config: dict[str, Any]) -> float:
    """Milliseconds of create and start."""
    started = time.perf_counter()
    container = await docker.containers.create(config, name=f"bare-{secrets.token_hex(8)}")
    await container.start()
    milliseconds = (time.perf_counter() - started) * 1000
    await container.delete(force=True, v=True)
    return milliseconds


async def our_start(client: Client, definition: str) -> float:
    """Milliseconds from SubmitJob until DescribeJobs says that the job runs."""
    started = time.time()
    job_id = await client.submit_job("sleeper", queue="machines", definition=definition)
    while not (await client.describe_job(job_id)).HasField("started_at"):
        await asyncio.sleep(POLL_SECONDS)
    milliseconds = (time.time() - started) * 1000
    await client.wait([job_id], timeout=START_SECONDS)
    return milliseconds


async def sandbox_id(docker: aiodocker.Docker) -> str:
    """The network sandbox of the agent that started last."""
    found = await docker.containers.list(filters={"label": ["longshore.sandbox"]})
    if not found:
        sys.exit("no agent on this engine has a network sandbox: its log says sandbox.unavailable")
    return max(found, key=lambda c: c["Created"]).id


def bare_config(sandbox: str) -> dict[str, Any]:
    """The container that the agent makes for a no-op job, without the agent's labels."""
    assignment = agent_service_pb2.Assignment(
        key=agent_service_pb2.AttemptKey(job_id="bare", attempt=1),
        container=job_definition_pb2.ContainerProperties.FromString(
            build.container("busybox:latest", ["true"], vcpus=1, memory_mib=16).SerializeToString()
        ),
    )
    assignment.resources.vcpu_milli = 1000
    assignment.resources.memory_mib = 16
    config = container_config(
        assignment,
        instance_id="bare",
        compute_environment="bare",
        surroundings=Surroundings(f"container:{sandbox}"),
        gpu_ids=[],
        limits=ContainerLimits(pids=4096, log_file_mib=100, log_files=3, spool_mib=100),
        variables={},
    )
    config.pop("Labels")
    return config


if __name__ == "__main__":
    asyncio.run(main())
