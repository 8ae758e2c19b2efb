"""A large array through every service, on agents that run nothing."""

import contextlib
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from acceptance.stand import Stack
from support.patience import PATIENCE_SECONDS

from longshore.contract import JOIN_OFFSET

CHILDREN = 10_000


@contextlib.contextmanager
def simulated_agents(stack: Stack, directory: Path, count: int) -> Iterator[None]:
    """Agent processes of an unmanaged environment, with room for 500 children each."""
    create = ("token", "create", "--env", "simulated", "--uses", str(count))
    token = stack.call(*create, check=True).stdout.strip()
    with contextlib.ExitStack() as running:
        for number in range(count):
            agent = subprocess.Popen(
                [sys.executable, "-m", "longshore.agent"],
                env=stack.environ
                | {
                    "PATH": os.environ["PATH"],
                    "LONGSHORE_DATA_DIR": str(directory / f"agent-{number}"),
                    "LONGSHORE_JOIN": f"127.0.0.1:{stack.port_base + JOIN_OFFSET}",
                    "LONGSHORE_JOIN_TOKEN": token,
                    "LONGSHORE_UNMANAGED": "true",
                    "LONGSHORE_RUNTIME": "simulated",
                    "LONGSHORE_VCPU_MILLI": "500000",
                    "LONGSHORE_MEMORY_MIB": "500000",
                },
                stderr=subprocess.DEVNULL,
            )
            running.callback(agent.wait, timeout=PATIENCE_SECONDS)
            running.callback(agent.send_signal, signal.SIGUSR1)
        yield


def test_an_array_of_ten_thousand_succeeds_child_by_child(stack: Stack, tmp_path: Path) -> None:
    stack.call("env", "create", "simulated", "--type", "UNMANAGED", check=True)
    stack.call("queue", "create", "simulated", "--env", "simulated", check=True)
    stack.call(
        *("definition", "register", "noop", "--image", "none", "--memory", "64"),
        *("--", "true"),
        check=True,
    )
    with simulated_agents(stack, tmp_path, 2):
        job = stack.call(
            *("submit", "large", "--queue", "simulated", "--definition", "noop"),
            *("--array", str(CHILDREN)),
            check=True,
        ).stdout.strip()
        stack.call("wait", job, check=True)
    children = stack.json("jobs", "--array", job, "--status", "SUCCEEDED", "--limit", str(CHILDREN))
    assert Counter(child["arrayProperties"]["index"] for child in children) == Counter(
        range(CHILDREN)
    )
    (described,) = stack.json("describe", f"{job}:{CHILDREN - 1}")
    assert [attempt["container"]["exitCode"] for attempt in described["attempts"]] == [0]
    (parent,) = stack.json("describe", job)
    assert parent["arrayProperties"]["statusSummary"]["SUCCEEDED"] == CHILDREN
