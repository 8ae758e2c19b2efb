"""How soon capacity is ordered, and how soon it is gone, on the local provider.

Each job takes a whole instance and stays, so that each submission needs a new one: measured from
SubmitJob's call until its capacity order is on record, and until the instance of it is. Then all
jobs end at one time: measured from the end of the idle delay until the last instance has ended.
Instances are real processes; times of records are the database's, on the same clock.
"""

import argparse
import asyncio
import os
import time

import asyncpg
from harness import running_stack, summary

from longshore.standalone.stack import DATABASE
from longshore.state.embedded import EmbeddedPostgres
from longshore.v1 import compute_environment_pb2
from longshore_client import Client, build

NAME = "grows"
#: vCPUs of an instance, and of a job.
VCPUS = 8
IDLE_SECONDS = 5
INTERVAL_SECONDS = 10
DEADLINE_SECONDS = 60
#: What the stack of the measurement is told: a machine that has room for all of the instances.
SETTINGS = {
    "LONGSHORE_LOCAL_VCPUS": str(VCPUS * 8),
    "LONGSHORE_LOCAL_MEMORY_MIB": str(8 * 1024),
    "LONGSHORE_IDLE_SECONDS": str(IDLE_SECONDS),
    "LONGSHORE_SCALE_INTERVAL": str(INTERVAL_SECONDS),
}


async def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--submissions", type=int, default=16)
    options = parser.parse_args()
    os.environ.update(SETTINGS, LONGSHORE_LOCAL_INSTANCES=str(options.submissions + 8))
    with running_stack("process") as (base, directory):
        async with Client(f"127.0.0.1:{base}") as client:
            db = await asyncpg.connect(EmbeddedPostgres(directory / "postgres").url(DATABASE))
            try:
                definition = await prepare(client, options.submissions)
                job_ids = await grow(client, db, definition, options.submissions)
                await shrink(client, db, job_ids)
            finally:
                await db.close()


async def prepare(client: Client, instances: int) -> str:
    """A managed environment of small instances, its queue, and a job that fills one of them."""
    await client.create_environment(
        compute_environment_pb2.CreateComputeEnvironmentRequest(
            compute_environment_name=NAME,
            type="MANAGED",
            compute_resources=compute_environment_pb2.ComputeResource(
                type="EC2",
                minv_cpus=0,
                maxv_cpus=VCPUS * instances,
                instance_types=["local.eighth"],
                subnets=["subnet-local"],
                instance_role="local",
            ),
        )
    )
    await client.wait_for_environment(NAME)
    await client.create_queue(NAME, [NAME])
    await client.wait_for_queue(NAME)
    return await client.register_container_definition(
        "stays", build.container("busybox", ["sleep", "3600"], vcpus=VCPUS, memory_mib=16)
    )


async def grow(
    client: Client, db: asyncpg.Connection, definition: str, submissions: int
) -> list[str]:
    """Prints milliseconds from submission to order and to instance, one submission at a time."""
    orders: list[float] = []
    instances: list[float] = []
    job_ids: list[str] = []
    for number in range(submissions):
        started = time.time()
        job_ids.append(await client.submit_job("stays", queue=NAME, definition=definition))
        await until_running(client, job_ids[-1])
        rows = await db.fetch(
            "SELECT extract(epoch FROM o.created_at)::float8 AS ordered,"
            " extract(epoch FROM i.ordered_at)::float8 AS recorded"
            " FROM instances i JOIN capacity_orders o USING (order_id)"
            " WHERE i.compute_environment = $1 ORDER BY o.created_at DESC",
            NAME,
        )
        if len(rows) != number + 1:
            raise RuntimeError(f"{len(rows)} instances for {number + 1} jobs")
        orders.append((rows[0]["ordered"] - started) * 1000)
        instances.append((rows[0]["recorded"] - started) * 1000)
    print(f"SubmitJob to capacity order: {summary(orders, 'ms')}")
    print(f"SubmitJob to instance on record: {summary(instances, 'ms')}")
    return job_ids


async def until_running(client: Client, job_id: str) -> None:
    """Waits until a job's instance has come and runs it."""
    async with asyncio.timeout(DEADLINE_SECONDS):
        async for jobs in client.watch([job_id]):
            if jobs[0].status == "RUNNING":
                return


async def shrink(client: Client, db: asyncpg.Connection, job_ids: list[str]) -> None:
    """Prints seconds from the end of the idle delay until the instances are given back and gone."""
    async with asyncio.TaskGroup() as group:
        for job_id in job_ids:
            group.create_task(client.terminate_job(job_id, "measured"))
    await client.wait(job_ids, timeout=DEADLINE_SECONDS)
    async with asyncio.timeout(DEADLINE_SECONDS):
        while await db.fetchval(
            "SELECT count(*) FROM instances WHERE ended_at IS NULL AND compute_environment = $1",
            NAME,
        ):
            await asyncio.sleep(0.1)
    rows = await db.fetch(
        "SELECT extract(epoch FROM max(i.terminating_at) - max(a.idle_since))::float8 AS back,"
        " extract(epoch FROM max(i.ended_at) - max(a.idle_since))::float8 AS gone"
        " FROM instances i JOIN agents a USING (instance_id) WHERE i.compute_environment = $1",
        NAME,
    )
    given_back, gone = rows[0]["back"], rows[0]["gone"]
    print(
        f"{len(job_ids)} instances idle to zero, later than the idle delay of {IDLE_SECONDS} s: "
        f"given back {given_back - IDLE_SECONDS:.2f} s, gone {gone - IDLE_SECONDS:.2f} s "
        f"(an interval is {INTERVAL_SECONDS} s)"
    )


if __name__ == "__main__":
    asyncio.run(main())
