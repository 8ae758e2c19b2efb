"""Logs on their way to the log service."""

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest
from support.patience import PATIENCE_SECONDS

from longshore.agent.logs.shipper import Shipper
from longshore.agent.logs.spool import Spool


class BreakingCall:
    """A stream that breaks once the disk is being read."""

    def __init__(self, reading: asyncio.Event) -> None:
        self._reading = reading

    async def read(self) -> None:
        """Ends with the stream."""
        await self._reading.wait()

    async def write(self, request: Any) -> None:
        """Takes everything."""

    def cancel(self) -> None:
        """Nothing is left to cancel."""


async def test_a_stream_that_breaks_while_the_disk_is_read_forgets_no_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = Spool(tmp_path)
    spool.finish("log")
    shipper = Shipper("nowhere", spool)
    go, reading = threading.Event(), asyncio.Event()
    loop, read = asyncio.get_running_loop(), spool.read

    def slow_read(*arguments: Any) -> Any:
        loop.call_soon_threadsafe(reading.set)
        go.wait(PATIENCE_SECONDS)
        return read(*arguments)

    class Stub:
        def AppendLogs(self) -> BreakingCall:  # noqa: N802 - the rpc's name
            return BreakingCall(reading)

    monkeypatch.setattr(spool, "read", slow_read)
    await shipper._session(Stub())  # type: ignore[arg-type]
    go.set()
    assert "log" in shipper._waiting
