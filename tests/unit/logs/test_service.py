"""The log service keeps each byte once and hands it out to whoever waits for it."""

import asyncio
import os
import threading
from pathlib import Path

import pytest
from support.patience import PATIENCE_SECONDS

from longshore.domain.errors import InvalidRequest, NotFound, OutOfRange
from longshore.logs.reader import BATCH_ENTRIES
from longshore.logs.service import LogsService
from longshore.logs.store import LogStore
from longshore.v1 import log_service_pb2 as pb

NAME = "definition/default/0123456789abcdef"


@pytest.fixture
def service(tmp_path: Path) -> LogsService:
    return LogsService(LogStore(tmp_path))


def lines(first: int, last: int, source: str = "stdout") -> bytes:
    return b"".join(
        b"2026-11-22T11:47:16.%09dZ %s F line %d\n" % (index, source.encode(), index)
        for index in range(first, last + 1)
    )


async def append(
    service: LogsService, data: bytes, offset: int = 0, *, complete: bool = False, name: str = NAME
) -> pb.AppendLogsResponse:
    return await service.append(
        pb.AppendLogsRequest(log_stream_name=name, offset=offset, data=data, complete=complete)
    )


async def tail(
    service: LogsService, name: str = NAME, *, follow: bool = False, offset: int = 0, last: int = 0
) -> list[pb.TailLogsResponse]:
    request = pb.TailLogsRequest(
        log_stream_name=name, follow=follow, offset=offset, tail_lines=last
    )
    return [response async for response in service.tail(request)]


def texts(responses: list[pb.TailLogsResponse]) -> list[str]:
    return [entry.text.decode() for response in responses for entry in response.entries]


async def test_entries_tell_time_source_and_text(service: LogsService) -> None:
    data = b"2026-11-22T11:47:16.123456789Z stderr P half \n2026-11-22T11:47:17Z stdout F \xff\n"
    await append(service, data)
    (response,) = await tail(service)
    first, second = response.entries
    assert (first.source, first.partial, first.text) == (pb.LOG_SOURCE_STDERR, True, b"half ")
    assert (first.time.seconds, first.time.nanos) == (1795348036, 123456789)
    assert (second.source, second.partial, second.text) == (pb.LOG_SOURCE_STDOUT, False, b"\xff")
    assert (response.next_offset, response.complete) == (len(data), False)


async def test_a_chunk_sent_twice_is_stored_once(service: LogsService) -> None:
    data = lines(1, 10)
    assert (await append(service, data[:100])).stored_bytes == 100
    assert (await append(service, data[:100])).stored_bytes == 100
    assert (await append(service, data)).stored_bytes == len(data)
    assert (await append(service, b"")).stored_bytes == len(data)
    assert texts(await tail(service)) == [f"line {index}" for index in range(1, 11)]


async def test_chunks_that_come_at_once_are_stored_in_order(service: LogsService) -> None:
    data = lines(1, 1000)
    step = len(data) // 10
    answers = await asyncio.gather(
        *(append(service, data[at : at + step], at) for at in range(0, len(data), step))
    )
    assert max(answer.stored_bytes for answer in answers) == len(data)
    assert texts(await tail(service)) == [f"line {index}" for index in range(1, 1001)]


