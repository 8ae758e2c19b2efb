"""Two machines beside the stack's: each joins with one token over TLS, and runs jobs.

A machine is a network namespace of its own, which reaches nothing but the ports for agents.
"""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from acceptance.aws import Gate
from acceptance.stand import LONGSHORE, Stack, eventually
from acceptance.test_agent import remove
from support.patience import PATIENCE_SECONDS

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("ip") is None,
    reason="network namespaces are made by root, with ip",
)
#: To join, the scheduler's and the log service's for agents; counted from the port base.
PORTS = (6, 41, 44)


def ip(*arguments: str) -> None:
    """Changes networks."""
    subprocess.run(["ip", *arguments], check=True, timeout=PATIENCE_SECONDS)


@contextlib.contextmanager
def a_machine(number: int) -> Iterator[tuple[str, str]]:
    """A namespace, and the address by which it reaches this one."""
    # Of this process alone: others may test on this machine as well.
    name = f"ls{os.getpid()}-{number}"
    inside, outside = f"li{os.getpid() % 100_000}{number}", f"lo{os.getpid() % 100_000}{number}"
    network = f"10.{200 + os.getpid() % 50}.{os.getpid() // 50 % 250}.{number * 4}"
    prefix, last = network.rsplit(".", 1)
    here, there = f"{prefix}.{int(last) + 1}", f"{prefix}.{int(last) + 2}"
    ip("netns", "add", name)
    try:
        ip("link", "add", outside, "type", "veth", "peer", "name", inside, "netns", name)
        ip("addr", "add", f"{here}/30", "dev", outside)
        ip("link", "set", outside, "up")
        ip("-n", name, "addr", "add", f"{there}/30", "dev", inside)
        ip("-n", name, "link", "set", inside, "up")
        ip("-n", name, "link", "set", "lo", "up")
        yield name, here
    finally:
        ip("netns", "del", name)


def _carry(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65_536):
            target.sendall(data)
    for end in (source, target):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


def _relay(near: socket.socket, port: int) -> None:
    with near, socket.create_connection(("127.0.0.1", port)) as far:
        back = threading.Thread(target=_carry, args=(far, near), daemon=True)
        back.start()
        _carry(near, far)
        back.join()


def _accept(listener: socket.socket, port: int) -> None:
    with contextlib.suppress(OSError):
        while True:
            near, _ = listener.accept()
            threading.Thread(target=_relay, args=(near, port), daemon=True).start()


@contextlib.contextmanager
def reached(address: str, ports: list[int]) -> Iterator[None]:
    """Carries what comes to an address on to loopback, where the shared stack listens."""
    with contextlib.ExitStack() as stack:
        for port in ports:
            listener = stack.enter_context(socket.create_server((address, port)))
            stack.callback(listener.shutdown, socket.SHUT_RDWR)
            threading.Thread(target=_accept, args=(listener, port), daemon=True).start()
        yield


def test_two_machines_join_over_tls_and_run_jobs(stack: Stack, gate: Gate, tmp_path: Path) -> None:
    stack.call("env", "create", "two", "--type", "UNMANAGED", check=True)
    stack.call("queue", "create", "two", "--env", "two", check=True)
    token = stack.json("token", "create", "--env", "two", "--uses", "2")["token"]
    ports = [stack.port_base + offset for offset in PORTS]
    with contextlib.ExitStack() as machines:
        for number in range(2):
            name, here = machines.enter_context(a_machine(number))
            machines.enter_context(reached(here, ports))
            agent = subprocess.Popen(
                [
                    *("ip", "netns", "exec", name, LONGSHORE, "agent"),
                    *("--join", f"{here}:{stack.port_base}", "--token", "-"),
                    *("--runtime", "process", "--data-dir", str(tmp_path / name)),
                ],
                env={**stack.environ, "LONGSHORE_VCPU_MILLI": "1000"},
                stdin=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
            machines.callback(agent.wait, PATIENCE_SECONDS)
            machines.callback(agent.send_signal, signal.SIGTERM)
            assert agent.stdin is not None
            agent.stdin.write(f"{token}\n".encode())
            agent.stdin.close()
        # Each has room for one: both run.
        script = ("--", "sh", "-c", f"{gate.script()}; echo done")
        register = ("definition", "register", "pair", "--image", "busybox:latest", "--vcpus", "1")
        stack.call(*register, *script, check=True)
        submit = ("submit", "pair", "--definition", "pair", "--queue", "two", "--array", "2")
        job = stack.json(*submit)["jobId"]

        def are(status: str) -> bool:
            (described,) = stack.json("describe", job)
            return bool(described["arrayProperties"]["statusSummary"].get(status) == 2)

        eventually(lambda: are("RUNNING"), "both run at one time", PATIENCE_SECONDS)
        gate.open()
        eventually(lambda: are("SUCCEEDED"), "both have run", PATIENCE_SECONDS)
        for child in range(2):
            assert stack.call("logs", f"{job}:{child}", check=True).stdout == "done\n"
        used = {
            attempt["container"]["containerInstanceArn"]
            for child in range(2)
            for attempt in stack.json("describe", f"{job}:{child}")[0]["attempts"]
        }
        assert len(used) == 2
    remove(stack, "two")
