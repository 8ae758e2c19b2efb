"""Multi-node jobs: placed whole, main node first, over when the last node is."""

import asyncio
from datetime import UTC, datetime

from support.scheduling import DEADLINE, Agent, Ended, Stand, scheduler_stand

from longshore.domain.errors import NotFound
from longshore.domain.job.job import MAIN_NODE_ENDED, TIMED_OUT, JobKey, host_terminated
from longshore.domain.placing import words
from longshore.domain.placing.waiting import Block, Why
from longshore.scheduler.explaining import explain_job
from longshore.v1 import agent_service_pb2 as pb


async def a_fleet(stand: Stand, agents: int, *, vcpus: int = 4, maxv_cpus: int = 256) -> None:
    await stand.managed(maxv_cpus=maxv_cpus)
    await stand.queue("q", "fleet")
    for _ in range(agents):
        await stand.join(vcpus)


async def all_run(stand: Stand, job: str, nodes: int) -> list[Agent]:
    """Starts the main node, which is node 0, and then the others; returns who runs them."""
    main = await stand.who_has(f"{job}#0")
    await main.start(f"{job}#0", "10.0.0.1")
    agents = [main]
    for index in range(1, nodes):
        agents.append(await stand.who_has(f"{job}#{index}"))
        await agents[-1].start(f"{job}#{index}", f"10.0.0.{index + 1}")
    return agents


async def ends(stand: Stand, job: str, attempt: int = 1) -> dict[int, tuple[int | None, str]]:
    """Exit code and status reason of each node that has ended, by its index."""
    rows = await stand.conn.fetch(
        "SELECT array_index, exit_code, status_reason FROM attempts "
        "WHERE job_id = $1 AND attempt = $2 AND status = 'ENDED' ORDER BY 1 DESC",
        JobKey.parse(job).job_id,
        attempt,
    )
    return {-2 - r["array_index"]: (r["exit_code"], r["status_reason"]) for r in rows}


async def until_ended(stand: Stand, job: str, *nodes: int) -> None:
    async with asyncio.timeout(DEADLINE):
        while not set(nodes) <= (await ends(stand, job)).keys():
            await asyncio.sleep(0.01)


async def until_draining(stand: Stand, agent: Agent) -> None:
    """Waits until nothing more goes to an instance, whether its agent was told or not."""
    async with asyncio.timeout(DEADLINE):
        while (
            await stand.conn.fetchval(
                "SELECT status FROM agents WHERE instance_id = $1", agent.instance_id
            )
            != "DRAINING"
        ):
            await asyncio.sleep(0.01)


async def test_the_main_node_runs_before_the_others_start(database_url: str) -> None:
    async with scheduler_stand(database_url) as stand:
        await a_fleet(stand, 3)
        job = await stand.submit(nodes=3, main_node=1, vcpus=2)
        main = await stand.who_has(f"{job}#1")
        await stand.until(job, "STARTING")
        assert [a.assigned.keys() for a in stand.agents if a is not main] == [set(), set()]
        assignment = main.assigned[f"{job}#1"]
        assert assignment.container.image == "main"
        assert assignment.resources.vcpu_milli == 2000
        assert assignment.node == pb.NodeAssignment(index=1, num_nodes=3, main_index=1)
        await main.start(f"{job}#1", "10.1.2.3")
        await stand.until(job, "RUNNING")
        for index in (0, 2):
            other = (await stand.who_has(f"{job}#{index}")).assigned[f"{job}#{index}"]
            assert other.container.image == "others"
            assert other.node == pb.NodeAssignment(
                index=index, num_nodes=3, main_index=1, main_address="10.1.2.3"
            )
        assert sorted(len(a.assigned) for a in stand.agents) == [1, 1, 1]
        # Each has its instance to itself.
        single = await stand.submit()
        assert await stand.explanation(single) == (
            "Waiting for room: 3 instances: 3 short of vCPU."
        )


