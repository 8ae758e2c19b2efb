"""What the agent says of itself reaches the log service, and holds nothing up."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import date
from pathlib import Path

import pytest
import structlog
from support.patience import PATIENCE_SECONDS
from support.ports import free_port

from longshore.agent.docker import engine_log
from longshore.agent.logs import diary as module
from longshore.agent.logs.diary import Diary
from longshore.domain.errors import NotFound
from longshore.logs.service import LogsService
from longshore.logs.servicer import LogServicer
from longshore.logs.store import LogStore
from longshore.rpc.server import GrpcServer
from longshore.runtime.logs import configure_logging, heard_by
from longshore.v1 import log_service_pb2 as pb
from longshore.v1 import log_service_pb2_grpc as pb_grpc

INSTANCE = "i-0123456789abcdef0"
FIRST, SECOND = date(2026, 11, 28), date(2026, 11, 29)


class _Stand:
    """A log service on a real port, and the calendar."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.day = FIRST
        self.service = LogsService(LogStore(directory))
        self.port = free_port()

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        server = GrpcServer(f"127.0.0.1:{self.port}")
        add = pb_grpc.add_LogServiceServicer_to_server
        server.add(add, LogServicer(self.service), "longshore.v1.LogService")
        async with server:
            yield

    def diary(self) -> Diary:
        return Diary(INSTANCE, "agent", f"127.0.0.1:{self.port}", today=lambda: self.day)

    async def texts(self, day: date) -> tuple[list[str], bool]:
        """What is stored of a day, and whether that is all."""
        request = pb.TailLogsRequest(
            log_group_name="/longshore/agent", log_stream_name=f"{INSTANCE}/agent/{day}"
        )
        try:
            parts = [part async for part in self.service.tail(request)]
        except NotFound:
            return [], False
        found = [entry.text.decode() for part in parts for entry in part.entries]
        return found, any(part.complete for part in parts)

    async def until(self, day: date, texts: list[str], *, complete: bool = False) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while await self.texts(day) != (texts, complete):
                await asyncio.sleep(0.02)


@pytest.fixture
def stand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> _Stand:
    monkeypatch.setattr(module, "GATHER_SECONDS", 0.001)
    return _Stand(tmp_path)


@contextlib.asynccontextmanager
async def _running(diary: Diary) -> AsyncIterator[Diary]:
    task = asyncio.create_task(diary.run())
    try:
        yield diary
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_each_day_has_a_log_that_ends_with_it(stand: _Stand) -> None:
    async with stand.serving(), _running(stand.diary()) as diary:
        diary.take("one")
        diary.take("two\nthree")
        await stand.until(FIRST, ["one", "two", "three"])
        stand.day = SECOND
        diary.take("four")
        await stand.until(SECOND, ["four"])
        await stand.until(FIRST, ["one", "two", "three"], complete=True)
        # A clock that is set back.
        stand.day = FIRST
        diary.take("five")
        await stand.until(SECOND, ["four", "five"])


async def test_the_next_life_of_an_agent_goes_on_in_the_day_s_log(stand: _Stand) -> None:
    async with stand.serving():
        for text in ("one", "two"):
            async with _running(stand.diary()) as diary:
                diary.take(text)
                await diary.drained(PATIENCE_SECONDS)
        await stand.until(FIRST, ["one", "two"])


async def test_what_has_no_room_is_left_out_with_a_line_that_says_so(
    stand: _Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The service is away meanwhile; whoever logs never waits."""
    monkeypatch.setattr(module, "WAITING_BYTES", 200)
    async with _running(stand.diary()) as diary:
        for number in range(9):
            diary.take(f"line {number} " + "x" * 30)
        async with stand.serving():
            await diary.drained(PATIENCE_SECONDS)
            first, _ = await stand.texts(FIRST)
            assert [text[:6] for text in first] == ["line 0", "line 1"]
            diary.take("later")
            rest = [*first, "longshore: 7 lines are left out here", "later"]
            await stand.until(FIRST, rest)


async def test_a_day_has_a_bound(stand: _Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "DAY_BYTES", 200)
    async with stand.serving(), _running(stand.diary()) as diary:
        diary.take("a" * 20)
        await stand.until(FIRST, ["a" * 20])
        diary.take("b" * 150)
        full = "longshore: more than 200 bytes on one day; the rest of the day is left out"
        await stand.until(FIRST, ["a" * 20, full], complete=True)
        diary.take("c")
        await diary.drained(PATIENCE_SECONDS)
        stand.day = SECOND
        diary.take("d")
        await stand.until(SECOND, ["longshore: 2 lines are left out here", "d"])


async def test_a_line_that_is_logged_is_heard(capsys: pytest.CaptureFixture[str]) -> None:
    heard: list[str] = []
    with structlog.testing.capture_logs():
        pass
    configure_logging("agent")
    try:
        with heard_by(heard.append):
            structlog.get_logger().info("agent.started", instance_id=INSTANCE)
        structlog.get_logger().info("agent.unheard")
    finally:
        structlog.reset_defaults()
        structlog.contextvars.clear_contextvars()
    written = capsys.readouterr().err
    assert "agent.unheard" in written
    assert heard == written.splitlines()[:1]


@pytest.mark.parametrize("is_there", [True, False])
async def test_the_engine_s_log_is_followed_where_it_can_be_read(
    tmp_path: Path, is_there: bool
) -> None:
    """Lines of debugging have what an engine is asked for, environments among it: left out."""
    path, taken = tmp_path / "docker.log", asyncio.Queue[str]()
    if is_there:
        path.write_text("before\n")
    task = asyncio.create_task(engine_log.follow(str(path), taken.put_nowait))
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            if not is_there:
                assert "cannot be read here" in await taken.get()
                return
            while taken.empty():
                with path.open("a") as file:
                    file.write('level=debug msg="form data: SECRET=hush"\n')
                    file.write('time="now" level=info msg="started"\n' + "y" * 99_999 + "\n")
                await asyncio.sleep(0.05)
            assert await taken.get() == 'time="now" level=info msg="started"'
            assert (await taken.get()).startswith("yyy")
            assert "before" not in taken._queue
            assert not [text for text in taken._queue if "hush" in text]
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
