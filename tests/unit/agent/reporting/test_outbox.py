"""Changes become numbered reports, in order, once they are durable."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from structlog.testing import capture_logs
from support.disk import a_full_disk
from support.patience import PATIENCE_SECONDS

from longshore.agent.reporting.journal import Journal
from longshore.agent.reporting.outbox import BATCH_CHANGES, Outbox
from longshore.rpc.batch import BATCH_BYTES
from longshore.v1 import agent_service_pb2 as pb


def a_change(job_id: str, status: pb.AttemptStatus.ValueType) -> pb.AttemptChange:
    return pb.AttemptChange(key=pb.AttemptKey(job_id=job_id, attempt=1), status=status)


@asynccontextmanager
async def an_outbox() -> AsyncIterator[tuple[Outbox, list[pb.AttemptChange]]]:
    acknowledged: list[pb.AttemptChange] = []
    outbox = Outbox(Journal(None), acknowledged.append)
    running = asyncio.create_task(outbox.run())
    yield outbox, acknowledged
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_later_changes_of_an_attempt_take_the_place_of_earlier_ones() -> None:
    async with an_outbox() as (outbox, _):
        outbox.add(a_change("a", pb.ATTEMPT_STATUS_RUNNING))
        outbox.add(a_change("b", pb.ATTEMPT_STATUS_RUNNING))
        journaled = asyncio.Event()
        outbox.add(a_change("a", pb.ATTEMPT_STATUS_ENDED), journaled)
        await journaled.wait()
        (report,) = outbox.unsent(0)
        assert [(change.key.job_id, change.status) for change in report.changes] == [
            ("a", pb.ATTEMPT_STATUS_ENDED),
            ("b", pb.ATTEMPT_STATUS_RUNNING),
        ]


async def test_reports_are_bounded_and_numbered_without_gaps() -> None:
    async with an_outbox() as (outbox, acknowledged):
        last = asyncio.Event()
        for number in range(BATCH_CHANGES + 1):
            outbox.add(a_change(str(number), pb.ATTEMPT_STATUS_ENDED), last)
            last = asyncio.Event() if number < BATCH_CHANGES else last
        await last.wait()
        first, second = outbox.unsent(0)
        assert (len(first.changes), len(second.changes)) == (BATCH_CHANGES, 1)
        assert second.sequence == first.sequence + 1
        assert list(outbox.unsent(first.sequence)) == [second]
        outbox.acknowledge(first.sequence)
        assert len(acknowledged) == BATCH_CHANGES
        assert not outbox.empty
        outbox.acknowledge(second.sequence)
        assert outbox.empty


async def test_reports_are_bounded_by_bytes() -> None:
    async with an_outbox() as (outbox, _):
        last = asyncio.Event()
        for number in range(25):
            change = a_change(str(number), pb.ATTEMPT_STATUS_ENDED)
            change.status_reason = "x" * (BATCH_BYTES // 10)
            outbox.add(change, last if number == 24 else None)
        await last.wait()
        reports = list(outbox.unsent(0))
        assert [len(report.changes) for report in reports] == [9, 9, 7]
        assert all(report.ByteSize() < 1.1 * BATCH_BYTES for report in reports)


async def test_what_the_journal_held_is_sent_first() -> None:
    journal = Journal(None)
    report = pb.AgentReport(
        sequence=journal.sequence + 1, changes=[a_change("old", pb.ATTEMPT_STATUS_ENDED)]
    )
    journal.report(report)
    outbox = Outbox(journal, lambda _: None)
    assert outbox.ready.is_set()
    assert list(outbox.unsent(0)) == [report]


async def test_a_report_waits_for_room_on_the_disk(tmp_path: Path) -> None:
    """It is not sent before it is durable, and not lost either."""
    journal = Journal(tmp_path / "journal")
    outbox = Outbox(journal, lambda _: None)
    running = asyncio.create_task(outbox.run())
    journaled = asyncio.Event()
    with capture_logs() as logs, a_full_disk(10):
        outbox.add(a_change("a", pb.ATTEMPT_STATUS_ENDED), journaled)
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not logs:
                await asyncio.sleep(0.01)
        assert list(outbox.unsent(0)) == []
        assert {entry["event"] for entry in logs} == {"journal.not_written"}
    async with asyncio.timeout(PATIENCE_SECONDS):
        await journaled.wait()
    (report,) = outbox.unsent(0)
    assert report.changes[0].key.job_id == "a"
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    journal.close()
