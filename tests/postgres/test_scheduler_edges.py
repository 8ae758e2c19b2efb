"""Meetings of events that once went wrong in the scheduler."""

import asyncio

import grpc
import pytest
from structlog.testing import capture_logs
from support.patience import PATIENCE_SECONDS
from support.scheduling import Agent, Ended, Stand, scheduler_stand
from support.simulation import simulation

from longshore.v1 import agent_service_pb2 as pb


def ok(_: object) -> Ended:
    return Ended()


async def test_a_shape_is_known_after_a_takeover_although_no_job_of_it_ever_ran(
    database_url: str,
) -> None:
    """Its first job still waits for another one when the scheduler is replaced."""
    async with simulation(database_url) as world:
        await world.stand.queue()
        world.scheduler.note_topology()
        agent = await world.join("i-00000000000000001", 8)
        first = await world.stand.submit(vcpus=1)
        second = await world.stand.submit(vcpus=2, depends_on=[(first, "PLAIN")])
        await world.settle()
        await world.restart()
        await agent.end((first, 1), Ended())
        await world.settle()
        assert (second, 1) in agent.running
        await world.check()


async def test_a_child_that_never_comes_to_be_fails_who_waits_for_it(database_url: str) -> None:
    async with scheduler_stand(database_url) as stand:
        await stand.environment()
        await stand.queue()
        first = await stand.submit()
        array = await stand.submit(size=3, depends_on=[(first, "PLAIN")])
        waiting = await stand.submit(depends_on=[(f"{array}:1", "PLAIN")])
        await stand.until(waiting, "PENDING")
        await stand.request(array, "TERMINATE")
        await stand.until(array, "FAILED")
        row = await stand.until(waiting, "FAILED")
        assert row["status_reason"] == "Dependent Job failed"


async def test_children_fail_when_their_pairs_never_come_to_be(database_url: str) -> None:
    """The parent ends after them, not instead of them."""
    async with scheduler_stand(database_url) as stand:
        await stand.environment()
        await stand.queue()
        first = await stand.submit()
        upstream = await stand.submit(size=3, depends_on=[(first, "PLAIN")])
        paired = await stand.submit(size=3, depends_on=[(upstream, "N_TO_N")])
        await stand.until(paired, "PENDING")
        await stand.request(upstream, "TERMINATE")
        row = await stand.until(paired, "FAILED")
        assert row["status_reason"] == "Array Child Job failed"
        assert await stand.statuses(paired) == dict.fromkeys(range(3), "FAILED")


async def test_what_waits_for_an_end_of_any_kind_runs_however_the_job_ended(
    database_url: str,
) -> None:
    async with simulation(database_url) as world:
        await world.stand.queue()
        world.scheduler.note_topology()
        agent = await world.join("i-00000000000000001", 8)
        good, bad = await world.stand.submit(), await world.stand.submit()
        after = {
            (name, condition): await world.stand.submit(depends_on=[(job, "PLAIN", condition)])
            for name, job in (("good", good), ("bad", bad))
            for condition in ("SUCCESS", "COMPLETE", "FAILURE")
        }
        # A chain behind one whose turn never comes: its links go on, or fail, by their own words.
        never = after["good", "FAILURE"]
        in_any_case = await world.stand.submit(depends_on=[(never, "PLAIN", "COMPLETE")])
        not_at_all = await world.stand.submit(depends_on=[(never, "PLAIN")])
        await world.settle()
        assert agent.running.keys() == {(good, 1), (bad, 1)}
        await agent.end((good, 1), Ended())
        await agent.end((bad, 1), Ended(1))
        await world.settle()
        runs = {after[key] for key in after if key not in {("good", "FAILURE"), ("bad", "SUCCESS")}}
        assert {job for job, _ in agent.running} == {*runs, in_any_case}
        reasons = {
            str(row["job_id"]): row["status_reason"]
            for row in await world.stand.conn.fetch(
                "SELECT job_id, status_reason FROM jobs WHERE status = 'FAILED'"
            )
        }
        assert reasons[after["bad", "SUCCESS"]] == "Dependent Job failed"
        assert reasons[not_at_all] == "Dependent Job failed"
        assert reasons[never] == "Dependent Job succeeded, and this job was for its failure"
        await world.check()


async def test_what_was_cancelled_has_ended_and_not_well(database_url: str) -> None:
    """Also what never ran, and the children of an array that never came to be."""
    async with simulation(database_url) as world:
        await world.stand.queue()
        world.scheduler.note_topology()
        agent = await world.join("i-00000000000000001", 8)
        first = await world.stand.submit()
        array = await world.stand.submit(size=3, depends_on=[(first, "PLAIN")])
        alone = await world.stand.submit(depends_on=[(f"{array}:1", "PLAIN", "FAILURE")])
        pairs = await world.stand.submit(size=3, depends_on=[(array, "N_TO_N", "COMPLETE")])
        await world.settle()
        await world.stand.request(array, "TERMINATE")
        await world.settle()
        children = {f"{pairs}:{index}" for index in range(3)}
        assert {job for job, _ in agent.running} == {first, alone, *children}
        await world.check()