async def test_the_job_is_what_the_main_node_was_once_the_last_has_ended(
    database_url: str,
) -> None:
    async with scheduler_stand(database_url) as stand:
        await a_fleet(stand, 3)
        job = await stand.submit(nodes=3)
        follower = await stand.submit(depends_on=[(job, "PLAIN")])
        main, first, second = await all_run(stand, job, 3)
        # A node's end is nothing to the others, even if it failed.
        await first.end(f"{job}#1", Ended(7))
        await until_ended(stand, job, 1)
        assert not second.stops
        await main.end(f"{job}#0", Ended(0, reason="well"))
        await second.until(lambda: bool(second.stops))
        assert second.stops[0].status_reason == MAIN_NODE_ENDED
        assert (await stand.row(job))["status"] == "RUNNING"
        assert (await stand.row(follower))["status"] == "PENDING"
        await second.end(f"{job}#2", Ended(143))
        row = await stand.until(job, "SUCCEEDED")
        assert (row["exit_code"], row["reason"]) == (0, "well")
        assert row["status_reason"] == "Essential container in task exited"
        nodes = await ends(stand, job)
        assert nodes[1] == (7, "Essential container in task exited")
        assert nodes[2] == (143, MAIN_NODE_ENDED)
        times = await stand.conn.fetchrow(
            "SELECT started_at, stopped_at FROM attempts WHERE job_id = $1 AND array_index = -2",
            JobKey.parse(job).job_id,
        )
        assert (row["started_at"], row["stopped_at"]) == tuple(times)
        await stand.until(follower, "STARTING", "RUNNING")


async def test_a_main_node_that_never_starts_ends_nodes_that_nobody_heard_of(
    database_url: str,
) -> None:
    async with scheduler_stand(database_url) as stand:
        await a_fleet(stand, 2)
        job = await stand.submit(nodes=2)
        main = await stand.who_has(f"{job}#0")
        await main.end(
            f"{job}#0", Ended(None, "CannotPullContainerError: no", "Task failed to start")
        )
        row = await stand.until(job, "FAILED")
        assert row["reason"] == "CannotPullContainerError: no"
        assert (await ends(stand, job))[1] == (None, MAIN_NODE_ENDED)
        other = next(a for a in stand.agents if a is not main)
        assert not other.assigned
        assert not other.stops


async def test_a_main_node_that_starts_and_ends_at_once(database_url: str) -> None:
    async with scheduler_stand(database_url) as stand:
        await a_fleet(stand, 2)
        job = await stand.submit(nodes=2)
        main = await stand.who_has(f"{job}#0")
        await main.end(f"{job}#0", Ended(), started=True)
        other = await stand.who_has(f"{job}#1")
        await other.until(lambda: bool(other.stops))
        await other.end(f"{job}#1", Ended(137))
        await stand.until(job, "SUCCEEDED")


async def test_the_next_try_waits_for_the_last_node_of_the_one_before(database_url: str) -> None:
    async with scheduler_stand(database_url) as stand:
        await a_fleet(stand, 4)
        job = await stand.submit(nodes=2, attempts=2)
        main, other = await all_run(stand, job, 2)
        await main.end(f"{job}#0", Ended(1))
        await other.until(lambda: bool(other.stops))
        assert (await stand.row(job))["status"] == "RUNNING"
        await other.end(f"{job}#1", Ended(143))
        async with asyncio.timeout(DEADLINE):
            while not any((f"{job}#0", 2) in a.seen for a in stand.agents):
                await asyncio.sleep(0.01)
        again = next(a for a in stand.agents if (f"{job}#0", 2) in a.seen)
        await again.end(f"{job}#0", Ended(5))
        row = await stand.until(job, "FAILED")
        assert (row["attempt"], row["exit_code"]) == (2, 5)
        assert len(await ends(stand, job, 1)) == len(await ends(stand, job, 2)) == 2


async def test_terminate_stops_all_nodes(database_url: str) -> None:
    async with scheduler_stand(database_url) as stand:
        await a_fleet(stand, 2)
        job = await stand.submit(nodes=2, attempts=3)
        agents = await all_run(stand, job, 2)
        await stand.request(job, "TERMINATE", "enough")
        for index, agent in enumerate(agents):
            await agent.until(lambda agent=agent: bool(agent.stops))
            assert agent.stops[0].status_reason == "enough"
            await agent.end(f"{job}#{index}", Ended(143))
        row = await stand.until(job, "FAILED")
        assert (row["status_reason"], row["is_terminated"]) == ("enough", True)


