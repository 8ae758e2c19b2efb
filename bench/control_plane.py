"""No-op jobs per second from submission to SUCCEEDED, through every service but no container.

Agents are real processes on the real stream whose attempts end at once; PostgreSQL commits
durably. Arrays measure scheduling alone; single jobs measure submission too, one call a job from
one client.
"""

import argparse
import asyncio
import time

from harness import (
    register_noop,
    running_agents,
    running_stack,
    summary,
    until_succeeded,
)

from longshore_client import Client


async def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=10_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--agents", type=int, default=2)
    parser.add_argument("--vcpus", type=int, default=1_000)
    parser.add_argument("--concurrency", type=int, default=64)
    options = parser.parse_args()
    arrays: list[float] = []
    singles: list[float] = []
    submits: list[float] = []
    with running_stack("process") as (base, directory):
        async with (
            running_agents(
                base, directory, runtime="simulated", count=options.agents, vcpus=options.vcpus
            ),
            Client(f"127.0.0.1:{base}") as client,
        ):
            definition = await register_noop(client)
            for _ in range(options.repeats):
                started = time.time()
                job_id = await client.submit_job(
                    "array", queue="machines", definition=definition, array_size=options.jobs
                )
                [job] = await until_succeeded(client, [job_id], 300)
                arrays.append(options.jobs / (job.stopped_at / 1000 - started))
                submit, total = await single_jobs(client, definition, options)
                submits.append(submit)
                singles.append(total)
    print(f"array of {options.jobs}: {summary(arrays, 'jobs/s', 0)}")
    print(f"{options.jobs} SubmitJob calls alone: {summary(submits, 'calls/s', 0)}")
    print(f"{options.jobs} single jobs, submit to SUCCEEDED: {summary(singles, 'jobs/s', 0)}")


async def single_jobs(
    client: Client, definition: str, options: argparse.Namespace
) -> tuple[float, float]:
    """Submits jobs one call each, several calls at a time; calls and jobs per second."""
    started, clock = time.perf_counter(), time.time()
    numbers = iter(range(options.jobs))
    job_ids: list[str] = []

    async def submit() -> None:
        for number in numbers:
            job_ids.append(
                await client.submit_job(f"noop-{number}", queue="machines", definition=definition)
            )

    async with asyncio.TaskGroup() as group:
        for _ in range(options.concurrency):
            group.create_task(submit())
    submitted = time.perf_counter() - started
    # Looking at every job costs as much as running it, so that comes after: the last stop counts.
    await until_succeeded(client, job_ids[-100:], 300)
    jobs = await until_succeeded(client, job_ids, 300)
    last = max(job.stopped_at for job in jobs) / 1000
    return options.jobs / submitted, options.jobs / (last - clock)


if __name__ == "__main__":
    asyncio.run(main())
