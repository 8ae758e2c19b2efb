"""`up`, `status`, `down`: a whole longshore on this machine."""

import asyncio
import contextlib
import importlib.util
import os
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from longshore_cli import console, exit_code
from longshore_cli.command import DataDir, Json, coroutine
from longshore_cli.progress import summary
from longshore_cli.settings import ca_file_of, data_directory, is_watched, read_record
from longshore_client import Addresses, Client, LongshoreError
from longshore_client.call import check_health
from longshore_client.credentials import from_environment, of_stack
from longshore_client.jobs import STATUSES

POLL_SECONDS = 0.1
#: Longest time to wait for a supervisor, which has deadlines of its own.
START_SECONDS = 600.0
#: Longest time in which a supervisor that holds the directory tells of itself.
RECORD_SECONDS = 15.0
#: How long a service may take to say how it is: one that is gone is known to be at once.
HEALTH_SECONDS = 5.0
#: Most that is read of what a supervisor said.
SAID_BYTES = 64 * 1024
#: Exit code of a supervisor whose settings are wrong.
WRONG_SETTINGS = 2
#: Exit code of a supervisor that finds another one.
ALREADY_RUNNING = 4
#: Shown in place of the status of a stack that has lost its supervisor.
UNWATCHED = "unwatched"
#: Most jobs of one status that are counted.
COUNT_MAXIMUM = 1000


class RuntimeChoice(StrEnum):
    """How containers are run."""

    auto = "auto"
    docker = "docker"
    process = "process"


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    app.command()(up)
    app.command()(status)
    app.command()(down)


def up(
    data_dir: DataDir = None,
    runtime: Annotated[
        RuntimeChoice | None,
        typer.Option(help="auto takes Docker where it answers.", show_default="auto"),
    ] = None,
    port_base: Annotated[
        int | None,
        typer.Option(min=1024, max=65_000, help="First of the ports.", show_default="7070"),
    ] = None,
    detach: Annotated[
        bool, typer.Option("--detach", "-d", help="Return when everything is ready.")
    ] = False,
    open_: Annotated[
        bool,
        typer.Option(
            "--open",
            help="Let in whoever reaches it, without keys; on loopback alone (LONGSHORE_OPEN).",
        ),
    ] = False,
) -> None:
    """Start longshore on this machine.

    All services and an embedded PostgreSQL; without --detach they stop with this command.
    """
    for number in (signal.SIGTERM, signal.SIGHUP):
        # Whoever ignores a closed terminal, as nohup does, has a reason to.
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, signal.default_int_handler)
    directory = data_directory(data_dir)
    environ = _environ(directory)
    if runtime is not None:
        environ["LONGSHORE_RUNTIME"] = runtime.value
    if port_base is not None:
        environ["LONGSHORE_PORT_BASE"] = str(port_base)
    if open_:
        environ["LONGSHORE_OPEN"] = "true"
    with contextlib.ExitStack() as cleanup:
        output = cleanup.enter_context(_log_file(directory).open("ab"))
        begin = os.fstat(output.fileno()).st_size
        supervisor = _supervisor(("up",), environ, output)
    try:
        code = _until_ready(supervisor, directory, begin)
        if code is None and not detach:
            console.say("Press Ctrl-C to stop.")
            code = _stay(supervisor, directory)
    except KeyboardInterrupt:
        console.say("stopping")
        supervisor.terminate()
        code = supervisor.wait()
    if code:
        raise typer.Exit(code)


def down(data_dir: DataDir = None) -> None:
    """Stop longshore on this machine.

    Jobs, definitions and history stay in its data directory.
    """
    directory = data_directory(data_dir)
    if read_record(directory) is None and not is_watched(directory):
        console.say(f"Nothing to stop: {directory} holds no longshore.")
        return
    with _log_file(directory).open("ab") as output:
        code = _supervisor(("down",), _environ(directory), output).wait()
    if code:
        console.fail(f"Not everything could be stopped; see {_log_file(directory)}.")
        raise typer.Exit(exit_code.NEGATIVE)
    console.say(f"longshore is down; its data stays in {directory}.")


