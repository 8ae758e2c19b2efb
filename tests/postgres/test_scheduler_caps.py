"""Caps on what runs of an array and of a queue, from the tables to placement, scaling and words."""

from datetime import UTC, datetime, timedelta

from support.scheduling import Ended, Stand, scheduler_stand
from support.simulation import SimulatedAgent, Simulation, simulation

from longshore.domain.catalogue import Catalogue
from longshore.domain.job.job import JobKey
from longshore.scheduler.explaining import explain_job
from longshore.state.scaler.scaling import load_snapshot


def children(agent: SimulatedAgent, array: str) -> set[int]:
    """Which children of an array an agent runs."""
    jobs = (job.rpartition(":") for job, _ in agent.running)
    return {int(index) for job, _, index in jobs if job == array}


async def said(stand: Stand, job: str) -> str:
    """Why a job waits."""
    return (await explain_job(stand.conn, JobKey.parse(job))).summary


async def demand(stand: Stand) -> list[int]:
    """For how many jobs of each shape the scaler sees a need, in order."""
    async with stand.conn.transaction():
        seen = await load_snapshot(
            stand.conn,
            Catalogue(),
            now=datetime.now(UTC),
            cool_down=timedelta(seconds=60),
        )
    return [shape.runnable for queue in seen.snapshot.queues for shape in queue.shapes]


async def cap(world: Simulation, most: int) -> None:
    await world.stand.cap(most)
    world.scheduler.note_topology()
    await world.settle()


async def test_a_capped_array_runs_so_many_children_and_holds_nobody_up(database_url: str) -> None:
    async with simulation(database_url) as world:
        await world.stand.queue()
        world.scheduler.note_topology()
        agent = await world.join("i-00000000000000001", 8)
        array = await world.stand.submit(size=10, max_running=3, attempts=2)
        alike = await world.stand.submit(size=2)
        await world.settle()
        assert children(agent, array) == {0, 1, 2}
        assert children(agent, alike) == {0, 1}
        assert await said(world.stand, f"{array}:5") == "Held by the cap of its array: 3 of 3 run."
        # The scaler sees no need of instances for it.
        assert await demand(world.stand) == []
        # One that is tried again counts no more meanwhile, and comes first.
        await agent.end((f"{array}:1", 1), Ended(1))
        await world.settle()
        assert children(agent, array) == {0, 1, 2}
        for index in range(10):
            attempt = 2 if index == 1 else 1
            await agent.end((f"{array}:{index}", attempt), Ended())
            await world.settle()
            assert len(children(agent, array)) == min(3, 9 - index)
            await world.check()
        assert await world.stand.conn.fetchval("SELECT count(*) FROM demand") == 0


async def test_the_cap_of_a_queue_counts_all_its_jobs_and_changes_at_once(
    database_url: str,
) -> None:
    async with simulation(database_url) as world:
        await world.stand.queue()
        await world.stand.queue("other")
        agent = await world.join("i-00000000000000001", 8)
        await cap(world, 2)
        first = await world.stand.submit(vcpus=2)
        array = await world.stand.submit(size=5)
        foreign = await world.stand.submit("other")
        await world.settle()
        assert agent.running.keys() == {(first, 1), (f"{array}:0", 1), (foreign, 1)}
        assert await said(world.stand, f"{array}:1") == "Held by the cap of its queue: 2 of 2 run."
        assert await demand(world.stand) == []
        await cap(world, 3)
        assert children(agent, array) == {0, 1}
        await cap(world, 1)
        told = "Held by the cap of its queue: more than 1 of 1 run."
        assert await said(world.stand, f"{array}:2") == told
        # What runs goes on; nothing is placed before fewer run than may.
        await agent.end((f"{array}:0", 1), Ended())
        await agent.end((f"{array}:1", 1), Ended())
        await world.settle()
        assert children(agent, array) == set()
        await cap(world, 0)
        assert children(agent, array) == {2, 3, 4}
        await world.check()


async def test_what_found_no_room_says_so_again_once_the_cap_leaves_something(
    database_url: str,
) -> None:
    async with simulation(database_url) as world:
        await world.stand.queue()
        agent = await world.join("i-00000000000000001", 4)
        await cap(world, 2)
        first = await world.stand.submit()
        large = await world.stand.submit(vcpus=8)
        await world.settle()
        short = "Waiting for room: 1 instance: 1 short of vCPU."
        assert await said(world.stand, large) == short
        second = await world.stand.submit()
        await world.settle()
        assert await said(world.stand, large) == "Held by the cap of its queue: 2 of 2 run."
        assert await demand(world.stand) == []
        await agent.end((second, 1), Ended())
        await world.settle()
        assert agent.running.keys() == {(first, 1)}
        assert await said(world.stand, large) == short
        await world.check()


async def test_a_successor_counts_what_runs(database_url: str) -> None:
    async with simulation(database_url) as world:
        await world.stand.queue()
        agent = await world.join("i-00000000000000001", 8)
        await cap(world, 4)
        array = await world.stand.submit(size=10, max_running=2, attempts=2)
        other = await world.stand.submit(size=10, attempts=2)
        await world.settle()
        await world.restart()
        await world.settle()
        assert (children(agent, array), children(agent, other)) == ({0, 1}, {0, 1})
        # An instance that is lost gives its places back.
        await world.lose(agent)
        again = await world.join("i-00000000000000002", 8)
        await world.settle()
        assert (children(again, array), children(again, other)) == ({0, 1}, {0, 1})
        await world.check()


async def test_the_scaler_orders_for_what_caps_let_run(database_url: str) -> None:
    """Without an instance: of a capped array, and of a queue by the order of its jobs."""
    async with scheduler_stand(database_url) as stand:
        await stand.managed()
        await stand.queue("q", "fleet")
        array = await stand.submit(size=100, max_running=5)
        many = await stand.submit(size=50, vcpus=2)
        await stand.until(many, "PENDING")
        await stand.until(array, "PENDING")
        assert await demand(stand) == [5, 50]
        await stand.cap(8)
        assert await demand(stand) == [5, 3]


async def test_a_multi_node_job_counts_as_one(database_url: str) -> None:
    async with simulation(database_url) as world:
        await world.stand.managed()
        await world.stand.queue("q", "fleet")
        for number in range(1, 5):
            await world.join_managed(f"i-{number:017x}", 4)
        await cap(world, 1)
        for _ in range(2):
            await world.stand.submit(nodes=2)
        await world.settle()
        assert await world.stand.conn.fetchval("SELECT count(*) FROM attempts") == 2
        memory = world.scheduler.lead.memory
        assert memory is not None
        assert dict(memory.running.by_queue) == {"q": 1}
        await world.check()