async def test_a_disk_that_waits_holds_up_nobody_else(
    service: LogsService, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the disk is at one log, others are stored and read."""
    await append(service, lines(1, 1), name="other")
    waiting = threading.Event()
    pwrite = os.pwrite

    def slow(file: int, data: bytes, offset: int) -> int:
        if Path(f"/proc/self/fd/{file}").readlink().name == "slow.log":
            waiting.wait(PATIENCE_SECONDS)
        return pwrite(file, data, offset)

    monkeypatch.setattr(os, "pwrite", slow)
    stored = asyncio.create_task(append(service, lines(1, 1), name="slow"))
    assert (await append(service, lines(1, 2), name="other")).stored_bytes == len(lines(1, 2))
    assert texts(await tail(service, "other")) == ["line 1", "line 2"]
    assert not stored.done()
    waiting.set()
    assert (await stored).stored_bytes == len(lines(1, 1))


async def test_a_chunk_after_the_end_is_refused(service: LogsService) -> None:
    await append(service, lines(1, 1))
    with pytest.raises(OutOfRange):
        await append(service, lines(2, 2), 1000)


async def test_state_survives_a_restart(service: LogsService, tmp_path: Path) -> None:
    data = lines(1, 3)
    await append(service, data)
    await append(service, b"", len(data), complete=True)
    again = LogsService(LogStore(tmp_path))
    answer = await append(again, b"")
    assert (answer.stored_bytes, answer.complete) == (len(data), True)
    assert (await tail(again))[-1].complete
    assert (await append(again, lines(4, 4), len(data))).stored_bytes == len(data)


async def test_an_empty_log_can_be_complete(service: LogsService) -> None:
    assert (await append(service, b"", complete=True)).complete
    assert [response.complete for response in await tail(service, follow=True)] == [True]


async def test_unknown_logs(service: LogsService) -> None:
    with pytest.raises(NotFound):
        await tail(service)
    with pytest.raises(InvalidRequest):
        await tail(service, "")


async def test_following_wakes_many_readers(service: LogsService) -> None:
    """Readers that came before the first byte, in between, and at the end all see all."""
    early = [asyncio.create_task(tail(service, follow=True)) for _ in range(50)]
    await asyncio.sleep(0)
    data = lines(1, 100)
    half = len(lines(1, 50))
    await append(service, data[:half])
    await asyncio.sleep(0)
    between = asyncio.create_task(tail(service, follow=True))
    await asyncio.sleep(0)
    await append(service, data[half:], half)
    await append(service, b"", len(data), complete=True)
    for reader in [*early, between]:
        assert texts(await reader) == [f"line {index}" for index in range(1, 101)]


async def test_batches_are_bounded(service: LogsService) -> None:
    await append(service, lines(1, 2500), complete=True)
    responses = await tail(service, follow=True)
    assert max(len(response.entries) for response in responses) == BATCH_ENTRIES
    assert len(texts(responses)) == 2500
    assert [response.complete for response in responses] == [False] * (len(responses) - 1) + [True]


async def test_reading_goes_on_at_an_earlier_answer(service: LogsService) -> None:
    await append(service, lines(1, 3))
    (first,) = [response for response in await tail(service) if response.entries]
    await append(service, lines(4, 5), first.next_offset, complete=True)
    assert texts(await tail(service, offset=first.next_offset)) == ["line 4", "line 5"]


@pytest.mark.parametrize("last", [1, 3, 19_999, 20_000, 30_000])
async def test_tail_lines(service: LogsService, last: int) -> None:
    data = lines(1, 20_000)
    for offset in range(0, len(data), 500_000):
        await append(service, data[offset : offset + 500_000], offset)
    expected = [f"line {index}" for index in range(max(1, 20_001 - last), 20_001)]
    assert texts(await tail(service, last=last)) == expected


async def test_names_stay_within_the_directory(service: LogsService, tmp_path: Path) -> None:
    names = ["../../escape", "/etc/passwd", "..", ".", "a\0b", "x" * 1000, "a/b", "a%2Fb", "Ünï"]
    for name in names:
        await append(service, lines(1, 1), name=name, complete=True)
    files = await asyncio.to_thread(lambda: list(tmp_path.rglob("*.log")))
    assert len(files) == len(names)
    assert all(len(path.relative_to(tmp_path).parts) == 2 for path in files)
    for name in names:
        assert texts(await tail(service, name)) == ["line 1"]


def test_logs_are_for_their_owner_alone(tmp_path: Path) -> None:
    """Their names tell of jobs, and what is printed may be secret."""
    LogStore(tmp_path / "logs")
    assert (tmp_path / "logs").stat().st_mode & 0o077 == 0


async def test_stopping_ends_those_who_follow(service: LogsService) -> None:
    reader = asyncio.create_task(tail(service, follow=True))
    await asyncio.sleep(0)
    service.stop()
    assert await reader == []
