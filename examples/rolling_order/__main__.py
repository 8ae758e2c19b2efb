"""The rolling order on the longshore that runs here; leaves nothing behind.

Makes three compute environments of two vCPUs each and three queues, submits jobs of one vCPU to all
queues, shows how the environments grow, and which queue's jobs ran where. Exit code 0 only if all
three grew before the first job ended, every job SUCCEEDED, and queue 1 went on from A to B.

    longshore up --detach
    python -m examples.rolling_order
"""

import argparse
import asyncio
import itertools
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from typing import Any

from longshore.v1 import compute_environment_pb2 as environment_pb
from longshore.v1 import job_pb2
from longshore_cli.settings import settings
from longshore_client import Client, LongshoreError, NotFound, build
from longshore_client.jobs import FINAL

ENVIRONMENTS = ("rolling-A", "rolling-B", "rolling-C")
#: Queues with their environments in order, and how many jobs each gets: queue 1 has one too many.
QUEUES = {
    "rolling-1": (("rolling-A", "rolling-B", "rolling-C"), 3),
    "rolling-2": (("rolling-B", "rolling-C", "rolling-A"), 1),
    "rolling-3": (("rolling-C", "rolling-A", "rolling-B"), 2),
}
MAX_VCPUS = 2
TIMEOUT_SECONDS = 120.0
POLL_SECONDS = 0.25


async def create(client: Client) -> None:
    """Makes environments and queues; those of a run that was cut off are removed first."""
    await remove(client)
    for name in ENVIRONMENTS:
        await client.create_environment(
            environment_pb.CreateComputeEnvironmentRequest(
                compute_environment_name=name,
                type="MANAGED",
                compute_resources=environment_pb.ComputeResource(
                    type="EC2",
                    allocation_strategy="BEST_FIT_PROGRESSIVE",
                    minv_cpus=0,
                    maxv_cpus=MAX_VCPUS,
                    instance_types=["local.eighth"],
                    # Required by the wire contract, without meaning on this machine.
                    subnets=["subnet-local"],
                    security_group_ids=["sg-local"],
                    instance_role="local",
                ),
            )
        )
    for name in ENVIRONMENTS:
        await client.wait_for_environment(name)
    for name, (environments, _) in QUEUES.items():
        await client.create_queue(name, environments)
    for name in QUEUES:
        await client.wait_for_queue(name)


async def remove(client: Client) -> None:
    """Removes queues, then environments with their instances, and waits until they are gone."""
    for name in QUEUES:
        with suppress(NotFound):
            await client.update_queue(name, state="DISABLED")
            await client.delete_queue(name)
    await _until_gone(lambda: client.list_queues(list(QUEUES)))
    for name in ENVIRONMENTS:
        with suppress(NotFound):
            await client.update_environment(
                environment_pb.UpdateComputeEnvironmentRequest(
                    compute_environment=name, state="DISABLED"
                )
            )
            await client.delete_environment(name)
    await _until_gone(lambda: client.list_environments(ENVIRONMENTS))


async def _until_gone(describe: Callable[[], AsyncIterator[Any]]) -> None:
    async with asyncio.timeout(TIMEOUT_SECONDS):
        while True:
            if not [found async for found in describe() if found.status != "DELETED"]:
                return
            await asyncio.sleep(POLL_SECONDS)


async def submit(client: Client, image: str, seconds: float) -> dict[str, str]:
    """Submits the jobs of all queues; their ids with their queues."""
    definition = await client.register_container_definition(
        "rolling-order", build.container(image, ["sleep", f"{seconds:g}"], memory_mib=32)
    )
    return {
        await client.submit_job(f"{queue}-{number}", queue=queue, definition=definition): queue
        for queue, (_, count) in QUEUES.items()
        for number in range(count)
    }


