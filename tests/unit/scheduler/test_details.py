"""Unchanging details of jobs are kept as far as their bytes go."""

import uuid
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from typing import cast

import pytest

from longshore.scheduler.details import DetailsCache
from longshore.state.pool import Connection
from longshore.state.scheduler import job_transition
from longshore.state.scheduler.job_transition import JobDetails

IDS = [uuid.UUID(int=n) for n in range(10)]
CREATED = datetime(2026, 1, 1, tzinfo=UTC)
NOWHERE = cast("Connection", None)


def a_job(job_id: uuid.UUID, container_bytes: int) -> JobDetails:
    return JobDetails(
        job_id, "job", "q", "def", 1, None, 1, None, CREATED, b"x" * container_bytes, rules=()
    )


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[uuid.UUID]:
    """The jobs that were read, in order."""
    read: list[uuid.UUID] = []

    async def details(_: Connection, ids: Iterable[uuid.UUID]) -> dict[uuid.UUID, JobDetails]:
        read.extend(sorted(ids))
        return {job_id: a_job(job_id, 40_000) for job_id in ids}

    monkeypatch.setattr(job_transition, "details", details)
    return read


async def test_what_was_used_last_is_kept(asked: list[uuid.UUID]) -> None:
    cache = DetailsCache(100_000)
    await cache.get(NOWHERE, IDS[:1])
    await cache.get(NOWHERE, IDS[1:2])
    await cache.get(NOWHERE, IDS[:1])
    await cache.get(NOWHERE, IDS[2:3])
    assert cache.bytes <= 100_000
    await cache.get(NOWHERE, IDS[:1])
    assert asked == IDS[:3]
    await cache.get(NOWHERE, IDS[1:2])
    assert asked == [*IDS[:3], IDS[1]]


async def test_more_than_there_is_room_for_is_answered_and_not_kept(
    asked: list[uuid.UUID],
) -> None:
    cache = DetailsCache(100_000)
    assert set(await cache.get(NOWHERE, IDS)) == set(IDS)
    assert asked == IDS
    assert 0 < cache.bytes <= 100_000


async def test_what_may_change_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[uuid.UUID] = []

    async def details(_: Connection, ids: Iterable[uuid.UUID]) -> dict[uuid.UUID, JobDetails]:
        read.extend(ids)
        return {job_id: replace(a_job(job_id, 0), tags={"n": str(len(read))}) for job_id in ids}

    monkeypatch.setattr(job_transition, "details", details)
    cache = DetailsCache()
    for number in ("1", "2"):
        found = await cache.get(NOWHERE, IDS[:1])
        assert found[IDS[0]].tags == {"n": number}
    assert cache.bytes == 0
