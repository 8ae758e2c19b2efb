"""Complete logs in an S3-compatible store, on moto's server."""

import asyncio
import contextlib
import os
import threading
import uuid
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from support.patience import PATIENCE_SECONDS

from longshore.domain.errors import NotFound, Unavailable
from longshore.logs import archive as module
from longshore.logs.archive import ArchiveConfig, LogArchive, archived_size, open_archive
from longshore.logs.archiving import Archiver, take_stock
from longshore.logs.history import LogHistory
from longshore.logs.paging import page_backward, page_forward
from longshore.logs.service import LogsService
from longshore.logs.store import LogStore
from longshore.runtime.aws import Api, RefusedByAws
from longshore.v1 import log_service_pb2 as pb

LINE = b"2026-11-22T11:47:16.123456789Z stdout F line\n"


class _Gate(Api):
    """The store, which may be away or refuse some names; counts what is called."""

    def __init__(self, api: Api) -> None:
        self._behind = api
        self.is_away = False
        self.refused = ""
        self.calls: list[str] = []

    async def call(self, operation: str, *, repeatable: bool = True, **members: Any) -> Any:
        self.calls.append(operation)
        if self.is_away:
            raise Unavailable("the store is away")
        if self.refused and self.refused in members.get("Key", ""):
            raise RefusedByAws("AccessDenied", "no")
        return await self._behind.call(operation, repeatable=repeatable, **members)


class _Stand:
    def __init__(self, archive: LogArchive, gate: _Gate, directory: Path) -> None:
        self.archive = archive
        self.gate = gate
        self.directory = directory

    def log(self, name: str, content: bytes = LINE) -> Path:
        """A complete log as the log service has it."""
        path = self.directory / "ab" / f"{name}.log"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
        path.with_suffix(".complete").touch()
        return path

    def archiver(self, cache_bytes: int = 10**9) -> Archiver:
        return Archiver(self.archive, self.directory, cache_bytes)


@pytest.fixture
async def config(moto_url: str) -> ArchiveConfig:
    return ArchiveConfig(f"logs-{uuid.uuid4().hex}", "team/", "us-east-1", moto_url)


@pytest.fixture
async def stand(config: ArchiveConfig, tmp_path: Path) -> AsyncIterator[_Stand]:
    async with open_archive(config, tmp_path) as archive:
        api = await archive._opened
        await api.call("create_bucket", Bucket=config.bucket)
        gate = _Gate(api)
        behind = LogArchive(config, tmp_path)
        behind.open(gate)
        yield _Stand(behind, gate, tmp_path)


async def test_a_log_is_read_by_ranges_of_its_object(stand: _Stand) -> None:
    path = stand.log("a%2Fb", b"0123456789")
    assert await stand.archive.upload(path) == archived_size(path) == 10
    path.unlink()
    read = stand.archive.read
    assert await read(path, 0, 10) == b"0123456789"
    assert await read(path, 3, 5) == b"34"
    assert await read(path, 8, 99) == b"89"
    assert [await read(path, 10, 12), await read(path, 3, 3)] == [b"", b""]
    assert await asyncio.to_thread(stand.archive.read_on_thread, path, 1, 3) == b"12"
    assert stand.gate.calls.count("get_object") == 1, "the rest was read with the first"
    with pytest.raises(NotFound, match="has no team/ab/none"):
        await read(path.with_name("none.log"), 0, 1)