async def watch(client: Client, ids: Mapping[str, str]) -> tuple[bool, list[job_pb2.JobDetail]]:
    """Shows how environments grow until every job has ended.

    Returns:
        Whether all environments had instances before a job ended, and the jobs.
    """
    shown: list[int] = []
    grew_together = False
    print("vCPUs that are ready or booting, and jobs that run:")
    async with asyncio.timeout(TIMEOUT_SECONDS):
        while True:
            jobs = await client.describe_jobs(list(ids))
            capacities = await client.describe_capacity(ENVIRONMENTS)
            vcpus = [round(c.busy.vcpus + c.idle.vcpus + c.booting.vcpus) for c in capacities]
            ended = sum(job.status in FINAL for job in jobs)
            running = sum(job.status == "RUNNING" for job in jobs)
            grew_together |= not ended and all(vcpus)
            if [*vcpus, running] != shown:
                shown = [*vcpus, running]
                by_name = ", ".join(
                    f"{name[-1]} {count}" for name, count in zip(ENVIRONMENTS, vcpus, strict=True)
                )
                print(f"  {by_name}; {running} running, {ended} ended", flush=True)
            if ended == len(jobs):
                return grew_together, jobs
            await asyncio.sleep(POLL_SECONDS)


def places(ids: Mapping[str, str], jobs: list[job_pb2.JobDetail]) -> Counter[tuple[str, str]]:
    """How many jobs of each queue ran in each environment, as their clusters' names tell."""
    found: Counter[tuple[str, str]] = Counter()
    for job, name in itertools.product(jobs, ENVIRONMENTS):
        if f"/{name}_Batch_" in job.container.container_instance_arn:
            found[ids[job.job_id], name] += 1
    return found


def judge(ids: Mapping[str, str], grew_together: bool, jobs: list[job_pb2.JobDetail]) -> bool:
    """Prints what ran where; whether that is the rolling order.

    A job goes to the first environment of its queue that has room at the moment, and instances of
    one may be up a little earlier than those of another. So what is sure is how many ran outside of
    a queue's first environment at least: all jobs run at one time.
    """
    where = places(ids, jobs)
    for queue, (environments, count) in QUEUES.items():
        parts = ", ".join(f"{where[queue, name]} in {name[-1]}" for name in environments)
        print(f"{queue} ({count} jobs): {parts}")
    failed = [job for job in jobs if job.status != "SUCCEEDED"]
    for job in failed:
        print(f"{job.job_name} ({job.job_id}) {job.status}: {job.status_reason}")
    if not grew_together:
        print("the environments did not grow at the same time")
    outside = QUEUES["rolling-1"][1] - where["rolling-1", "rolling-A"]
    is_right = (
        grew_together
        and not failed
        and outside >= QUEUES["rolling-1"][1] - MAX_VCPUS
        and where.total() == len(jobs)
        and all(sum(where[queue, name] for queue in QUEUES) for name in ENVIRONMENTS)
    )
    print("the rolling order is right" if is_right else "the rolling order is WRONG")
    return is_right


async def run(image: str, seconds: float) -> bool:
    """Makes everything, runs it, and takes it away again."""
    async with settings.connect() as client:
        await create(client)
        try:
            ids = await submit(client, image, seconds)
            grew_together, jobs = await watch(client, ids)
            return judge(ids, grew_together, jobs)
        finally:
            await remove(client)


def main() -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m examples.rolling_order", description="The rolling order, for real."
    )
    parser.add_argument("--image", default="busybox:latest")
    parser.add_argument("--seconds", type=float, default=15.0, help="how long each job runs")
    arguments = parser.parse_args()
    try:
        return 0 if asyncio.run(run(arguments.image, arguments.seconds)) else 1
    except TimeoutError:
        print("rolling order: not within its time", file=sys.stderr)
    except LongshoreError as error:
        print(f"rolling order: {error.message}", file=sys.stderr)
    except KeyboardInterrupt:
        print("rolling order: interrupted; what it made is gone", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
