"""What is stored is on record, whatever happens in between."""

import asyncio
import errno
import os
import time
from datetime import timedelta
from pathlib import Path

import pytest
from support.disk import a_full_disk

from longshore.domain.errors import Unavailable
from longshore.domain.log_group import AGENTS, JOBS
from longshore.logs import store as log_store
from longshore.logs.catalogue import Stream
from longshore.logs.cloudwatch.searching import Searching
from longshore.logs.history import LogHistory
from longshore.logs.store import Log, LogStore
from longshore.v1 import cloudwatch_logs_service_pb2 as pb

LINE = b"2026-11-22T11:47:16.%03d000000Z stdout F %s\n"
FIRST = 1_795_348_036_000
LONG = "ü" * 400


async def append(store: LogStore, name: str, *texts: bytes, group: str = JOBS) -> Log:
    log = await store.log(name, group)
    data = b"".join(LINE % (index, text) for index, text in enumerate(texts))
    await store.append(log, log.stored, data)
    return log


def files(folder: Path) -> set[Path]:
    """Of all logs."""
    return set(folder.glob("*/*"))


async def streams(store: LogStore, group: str = JOBS) -> list[Stream]:
    found = store.catalogue.groups[group]
    return await store.catalogue.by_name(found, "", None, 100, descending=False)


async def test_a_catalogue_is_as_it_was_after_an_end_in_order(tmp_path: Path) -> None:
    store = LogStore(tmp_path)
    await store.catalogue.begin()
    await store.take_stock()
    await append(store, "a", b"x", b"y")
    before = await streams(store)
    await store.catalogue.close()
    again = LogStore(tmp_path)
    assert again.catalogue.is_whole
    assert await streams(again) == before


@pytest.mark.parametrize("lost", [False, True])
async def test_what_is_stored_is_found_after_a_kill(tmp_path: Path, lost: bool) -> None:
    """What was noted but not written, or the whole catalogue, in any group, of any name."""
    store = LogStore(tmp_path)
    await store.catalogue.begin()
    names = {JOBS: ["a", LONG, "b/default/1"], "/team": ["a", LONG], AGENTS: ["i-1"]}
    for group, known in names.items():
        for name in known:
            await append(store, name, b"x", b"y", group=group)
    await store.create(await store.log("mine", "/team"))
    if lost:
        await asyncio.to_thread((tmp_path / "catalogue.db").write_bytes, b"no database" * 1000)
        for left in ("-wal", "-shm"):
            (tmp_path / f"catalogue.db{left}").unlink(missing_ok=True)
    again = LogStore(tmp_path)
    assert not again.catalogue.is_whole
    await again.take_stock()
    assert again.catalogue.is_whole
    for group, known in names.items():
        found = {stream.name: stream for stream in await streams(again, group)}
        assert set(found) == {*known, *(["mine"] if group == "/team" else [])}
        for name in known:
            stream = found[name]
            assert (stream.first_event, stream.last_event) == (FIRST, FIRST + 1)
            assert stream.bytes == 2 * len(LINE % (0, b"x"))
    assert {s.name: s.is_put for s in await streams(again, "/team")}["mine"]