@coroutine
async def status(data_dir: DataDir = None, json: Json = False) -> int:
    """Show services and their health, jobs by status, capacity."""
    directory = data_directory(data_dir)
    record = read_record(directory)
    if record is None or record["status"] in ("stopped", "failed"):
        if json:
            console.print_json({"status": "stopped", "dataDirectory": str(directory)})
        else:
            console.line(f"No longshore runs on {directory}; start it with `longshore up`.")
        return exit_code.NEGATIVE
    if not is_watched(directory):
        record["status"] = UNWATCHED
    ca_file = ca_file_of(record)
    health = await _health(record["addresses"], ca_file)
    serving = all(value == "SERVING" for value in health.values())
    loaded = await _load(record["addresses"], directory, ca_file) if serving else ({}, [])
    jobs, environments = loaded
    if json:
        console.print_json(
            {
                "status": record["status"] if serving else "degraded",
                "version": record["version"],
                "dataDirectory": str(directory),
                "open": record.get("is_open", False),
                "runtime": record["runtime"],
                "database": record["database"],
                "logDirectory": record["log_directory"],
                "services": {
                    name: {
                        "address": address,
                        "health": health[name],
                        "pid": record["services"].get(name, {}).get("pid"),
                        "restarts": record["services"].get(name, {}).get("restarts", 0),
                    }
                    for name, address in record["addresses"].items()
                },
                "jobs": jobs,
                # Of a status that has as many or more jobs, the number is this one.
                "jobsCountedTo": COUNT_MAXIMUM,
                "computeEnvironments": environments,
            }
        )
    else:
        _show(record, directory, health, jobs, environments)
    return exit_code.OK if serving else exit_code.NEGATIVE


def _show(
    record: Mapping[str, Any],
    directory: Path,
    health: Mapping[str, str],
    jobs: Mapping[str, Any],
    environments: list[dict[str, Any]],
) -> None:
    if record["status"] == UNWATCHED:
        console.say(
            "Nobody watches: the supervisor is gone, and what dies now stays dead. Jobs go on; "
            "`longshore up` takes them over."
        )
    console.fields(
        [
            ("longshore", f"{record['version']}, {record['status']}"),
            ("runtime", f"{record['runtime']} ({record['runtime_detail']})"),
            ("database", record["database"]),
            ("data", str(directory)),
            ("logs", record["log_directory"]),
            ("access", _access(record)),
        ]
    )
    console.line()
    console.table(
        ("SERVICE", "ADDRESS", "HEALTH", "PID", "RESTARTS"),
        [
            (
                name,
                address,
                health[name],
                str(record["services"].get(name, {}).get("pid", "")),
                str(record["services"].get(name, {}).get("restarts", "")),
            )
            for name, address in record["addresses"].items()
        ],
    )
    if jobs:
        console.line()
        console.table(
            ("QUEUE", "JOBS"),
            [(queue, summary(shown(counts)) or "none") for queue, counts in jobs.items()],
        )
    if environments:
        console.line()
        console.table(
            ("COMPUTE ENVIRONMENT", "STATUS", "TYPE", "VCPUS"),
            [
                (
                    item["name"],
                    item["status"],
                    item["type"],
                    f"{item['desiredvCpus']} of at most {item['maxvCpus']}"
                    if item["type"] == "MANAGED"
                    else "",
                )
                for item in environments
            ],
        )
    for item in environments:
        for remark in item["remarks"]:
            console.line()
            console.line(f"{item['name']}: {remark}")


def _access(record: Mapping[str, Any]) -> str:
    """Who is let in."""
    if record.get("is_open"):
        return "open: whoever reaches these ports may do everything"
    return "closed: by access key"


