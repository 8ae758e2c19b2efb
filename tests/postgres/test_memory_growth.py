"""More memory after an attempt that had too little: another shape, each child of an array alone."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from support import scheduling
from support.patience import PATIENCE_SECONDS
from support.scheduling import Ended, scheduler_stand
from support.submission import Json, Stand, a_container, some_nodes, submission_stand

from longshore.domain.errors import InvalidRequest
from longshore.domain.resources import Resources
from longshore.state.scheduler import attempt, demand
from longshore.v1 import agent_service_pb2 as pb

OUT_OF_MEMORY = Ended(
    exit_code=137, reason="OutOfMemoryError: Container killed due to memory usage"
)


@pytest.fixture
async def stands(database_url: str) -> AsyncIterator[tuple[Stand, scheduling.Stand]]:
    async with scheduler_stand(database_url) as other, submission_stand(database_url) as stand:
        await stand.prepare()
        yield stand, other


def _growing(attempts: int, factor: float, most: int, **more: Any) -> Json:
    return {
        "retryStrategy": {
            "attempts": attempts,
            "oomMemoryFactor": factor,
            "oomMemoryMaxMib": most,
            **more,
        }
    }


def _needs(least: dict[int, int]) -> Any:
    """An answer by which children need so many MiB by their index, and fail otherwise with less."""

    def answer(assignment: pb.Assignment) -> Ended:
        needed = least.get(assignment.array_index, 0)
        return OUT_OF_MEMORY if assignment.resources.memory_mib < needed else Ended()

    return answer


async def test_a_job_gets_more_memory_until_it_has_enough(
    stands: tuple[Stand, scheduling.Stand],
) -> None:
    stand, other = stands
    await other.agent(vcpus=4, environment="ce", answers=_needs({0: 140}))
    job_id = await stand.submit(**_growing(5, 1.5, 1000))
    await other.until(job_id, "SUCCEEDED")
    shown = await stand.describe(job_id)
    assert [int(attempt["memoryMib"]) for attempt in shown["attempts"]] == [64, 96, 144]
    assert int(shown["memoryMib"]) == 144
    assert shown["retryStrategy"]["oomMemoryFactor"] == 1.5
    await other.check()


async def test_not_more_than_its_bound_and_only_for_want_of_memory(
    stands: tuple[Stand, scheduling.Stand],
) -> None:
    stand, other = stands
    ends = iter([Ended(exit_code=1), OUT_OF_MEMORY, OUT_OF_MEMORY, Ended(exit_code=137)])
    await other.agent(vcpus=4, environment="ce", answers=lambda _: next(ends))
    job_id = await stand.submit(**_growing(4, 3, 100))
    await other.until(job_id, "FAILED")
    shown = await stand.describe(job_id)
    assert [int(attempt["memoryMib"]) for attempt in shown["attempts"]] == [64, 64, 100, 100]


async def test_children_grow_each_alone_and_what_waits_is_demand_of_its_size(
    stands: tuple[Stand, scheduling.Stand],
) -> None:
    """What is on record of them is what another scheduler would begin with."""
    stand, other = stands
    await other.agent(vcpus=1, environment="ce", answers=_needs({1: 128, 2: 5000}))
    array = await stand.submit(arrayProperties={"size": 3}, **_growing(3, 10, 3000))
    await other.until(f"{array}:0", "SUCCEEDED")
    await other.until(f"{array}:1", "SUCCEEDED")
    # 64 and 640 MiB were too little, and there is no instance that has 3,000.
    async with asyncio.timeout(PATIENCE_SECONDS):
        while await _waiting(other) != [(3000, 1)]:
            await asyncio.sleep(0.01)
    shown = [await stand.describe(f"{array}:{n}") for n in range(3)]
    assert [int(child["memoryMib"]) for child in shown] == [64, 640, 3000]
    assert "memoryMib" not in await stand.describe(array)
    big = await other.agent(vcpus=4, environment="ce")
    await big.until(lambda: f"{array}:2" in big.assigned)
    await other.check()
    [live] = await attempt.live(other.conn)
    [needed] = (await demand.shapes(other.conn, [live.shape_id])).values()
    assert (live.held, needed.need) == (Resources(1000, 3000, 0),) * 2
    await big.end(f"{array}:2", OUT_OF_MEMORY)
    await other.until(array, "FAILED")
    await other.check()


async def _waiting(other: scheduling.Stand) -> list[tuple[int, int]]:
    rows = await other.conn.fetch(
        "SELECT memory_mib, runnable FROM demand JOIN shapes USING (shape_id) WHERE runnable > 0"
    )
    return [tuple(row) for row in rows]


@pytest.mark.parametrize(
    ("retry", "member"),
    [
        ({"oomMemoryFactor": 1, "oomMemoryMaxMib": 100}, "oomMemoryFactor"),
        ({"oomMemoryFactor": 10.1, "oomMemoryMaxMib": 100}, "oomMemoryFactor"),
        ({"oomMemoryFactor": "NaN", "oomMemoryMaxMib": 100}, "oomMemoryFactor"),
        ({"oomMemoryFactor": "Infinity", "oomMemoryMaxMib": 100}, "oomMemoryFactor"),
        ({"oomMemoryFactor": 2}, "oomMemoryMaxMib"),
        ({"oomMemoryMaxMib": 100}, "oomMemoryMaxMib"),
        ({"oomMemoryFactor": 2, "oomMemoryMaxMib": 0}, "oomMemoryMaxMib"),
        ({"oomMemoryFactor": 2, "oomMemoryMaxMib": 63}, "oomMemoryMaxMib"),
    ],
)
async def test_what_is_wrong_is_refused(database_url: str, retry: Json, member: str) -> None:
    async with submission_stand(database_url) as stand:
        await stand.prepare()
        with pytest.raises(InvalidRequest) as refused:
            await stand.submit(retryStrategy={"attempts": 2, **retry})
        assert refused.value.fields["member"] == f"retryStrategy.{member}"


async def test_for_single_containers_alone_and_also_by_a_definition(database_url: str) -> None:
    async with submission_stand(database_url) as stand:
        await stand.prepare()
        await stand.register_nodes(nodes=some_nodes())
        with pytest.raises(InvalidRequest, match="not for multi-node jobs"):
            await stand.submit(jobDefinition="n", **_growing(2, 2, 4096))
        await stand.register_several()
        with pytest.raises(InvalidRequest, match="not for jobs of several containers") as refused:
            await stand.submit(jobDefinition="m", **_growing(2, 2, 4096))
        assert refused.value.member == "retryStrategy.oomMemoryFactor"
        # A definition's strategy is taken as well.
        await stand.register("g", a_container(), **_growing(2, 2, 4096))
        job = await stand.describe(await stand.submit(jobDefinition="g"))
        assert job["retryStrategy"]["oomMemoryMaxMib"] == 4096
