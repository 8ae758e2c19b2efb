"""Start and stop of a process, in a real one; metrics over HTTP."""

import json
import signal
import socket
import subprocess
import sys
import urllib.request

import pytest
from prometheus_client import Counter
from support.patience import PATIENCE_SECONDS
from support.ports import free_port

from longshore.domain.errors import Unavailable
from longshore.runtime.metrics import serve_metrics

_PROGRAM = """
import asyncio, sys
from longshore.domain.errors import Unavailable
from longshore.runtime.config import Settings
from longshore.runtime.process import run_until_stopped

async def main(stop):
    {body}

sys.exit(run_until_stopped("thing", main))
"""
SERVE = "print('ready', flush=True); await stop.wait()"


def start(body: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", _PROGRAM.format(body=body)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_it_well(number: signal.Signals) -> None:
    with start(SERVE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        _, stderr = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 0, stderr
    lines = [json.loads(line) for line in stderr.splitlines()]
    assert [line["event"] for line in lines] == ["service.starting", "service.stopped"]
    assert {line["service"] for line in lines} == {"thing"}


def test_wrong_settings_are_one_line_and_exit_code_2() -> None:
    with start("Settings({}).database_url()") as process:
        _, stderr = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 2
    *logs, last = stderr.splitlines()
    assert last == "thing: LONGSHORE_DATABASE_URL is not set; set it in the environment."
    assert "Traceback" not in stderr
    assert all(json.loads(line)["event"] == "service.starting" for line in logs)


def test_a_failure_that_we_know_is_one_line_and_exit_code_1() -> None:
    with start("raise Unavailable('The database does not answer.')") as process:
        _, stderr = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 1
    assert json.loads(stderr.splitlines()[-1])["error"] == "The database does not answer."


def test_a_failure_that_we_do_not_know_exits_with_1_and_its_traceback() -> None:
    with start("raise ValueError('unheard of')") as process:
        _, stderr = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 1
    assert "unheard of" in stderr


def test_the_services_own_exit_code_is_the_processs() -> None:
    with start("return 7") as process:
        process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 7


def test_metrics_are_served_while_the_context_is_open() -> None:
    counter = Counter("longshore_test_things_total", "Things.")
    counter.inc(3)
    port = free_port()
    url = f"http://127.0.0.1:{port}/metrics"
    with serve_metrics(f"127.0.0.1:{port}"):
        text = urllib.request.urlopen(url, timeout=PATIENCE_SECONDS).read().decode()
        assert "longshore_test_things_total 3.0" in text
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(url, timeout=PATIENCE_SECONDS)


def test_metrics_that_cannot_be_served_are_told_of_in_a_sentence() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with (
            pytest.raises(Unavailable, match=f"Cannot listen on {address}: Address already in use"),
            serve_metrics(address),
        ):
            pass
