"""Jobs that need consumable resources, through the scheduler and a database."""

import asyncio

from support.scheduling import DEADLINE, Ended, Stand, scheduler_stand

from longshore.domain.job.job import JobKey
from longshore.scheduler.explaining import explain_job


async def total_of(stand: Stand, name: str = "licence") -> int:
    return int(
        await stand.conn.fetchval(
            "SELECT total_quantity FROM consumable_resources WHERE name = $1", name
        )
    )


async def until_held(stand: Stand, quantity: int, name: str = "licence") -> None:
    """Waits until so much of a resource is on record as held."""
    async with asyncio.timeout(DEADLINE):
        while True:
            held = await stand.conn.fetchval(
                "SELECT held FROM consumable_usages WHERE resource = $1", name
            )
            if (held or 0) == quantity:
                return
            await asyncio.sleep(0.02)


async def test_a_job_waits_for_units_and_is_placed_when_they_are_free(database_url: str) -> None:
    async with scheduler_stand(database_url) as stand:
        await stand.environment()
        await stand.queue()
        await stand.consumable(total=3)
        agent = await stand.agent(vcpus=8)
        first = await stand.submit(units="licence=2")
        await agent.until(lambda: first in agent.assigned)
        second = await stand.submit(units="licence=2")
        assert await stand.explanation(second) == "Waiting for 2 of licence: 1 of 3 available."
        told = await explain_job(stand.conn, JobKey.parse(second))
        assert told.reasons[0][0] == "WAITING_FOR_CONSUMABLE_RESOURCE"
        # Another one behind it has what it needs.
        third = await stand.submit(units="licence=1")
        await agent.until(lambda: third in agent.assigned)
        await until_held(stand, 3)
        await agent.end(first, Ended(), started=True)
        await agent.until(lambda: second in agent.assigned)
        await until_held(stand, 3)
        assert await total_of(stand) == 3