async def test_a_large_log_is_uploaded_in_parts(
    stand: _Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PART_BYTES", 5 * 1024 * 1024)
    content = os.urandom(11 * 1024 * 1024)
    path = stand.log("large", content)
    await stand.archive.upload(path)
    assert stand.gate.calls.count("upload_part") == 3
    read = stand.archive.read
    assert await read(path, 0, len(content)) == content
    for begin, end in ((module.BLOCK_BYTES - 1, module.BLOCK_BYTES + 1), (5, 3 * 1024 * 1024)):
        assert await read(path, begin, end) == content[begin:end]
    assert await read(path, len(content) - 2, len(content) + 99) == content[-2:]
    empty = stand.log("empty", b"")
    await stand.archive.upload(empty)
    assert archived_size(empty) == 0


async def test_a_part_that_fails_leaves_no_mark_and_no_parts(
    stand: _Stand, config: ArchiveConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PART_BYTES", 5 * 1024 * 1024)
    path = stand.log("large", bytes(6 * 1024 * 1024))
    call = stand.gate.call

    async def broken(operation: str, **members: Any) -> Any:
        if operation == "upload_part" and members["PartNumber"] == 2:
            raise Unavailable("cut")
        return await call(operation, **members)

    monkeypatch.setattr(stand.gate, "call", broken)
    with pytest.raises(Unavailable, match="cut"):
        await stand.archive.upload(path)
    assert archived_size(path) == -1
    left = await call("list_multipart_uploads", Bucket=config.bucket)
    assert not left.get("Uploads")


async def test_copies_go_when_there_is_no_room_and_the_oldest_go_first(stand: _Stand) -> None:
    archiver = stand.archiver(250)
    assert await archiver.tick()
    paths = []
    for number in range(4):
        paths.append(stand.log(f"log{number}", bytes(100)))
        archiver.take(paths[-1])
        assert await archiver.tick()
    assert [path.exists() for path in paths] == [False, False, True, True]
    assert [archived_size(path) for path in paths] == [100] * 4
    # A next life knows what there is, and of what too much.
    again = stand.archiver(150)
    assert await again.tick()
    assert [path.exists() for path in paths] == [False, False, False, True]


async def test_a_store_that_is_away_loses_nothing(stand: _Stand) -> None:
    """All stays on the disk, whatever the bound; it is uploaded when the store is back."""
    paths = [stand.log(f"log{number}", bytes(100)) for number in range(3)]
    archiver = stand.archiver(0)
    stand.gate.is_away = True
    assert not await archiver.tick()
    stand.gate.is_away = False
    assert await archiver.tick()
    assert not [path for path in paths if path.exists()]
    late = stand.log("late", bytes(100))
    archiver.take(late)
    stand.gate.is_away = True
    assert not await archiver.tick()
    assert late.exists()
    looked_through = asyncio.Queue[int]()
    task = asyncio.create_task(archiver.run(looked_through.put))
    stand.gate.is_away = False
    async with asyncio.timeout(PATIENCE_SECONDS):
        while late.exists():
            await asyncio.sleep(0.02)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert await stand.archive.read(late, 0, 100) == bytes(100)


async def test_a_log_that_the_store_refuses_holds_no_other_up(stand: _Stand) -> None:
    stand.gate.refused = "bad"
    bad = [stand.log(f"bad{number}") for number in range(120)]
    good = stand.log("good")
    archiver = stand.archiver()
    async with asyncio.timeout(PATIENCE_SECONDS):
        while archived_size(good) < 0:
            await archiver.tick()
    assert {archived_size(path) for path in bad} == {-1}


async def test_what_is_deleted_goes_from_the_store_or_stays_whole(stand: _Stand) -> None:
    archived, waiting = stand.log("archived"), stand.log("waiting")
    archiver = stand.archiver()
    await stand.archive.upload(archived)
    stand.gate.is_away = True
    assert await archiver.delete([archived, waiting]) == {waiting}
    stand.gate.is_away = False
    assert await archiver.delete([archived, waiting]) == {archived, waiting}
    with pytest.raises(NotFound):
        await stand.archive.read(archived, 0, 9)


async def test_an_upload_under_way_is_over_before_its_log_is_deleted(stand: _Stand) -> None:
    path = stand.log("log")
    archiver = stand.archiver()
    assert await archiver.tick()
    other = stand.log("other")
    archiver.take(other)
    reached, go = asyncio.Event(), asyncio.Event()
    upload = stand.archive.upload

    async def slow(path: Path) -> int:
        reached.set()
        await go.wait()
        return await upload(path)

    with contextlib.ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        patch.setattr(stand.archive, "upload", slow)
        ticking = asyncio.create_task(archiver.tick())
        await reached.wait()
        deleting = asyncio.create_task(archiver.delete([other]))
        await asyncio.sleep(0)
        go.set()
        assert await deleting == {other}
        assert await ticking
    with pytest.raises(NotFound):
        await stand.archive.read(other, 0, 9)
    assert await stand.archive.read(path, 0, 9) == LINE[:9]


async def test_another_machine_finds_what_the_first_one_stored(
    stand: _Stand, config: ArchiveConfig, tmp_path: Path
) -> None:
    path = stand.log("log%2Fone")
    await stand.archive.upload(path)
    # What is not ours in the same bucket stays out.
    for key in ("team/ab/x/y.log", "team/../evil.log", "team/ab/other.txt", "team/x.log"):
        await stand.gate.call("put_object", Bucket=config.bucket, Key=key, Body=b"")
    other = tmp_path / "other"
    other.mkdir()
    async with open_archive(config, other) as archive:
        archiver = Archiver(archive, other, 10**9)
        assert await archiver.tick()
        found = other / "ab" / path.name
        assert archived_size(found) == len(LINE)
        assert await archive.read(found, 0, 99) == LINE
        assert sorted(p.name for p in other.rglob("*") if p.is_file()) == [
            "log%2Fone.archived",
            "log%2Fone.complete",
        ]
    assert take_stock(other) == ([], [])


NAME = "definition/default/0123456789abcdef0123456789abcdef"
LINES = b"".join(
    b"2026-11-22T11:47:%02d.%03d456789Z stdout F line %04d %s\n"
    % (n // 1000, n % 1000, n, b"x" * 99)
    for n in range(3_000)
)


class _Logs:
    """A log service whose complete logs go to the store, and leave no copy."""

    def __init__(self, archive: LogArchive, directory: Path) -> None:
        self.archiver = Archiver(archive, directory, 0)
        self.store = LogStore(directory, self.archiver)
        self.service = LogsService(self.store)

    async def append(self, data: bytes, *, complete: bool = False) -> pb.AppendLogsResponse:
        return await self.service.append(
            pb.AppendLogsRequest(log_stream_name=NAME, data=data, complete=complete)
        )

    async def texts(self, last: int = 0) -> list[str]:
        request = pb.TailLogsRequest(log_stream_name=NAME, tail_lines=last)
        parts = [part async for part in self.service.tail(request)]
        assert parts[-1].complete
        return [entry.text.decode()[:9] for part in parts for entry in part.entries]

    async def events(self) -> tuple[Any, Any]:
        """The first and the last page of events."""
        view = (await self.store.log(NAME)).view
        forward = await asyncio.to_thread(page_forward, view, 0, 10, None, None)
        return forward, await asyncio.to_thread(page_backward, view, None, 10, None, None)


@pytest.fixture
async def logs(stand: _Stand) -> AsyncIterator[_Logs]:
    logs = _Logs(stand.archive, stand.directory)
    await logs.append(LINES, complete=True)
    yield logs
    await logs.store.catalogue.close()


async def test_logs_are_read_as_before_once_their_files_have_gone(
    stand: _Stand, logs: _Logs
) -> None:
    before = await logs.texts(), await logs.events()
    assert await logs.archiver.tick()
    assert not list(stand.directory.rglob("*.log"))
    assert (await logs.texts(), await logs.events()) == before
    assert await logs.texts(last=2) == ["line 2998", "line 2999"]
    # An agent that asks again, and the next life of the service, need no store for the answer.
    stand.gate.is_away = True
    stand.archive._blocks.clear()
    again = _Logs(stand.archive, stand.directory)
    answer = await again.append(b"")
    assert (answer.stored_bytes, answer.complete) == (len(LINES), True)
    with pytest.raises(Unavailable):
        await again.texts()
    stand.gate.is_away = False
    assert (await again.texts(), await again.events()) == before
    await again.store.catalogue.close()
    without = LogsService(LogStore(stand.directory))
    with pytest.raises(Unavailable, match="LONGSHORE_LOGS_S3 does not name any more"):
        [part async for part in without.tail(pb.TailLogsRequest(log_stream_name=NAME))]


async def test_a_new_machine_reads_and_lists_what_an_old_one_stored(
    stand: _Stand, logs: _Logs, config: ArchiveConfig, tmp_path: Path
) -> None:
    before = await logs.texts(), await logs.events()
    assert await logs.archiver.tick()
    (known,) = await logs.store.catalogue.by_name(_jobs(logs), "", None, 9, descending=False)
    async with open_archive(config, tmp_path / "new") as archive:
        new = _Logs(archive, tmp_path / "new")
        task = asyncio.create_task(new.archiver.run(new.store.archive_stocked))
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not new.store.catalogue.is_whole:
                await asyncio.sleep(0.02)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert (await new.texts(), await new.events()) == before
        (found,) = await new.store.catalogue.by_name(_jobs(new), "", None, 9, descending=False)
        for member in ("name", "is_put", "first_event", "last_event", "bytes", "complete"):
            assert getattr(found, member) == getattr(known, member), member
        await new.store.catalogue.close()


def _jobs(logs: _Logs) -> Any:
    return logs.store.catalogue.groups["/aws/batch/job"]


async def test_a_deleted_log_goes_from_the_store_or_is_not_deleted(
    stand: _Stand, logs: _Logs, config: ArchiveConfig
) -> None:
    assert await logs.archiver.tick()
    stand.gate.is_away = True
    with pytest.raises(Unavailable, match="does not let go"):
        await logs.store.delete(_jobs(logs), [NAME])
    stand.gate.is_away = False
    assert len(await logs.texts()) == 3_000
    await logs.store.delete(_jobs(logs), [NAME])
    assert not (await logs.store.log(NAME)).known
    assert not list(stand.directory.glob("*/*"))
    left = await stand.gate.call("list_objects_v2", Bucket=config.bucket)
    assert not left.get("Contents")


async def test_what_is_old_goes_from_the_store_too(
    stand: _Stand, logs: _Logs, config: ArchiveConfig
) -> None:
    assert await logs.archiver.tick()
    history = LogHistory(logs.store, timedelta(days=90))
    await history.tick()
    left = await stand.gate.call("list_objects_v2", Bucket=config.bucket)
    assert len(left["Contents"]) == 2, "the log, and its marks"
    for path in stand.directory.glob("*/*"):
        os.utime(path, (1, 1))
    stand.gate.is_away = True
    await history.tick()
    assert list(stand.directory.rglob("*.archived"))
    stand.gate.is_away = False
    await history.tick()
    assert not list(stand.directory.rglob("*.archived"))
    left = await stand.gate.call("list_objects_v2", Bucket=config.bucket)
    assert not left.get("Contents")


async def test_a_store_that_hangs_takes_a_part_of_the_threads_alone(
    stand: _Stand, logs: _Logs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stand.archive, "_reads", threading.BoundedSemaphore(1))
    assert await logs.archiver.tick()
    read, reached, go = stand.archive.read, asyncio.Event(), asyncio.Event()

    async def hanging(*arguments: Any) -> bytes:
        reached.set()
        await go.wait()
        return await read(*arguments)

    monkeypatch.setattr(stand.archive, "read", hanging)
    first = asyncio.create_task(logs.texts(last=1))
    await reached.wait()
    with pytest.raises(Unavailable, match="Too many wait"):
        await logs.texts(last=1)
    go.set()
    assert await first == ["line 2999"]
    assert await logs.texts(last=1) == ["line 2999"]


async def test_who_gives_up_waiting_for_the_store_gives_up_for_himself(
    stand: _Stand, config: ArchiveConfig
) -> None:
    """It opens while logs are served already."""
    path = stand.log("log")
    await stand.archive.upload(path)
    archive = LogArchive(config, stand.directory)
    impatient = asyncio.create_task(archive.read(path, 0, 1))
    patient = asyncio.create_task(archive.read(path, 0, 1))
    await asyncio.sleep(0)
    impatient.cancel()
    await asyncio.gather(impatient, return_exceptions=True)
    archive.open(stand.gate)
    assert await patient == LINE[:1]


async def test_a_store_that_cannot_be_opened_is_said_and_logs_are_taken_all_the_same(
    tmp_path: Path,
) -> None:
    config = ArchiveConfig("logs", "", "us-east-1", "http://not an address")
    async with open_archive(config, tmp_path) as archive:
        logs = _Logs(archive, tmp_path)
        assert (await logs.append(LINES, complete=True)).complete
        assert not await logs.archiver.tick()
        assert len(await logs.texts()) == 3_000
        with pytest.raises(Unavailable, match="cannot be opened"):
            await archive.read(tmp_path / "ab" / "x.log", 0, 1)
        await logs.store.catalogue.close()
