"""A multi-node job on the longshore that runs here; leaves nothing behind.

Makes a compute environment without instances and a queue, submits one job of several nodes that fit
a line together, shows what happens and what the nodes print, and checks the line. Exit code 0 only
if the job SUCCEEDED, each node had an instance of its own, and the line is right.

    longshore up --detach
    python -m examples.multi_node
"""

import argparse
import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from examples.multi_node.fit import TOLERANCE, least_squares
from longshore.v1 import compute_environment_pb2 as environment_pb
from longshore.v1 import job_definition_pb2, job_pb2
from longshore_cli.settings import settings
from longshore_client import Client, LongshoreError, NotFound, build

NAME = "multi-node"
INSTANCE_TYPE = "c6i.large"
INSTANCE_VCPUS = 2
TIMEOUT_SECONDS = 120.0
POLL_SECONDS = 0.25


async def create(client: Client, nodes: int) -> None:
    """Makes environment and queue; those of a run that was cut off are removed first."""
    await remove(client)
    await client.create_environment(
        environment_pb.CreateComputeEnvironmentRequest(
            compute_environment_name=NAME,
            type="MANAGED",
            compute_resources=environment_pb.ComputeResource(
                type="EC2",
                minv_cpus=0,
                maxv_cpus=nodes * INSTANCE_VCPUS,
                instance_types=[INSTANCE_TYPE],
                # Required by the wire contract, without meaning on this machine.
                subnets=["subnet-local"],
                security_group_ids=["sg-local"],
                instance_role="local",
            ),
        )
    )
    await client.wait_for_environment(NAME)
    await client.create_queue(NAME, [NAME])
    await client.wait_for_queue(NAME)


async def remove(client: Client) -> None:
    """Removes the queue, then the environment with its instances, and waits until they are gone."""
    with suppress(NotFound):
        await client.update_queue(NAME, state="DISABLED")
        await client.delete_queue(NAME)
    await _until_gone(lambda: client.list_queues([NAME]))
    with suppress(NotFound):
        await client.update_environment(
            environment_pb.UpdateComputeEnvironmentRequest(
                compute_environment=NAME, state="DISABLED"
            )
        )
        await client.delete_environment(NAME)
    await _until_gone(lambda: client.list_environments([NAME]))


async def _until_gone(describe: Callable[[], AsyncIterator[Any]]) -> None:
    async with asyncio.timeout(TIMEOUT_SECONDS):
        while True:
            if not [found async for found in describe() if found.status != "DELETED"]:
                return
            await asyncio.sleep(POLL_SECONDS)


async def submit(client: Client, arguments: argparse.Namespace) -> str:
    """Registers the definition and submits the job; its id."""
    container = build.container(
        arguments.image,
        ["sh", "-c", (Path(__file__).parent / "node.sh").read_text()],
        memory_mib=64,
        env={
            "PORT": str(arguments.port),
            "ROUNDS": str(arguments.rounds),
            "POINTS": str(arguments.points),
        },
    )
    definition = await client.register_definition(
        job_definition_pb2.RegisterJobDefinitionRequest(
            job_definition_name=NAME,
            type="multinode",
            node_properties=job_definition_pb2.NodeProperties(
                num_nodes=arguments.nodes,
                main_node=0,
                node_range_properties=[
                    job_definition_pb2.NodeRangeProperty(target_nodes="0:", container=container)
                ],
            ),
        )
    )
    return await client.submit_job(NAME, queue=NAME, definition=definition)


async def watch(client: Client, job_id: str) -> job_pb2.JobDetail:
    """Shows the job's statuses until it has ended, and why its instances came."""
    shown = ""
    async with asyncio.timeout(TIMEOUT_SECONDS):
        async for [job] in client.watch([job_id]):
            if job.status != shown:
                shown = job.status
                print(f"job is {shown}", flush=True)
    # The newest come first; those of earlier environments of the name are on record, too.
    async for activity in client.list_activities(NAME):
        if activity.ordered:
            print(f"capacity: {activity.reason}")
            break
    return job


async def judge(client: Client, job: job_pb2.JobDetail, arguments: argparse.Namespace) -> bool:
    """Prints the nodes and the main node's output; whether all is right."""
    ids = [f"{job.job_id}#{node}" for node in range(arguments.nodes)]
    nodes = await client.describe_jobs(ids)
    instances = set()
    for index, node in enumerate(nodes):
        instances.add(node.container.container_instance_arn)
        role = "main node" if node.node_details.is_main_node else "node"
        print(f"{role} {index} {node.status}: {node.status_reason}")
    lines = [line.text async for line in client.job_logs(ids[0], follow=True)]
    print("\n".join(lines))
    if job.status != "SUCCEEDED" or len(instances) != arguments.nodes:
        print(f"job {job.status} ({job.status_reason}) on {len(instances)} instances")
        return False
    slope, intercept = map(float, lines[-1].split()[1:])
    right = least_squares(arguments.nodes, arguments.points)
    print(f"by least squares: y = {right[0]:.6f} x + {right[1]:.6f}")
    print(f"by {arguments.nodes} nodes:       y = {slope:.6f} x + {intercept:.6f}")
    is_right = max(abs(slope - right[0]), abs(intercept - right[1])) < TOLERANCE
    print("the line is right" if is_right else "the line is WRONG")
    return is_right


async def run(arguments: argparse.Namespace) -> bool:
    """Makes everything, runs it, and takes it away again."""
    async with settings.connect() as client:
        await create(client, arguments.nodes)
        try:
            job_id = await submit(client, arguments)
            return await judge(client, await watch(client, job_id), arguments)
        finally:
            await remove(client)


def main() -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m examples.multi_node", description="Nodes fit a line together."
    )
    parser.add_argument("--image", default="busybox:latest")
    parser.add_argument("--nodes", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--points", type=int, default=1000, help="of each node")
    parser.add_argument("--port", type=int, default=17_017, help="where the main node listens")
    try:
        return 0 if asyncio.run(run(parser.parse_args())) else 1
    except TimeoutError:
        print("multi-node: not within its time", file=sys.stderr)
    except LongshoreError as error:
        print(f"multi-node: {error.message}", file=sys.stderr)
    except KeyboardInterrupt:
        print("multi-node: interrupted; what it made is gone", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