async def test_what_no_agent_heard_of_is_over_with_the_wish_to_terminate(
    database_url: str,
) -> None:
    async with scheduler_stand(database_url) as stand:
        await a_fleet(stand, 2)
        job = await stand.submit(nodes=2, attempts=3)
        main = await stand.who_has(f"{job}#0")
        await stand.request(job, "TERMINATE", "enough")
        await until_ended(stand, job, 1)
        assert await ends(stand, job) == {1: (None, "enough")}
        await main.end(f"{job}#0", Ended(143))
        assert (await stand.until(job, "FAILED"))["status_reason"] == "enough"
        other = next(a for a in stand.agents if a is not main)
        assert not other.assigned


async def test_a_job_terminated_while_its_nodes_stop_is_not_tried_again(database_url: str) -> None:
    async with scheduler_stand(database_url) as stand:
        await a_fleet(stand, 2)
        job = await stand.submit(nodes=2, attempts=3)
        main, other = await all_run(stand, job, 2)
        await main.end(f"{job}#0", Ended(1))
        await other.until(lambda: bool(other.stops))
        await stand.request(job, "TERMINATE", "enough")
        await other.until(lambda: other.stops[-1].status_reason == "enough")
        # A successor knows, too.
        await stand.scheduler.release_lease()
        assert await stand.scheduler.hold_lease()
        await other.close()
        await other.connect()
        await other.end(f"{job}#1", Ended(143))
        row = await stand.until(job, "FAILED")
        assert (row["status_reason"], row["exit_code"], row["attempt"]) == ("enough", 1, 1)


async def test_an_instance_drains_once_its_agent_knows_of_its_node(database_url: str) -> None:
    """Told before, the agent would exit: it knows of nothing that it waits for."""
    async with scheduler_stand(database_url) as stand:
        await a_fleet(stand, 2)
        job = await stand.submit(nodes=2)
        main = await stand.who_has(f"{job}#0")
        other = next(a for a in stand.agents if a is not main)
        await stand.terminating(other.instance_id)
        await until_draining(stand, other)
        await other.close()
        assert not (await other.connect()).draining
        await main.start(f"{job}#0", "10.0.0.1")
        await other.until(other.draining.is_set)
        assert f"{job}#1" in other.assigned


async def test_an_instance_drains_once_its_node_is_over_unheard(database_url: str) -> None:
    async with scheduler_stand(database_url) as stand:
        await a_fleet(stand, 2)
        job = await stand.submit(nodes=2)
        main = await stand.who_has(f"{job}#0")
        other = next(a for a in stand.agents if a is not main)
        await stand.terminating(other.instance_id)
        await until_draining(stand, other)
        assert not other.draining.is_set()
        # Its time is over before the main node runs.
        await stand.terminating(other.instance_id, datetime.now(UTC))
        await other.until(other.draining.is_set)
        assert await ends(stand, job) == {1: (None, host_terminated(other.instance_id))}
        assert not other.assigned
        explained = await explain_job(stand.conn, JobKey.parse(f"{job}#1"))
        assert (explained.status, explained.summary) == (
            "FAILED",
            f"It is over: {host_terminated(other.instance_id)}",
        )


async def test_cancel_before_placement(database_url: str) -> None:
    async with scheduler_stand(database_url) as stand:
        await a_fleet(stand, 1)
        job = await stand.submit(nodes=2)
        await stand.until(job, "RUNNABLE")
        await stand.request(job, "CANCEL", "changed my mind")
        row = await stand.until(job, "FAILED")
        assert (row["status_reason"], row["is_cancelled"]) == ("changed my mind", True)
        single = await stand.submit()
        await stand.until(single, "STARTING")


async def test_its_time_is_the_main_nodes_and_all_are_stopped(database_url: str) -> None:
    async with scheduler_stand(database_url) as stand:
        await a_fleet(stand, 2)
        job = await stand.submit(nodes=2, timeout_seconds=1, attempts=3)
        agents = await all_run(stand, job, 2)
        for index, agent in enumerate(agents):
            await agent.until(lambda agent=agent: bool(agent.stops))
            assert agent.stops[0].status_reason == TIMED_OUT
            await agent.end(f"{job}#{index}", Ended(137))
        assert (await stand.until(job, "FAILED"))["status_reason"] == TIMED_OUT


