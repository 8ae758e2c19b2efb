"""What waits for a tick is bounded by bytes and number."""

import asyncio

import pytest

from longshore.domain.job.job import JobKey
from longshore.domain.job.record import AttemptReport
from longshore.scheduler.inbox import Inbox, Report


def a_report(size: int, changes: int = 1) -> Report:
    change = AttemptReport(JobKey.parse("0" * 8 + "-0000" * 3 + "-" + "0" * 12), 1, True, None)
    return Report([change] * changes, size=size)


@pytest.mark.parametrize("inbox", [Inbox(2, 1_000), Inbox(100, 20)])
async def test_who_brings_too_much_waits_until_there_is_room(inbox: Inbox) -> None:
    reports = [a_report(10) for _ in range(3)]
    await inbox.put(reports[0])
    await inbox.put(reports[1])
    putting = asyncio.create_task(inbox.put(reports[2]))
    await asyncio.sleep(0)
    assert not putting.done()
    assert await inbox.take(1) == reports[:1]
    await putting
    assert await inbox.take(100) == reports[1:]
    assert inbox.empty()


async def test_an_empty_inbox_takes_any_report() -> None:
    inbox = Inbox(2, 10)
    await inbox.put(a_report(1_000))
    assert not inbox.empty()


async def test_who_gives_up_waiting_leaves_nothing_behind() -> None:
    inbox = Inbox(1, 100)
    await inbox.put(a_report(1))
    putting = asyncio.create_task(inbox.put(a_report(2)))
    await asyncio.sleep(0)
    putting.cancel()
    await asyncio.gather(putting, return_exceptions=True)
    assert [report.size for report in await inbox.take(100)] == [1]
    await inbox.put(a_report(100))


async def test_reports_are_taken_whole_until_there_are_enough_changes() -> None:
    inbox = Inbox()
    for number in range(4):
        await inbox.put(a_report(number, changes=3))
    assert [report.size for report in await inbox.take(4)] == [0, 1]
