"""Reading logs as CloudWatch's clients do, from a log of 1 GB beside one of 1 MB, in one run.

The first page of each, from its head and from its end, over gRPC from the log service and over HTTP
from the gateway: what a page costs must not grow with the log. Then a job of its own stack prints
20,000 lines a second through its agent, and every line is read back once, by pages: how long after
the last one is printed the last one can be read, beside how long the printing took.
"""

import argparse
import asyncio
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import grpc
from harness import free_port_base, running_stack

from longshore.logs.store import LogStore
from longshore.v1 import cloudwatch_logs_service_pb2 as pb
from longshore.v1 import cloudwatch_logs_service_pb2_grpc as pb_grpc
from longshore_client import Addresses, Client, build

JOBS = "/aws/batch/job"
CHUNK_BYTES = 1024 * 1024
LINES_PER_SECOND = 20_000


async def write_log(directory: Path, name: str, size: int) -> None:
    """A complete log of about so many bytes, of lines of 100."""
    store = LogStore(directory)
    log = await store.log(name)
    line = 0
    while log.stored < size:
        chunk = bytearray()
        while len(chunk) < CHUNK_BYTES - 200:
            seconds, rest = divmod(line, 10_000)
            stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(1_795_348_036 + seconds))
            chunk += f"{stamp}.{rest:04d}00000Z stdout F line {line} ".encode().ljust(99, b"x")
            chunk += b"\n"
            line += 1
        await store.append(log, log.stored, bytes(chunk))
    await store.append(log, log.stored, b"", complete=True)
    await store.close()


@contextlib.asynccontextmanager
async def serving(directory: Path) -> AsyncIterator[int]:
    """The log service and the gateway as processes; their port base."""
    base = free_port_base()
    environ = os.environ | {
        "LONGSHORE_PORT_BASE": str(base),
        "LONGSHORE_LOGS_DIR": str(directory),
        "LONGSHORE_OPEN": "true",
    }
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", f"longshore.{name}"], env=environ, stdout=subprocess.DEVNULL
        )
        for name in ("logs", "gateway")
    ]
    try:
        for port in (base + 4, base + 10):
            while True:
                with contextlib.suppress(OSError):
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                    writer.close()
                    break
                await asyncio.sleep(0.05)
        yield base
    finally:
        for process in processes:
            process.terminate()
            process.wait(20)


async def http_page(session: aiohttp.ClientSession, url: str, **members: Any) -> Any:
    """A page over HTTP."""
    headers = {"X-Amz-Target": "Logs_20140328.GetLogEvents"}
    async with session.post(url, data=json.dumps(members), headers=headers) as answer:
        if answer.status != 200:
            raise RuntimeError(await answer.text())
        return json.loads(await answer.read())


async def measure_pages(directory: Path, rounds: int) -> None:
    """Prints what first pages cost."""
    async with (
        serving(directory) as base,
        grpc.aio.insecure_channel(
            f"127.0.0.1:{base + 4}", options=[("grpc.max_receive_message_length", 1 << 24)]
        ) as channel,
        aiohttp.ClientSession() as session,
    ):
        stub = pb_grpc.CloudWatchLogsServiceStub(channel)
        url = f"http://127.0.0.1:{base + 10}/"
        times: dict[tuple[str, str, str], list[float]] = {}
        for _ in range(rounds):
            for name in ("small", "large"):
                for side, from_head in (("head", True), ("end", False)):
                    began = time.perf_counter()
                    page = await stub.GetLogEvents(
                        pb.GetLogEventsRequest(
                            log_group_name=JOBS, log_stream_name=name, start_from_head=from_head
                        )
                    )
                    times.setdefault(("gRPC", name, side), []).append(time.perf_counter() - began)
                    began = time.perf_counter()
                    answer = await http_page(
                        session,
                        url,
                        logGroupName=JOBS,
                        logStreamName=name,
                        startFromHead=from_head,
                    )
                    times.setdefault(("HTTP", name, side), []).append(time.perf_counter() - began)
                    if len(answer["events"]) != len(page.events):
                        raise RuntimeError("not the same page")
    print(f"first page, {len(page.events)} events, milliseconds: median (fastest) of {rounds}")
    for way in ("gRPC", "HTTP"):
        for side in ("head", "end"):
            small, large = (
                statistics.median(times[way, name, side]) * 1000 for name in ("small", "large")
            )
            fastest = min(times[way, "large", side]) * 1000
            print(
                f"  {way} {side}: 1 MB log {small:.1f}, 1 GB log {large:.1f} ({fastest:.1f}), "
                f"ratio {large / small:.2f}"
            )


async def measure_agent(seconds: int) -> None:
    """Prints whether lines get through, and how soon."""
    count = LINES_PER_SECOND * seconds
    script = (
        "import sys,time\n"
        "began=time.monotonic()\n"
        f"for n in range(0,{count},200):\n"
        "  sys.stdout.write(''.join(f'line {i} of many, about as long as lines are\\n' "
        "for i in range(n,n+200)))\n"
        "  sys.stdout.flush()\n"
        f"  time.sleep(max(0,began+n/{LINES_PER_SECOND}-time.monotonic()))\n"
    )
    with running_stack("process", is_open=True) as (base, _):
        addresses = Addresses.from_submission(f"127.0.0.1:{base}")
        async with Client(addresses) as client, aiohttp.ClientSession() as session:
            container = build.container("none", command=[sys.executable, "-c", script])
            definition = await client.register_container_definition("printing", container)
            began = time.monotonic()
            job_id = await client.submit_job("printing", queue="default", definition=definition)
            (job,) = await client.wait([job_id])
            ended = time.monotonic()
            url, token, read = f"http://127.0.0.1:{base + 10}/", None, 0
            names = {"logGroupName": JOBS, "logStreamName": job.container.log_stream_name}
            while read < count:
                more = {} if token is None else {"nextToken": token}
                page = await http_page(session, url, **names, startFromHead=True, **more)
                for event in page["events"]:
                    if not event["message"].startswith(f"line {read} "):
                        raise RuntimeError(f"{event} in place of line {read}")
                    read += 1
                token = page["nextForwardToken"]
            whole = time.monotonic()
    print(f"{count} lines through an agent in {ended - began:.1f} s, none lost, none twice")
    print(f"  all read back {whole - ended:.1f} s after the job had ended")


async def main() -> None:
    """Runs both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bytes", type=int, default=1_000_000_000)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--seconds", type=int, default=10)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="longshore-bench-") as directory:
        await write_log(Path(directory), "small", 1_500_000)
        await write_log(Path(directory), "large", options.bytes)
        await measure_pages(Path(directory), options.rounds)
    await measure_agent(options.seconds)


if __name__ == "__main__":
    asyncio.run(main())