async def _health(addresses: Mapping[str, str], ca_file: str) -> dict[str, str]:
    checks = (
        _gateway_health(address, ca_file)
        if name == "gateway"
        else check_health(address, HEALTH_SECONDS, ca_file)
        for name, address in addresses.items()
    )
    return dict(zip(addresses, await asyncio.gather(*checks), strict=True))


async def _gateway_health(address: str, ca_file: str) -> str:
    host, _, port = address.rpartition(":")
    tls = ssl.create_default_context(cafile=ca_file) if ca_file else None
    try:
        async with asyncio.timeout(HEALTH_SECONDS):
            reader, writer = await asyncio.open_connection(host, int(port), ssl=tls)
            try:
                writer.write(b"GET /healthz HTTP/1.0\r\nHost: localhost\r\n\r\n")
                line = await reader.readline()
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return "UNREACHABLE"
    return "SERVING" if b" 200 " in line else "NOT_SERVING"


async def _load(
    addresses: Mapping[str, str], directory: Path, ca_file: str
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Jobs by queue and status, and compute environments."""
    jobs: dict[str, Any] = {}
    try:
        key = from_environment() or of_stack(addresses["submission"], directory)
        found = Addresses.from_mapping(addresses)
        async with Client(found, patience=1, access_key=key, ca_file=ca_file) as client:
            capacity = await client.describe_capacity()
            remarks = {item.compute_environment: list(item.remarks) for item in capacity}
            async for queue in client.list_queues():
                jobs[queue.job_queue_name] = {
                    status: await _count(client, queue.job_queue_name, status)
                    for status in STATUSES
                }
            environments = [
                {
                    "name": item.compute_environment_name,
                    "status": item.status,
                    "type": item.type,
                    "desiredvCpus": item.compute_resources.desiredv_cpus,
                    "maxvCpus": item.compute_resources.maxv_cpus,
                    "remarks": remarks.get(item.compute_environment_name, []),
                }
                async for item in client.list_environments()
            ]
    except LongshoreError:
        return {}, []  # health, which is shown, says enough
    return jobs, environments


def shown(counts: Mapping[str, int]) -> dict[str, str]:
    """Counts as they are shown: of those that end at the most that are counted, that they do."""
    return {
        status: f"{count}+" if count >= COUNT_MAXIMUM else str(count)
        for status, count in counts.items()
        if count
    }


async def _count(client: Client, queue: str, status: str) -> int:
    count = 0
    async for _ in client.list_jobs(queue, status=status):
        count += 1
        if count == COUNT_MAXIMUM:
            break
    return count


def _environ(directory: Path) -> dict[str, str]:
    return {**os.environ, "LONGSHORE_DATA_DIR": str(directory)}


def _log_file(directory: Path) -> Path:
    path = directory / "log" / "standalone.log"
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    return path


def _supervisor(
    arguments: tuple[str, ...], environ: dict[str, str], output: Any
) -> subprocess.Popen[bytes]:
    """Starts the supervisor, in a session of its own: it outlives this command and its terminal."""
    if importlib.util.find_spec("asyncpg") is None:
        console.fail("The services are not installed here; install longshore[server].")
        raise typer.Exit(exit_code.USAGE)
    return subprocess.Popen(  # noqa: S603 - our own program, no shell
        [sys.executable, "-m", "longshore.standalone", *arguments],
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        start_new_session=True,
    )


def _until_ready(supervisor: subprocess.Popen[bytes], directory: Path, begin: int) -> int | None:
    """Tells of the start as it goes on; None when ready, else the exit code to leave with.

    Args:
        supervisor: that was started.
        directory: where.
        begin: where its words begin in its log.
    """
    deadline = time.monotonic() + START_SECONDS
    told = ""
    while time.monotonic() < deadline:
        code = supervisor.poll()
        if code == ALREADY_RUNNING:
            return _until_other_ready(directory, deadline)
        record = read_record(directory) or {}
        mine = record.get("supervisor", {}).get("pid") == supervisor.pid
        if code == WRONG_SETTINGS and (said := _said(directory, begin)):
            console.fail(said)
            return exit_code.USAGE
        if code is not None:
            why = record.get("message") if mine else ""
            if not why and code == 0:
                why = "It was stopped before it was ready."
            console.fail(why or f"The start failed; see {_log_file(directory)}.")
            return exit_code.NEGATIVE
        if mine and record["status"] == "ready":
            _announce(record, directory)
            return None
        if mine and record["status"] == "starting" and record["message"] != told:
            told = record["message"]
            console.say(told)
        time.sleep(POLL_SECONDS)
    supervisor.terminate()
    console.fail(f"The start takes too long; see {_log_file(directory)}.")
    return exit_code.TOO_LATE


def _said(directory: Path, begin: int) -> str:
    """What a supervisor said of its settings before it could keep a record."""
    with _log_file(directory).open("rb") as log:
        log.seek(begin)
        lines = log.read(SAID_BYTES).decode(errors="replace").splitlines()
    return "\n".join(
        line.removeprefix("standalone: ") for line in lines if line.startswith("standalone: ")
    )


def _until_other_ready(directory: Path, deadline: float) -> int:
    """Waits for the stack that has the directory already; the exit code to leave with."""
    console.say(f"longshore runs already on {directory}.")
    unknown_until = time.monotonic() + RECORD_SECONDS
    while time.monotonic() < deadline:
        watched = is_watched(directory)
        record = read_record(directory) or {}
        if not watched:
            why = record.get("message") if record.get("status") == "failed" else ""
            console.fail(why or "It has stopped meanwhile; start it again.")
            return exit_code.NEGATIVE
        # What a killed one has left says nothing of the one that runs now.
        status = record["status"] if _is_there(record) else ""
        if status == "ready":
            _announce(record, directory)
            return exit_code.OK
        if status == "stopping":
            console.fail("It is being stopped; start it again once it is down.")
            return exit_code.NEGATIVE
        if not status and time.monotonic() > unknown_until:
            console.fail(
                f"What it has written of itself in {directory / 'longshore.json'} is damaged; "
                "stop it with `longshore down`, and start it again."
            )
            return exit_code.NEGATIVE
        time.sleep(POLL_SECONDS)
    console.fail(f"Its start takes too long; see {_log_file(directory)}.")
    return exit_code.TOO_LATE


def _is_there(record: Mapping[str, Any]) -> bool:
    """Whether the supervisor that wrote a record still runs."""
    try:
        os.kill(int(record["supervisor"]["pid"]), 0)
    except PermissionError:
        return True
    except (KeyError, TypeError, ValueError, OSError, OverflowError):
        return False
    return True


def _stay(supervisor: subprocess.Popen[bytes], directory: Path) -> int:
    """Waits for the supervisor to end, and tells of services that had to be started again."""
    told: dict[str, int] = {}
    while True:
        with contextlib.suppress(subprocess.TimeoutExpired):
            return supervisor.wait(timeout=1)
        record = read_record(directory) or {"services": {}}
        for name, process in record["services"].items():
            if process["restarts"] > told.get(name, 0):
                told[name] = process["restarts"]
                console.say(f"{name} died and was started again; see {directory}/log/{name}.log")


def _announce(record: Mapping[str, Any], directory: Path) -> None:
    """The addresses, and what was chosen."""
    addresses = record["addresses"]
    others = ", ".join(
        f"{name} {address}"
        for name, address in addresses.items()
        if name not in ("submission", "gateway")
    )
    console.fields(
        [
            ("longshore", f"{record['version']} is {record['status']}"),
            ("gRPC", f"{addresses['submission']} ({others})"),
            ("HTTP", f"http://{addresses['gateway']} (as AWS_ENDPOINT_URL_BATCH)"),
            ("runtime", f"{record['runtime']} ({record['runtime_detail']})"),
            ("database", record["database"]),
            ("data", str(directory)),
            ("logs", record["log_directory"]),
            ("access", _access(record)),
        ]
    )