async def test_pairs_and_sequences_go_on_after_any_end(database_url: str) -> None:
    async with simulation(database_url) as world:
        await world.stand.queue()
        world.scheduler.note_topology()
        agent = await world.join("i-00000000000000001", 8)
        chain = await world.stand.submit(size=3, depends_on=[(None, "SEQUENTIAL", "COMPLETE")])
        mend = await world.stand.submit(size=3, depends_on=[(chain, "N_TO_N", "FAILURE")])
        for index, code in enumerate((1, 0, 1)):
            await world.settle()
            assert (f"{chain}:{index}", 1) in agent.running
            await agent.end((f"{chain}:{index}", 1), Ended(code))
        await world.settle()
        assert {job for job, _ in agent.running} == {f"{mend}:0", f"{mend}:2"}
        assert (await world.stand.statuses(mend))[1] == "FAILED"
        await world.check()


async def _delete(stand: Stand, queue: str) -> None:
    await stand.conn.execute("UPDATE job_queues SET status = 'DELETING' WHERE name = $1", queue)


async def test_a_request_and_the_deletion_of_the_queue_meet(database_url: str) -> None:
    """In one tick a child is terminated, an array cancelled, and the queue of both deleted."""
    async with simulation(database_url) as world:
        await world.stand.queue()
        world.scheduler.note_topology()
        one = await world.stand.submit(size=4)
        other = await world.stand.submit(size=3, attempts=2)
        single = await world.stand.submit()
        await world.settle()
        await world.stand.request(f"{one}:1", "TERMINATE")
        await world.stand.request(other, "CANCEL")
        await world.stand.request(single, "CANCEL")
        await _delete(world.stand, "q")
        world.scheduler.note_topology()
        await world.settle()
        await world.check()
        assert await world.unfinished() == []
        assert await world.stand.conn.fetchval("SELECT count(*) FROM job_queues") == 0


async def test_room_kept_for_a_job_is_given_back_when_the_job_is_cancelled(
    database_url: str,
) -> None:
    async with simulation(database_url) as world:
        await world.stand.queue()
        world.scheduler.note_topology()
        agent = await world.join("i-00000000000000001", 4)
        busy = await world.stand.submit(vcpus=2)
        await world.settle()
        large = await world.stand.submit(vcpus=4)
        await world.settle()
        await world.stand.conn.execute("UPDATE ready SET ready_at = now() - interval '1 hour'")
        world.scheduler.note_topology()
        await world.settle()
        small = await world.stand.submit(vcpus=1)
        await world.settle()
        assert agent.running.keys() == {(busy, 1)}
        await world.stand.request(large, "CANCEL")
        await world.settle()
        assert agent.running.keys() == {(busy, 1), (small, 1)}


async def test_a_stream_that_breaks_leaves_no_session(database_url: str) -> None:
    """However its end and its cancellation fall together: else its instance were never lost."""
    async with scheduler_stand(database_url) as stand:
        await stand.environment()
        await stand.queue()
        for _ in range(30):
            agent = await stand.agent(vcpus=1)
            await agent._call.write(pb.ConnectRequest(heartbeat=pb.AgentHeartbeat()))
            await agent._call.done_writing()
            agent._call.cancel()
        async with asyncio.timeout(PATIENCE_SECONDS):
            while stand.scheduler.agents.sessions:
                await asyncio.sleep(0.01)


async def test_a_refused_agent_costs_no_reload(database_url: str) -> None:
    async with scheduler_stand(database_url) as stand:
        await stand.environment()
        await stand.queue()
        agent = await stand.agent(answers=lambda _: Ended())
        with capture_logs() as logs:
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await Agent(stand.port, "i-0000000000000dead", "nowhere", 1).connect()
            job = await stand.submit()
            await stand.until(job, "SUCCEEDED")
        assert refused.value.code() is grpc.StatusCode.NOT_FOUND
        assert [name for name, _ in agent.seen] == [job]
        assert not [entry for entry in logs if entry["event"] == "memory.loaded"]


async def test_heads_of_many_shapes_keep_the_order_of_the_queue(database_url: str) -> None:
    async with scheduler_stand(database_url) as stand:
        await stand.environment()
        await stand.queue()
        jobs = [await stand.submit(memory_mib=64 + i % 30) for i in range(120)]
        jobs += [await stand.submit(memory_mib=64) for _ in range(60)]
        await stand.until(jobs[-1], "RUNNABLE")
        agent = await stand.agent(vcpus=1, answers=lambda _: Ended())
        await stand.until(jobs[-1], "SUCCEEDED")
        assert [job for job, _ in agent.seen] == jobs


async def test_a_job_that_is_faster_than_word_of_its_queue_is_admitted(database_url: str) -> None:
    async with simulation(database_url) as world:
        await world.settle()
        await world.stand.queue()
        job = await world.stand.submit()
        await world.settle()
        assert (await world.stand.row(job))["status"] == "RUNNABLE"
