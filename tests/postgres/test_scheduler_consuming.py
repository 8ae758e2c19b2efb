"""Jobs that need consumable resources, through the scheduler and a database."""

import asyncio

import asyncpg
from support.scheduling import DEADLINE, Agent, Ended, Stand, scheduler_stand

from longshore.domain.consumable import QUANTITY_MAX
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


async def test_the_total_changes_while_units_are_held(database_url: str) -> None:
    async with scheduler_stand(database_url) as stand:
        await stand.environment()
        await stand.queue()
        await stand.consumable(total=2)
        agent = await stand.agent(vcpus=8)
        jobs = [await stand.submit(units="licence=1") for _ in range(5)]
        await agent.until(lambda: len(agent.assigned) == 2)
        # Fewer than are held: they stay, and nobody gets any until there are some again.
        await stand.consumable(total=1)
        await agent.end(jobs[0], Ended(), started=True)
        await stand.until(jobs[0], "SUCCEEDED")
        await until_held(stand, 1)
        assert "0 of 1 available" in await stand.explanation(jobs[2])
        await stand.consumable(total=4)
        await agent.until(lambda: len(agent.assigned) == 5)
        await until_held(stand, 4)


async def test_what_is_locked_by_a_change_is_not_given_out_before_it(database_url: str) -> None:
    """A placement that is decided while a user takes the last unit away sees that it is gone."""
    async with scheduler_stand(database_url) as stand:
        await stand.environment()
        await stand.queue()
        await stand.consumable(total=1)
        agent = await stand.agent(vcpus=8)
        user = await asyncpg.connect(database_url)
        try:
            change = user.transaction()
            await change.start()
            await user.execute("UPDATE consumable_resources SET total_quantity = 0")
            job = await stand.submit(units="licence=1")
            async with asyncio.timeout(DEADLINE):
                while not await stand.conn.fetchval(
                    "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' "
                    "AND datname = current_database() AND query LIKE '%consumable_resources%'"
                ):
                    await asyncio.sleep(0.02)
            await change.commit()
        finally:
            await user.close()
        assert "0 of 0 available" in await stand.explanation(job)
        assert not agent.assigned
        await stand.consumable(total=1)
        await agent.until(lambda: job in agent.assigned)


async def test_units_outlive_the_scheduler_and_end_with_their_attempt(database_url: str) -> None:
    async with scheduler_stand(database_url) as stand:
        await stand.environment()
        await stand.queue()
        await stand.consumable(total=1)
        await stand.consumable("tokens", 5, "NON_REPLENISHABLE")
        agent = await stand.agent(vcpus=8)
        first = await stand.submit(units="licence=1,tokens=2", attempts=2)
        await agent.until(lambda: first in agent.assigned)
        second = await stand.submit(units="licence=1")
        await stand.until(second, "RUNNABLE")
    # Nobody was there when it was placed, nor when it ends.
    async with scheduler_stand(database_url) as stand:
        agent = Agent(stand.port, agent.instance_id, "machines", 8)
        stand.agents.append(agent)
        registered = await agent.connect()
        assert [a.key.job_id for a in registered.assignments] == [first]
        assert "0 of 1 available" in await stand.explanation(second)
        await agent.end(first, Ended(1), started=True)
        # Between its attempts others may have them, and it is the first that waits.
        await agent.until(lambda: (first, 2) in agent.seen)
        assert await total_of(stand, "tokens") == 1
        await agent.end(first, Ended(), started=True)
        await agent.until(lambda: second in agent.assigned)
        await agent.end(second, Ended(), started=True)
        await stand.until(second, "SUCCEEDED")
        await until_held(stand, 0)
        assert await total_of(stand, "tokens") == 1


async def test_an_attempt_that_was_none_used_nothing_up(database_url: str) -> None:
    async with scheduler_stand(database_url) as stand:
        await stand.environment()
        await stand.queue()
        await stand.consumable("tokens", 3, "NON_REPLENISHABLE")
        agent = await stand.agent(vcpus=8)
        job = await stand.submit(units="tokens=3")
        await agent.until(lambda: job in agent.assigned)
        assert await total_of(stand, "tokens") == 0
        await agent.give_back(job)
        await agent.until(lambda: len(agent.seen) == 2)
        assert await total_of(stand, "tokens") == 0
        await agent.end(job, Ended(), started=True)
        await stand.until(job, "SUCCEEDED")


