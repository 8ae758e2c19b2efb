"""The credentials endpoint of an agent against a bare aiohttp server, in turns in one run.

Each side is a process of its own. 100 attempts ask at one time, each over a new connection for each
request, as SDKs do. The endpoint finds the attempt by its id, checks its token and answers with its
credentials, kept ahead by the agent's own renewal; the bare server answers the same bytes to
everybody. How many are answered in a second, how long the slowest in a hundred takes, and what an
answer costs the server's process, whatever else the machine does. The endpoint gives no more than
2,000 answers a second on average, so that jobs do not take the agent's time: its rate ends there.
"""

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import uvloop
from aiohttp import web
from harness import summary

from longshore.agent.attempts.attempt import Attempt, AttemptKey
from longshore.agent.endpoint.document import Place
from longshore.agent.endpoint.endpoint import Endpoint, Way
from longshore.agent.endpoint.role import Credentials, Roles
from longshore.domain.arn import Arns
from longshore.v1 import agent_service_pb2, job_definition_pb2

ATTEMPTS = 100
ROLE = "arn:aws:iam::123456789012:role/job"

#: Where an attempt asks, and with which token.
Asking = tuple[str, str]


class Issuer:
    """Gives credentials of the usual length."""

    async def issue(self, role: str, session: str) -> Credentials:  # noqa: ARG002
        """Credentials for an hour."""
        expiration = datetime.now(UTC) + timedelta(hours=1)
        return Credentials("ASIA" + "X" * 16, "s" * 40, "t" * 350, expiration)


async def serve_endpoint(directory: Path) -> list[Asking]:
    """The agent's endpoint with all attempts; returns how each asks."""
    roles = Roles(Issuer())
    endpoint = Endpoint(directory, Place(Arns("123456789012", "us-east-1"), "ce"), roles)
    ways = []
    for _ in range(ATTEMPTS):
        assignment = agent_service_pb2.Assignment(
            attempt_id=uuid.uuid4().hex,
            container=job_definition_pb2.ContainerProperties(image="i", job_role_arn=ROLE),
        )
        attempt = Attempt(AttemptKey(str(uuid.uuid4()), 1), assignment)
        await endpoint.prepare(attempt)
        variables = await endpoint.let_in(attempt, Way.LOOPBACK)
        ways.append(
            (
                variables["AWS_CONTAINER_CREDENTIALS_FULL_URI"],
                variables["AWS_CONTAINER_AUTHORIZATION_TOKEN"],
            )
        )
    return ways


async def serve_bare() -> list[Asking]:
    """A server that answers the same to everybody; returns how each asks."""
    credentials = await Issuer().issue(ROLE, "")
    body = json.dumps(
        {
            "RoleArn": ROLE,
            "AccessKeyId": credentials.access_key_id,
            "SecretAccessKey": credentials.secret_access_key,
            "Token": credentials.token,
            "Expiration": credentials.expiration.strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
    ).encode()

    async def answer(request: web.Request) -> web.Response:  # noqa: ARG001
        return web.Response(body=body, content_type="application/json")

    application = web.Application()
    application.router.add_get("/", answer)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    return [(f"http://127.0.0.1:{runner.addresses[0][1]}/", "")] * ATTEMPTS


async def serve(what: str) -> None:
    """Says how attempts ask, and serves until its input ends."""
    with tempfile.TemporaryDirectory(prefix="longshore-bench-") as made:
        ways = await (serve_endpoint(Path(made)) if what == "endpoint" else serve_bare())
        print(json.dumps(ways), flush=True)
        await asyncio.to_thread(sys.stdin.read)


async def ask(way: Asking) -> None:
    """One request over a connection of its own."""
    url = urlsplit(way[0])
    reader, writer = await asyncio.open_connection(url.hostname, url.port)
    head = f"GET {url.path} HTTP/1.1\r\nHost: {url.netloc}\r\nConnection: close\r\n"
    writer.write(f"{head}Authorization: {way[1]}\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    if not answer.startswith(b"HTTP/1.1 200 ") or b"SecretAccessKey" not in answer:
        raise RuntimeError(f"refused: {answer[:100]!r}")


@dataclass(frozen=True)
class Load:
    """What was measured of one server."""

    rate: float
    percentile_ms: float
    cpu_ms: float


async def load(ways: list[Asking], server: psutil.Process, seconds: float) -> Load:
    """All attempts ask again and again."""
    took: list[float] = []
    before = sum(server.cpu_times()[:2])
    begin = time.perf_counter()

    async def attempt(way: Asking) -> None:
        while (start := time.perf_counter()) < begin + seconds:
            await ask(way)
            took.append(time.perf_counter() - start)

    async with asyncio.TaskGroup() as group:
        for way in ways:
            group.create_task(attempt(way))
    return Load(
        len(took) / (time.perf_counter() - begin),
        statistics.quantiles(took, n=100)[-1] * 1000,
        (sum(server.cpu_times()[:2]) - before) * 1000 / len(took),
    )


async def measure(options: argparse.Namespace) -> None:
    """Prints both sides and their ratio."""
    found: dict[str, list[Load]] = {"bare": [], "endpoint": []}
    for _ in range(options.repeats):
        for what, loads in found.items():
            with subprocess.Popen(
                [sys.executable, __file__, "--serve", what],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            ) as server:
                if server.stdout is None or server.stdin is None:
                    raise RuntimeError("the server has no pipes")
                ways = [(url, token) for url, token in json.loads(server.stdout.readline())]
                loads.append(await load(ways, psutil.Process(server.pid), options.seconds))
                server.stdin.close()
    for what, loads in found.items():
        print(
            f"{what}: {summary([one.rate for one in loads], 'answers/s', 0)}, "
            f"99th percentile {summary([one.percentile_ms for one in loads], 'ms', 0)}, "
            f"{summary([one.cpu_ms for one in loads], 'CPU ms an answer', 2)}"
        )
    rates = {what: statistics.median(one.rate for one in loads) for what, loads in found.items()}
    costs = {what: statistics.median(one.cpu_ms for one in loads) for what, loads in found.items()}
    print(f"ratio of rates: {rates['endpoint'] / rates['bare']:.2f}")
    print(f"ratio of costs: {costs['endpoint'] / costs['bare']:.2f}")


async def main() -> None:
    """Measures and prints, or serves."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--serve", choices=("endpoint", "bare"))
    options = parser.parse_args()
    await (serve(options.serve) if options.serve else measure(options))


if __name__ == "__main__":
    uvloop.run(main())
