"""Queues with a scheduling policy, from the mirror to the record and back."""

import asyncio
from datetime import UTC, datetime, timedelta

from support.scheduling import DEADLINE, Agent, Ended, Stand, scheduler_stand

from longshore.domain.job.job import JobKey
from longshore.scheduler.explaining import explain_job
from longshore.state.views.queue_snapshot import SharesInUse, read_snapshot


async def ended(stand: Stand, agent: Agent, *jobs: str) -> None:
    for job in jobs:
        await agent.end(job, Ended(), started=True)
        await stand.until(job, "SUCCEEDED")


async def usage(stand: Stand, share: str, running_milli: int) -> float:
    """A share's average on record, once it runs so much there."""
    async with asyncio.timeout(DEADLINE):
        while True:
            row = await stand.conn.fetchrow(
                "SELECT average, running_milli FROM share_usages WHERE share_identifier = $1", share
            )
            if row is not None and row["running_milli"] == running_milli:
                return float(row["average"])
            await asyncio.sleep(0.05)


async def seen(agent: Agent, count: int) -> list[str]:
    """Ids of the jobs that an agent was given, in order."""
    await agent.until(lambda: len(agent.seen) >= count)
    return [job for job, _ in agent.seen]


async def test_a_newcomer_is_served_before_those_who_wait_longer(database_url: str) -> None:
    async with scheduler_stand(database_url) as stand:
        await stand.environment()
        await stand.queue(policy=await stand.policy())
        agent = await stand.agent(vcpus=2)
        many = [await stand.submit(share="a") for _ in range(6)]
        await seen(agent, 2)
        late = await stand.submit(share="b")
        await stand.until(late, "RUNNABLE")
        await ended(stand, agent, many[0])
        assert (await seen(agent, 3))[2] == late
        # Each runs one now, but a has used more.
        other = await stand.submit(share="b")
        await stand.until(other, "RUNNABLE")
        await ended(stand, agent, many[1])
        assert (await seen(agent, 4))[3] in {other, many[2]}


async def test_priority_decides_within_a_share(database_url: str) -> None:
    async with scheduler_stand(database_url) as stand:
        await stand.environment()
        await stand.queue(policy=await stand.policy())
        agent = await stand.agent(vcpus=1)
        first = await stand.submit(share="a")
        await seen(agent, 1)
        low = await stand.submit(share="a")
        high = await stand.submit(share="a", priority=5)
        await stand.until(low, "RUNNABLE")
        await stand.until(high, "RUNNABLE")
        await ended(stand, agent, first)
        assert (await seen(agent, 2))[1] == high


async def test_arrays_of_two_shares_run_side_by_side(database_url: str) -> None:
    async with scheduler_stand(database_url) as stand:
        await stand.environment()
        weights = [{"shareIdentifier": "a", "weightFactor": 3.0}]
        await stand.queue(policy=await stand.policy(shareDistribution=weights))
        big = await stand.submit(share="a", size=100)
        small = await stand.submit(share="b", size=100)
        await stand.until(f"{big}", "PENDING")
        await stand.until(f"{small}", "PENDING")
        agent = await stand.agent(vcpus=8)
        jobs = await seen(agent, 8)
        assert sum(job.startswith(big) for job in jobs) == 2


async def test_usage_is_on_record_and_outlives_the_scheduler(database_url: str) -> None:
    async with scheduler_stand(database_url) as stand:
        await stand.environment()
        await stand.queue(policy=await stand.policy(shareDecaySeconds=1))
        agent = await stand.agent(vcpus=3)
        job = await stand.submit(share="a", vcpus=3)
        await stand.until(job, "STARTING")
        assert await usage(stand, "a", 3000) == 0
        other = await stand.submit(share="b")
        await stand.until(other, "RUNNABLE")
        waiting = await stand.submit(share="a")
        await stand.until(waiting, "RUNNABLE")
    # What ran while no scheduler looked counts for the next one.
    async with scheduler_stand(database_url) as stand:
        agent = Agent(stand.port, agent.instance_id, "machines", 3)
        stand.agents.append(agent)
        keys = [a.key for a in (await agent.connect()).assignments]
        assert [key.job_id for key in keys] == [job]
        agent.assigned[job].key.CopyFrom(keys[0])
        await ended(stand, agent, job)
        jobs = await seen(agent, 3)
        assert jobs[1] == other
        assert await usage(stand, "a", 1000) > 0.01


