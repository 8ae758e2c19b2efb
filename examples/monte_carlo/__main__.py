"""The demonstration: starts longshore, runs the workload, checks the result, stops longshore.

Exit code 0 only if every job SUCCEEDED, no child ran twice, the price is within four of its own
standard errors of the closed form, and the compute environment came back to no instance at all.
"""

import argparse
import asyncio
import io
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import cast

from examples.monte_carlo import fleet
from examples.monte_carlo.workload import Workload
from longshore.v1 import job_pb2
from longshore_cli.progress import Progress
from longshore_client import AccessKey, Addresses, Client, LongshoreError
from longshore_client.credentials import of_stack
from longshore_client.jobs import FINAL

LONGSHORE = Path(sys.executable).parent / "longshore"
#: How far the price may be from the closed form, in its own standard errors.
BAND = 4
#: Every port of a stack, counted from its port base.
PORT_OFFSETS = (0, 1, 2, 3, 4, 5, 10, 20, 21, 22, 23, 24, 25)
TIMEOUT_SECONDS = 900


def free_port_base() -> int:
    """A port base whose ports are all free just now, so that no other stack is in the way."""
    for base in range(20_000, 32_000, 50):
        sockets = []
        try:
            for offset in PORT_OFFSETS:
                probe = socket.socket()
                sockets.append(probe)
                probe.bind(("127.0.0.1", base + offset))
        except OSError:
            continue
        else:
            return base
        finally:
            for probe in sockets:
                probe.close()
    raise LongshoreError("There is no range of free ports on this machine.")


def _line(text: str) -> None:
    print(text)


async def run(workload: Workload, addresses: Addresses, key: AccessKey | None) -> bool:
    """Runs the workload, shows it and its capacity, and judges both."""
    async with Client(addresses, timeout=60, access_key=key) as client:
        await fleet.make(client)
        began = time.monotonic()
        ids = await workload.submit(client)
        with Progress(["simulate", "combine"]) as progress:
            followed = fleet.Fleet(client, progress.say if sys.stdout.isatty() else _line)
            async with followed.followed():
                jobs = await client.wait(
                    ids,
                    timeout=TIMEOUT_SECONDS,
                    seen=lambda jobs: progress.show(
                        jobs, final=all(job.status in FINAL for job in jobs)
                    ),
                )
        right = judge(workload, jobs, time.monotonic() - began)
        print()
        followed.say = _line
        seconds = await followed.until_zero()
        instances, cost = await followed.bill()
    print(f"capacity        0 instances again, {seconds:.1f} s after the last job")
    print(f"cost            {cost:.6f} USD at the catalogue's prices, {instances} instances in all")
    return right


def judge(workload: Workload, jobs: list[job_pb2.JobDetail], seconds: float) -> bool:
    """Prints the result; whether it is right."""
    failed = [job for job in jobs if job.status != "SUCCEEDED"]
    for job in failed:
        print(f"{job.job_name} ({job.job_id}) {job.status}: {job.status_reason}")
    if failed:
        return False
    price, error = workload.price()
    exact = workload.option.black_scholes()
    distance = abs(price - exact) / error
    paths = workload.children * workload.paths
    print()
    print(f"Monte Carlo     {price:.4f}, standard error {error:.4f}, from {paths:,} paths")
    print(f"Black-Scholes   {exact:.4f}, {distance:.2f} standard errors away")
    print(f"time            {seconds:.1f} s, from the first submission to the price")
    twice = workload.ran_twice()
    if twice:
        print(f"children that ran twice: {twice}")
    return distance <= BAND and not twice


def main() -> int:
    """Runs the demonstration."""
    # Lines of the commands that it runs come between its own, also where the output is a file.
    cast("io.TextIOWrapper", sys.stdout).reconfigure(line_buffering=True)
    parser = argparse.ArgumentParser(description=__doc__, prog="demo")
    parser.add_argument("--runtime", choices=("auto", "docker", "process"), default="auto")
    parser.add_argument("--data-dir", type=Path, help="a new directory for the stack and results")
    parser.add_argument("--port-base", type=int, help="of the stack; otherwise one that is free")
    parser.add_argument("--children", type=int, default=Workload.children)
    parser.add_argument("--paths", type=int, default=Workload.paths, help="paths of each child")
    arguments = parser.parse_args()
    directory = arguments.data_dir or Path(tempfile.mkdtemp(prefix="longshore-demo-"))
    results = directory / "results"
    results.mkdir(parents=True)
    workload = Workload(results, children=arguments.children, paths=arguments.paths)
    command = (str(LONGSHORE), "up", "--detach", "--data-dir", str(directory))
    port_base = arguments.port_base or free_port_base()
    settings = ("--runtime", arguments.runtime, "--port-base", str(port_base))
    right = False
    try:
        subprocess.run([*command, *settings], check=True, env=os.environ | fleet.SETTINGS)
        print()
        record = json.loads((directory / "longshore.json").read_text())
        addresses = Addresses.from_mapping(record["addresses"])
        key = of_stack(addresses.submission, directory)
        right = asyncio.run(run(workload, addresses, key))
    except subprocess.CalledProcessError:
        print("longshore did not start", file=sys.stderr)
    except LongshoreError as error:
        print(f"demo: {error.message}", file=sys.stderr)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
    finally:
        subprocess.run([LONGSHORE, "down", "--data-dir", directory], check=False)
        shutil.rmtree(directory / "postgres", ignore_errors=True)
    print(f"logs            {directory}/log (services), {directory}/logs (jobs)")
    print("the demo is right" if right else "the demo FAILED")
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
