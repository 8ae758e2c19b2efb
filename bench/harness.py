"""What the benchmarks share: a stack of their own, agents, definitions, how figures are printed."""

import contextlib
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

from longshore.contract import JOIN_OFFSET
from longshore.v1 import compute_environment_pb2, job_pb2
from longshore_client import Client, build
from longshore_client.credentials import KEY_ID, SECRET, of_stack

STOP_SECONDS = 30
READY_SECONDS = 60


def free_port_base() -> int:
    """A base above which the ports of a stack are free."""
    for base in range(23_000, 60_000, 100):
        with contextlib.ExitStack() as stack:
            try:
                for offset in (*range(6), 10, *range(20, 26)):
                    stack.enter_context(socket.socket()).bind(("127.0.0.1", base + offset))
            except OSError:
                continue
            return base
    raise RuntimeError("no free ports")


@contextlib.contextmanager
def running_stack(runtime: str, *, is_open: bool = False) -> Iterator[tuple[int, Path]]:
    """A whole stack in a directory of its own; stopped and deleted afterwards.

    Args:
        runtime: how its jobs run.
        is_open: whether it takes calls without a key.
    """
    directory = Path(tempfile.mkdtemp(prefix="longshore-bench-"))
    base = free_port_base()
    longshore = Path(sys.executable).with_name("longshore")
    common = ["--data-dir", str(directory)]
    try:
        subprocess.run(
            [
                longshore,
                "up",
                *common,
                "--runtime",
                runtime,
                "--port-base",
                str(base),
                "--detach",
                *(["--open"] if is_open else []),
            ],
            check=True,
            timeout=READY_SECONDS * 2,
            stdout=sys.stderr,
        )
        key = of_stack(f"127.0.0.1:{base}", directory)
        if key is not None:
            # Every client here is the owner's.
            os.environ |= {KEY_ID: key.access_key_id, SECRET: key.secret_access_key}
        yield base, directory
    finally:
        subprocess.run([longshore, "down", *common], check=False, timeout=120, stdout=sys.stderr)
        shutil.rmtree(directory, ignore_errors=True)


@contextlib.asynccontextmanager
async def running_agents(
    base: int, directory: Path, *, runtime: str, count: int, vcpus: int
) -> AsyncIterator[None]:
    """Agents of an unmanaged environment `machines`, which queue `machines` uses."""
    async with Client(f"127.0.0.1:{base}") as client:
        await client.create_environment(
            compute_environment_pb2.CreateComputeEnvironmentRequest(
                compute_environment_name="machines", type="UNMANAGED"
            )
        )
        await client.wait_for_environment("machines")
        await client.create_queue("machines", ["machines"])
        await client.wait_for_queue("machines")
        token = (await client.create_join_token("machines", uses=count)).token
    processes = []
    for number in range(count):
        data_dir = directory / f"agent-{number}"
        data_dir.mkdir()
        with (data_dir / "agent.log").open("wb") as output:
            processes.append(
                subprocess.Popen(
                    [sys.executable, "-m", "longshore.agent"],
                    env={
                        **os.environ,
                        "LONGSHORE_PORT_BASE": str(base),
                        "LONGSHORE_DATA_DIR": str(data_dir),
                        "LONGSHORE_JOIN": f"127.0.0.1:{base + JOIN_OFFSET}",
                        "LONGSHORE_JOIN_TOKEN": token,
                        "LONGSHORE_UNMANAGED": "true",
                        "LONGSHORE_RUNTIME": runtime,
                        "LONGSHORE_VCPU_MILLI": str(vcpus * 1000),
                        "LONGSHORE_MEMORY_MIB": str(vcpus * 64),
                    },
                    stdout=output,
                    stderr=output,
                )
            )
    try:
        yield
    finally:
        for process in processes:
            # The end of the instance: nothing of it stays behind.
            process.send_signal(signal.SIGUSR1)
        for process in processes:
            process.wait(STOP_SECONDS)


async def register_noop(client: Client) -> str:
    """A definition whose job does nothing, of 1 vCPU and 16 MiB."""
    return await client.register_container_definition(
        "noop", build.container("busybox:latest", ["true"], vcpus=1, memory_mib=16)
    )


async def until_succeeded(
    client: Client, job_ids: Sequence[str], seconds: float
) -> list[job_pb2.JobDetail]:
    """Waits until every job has succeeded."""
    jobs = await client.wait(job_ids, timeout=seconds)
    failed = [job.job_id for job in jobs if job.status != "SUCCEEDED"]
    if failed:
        raise RuntimeError(f"{len(failed)} jobs failed, the first is {failed[0]}")
    return jobs


def summary(values: Sequence[float], unit: str, digits: int = 1) -> str:
    """Median and range."""
    return (
        f"{statistics.median(values):.{digits}f} {unit} "
        f"[{min(values):.{digits}f}-{max(values):.{digits}f}]"
    )