async def test_what_is_reserved_is_kept_for_a_share_to_come(database_url: str) -> None:
    async with scheduler_stand(database_url) as stand:
        fleet = await stand.managed(maxv_cpus=8)
        await stand.queue("q", fleet, policy=await stand.policy(computeReservation=50))
        agent = await stand.join(vcpus=8)
        jobs = [await stand.submit(share="a") for _ in range(8)]
        await seen(agent, 4)
        assert "that are not reserved" in await stand.explanation(jobs[7])
        assert len(agent.seen) == 4
        # With a second active share a quarter is kept in place of a half.
        new = await stand.submit(share="b")
        assert new in await seen(agent, 6)
        await stand.policy(computeReservation=0)
        assert len(await seen(agent, 8)) == 8


async def test_a_live_policy_may_change(database_url: str) -> None:
    async with scheduler_stand(database_url) as stand:
        await stand.environment()
        await stand.queue(policy=await stand.policy())
        agent = await stand.agent(vcpus=4)
        first = [await stand.submit(share=share) for share in ("a", "a", "b", "b")]
        await seen(agent, 4)
        for share in ("a", "b"):
            await stand.until(await stand.submit(share=share, size=50), "PENDING")
        await stand.policy(shareDistribution=[{"shareIdentifier": "a", "weightFactor": 0.001}])
        await ended(stand, agent, *first[:2])
        jobs = (await seen(agent, 6))[4:]
        shares = [
            await stand.conn.fetchval(
                "SELECT share_identifier FROM jobs WHERE job_id = $1 AND array_index = -1",
                JobKey.parse(job).job_id,
            )
            for job in jobs
        ]
        assert shares == ["a", "a"]


async def test_a_job_is_told_where_its_share_stands(database_url: str) -> None:
    async with scheduler_stand(database_url) as stand:
        await stand.environment()
        weights = [{"shareIdentifier": "a", "weightFactor": 2.0}]
        await stand.queue(policy=await stand.policy(shareDistribution=weights))
        agent = await stand.agent(vcpus=2)
        running = await stand.submit(share="a", vcpus=2)
        await seen(agent, 1)
        late, first = await stand.submit(share="a"), await stand.submit(share="b")
        for job in (late, first):
            await stand.explanation(job)
        await usage(stand, "a", 2000)
        told = await explain_job(stand.conn, JobKey.parse(late))
        assert told.jobs_ahead is None
        [turn] = [reason for reason in told.reasons if reason[0] == "SHARE_NOT_NEXT"]
        assert turn[1] == 1
        assert "share a uses 2 vCPUs" in turn[2]
        assert "weight 2" in turn[2]
        told = await explain_job(stand.conn, JobKey.parse(first))
        assert not [reason for reason in told.reasons if reason[0] == "SHARE_NOT_NEXT"]
        await agent.end(running, Ended(), started=True)


async def test_what_shares_used_long_ago_is_forgotten(database_url: str) -> None:
    async with scheduler_stand(database_url) as stand:
        await stand.environment()
        await stand.queue(policy=await stand.policy(shareDecaySeconds=1))
        await stand.conn.execute(
            "INSERT INTO share_usages VALUES ('q', 'old', 5, 0, now() - $1::interval, "
            "now() - $1::interval), ('none', 'x', 5, 0, now(), now()), "
            "('q', 'new', 5, 0, now(), now())",
            timedelta(hours=1),
        )
    async with scheduler_stand(database_url) as stand:
        agent = await stand.agent(vcpus=1)
        await stand.submit(share="a")
        await seen(agent, 1)
        await usage(stand, "a", 1000)
        left = await stand.conn.fetch("SELECT share_identifier FROM share_usages")
        assert {row["share_identifier"] for row in left} == {"a", "new"}


async def test_the_front_of_the_queue_is_in_turn(database_url: str) -> None:
    async with scheduler_stand(database_url) as stand:
        await stand.environment()
        await stand.queue(policy=await stand.policy())
        agent = await stand.agent(vcpus=2)
        await stand.submit(share="a", vcpus=2)
        await seen(agent, 1)
        await usage(stand, "a", 2000)
        many = await stand.submit(share="a", size=300)
        late = await stand.submit(share="b", size=300)
        urgent = await stand.submit(share="b", priority=1)
        for job in (many, late, urgent):
            await stand.explanation(job)
        found = await read_snapshot(stand.conn, "q", 10, datetime.now(UTC))
        keys = [str(job.key) for job in found.front]
        assert keys[:3] == [urgent, f"{late}:0", f"{late}:1"]
        assert {f"{many}:0", f"{late}:2"} <= set(keys)
        assert len(keys) == 10
        assert found.held_vcpus == 2
        assert found.shares == SharesInUse(2, (("a", 2.0),))
