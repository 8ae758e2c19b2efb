"""A service is started again, whatever stands in the way for a while."""

import asyncio
import contextlib
import json
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs
from support.identity import tls_settings
from support.patience import PATIENCE_SECONDS
from support.ports import free_port_base

from longshore.domain.errors import Unavailable
from longshore.rpc.server import GrpcServer
from longshore.standalone import health, service_process
from longshore.standalone.config import StandaloneConfig
from longshore.standalone.service_process import ServiceProcess
from longshore.standalone.stack import Stack


async def test_a_failed_restart_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No room for its log, say: the other services run on meanwhile."""
    monkeypatch.setattr(service_process, "BACKOFF_FIRST_SECONDS", 0.01)
    started = asyncio.Event()
    process = ServiceProcess("nothing", os.environ, tmp_path / "log" / "nothing.log", started.set)
    with capture_logs():
        await process.start()
        await process.ended()
        (tmp_path / "log").rename(tmp_path / "aside")
        (tmp_path / "log").touch()
        started.clear()
        supervising = asyncio.create_task(process.supervise("127.0.0.1:9"))
        await asyncio.sleep(0.2)
        assert not supervising.done()
        (tmp_path / "log").unlink()
        async with asyncio.timeout(PATIENCE_SECONDS):
            await started.wait()
        supervising.cancel()
        await asyncio.gather(supervising, return_exceptions=True)
        await process.stop(PATIENCE_SECONDS)


async def test_down_needs_no_room_for_the_record(tmp_path: Path) -> None:
    """What cannot be told is told later; what runs is stopped now."""
    (tmp_path / "longshore.json.new").mkdir()
    config = StandaloneConfig.from_environment({"LONGSHORE_DATA_DIR": str(tmp_path)})
    with capture_logs() as logs:
        stack = Stack(config, {})
        await stack.down()
        stack.tell_end()
    assert "record.not_written" in [entry["event"] for entry in logs]


def test_the_last_words_of_a_long_log_are_read_alone(tmp_path: Path) -> None:
    path = tmp_path / "service.log"
    with path.open("wb") as file:
        file.truncate(2**40)  # all of it would not fit into memory
        file.seek(0, os.SEEK_END)
        file.write(b"\none\ntwo\nthree\n")
    process = ServiceProcess("service", os.environ, path, lambda: None)
    assert process.last_words(2) == "two\nthree"


async def test_another_process_at_the_address_is_not_taken_for_the_service(
    tmp_path: Path,
) -> None:
    """Of two stacks that start on the same ports at once one fails, and says why."""
    async with GrpcServer("127.0.0.1:0") as other:
        await other.set_serving(True)
        process = ServiceProcess("nothing", os.environ, tmp_path / "nothing.log", lambda: None)
        await process.start()
        with pytest.raises(Unavailable, match="The nothing service ended with exit code 1"):
            await process.until_serving(f"127.0.0.1:{other.port}")


async def test_the_last_words_are_those_of_the_last_process(tmp_path: Path) -> None:
    path = tmp_path / "nothing.log"
    path.write_text("nothing: LONGSHORE_OLD is wrong.\n")
    process = ServiceProcess("nothing", os.environ, path, lambda: None)
    await process.start()
    await process.ended()
    assert "No module named longshore.nothing" in process.last_words()
    assert "LONGSHORE_OLD" not in process.last_words()


def the_log_service(tmp_path: Path) -> tuple[ServiceProcess, str]:
    """A service that needs no other, and its address."""
    base = free_port_base((0, 1))
    address, metrics = f"127.0.0.1:{base}", f"127.0.0.1:{base + 1}"
    environ = dict(os.environ) | {
        "LONGSHORE_LOGS_DIR": str(tmp_path / "logs"),
        "LONGSHORE_LOGS_ADDRESS": address,
        "LONGSHORE_LOGS_METRICS_ADDRESS": metrics,
        "LONGSHORE_LOGS_PEER_ADDRESS": "127.0.0.1:0",
        **tls_settings(),
    }
    return ServiceProcess("logs", environ, tmp_path / "logs.log", lambda: None), address


@contextlib.asynccontextmanager
async def supervised(process: ServiceProcess, address: str) -> AsyncIterator[None]:
    """Runs a service until the context is left."""
    await process.start()
    supervising = asyncio.create_task(process.supervise(address))
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            await process.until_serving(address)
            yield
    finally:
        supervising.cancel()
        await asyncio.gather(supervising, return_exceptions=True)
        await process.stop(PATIENCE_SECONDS)


async def test_a_process_that_answers_no_more_is_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service_process, "QUESTION_SECONDS", 0.05)
    monkeypatch.setattr(health, "CHECK_SECONDS", 0.5)
    process, address = the_log_service(tmp_path)
    with capture_logs() as logs:
        async with supervised(process, address):
            assert process.record is not None
            os.kill(process.record.pid, signal.SIGSTOP)
            while process.record.restarts == 0:
                await asyncio.sleep(0.05)
            await process.until_serving(address)
    assert "service.silent" in [entry["event"] for entry in logs]


async def test_a_log_that_grows_is_put_aside_while_its_service_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service_process, "QUESTION_SECONDS", 0.05)
    monkeypatch.setattr(service_process, "LOG_BYTES", 10_000)
    process, address = the_log_service(tmp_path)
    aside = tmp_path / "logs.log.1"
    async with supervised(process, address):
        with process.log_path.open("ab") as file:
            file.write(b"x" * 20_000)
        while not aside.exists() or process.log_path.stat().st_size:
            await asyncio.sleep(0.05)
        assert b"x" * 20_000 in aside.read_bytes()
    written = process.log_path.read_text()
    assert json.loads(written.splitlines()[-1])["event"] == "service.stopped"
    assert "\0" not in written