async def test_children_of_an_array_share_the_units(database_url: str) -> None:
    async with scheduler_stand(database_url) as stand:
        await stand.environment()
        await stand.queue()
        await stand.consumable(total=3)
        most = 0

        def answer(_: object) -> Ended:
            return Ended()

        agent = await stand.agent(vcpus=16, answers=answer)
        job = await stand.submit(size=40, units="licence=1")
        await stand.until(job, "SUCCEEDED")
        rows = await stand.conn.fetch("SELECT placed_at, stopped_at FROM attempts")
        for row in rows:
            most = max(most, sum(r[0] <= row[0] < r[1] for r in rows))
        assert len(agent.seen) == 40
        assert most <= 3
        await until_held(stand, 0)


async def test_a_resource_that_goes_and_comes_again_is_the_same(database_url: str) -> None:
    async with scheduler_stand(database_url) as stand:
        await stand.environment()
        await stand.queue()
        await stand.consumable(total=2)
        agent = await stand.agent(vcpus=8)
        first = await stand.submit(units="licence=2")
        await agent.until(lambda: first in agent.assigned)
        await stand.conn.execute("DELETE FROM consumable_resources")
        second = await stand.submit(units="licence=1")
        assert "no such consumable resource" in await stand.explanation(second)
        await stand.consumable(total=2)
        # What the first one holds counts.
        third = await stand.submit(units="licence=1", vcpus=2)
        assert "0 of 2 available" in await stand.explanation(third)
        await agent.end(first, Ended(), started=True)
        await agent.until(lambda: {second, third} <= agent.assigned.keys())


async def test_who_comes_back_goes_on_only_with_units_that_are_still_there(
    database_url: str,
) -> None:
    async with scheduler_stand(database_url) as stand:
        await stand.environment()
        await stand.queue()
        await stand.consumable(total=2)
        lost = await stand.agent(vcpus=2)
        gone = await stand.submit(units="licence=1", vcpus=2, attempts=2)
        await lost.until(lambda: gone in lost.assigned)
        await lost.start(gone)
        await stand.until(gone, "RUNNING")
        key = lost.assigned[gone].key
        await stand.silence(lost)
        await stand.until(gone, "RUNNABLE")
        await until_held(stand, 0)
        # Another job has both units by now.
        other = await stand.agent(vcpus=1)
        busy = await stand.submit(units="licence=2")
        await other.until(lambda: busy in other.assigned)
        back = Agent(stand.port, lost.instance_id, "machines", 2)
        stand.agents[stand.agents.index(lost)] = back
        # What it is not told of it stops.
        assert not (await back.connect([key])).assignments
        await until_held(stand, 2)
        await other.end(busy, Ended(), started=True)
        await back.until(lambda: (gone, 2) in back.seen)


async def test_a_multi_node_job_holds_its_units_until_its_last_node_ends(
    database_url: str,
) -> None:
    async with scheduler_stand(database_url) as stand:
        await stand.managed()
        await stand.queue("q", "fleet")
        await stand.consumable(total=5)
        agents = [await stand.join(vcpus=2) for _ in range(2)]
        job = await stand.submit(nodes=2, vcpus=2, units="licence=5")
        main, other = f"{job}#0", f"{job}#1"

        def has(agent: Agent, node: str) -> bool:
            return node in agent.assigned

        async with asyncio.timeout(DEADLINE):
            while not any(has(agent, main) for agent in agents):
                await asyncio.sleep(0.01)
        await until_held(stand, 5)
        first = next(agent for agent in agents if has(agent, main))
        second = next(agent for agent in agents if agent is not first)
        await first.start(main, "10.0.0.1")
        await second.until(lambda: has(second, other))
        waiting = await stand.submit(units="licence=1")
        await first.end(main, Ended(), started=True)
        await second.until(lambda: bool(second.stops))
        assert "0 of 5 available" in await stand.explanation(waiting)
        await second.end(other, Ended(137), started=True)
        await stand.until(job, "SUCCEEDED")
        await stand.until(waiting, "STARTING")
        await until_held(stand, 1)


async def test_more_may_be_used_up_than_a_number_can_say(database_url: str) -> None:
    async with scheduler_stand(database_url) as stand:
        await stand.environment()
        await stand.queue()
        agent = await stand.agent(vcpus=8)
        for _ in range(2):
            await stand.consumable("tokens", QUANTITY_MAX, "NON_REPLENISHABLE")
            job = await stand.submit(units=f"tokens={QUANTITY_MAX}")
            await agent.until(lambda job=job: job in agent.assigned)
        for job in list(agent.assigned):
            await agent.end(job, Ended(), started=True)
        await until_held(stand, 0, "tokens")
        assert await total_of(stand, "tokens") == 0
