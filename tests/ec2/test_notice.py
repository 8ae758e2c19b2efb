"""What the metadata service says reaches the scheduler."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from support.agent import Stand
from support.metadata import MetadataService
from support.patience import PATIENCE_SECONDS

from longshore.agent.reporting.notice import MetadataWatch
from longshore.v1 import agent_service_pb2 as pb

ACTION = "spot/instance-action"
REBALANCE = "events/recommendations/rebalance"
TERMINATE = {"action": "terminate", "time": "2026-01-31T08:22:00Z"}


@pytest.fixture
async def metadata() -> AsyncIterator[MetadataService]:
    service = MetadataService()
    await service.start()
    yield service
    await service.stop()


@pytest.fixture
async def told(metadata: MetadataService) -> AsyncIterator[asyncio.Queue[pb.AgentNotice]]:
    """What a watch tells."""
    notices: asyncio.Queue[pb.AgentNotice] = asyncio.Queue()
    watch = asyncio.create_task(
        MetadataWatch(notices.put_nowait, metadata.url, interval=0.02).run()
    )
    yield notices
    assert not watch.done()
    watch.cancel()
    await asyncio.gather(watch, return_exceptions=True)


async def _asked(metadata: MetadataService, times: int) -> None:
    """Waits until the service was asked some more times."""
    wanted = len(metadata.requests) + times
    async with asyncio.timeout(PATIENCE_SECONDS):
        while len(metadata.requests) < wanted:
            await asyncio.sleep(0.01)


async def _next(told: asyncio.Queue[pb.AgentNotice]) -> pb.AgentNotice:
    async with asyncio.timeout(PATIENCE_SECONDS):
        return await told.get()


async def test_nothing_to_say(
    metadata: MetadataService, told: asyncio.Queue[pb.AgentNotice]
) -> None:
    """One token, many looks, no notice."""
    await _asked(metadata, 6)
    assert told.empty()
    assert metadata.tokens_given == 1


async def test_the_end_of_a_spot_instance(
    metadata: MetadataService, told: asyncio.Queue[pb.AgentNotice]
) -> None:
    """Told once, with the time."""
    metadata.announce(ACTION, TERMINATE)
    notice = await _next(told)
    assert notice.end_time.ToDatetime(UTC) == datetime(2026, 1, 31, 8, 22, tzinfo=UTC)
    assert notice.reason == "EC2 will terminate this spot instance."
    await _asked(metadata, 4)
    assert told.empty()


async def test_advice_first_and_then_the_end(
    metadata: MetadataService, told: asyncio.Queue[pb.AgentNotice]
) -> None:
    """A recommendation has no time of the end; the end itself goes before it."""
    metadata.announce(REBALANCE, {"noticeTime": "2026-01-31T08:00:00Z"})
    advice = await _next(told)
    assert not advice.HasField("end_time")
    assert "2026-01-31T08:00:00Z" in advice.reason
    metadata.announce(ACTION, TERMINATE)
    assert (await _next(told)).HasField("end_time")


async def test_a_token_that_is_not_taken_any_more(
    metadata: MetadataService, told: asyncio.Queue[pb.AgentNotice]
) -> None:
    """A new one is asked for."""
    await _asked(metadata, 2)
    metadata.token = "another"  # noqa: S105 - of nobody
    metadata.announce(ACTION, TERMINATE)
    assert (await _next(told)).HasField("end_time")
    assert metadata.tokens_given == 2


async def test_trouble_passes(
    metadata: MetadataService, told: asyncio.Queue[pb.AgentNotice]
) -> None:
    """Neither errors nor nonsense end the watch."""
    metadata.fails = True
    await _asked(metadata, 3)
    metadata.fails = False
    for nonsense in ("[]", "{", '{"action": "terminate"}', '{"action": "a", "time": "soon"}'):
        metadata.texts[ACTION] = nonsense
        await _asked(metadata, 2)
    assert told.empty()
    metadata.announce(ACTION, TERMINATE)
    assert (await _next(told)).HasField("end_time")


async def test_the_agent_tells_the_scheduler(metadata: MetadataService, tmp_path: Path) -> None:
    """On its stream, and again when it registers anew."""
    stand = Stand(
        tmp_path,
        "process",
        LONGSHORE_METADATA="ec2",
        LONGSHORE_METADATA_ENDPOINT=metadata.url,
        LONGSHORE_METADATA_SECONDS="0.1",
    )
    try:
        await stand.start_scheduler()
        await stand.start_agent()
        assert stand.scheduler.notices == []
        metadata.announce(ACTION, TERMINATE)
        await stand.scheduler.until(lambda: len(stand.scheduler.notices) == 1)
        await stand.stop_scheduler()
        await stand.start_scheduler()
        await stand.scheduler.until(lambda: len(stand.scheduler.notices) == 2)
        assert stand.scheduler.notices[0] == stand.scheduler.notices[1]
        assert len(stand.scheduler.registrations) == 2
    finally:
        await stand.close()