async def test_the_loss_of_the_main_node_is_the_jobs(database_url: str) -> None:
    async with scheduler_stand(database_url) as stand:
        await a_fleet(stand, 2)
        job = await stand.submit(nodes=2)
        main, other = await all_run(stand, job, 2)
        await stand.terminating(main.instance_id, datetime.now(UTC))
        await main.until(lambda: bool(main.stops))
        await main.end(f"{job}#0", Ended(143))
        await other.until(lambda: bool(other.stops))
        await other.end(f"{job}#1", Ended(143))
        row = await stand.until(job, "FAILED")
        assert row["status_reason"] == host_terminated(main.instance_id)


async def test_another_scheduler_goes_on_where_the_first_was(database_url: str) -> None:
    """With a main node that starts; with nodes told to stop after it; with the verdict to come."""
    async with scheduler_stand(database_url) as stand:
        await a_fleet(stand, 3)
        job = await stand.submit(nodes=3)
        main = await stand.who_has(f"{job}#0")
        await stand.scheduler.release_lease()
        assert await stand.scheduler.hold_lease()
        for agent in stand.agents:
            await agent.close()
            registered = await agent.connect()
            assert len(registered.assignments) == (1 if agent is main else 0)
        await main.start(f"{job}#0", "10.0.0.1")
        others = [await stand.who_has(f"{job}#{index}") for index in (1, 2)]
        await others[0].start(f"{job}#1")
        await main.end(f"{job}#0", Ended(3))
        await others[0].until(lambda: bool(others[0].stops))
        await stand.scheduler.release_lease()
        assert await stand.scheduler.hold_lease()
        for agent in (*others, main):
            await agent.close()
            registered = await agent.connect()
            assert len(registered.assignments) == len(registered.stops) == (agent is not main)
        assert others[1].assigned[f"{job}#2"].node.num_nodes == 3
        await others[0].end(f"{job}#1", Ended(143))
        await others[1].end(f"{job}#2", Ended(None))
        row = await stand.until(job, "FAILED")
        assert row["exit_code"] == 3


async def test_a_node_of_a_new_agent_hears_the_address(database_url: str) -> None:
    """Told again, after a broken stream, it knows as much as at first."""
    async with scheduler_stand(database_url) as stand:
        await a_fleet(stand, 2)
        job = await stand.submit(nodes=2)
        _, other = await all_run(stand, job, 2)
        await stand.scheduler.release_lease()
        assert await stand.scheduler.hold_lease()
        await other.close()
        registered = await other.connect()
        [assignment] = registered.assignments
        assert assignment.node.main_address == "10.0.0.1"


async def test_why_it_waits(database_url: str) -> None:
    async with scheduler_stand(database_url) as stand:
        await a_fleet(stand, 1, maxv_cpus=64)
        job = await stand.submit(nodes=4)
        assert await stand.explanation(job) == (
            "Waiting for 4 empty instances of one type: 1 instance: 1 ready, too few of a type."
        )
        explained = await explain_job(stand.conn, JobKey.parse(job))
        assert explained.summary.startswith("Waiting for 4 empty instances")
        of_node = await explain_job(stand.conn, JobKey.parse(f"{job}#3"))
        assert of_node.summary == explained.summary
        for unknown in (f"{job}#4", f"{job}:0"):
            try:
                await explain_job(stand.conn, JobKey.parse(unknown))
            except NotFound:
                continue
            raise AssertionError(unknown)
        # Of the largest that there is, five are too many.
        large = await stand.submit(nodes=5, vcpus=16)
        await stand.until_blocked(large, words.blocked(Block(Why.MAX_RESOURCE)))
        # What can never be keeps nothing back: this one runs.
        await stand.request(job, "CANCEL")
        single = await stand.submit()
        await stand.until(single, "STARTING")


