"""Logs of long ago are deleted, those that are read last."""

import os
import time
from datetime import timedelta
from pathlib import Path

from longshore.domain.log_group import JOBS
from longshore.logs.history import LogHistory
from longshore.logs.service import LogsService
from longshore.logs.store import LogStore
from longshore.v1 import log_service_pb2 as pb

DAY = 86_400


async def stored(service: LogsService, name: str) -> None:
    """A log that is complete."""
    await service.append(pb.AppendLogsRequest(log_stream_name=name, data=b"x\n", complete=True))


def age(path: Path, days: float) -> None:
    """Lets a log have ended so many days ago."""
    for each in (path, path.with_suffix(".complete")):
        os.utime(each, (time.time() - days * DAY,) * 2)


def files(folder: Path) -> list[str]:
    """Suffixes of all files."""
    return sorted(path.suffix for path in folder.glob("*/*"))


async def test_a_log_goes_a_week_after_its_job_could_have(tmp_path: Path) -> None:
    store = LogStore(tmp_path)
    service, history = LogsService(store), LogHistory(store, timedelta(days=90))
    for name, days in (("a/default/1", 98), ("b/default/1.2", 96), ("c/default/1", 98)):
        await stored(service, name)
        age((await store.log(name)).path, days)
    read = await store.log("c/default/1")
    read.readers = 1
    await history.tick()
    known = ("a/default/1", "b/default/1.2", "c/default/1")
    assert [(await store.log(name)).known for name in known] == [False, True, True]
    assert (await store.log("c/default/1")) is read
    assert not (await store.log("a/default/1")).complete
    read.readers = 0
    await history.tick()
    assert files(tmp_path) == [".complete", ".log", ".marks"]


async def test_what_is_still_written_stays(tmp_path: Path) -> None:
    """However long ago it began."""
    store = LogStore(tmp_path)
    service = LogsService(store)
    await stored(service, "a")
    os.utime((await store.log("a")).path, (time.time() - 98 * DAY,) * 2)
    await LogHistory(store, timedelta(days=90)).tick()
    assert (await store.log("a")).known


async def test_a_running_attempts_log_is_deleted_for_good(tmp_path: Path) -> None:
    """Its agent sends all of it again, now and after a new start; none of it comes back."""
    name = f"a/default/{7:032x}"
    first = b"2026-11-22T11:47:16.000Z stdout F secret\n"
    store = LogStore(tmp_path)
    service = LogsService(store)
    await service.append(pb.AppendLogsRequest(log_stream_name=name, data=first))
    follower = service.tail(pb.TailLogsRequest(log_stream_name=name, follow=True))
    assert not (await anext(follower)).complete
    await store.delete(store.catalogue.groups[JOBS], [name])
    assert (await anext(follower)).complete
    await store.close()
    again = LogStore(tmp_path)
    for sent_to in (service, LogsService(again)):
        asked = await sent_to.append(pb.AppendLogsRequest(log_stream_name=name))
        assert (asked.stored_bytes, asked.complete) == (0, False)
        answer = await sent_to.append(
            pb.AppendLogsRequest(log_stream_name=name, offset=40, data=b"x" * 7)
        )
        assert (answer.stored_bytes, answer.complete) == (47, False)
        end = pb.AppendLogsRequest(log_stream_name=name, offset=0, data=first, complete=True)
        assert (await sent_to.append(end)).complete
    assert files(tmp_path) == [".deleted"]
    await again.take_stock()
    assert await again.catalogue.stream(again.catalogue.groups[JOBS], name) is None
    await LogHistory(again, timedelta(days=90)).tick()
    assert files(tmp_path) == [".deleted"]
    os.utime((await again.log(name)).path.with_suffix(".deleted"), (time.time() - 98 * DAY,) * 2)
    await LogHistory(again, timedelta(days=90)).tick()
    assert files(tmp_path) == []
    await again.close()