async def test_after_a_kill_a_search_waits_for_what_is_being_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was written last comes first; nothing says that it was stored since."""
    monkeypatch.setattr(log_store, "STOCK_SECONDS", 40.0)
    store = LogStore(tmp_path)
    await store.catalogue.begin()
    await append(store, "a", b"x")
    stored_by = time.time_ns() // 1_000_000
    again = LogStore(tmp_path)
    assert await again.catalogue.incomplete() == [(JOBS, "a")]
    request = pb.FilterLogEventsRequest(log_group_name=JOBS)
    searching = asyncio.create_task(Searching(again).filter(request))
    while not again._stocked._waiters:
        await asyncio.sleep(0)
    while time.time_ns() // 1_000_000 == stored_by:
        await asyncio.sleep(0)
    await again.take_stock()
    assert [event.message for event in (await searching).events] == ["x"]
    (stream,) = await streams(again)
    assert 0 < stream.stored_at <= stored_by


async def test_no_listing_waits_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_store, "STOCK_SECONDS", 0.0)
    store = LogStore(tmp_path)
    await store.catalogue.begin()
    await append(store, "a", b"x")
    again = LogStore(tmp_path)
    request = pb.FilterLogEventsRequest(log_group_name=JOBS)
    assert not (await Searching(again).filter(request)).events


async def test_after_a_kill_a_stream_has_the_times_of_all_its_events(tmp_path: Path) -> None:
    """Also where its last line was never ended, or nothing but its end came later."""
    store = LogStore(tmp_path)
    await store.catalogue.begin()
    for name in ("more", "end"):
        await append(store, name, b"x", b"y")
    again = LogStore(tmp_path)
    log = await again.log("more")
    open_line = b"2026-11-22T11:47:17.000Z stdout P never ended"
    await again.append(log, log.stored, open_line + b"\n", complete=True)
    log = await again.log("end")
    await again.append(log, log.stored, b"", complete=True)
    log = await again.log("only")
    await again.append(log, 0, open_line + b"\n", complete=True)
    found = {stream.name: stream for stream in await streams(again)}
    times = {name: (s.first_event - FIRST, s.last_event - FIRST) for name, s in found.items()}
    assert times == {"more": (0, 1000), "end": (0, 1), "only": (1000, 1000)}


async def test_logs_from_before_the_catalogue_are_found(tmp_path: Path) -> None:
    store = LogStore(tmp_path)
    log = await append(store, "a/default/1", b"x")
    for path in files(tmp_path) - {log.path}:
        path.unlink()
    (tmp_path / "catalogue.db").unlink()
    again = LogStore(tmp_path)
    await again.take_stock()
    (stream,) = await streams(again)
    assert (stream.name, stream.first_event) == ("a/default/1", FIRST)


async def test_what_is_no_log_is_left(tmp_path: Path) -> None:
    """A file that somebody has put there, or that cannot be read, keeps no other off the record."""
    store = LogStore(tmp_path)
    log = await append(store, "a", b"x")
    for name in ("no group%20:a.log", "%20.txt", "x" * 230 + ".log"):
        (log.path.parent / name).write_bytes(b"\0\n")
    (log.path.parent / "directory.log").mkdir()
    (tmp_path / "catalogue.db").unlink()
    again = LogStore(tmp_path)
    await again.take_stock()
    assert "a" in {stream.name for stream in await streams(again)}
    assert set(again.catalogue.groups) == {JOBS, AGENTS}


async def test_a_full_disk_is_told_and_leaves_nothing_half(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = LogStore(tmp_path)
    log = await append(store, "a", b"x")
    whole = log.path.read_bytes()
    pwrite = os.pwrite

    def full(file: int, data: bytes, offset: int) -> int:
        if len(data) > 20:
            return pwrite(file, data[:20], offset)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(Unavailable, match="No space left"):
        await append(store, "a", b"y")
    monkeypatch.undo()
    assert log.path.read_bytes() == whole
    await append(store, "a", b"z")
    assert log.path.read_bytes() == whole + LINE % (0, b"z")
    (stream,) = await streams(store)
    assert stream.bytes == log.stored


async def test_a_catalogue_on_a_full_disk(tmp_path: Path) -> None:
    """Changes are refused in words, what is there is told, and what was noted is not lost."""
    store = LogStore(tmp_path)
    log = await append(store, "a", b"x")
    await store.catalogue.flush()
    with a_full_disk(1):
        with pytest.raises(Unavailable, match="catalogue of logs cannot be written"):
            await store.catalogue.create_group("/new", {})
        store.catalogue.note(store.catalogue.groups[JOBS], "a", (FIRST, FIRST + 7), 99)
        assert [stream.bytes for stream in await streams(store)] == [log.stored]
    assert "/new" not in store.catalogue.groups
    assert [stream.bytes for stream in await streams(store)] == [99]
    await store.close()
    assert LogStore(tmp_path).catalogue.groups.keys() == store.catalogue.groups.keys()


async def test_a_log_that_is_deleted_while_it_is_read(tmp_path: Path) -> None:
    store = LogStore(tmp_path)
    log = await append(store, "a", *[b"x" * 1000] * 500)
    blocks = log.view.forward(0)
    assert blocks.block()
    await store.delete(store.catalogue.groups[JOBS], ["a"])
    assert blocks.block() is None
    assert not log.known
    assert await streams(store) == []
    assert files(tmp_path) == set()
    again = await append(store, "a", b"again")
    assert again is log
    assert (await streams(store))[0].bytes == again.stored


async def test_a_groups_retention_has_effect(tmp_path: Path) -> None:
    store = LogStore(tmp_path)
    for group in (JOBS, "/short", "/long"):
        for name, days in (("old", 4), ("older", 200)):
            log = await append(store, name, b"x", group=group)
            os.utime(log.path, (time.time() - days * 86_400,) * 2)
    for name, days in (("/short", 3), ("/long", 365)):
        group = store.catalogue.groups[name]
        await store.catalogue.change_group(group, retention_days=days, tags={})
    await LogHistory(store, timedelta(days=90)).tick()
    left = {
        group: [s.name for s in await streams(store, group)] for group in (JOBS, "/short", "/long")
    }
    assert left == {JOBS: ["old"], "/short": [], "/long": ["old", "older"]}
