"""Events: how long after its commit a change of a job reaches a webhook, and what two rules cost.

Single jobs end at a steady rate on simulated agents, and a receiver in this process notes when each
event comes. A change is written with the time at which its transaction began to be decided, so what
is measured includes the transaction itself. The rate of arrays is measured with and without two
rules that match what ends: one of failures, one of the array as a whole.
"""

import argparse
import asyncio
import json
import os
import statistics
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import asyncpg
import grpc
from aiohttp import web
from harness import register_noop, running_agents, running_stack, summary, until_succeeded

from longshore.state.embedded import EmbeddedPostgres
from longshore.v1 import event_bridge_service_pb2 as pb
from longshore.v1 import event_bridge_service_pb2_grpc
from longshore_client import Client

EVENTS_OFFSET = 5
ENDED = {"detail": {"status": ["SUCCEEDED", "FAILED"]}, "source": ["aws.batch"]}
LIFE = {"source": ["aws.batch"], "detail-type": ["Batch Job State Change"]}
FAILURES = {"source": ["aws.batch"], "detail": {"status": ["FAILED"]}}
WHOLE = {
    "source": ["aws.batch"],
    "detail": {"status": ["SUCCEEDED"], "arrayProperties": {"index": [{"exists": False}]}},
}


@asynccontextmanager
async def receiving(came: dict[tuple[str, str], float]) -> AsyncIterator[str]:
    """A webhook that notes when each event came first."""

    async def take(request: web.Request) -> web.Response:
        at = time.time()
        detail = json.loads(await request.read())["detail"]
        came.setdefault((detail["jobId"], detail["status"]), at)
        return web.Response()

    app = web.Application()
    app.router.add_post("/", take)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/"
    finally:
        await runner.cleanup()


class Rules:
    """Rules whose target is one webhook."""

    def __init__(self, stub: event_bridge_service_pb2_grpc.EventBridgeServiceStub) -> None:
        self._stub = stub
        self._arn = ""

    async def prepare(self, url: str) -> None:
        """Makes the destination."""
        key = pb.CreateConnectionApiKeyAuthRequestParameters(api_key_name="k", api_key_value="v")
        connection = await self._stub.CreateConnection(
            pb.CreateConnectionRequest(
                name="bench",
                authorization_type="API_KEY",
                auth_parameters=pb.CreateConnectionAuthRequestParameters(
                    api_key_auth_parameters=key
                ),
            )
        )
        destination = await self._stub.CreateApiDestination(
            pb.CreateApiDestinationRequest(
                name="bench",
                connection_arn=connection.connection_arn,
                invocation_endpoint=url,
                http_method="POST",
                invocation_rate_limit_per_second=100_000,
            )
        )
        self._arn = destination.api_destination_arn

    async def put(self, name: str, pattern: Mapping[str, object]) -> None:
        """Makes a rule."""
        await self._stub.PutRule(pb.PutRuleRequest(name=name, event_pattern=json.dumps(pattern)))
        target = pb.Target(id="t", arn=self._arn)
        await self._stub.PutTargets(pb.PutTargetsRequest(rule=name, targets=[target]))

    async def remove(self, *names: str) -> None:
        """Takes rules away."""
        for name in names:
            await self._stub.RemoveTargets(pb.RemoveTargetsRequest(rule=name, ids=["t"]))
            await self._stub.DeleteRule(pb.DeleteRuleRequest(name=name))


async def steady(client: Client, definition: str, rate: int, seconds: int) -> list[str]:
    """Submits single jobs at a rate."""
    job_ids: list[str] = []
    started = time.perf_counter()

    numbers = iter(range(rate * seconds))

    async def submit() -> None:
        for number in numbers:
            await asyncio.sleep(started + number / rate - time.perf_counter())
            name = f"steady-{number}"
            job_ids.append(await client.submit_job(name, queue="machines", definition=definition))

    async with asyncio.TaskGroup() as group:
        for _ in range(64):
            group.create_task(submit())
    return job_ids


async def delays(
    conn: asyncpg.Connection, came: dict[tuple[str, str], float], job_ids: list[str]
) -> list[float]:
    """Seconds from each change of some jobs to when its event came."""
    rows = await conn.fetch(
        "SELECT job_id, status, at FROM job_events WHERE job_id = ANY($1::uuid[])", job_ids
    )
    async with asyncio.timeout(60):
        wanted = {(str(row["job_id"]), row["status"]): row["at"] for row in rows}
        wanted = {key: at for key, at in wanted.items() if key in came or key[1] == "SUCCEEDED"}
        while missing := wanted.keys() - came.keys():
            print(f"{len(missing)} events are still to come")
            await asyncio.sleep(1)
    return [came[key] - at.timestamp() for key, at in wanted.items()]


async def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=int, default=500)
    parser.add_argument("--seconds", type=int, default=20)
    parser.add_argument("--jobs", type=int, default=10_000)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    os.environ["LONGSHORE_EVENTS_PRIVATE_TARGETS"] = "allow"
    came: dict[tuple[str, str], float] = {}
    with running_stack("process", is_open=True) as (base, directory):
        database = EmbeddedPostgres(directory / "postgres").url("longshore")
        async with (
            running_agents(base, directory, runtime="simulated", count=2, vcpus=1_000),
            Client(f"127.0.0.1:{base}") as client,
            grpc.aio.insecure_channel(f"127.0.0.1:{base + EVENTS_OFFSET}") as channel,
            receiving(came) as url,
        ):
            conn = await asyncpg.connect(database)
            rules = Rules(event_bridge_service_pb2_grpc.EventBridgeServiceStub(channel))
            await rules.prepare(url)
            definition = await register_noop(client)
            for name, pattern in (("ends", ENDED), ("whole lives", LIFE)):
                await rules.put("measured", pattern)
                came.clear()
                job_ids = await steady(client, definition, options.rate, options.seconds)
                await until_succeeded(client, job_ids[-100:], 120)
                found = await delays(conn, came, job_ids)
                p50, p99 = (statistics.quantiles(found, n=100)[n - 1] * 1000 for n in (50, 99))
                print(
                    f"{options.rate} jobs/s, {name} to a webhook, {len(found)} events: "
                    f"p50 {p50:.0f} ms, p99 {p99:.0f} ms"
                )
                await rules.remove("measured")
            await arrays(client, definition, rules, options)
            await conn.close()


async def arrays(
    client: Client, definition: str, rules: Rules, options: argparse.Namespace
) -> None:
    """The rate of arrays with two rules and without, in turn."""
    rates: dict[bool, list[float]] = {False: [], True: []}
    for number in range(2 * options.repeats):
        with_rules = bool(number % 2)
        if with_rules:
            await rules.put("failures", FAILURES)
            await rules.put("whole", WHOLE)
        started = time.time()
        job_id = await client.submit_job(
            "array", queue="machines", definition=definition, array_size=options.jobs
        )
        [job] = await until_succeeded(client, [job_id], 300)
        rates[with_rules].append(options.jobs / (job.stopped_at / 1000 - started))
        if with_rules:
            await rules.remove("failures", "whole")
    print(f"array of {options.jobs} without rules: {summary(rates[False], 'jobs/s', 0)}")
    print(f"array of {options.jobs} with two rules: {summary(rates[True], 'jobs/s', 0)}")
    ratio = statistics.median(rates[True]) / statistics.median(rates[False])
    print(f"with two rules: {ratio:.2f} of without")


if __name__ == "__main__":
    asyncio.run(main())