async def test_where_a_node_is(database_url: str) -> None:
    async def says(node: str) -> tuple[str, str]:
        explained = await explain_job(stand.conn, JobKey.parse(node))
        assert [tried.attempt for tried in explained.attempts] == [1]
        return explained.status, explained.summary

    async with scheduler_stand(database_url) as stand:
        await a_fleet(stand, 2)
        job = await stand.submit(nodes=2)
        main = await stand.who_has(f"{job}#0")
        assert await says(f"{job}#1") == (
            "STARTING",
            "It starts once the main node of its job runs.",
        )
        await main.start(f"{job}#0")
        other = await stand.who_has(f"{job}#1")
        assert (await says(job))[0] == (await says(f"{job}#0"))[0] == "RUNNING"
        assert (await says(f"{job}#1"))[0] == "STARTING"
        await other.end(f"{job}#1", Ended(7))
        await until_ended(stand, job, 1)
        assert await says(f"{job}#1") == (
            "FAILED",
            "It is over: Essential container in task exited.",
        )
        assert (await says(job))[0] == "RUNNING"


async def test_where_a_job_is_whose_main_node_has_ended(database_url: str) -> None:
    async with scheduler_stand(database_url) as stand:
        await a_fleet(stand, 2)
        job = await stand.submit(nodes=2)
        main, other = await all_run(stand, job, 2)
        await main.end(f"{job}#0", Ended(0))
        await other.until(lambda: bool(other.stops))
        of_job = await explain_job(stand.conn, JobKey.parse(job))
        assert (of_job.status, of_job.summary) == (
            "RUNNING",
            "Its main node has ended; it is over once its other nodes have.",
        )
        of_main = await explain_job(stand.conn, JobKey.parse(f"{job}#0"))
        assert (of_main.status, of_main.summary) == (
            "SUCCEEDED",
            "It is over: Essential container in task exited.",
        )


async def test_nothing_is_said_of_an_environment_for_nodes_that_is_being_created(
    database_url: str,
) -> None:
    async with scheduler_stand(database_url) as stand:
        await stand.managed()
        await stand.queue("q", "fleet")
        await stand.conn.execute("UPDATE compute_environments SET status = 'CREATING'")
        stand.scheduler.note_topology()
        job = await stand.submit(nodes=2)
        assert await stand.explanation(job) == (
            "Waiting for 2 empty instances of one type: none is there yet."
        )


async def test_what_is_gathered_is_given_up_once_the_provider_has_none_left(
    database_url: str,
) -> None:
    async with scheduler_stand(database_url) as stand:
        await a_fleet(stand, 1)
        job = await stand.submit(nodes=2)
        await stand.explanation(job)
        single = await stand.submit()
        assert await stand.explanation(single) == (
            "Waiting for room: 1 instance: 1 held for an earlier job."
        )
        error = {"instanceType": "local.host", "zone": "here-1a", "purchaseOption": "ON_DEMAND"}
        await stand.order(errors=[{**error, "reason": "INSUFFICIENT_INSTANCE_CAPACITY"}])
        await stand.until(single, "STARTING")
        assert (await stand.row(job))["status"] == "RUNNABLE"


async def test_a_queue_without_an_environment_for_nodes(database_url: str) -> None:
    async with scheduler_stand(database_url) as stand:
        await stand.managed("spot", resource_type="SPOT")
        await stand.environment()
        await stand.queue("q", "spot", "machines")
        for _ in range(2):
            await stand.join(environment="spot")
            await stand.agent()
        job = await stand.submit(nodes=2)
        said = await stand.until_blocked(job, words.blocked(Block(Why.UNSUPPORTED)))
        assert said.startswith("Multi-node jobs run on on-demand instances of managed")
        single = await stand.submit()
        await stand.until(single, "STARTING")


async def test_jobs_of_later_order_do_not_take_what_is_gathered(database_url: str) -> None:
    async with scheduler_stand(database_url) as stand:
        await a_fleet(stand, 1)
        job = await stand.submit(nodes=2)
        await stand.explanation(job)
        single = await stand.submit()
        assert await stand.explanation(single) == (
            "Waiting for room: 1 instance: 1 held for an earlier job."
        )
        await stand.join(4)
        main, other = await all_run(stand, job, 2)
        await main.end(f"{job}#0", Ended())
        await other.until(lambda: bool(other.stops))
        await other.end(f"{job}#1", Ended())
        await stand.until(job, "SUCCEEDED")
        await stand.until(single, "STARTING")
