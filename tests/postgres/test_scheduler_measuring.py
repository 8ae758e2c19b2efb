"""What moved is counted once committed, by queue; the store's gauges come from who leads."""

import uuid
from collections.abc import Iterator

import pytest
from prometheus_client import REGISTRY, CollectorRegistry
from support.scheduling import Agent, Ended, Stand, scheduler_stand

from longshore.domain.errors import Unavailable
from longshore.scheduler import gauges, measuring
from longshore.scheduler.gauges import StoreGauges


@pytest.fixture
def queue() -> Iterator[str]:
    """A queue's name of which nothing was counted in this process."""
    name = f"q-{uuid.uuid4().hex[:8]}"
    yield name
    for _ in range(2):
        measuring.forget_others(set(), set())


def value(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


def moved(queue: str) -> dict[str, int]:
    found = {
        sample.labels["status"]: int(sample.value)
        for sample in next(iter(measuring.MOVED.collect())).samples
        if sample.labels.get("queue") == queue
    }
    return {status: found[status] for status in sorted(found)}


async def fail(_: object) -> None:
    raise Unavailable("away")


async def settled(stand: Stand) -> None:
    """The pass that committed what a test has seen is over."""
    async with stand.scheduler.lead.turn:
        pass


async def test_jobs_count_as_aws_batch_counts_them(database_url: str, queue: str) -> None:
    async with scheduler_stand(database_url) as stand:
        await stand.environment()
        await stand.queue(queue)
        failed = Ended(exit_code=1, reason="no luck")
        once = {"tries": 0}

        def answers(assignment: object) -> Ended:
            once["tries"] += 1
            return failed if once["tries"] == 1 else Ended()

        retried = await stand.submit(queue, attempts=2)
        await stand.until(retried, "RUNNABLE")
        await stand.agent(answers=answers)
        await stand.until(retried, "SUCCEEDED")
        array = await stand.submit(queue, size=5)
        await stand.until(array, "SUCCEEDED")
        await settled(stand)
        assert moved(queue) == {"RUNNABLE": 7, "RUNNING": 7, "STARTING": 7, "SUCCEEDED": 6}
        assert value("longshore_jobs_retried_total", queue=queue) == 1
        counts = {
            "longshore_job_submitted_to_runnable_seconds": 6,
            "longshore_job_submitted_to_first_starting_seconds": 6,
            "longshore_attempt_runnable_to_starting_seconds": 7,
            "longshore_attempt_starting_to_running_seconds": 7,
            "longshore_attempt_execution_seconds": 7,
            "longshore_attempt_seconds": 7,
        }
        for name, count in counts.items():
            assert value(f"{name}_count", queue=queue) == count, name
            assert value(f"{name}_bucket", queue=queue, le="+Inf") == count, name
            assert value(f"{name}_bucket", queue=queue, le="60.0") == count, name
        for status in ("STARTING", "RUNNING", "SUCCEEDED", "FAILED"):
            events = await stand.conn.fetchval(
                "SELECT count(*) FROM job_events e JOIN jobs j USING (job_id, array_index) "
                "WHERE e.status = $1 AND j.array_size IS NULL",
                status,
            )
            assert moved(queue).get(status, 0) == events, status


async def test_stops_count_by_their_request_and_waiting_children_from_the_beginning(
    database_url: str, queue: str
) -> None:
    async with scheduler_stand(database_url) as stand:
        await stand.environment()
        await stand.queue(queue)
        first = await stand.submit(queue)
        behind = await stand.submit(queue, size=3, depends_on=[(first, "PLAIN")])
        row = await stand.submit(queue, size=4, depends_on=[(None, "SEQUENTIAL")])
        for job in (behind, row):
            await stand.until(job, "PENDING")
        await settled(stand)
        assert moved(queue) == {"PENDING": 3 + 3, "RUNNABLE": 1 + 1}
        await stand.request(row, "TERMINATE")
        await stand.until(row, "FAILED")
        await stand.request(first, "CANCEL")
        await stand.until(behind, "FAILED")
        await settled(stand)
        # The array behind the job fails before it has children: they count all the same.
        assert moved(queue) == {"FAILED": 4 + 1 + 3, "PENDING": 6, "RUNNABLE": 2}
        assert value("longshore_jobs_stopped_total", queue=queue, by="terminate") == 4
        assert value("longshore_jobs_stopped_total", queue=queue, by="cancel") == 1


async def test_a_multi_node_job_counts_as_one(database_url: str, queue: str) -> None:
    async with scheduler_stand(database_url) as stand:
        await stand.managed()
        await stand.queue(queue, "fleet")
        agents = [await stand.join(4) for _ in range(2)]
        job = await stand.submit(queue, nodes=2, vcpus=4, memory_mib=4096)
        await stand.until(job, "STARTING")
        main = await stand.who_has(f"{job}#0")
        (other,) = (agent for agent in agents if agent is not main)
        await main.start(f"{job}#0", "10.0.0.1")
        await other.until(lambda: f"{job}#1" in other.assigned)
        await main.end(f"{job}#0", Ended())
        await other.until(lambda: bool(other.stops))
        await other.end(f"{job}#1", Ended())
        await stand.until(job, "SUCCEEDED")
        await settled(stand)
        assert moved(queue) == {"RUNNABLE": 1, "RUNNING": 1, "STARTING": 1, "SUCCEEDED": 1}
        assert value("longshore_attempt_seconds_count", queue=queue) == 1


async def a_reading_fails(held: StoreGauges, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is shown then, and the next reading comes no sooner than after another."""
    monkeypatch.setattr(held, "_due_at", 0.0)
    with monkeypatch.context() as away:
        away.setattr(gauges.store_gauges, "read", fail)
        with pytest.raises(Unavailable):
            await held.tick()
    assert not list(held.collect())
    assert held._due_at > 0
    monkeypatch.setattr(held, "_due_at", 0.0)
    await held.tick()


async def test_a_boot_is_of_the_type_that_was_ordered_whatever_the_agent_says(
    database_url: str,
) -> None:
    async with scheduler_stand(database_url) as stand:
        await stand.managed("booting")
        boots = {"environment": "booting", "type": "local.host"}
        booted = value("longshore_instance_boot_seconds_count", **boots)
        await stand.instance("i-00000000000000009", "booting", instance_type="local.host")
        await stand.conn.execute("UPDATE instances SET launched_at = now()")
        late = Agent(stand.port, "i-00000000000000009", "booting", 2, "what.it-says")
        stand.agents.append(late)
        await late.connect()
        assert value("longshore_instance_boot_seconds_count", **boots) == booted + 1


async def test_gauges_show_the_store_while_this_process_leads(
    database_url: str, queue: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = CollectorRegistry()

    def shown(name: str, **labels: str) -> float | None:
        return registry.get_sample_value(f"longshore_{name}", labels)

    async with scheduler_stand(database_url) as stand:
        await stand.managed()
        await stand.queue(queue, "fleet")
        await stand.queue("large", "fleet")
        agent = await stand.join(2)
        await stand.conn.execute("UPDATE instances SET price_per_hour = 3.6, launched_at = now()")
        jobs = [await stand.submit(queue, vcpus=2) for _ in range(2)]
        await stand.until(jobs[0], "STARTING")
        array = await stand.submit(queue, size=10, vcpus=2)
        await stand.submit(queue, depends_on=[(array, "PLAIN")])
        large = await stand.submit("large", vcpus=4_000)
        await stand.until_blocked(
            large,
            "MISCONFIGURATION:COMPUTE_ENVIRONMENT_MAX_RESOURCE - CE(s) associated with the job "
            "queue cannot meet the CPU requirement of the job.",
        )
        await settled(stand)
        lead = stand.scheduler.lead
        open_connections = [
            value("longshore_database_connections", state=state) for state in ("idle", "busy")
        ]
        assert sum(open_connections) >= 1
        held = StoreGauges(lead.leadership._pool, lead, registry)
        assert shown("queue_jobs", queue=queue, status="PENDING") is None
        await held.tick()
        counts = {"SUBMITTED": 0, "PENDING": 1, "RUNNABLE": 11, "STARTING": 1, "RUNNING": 0}
        for status, number in counts.items():
            assert shown("queue_jobs", queue=queue, status=status) == number, status
        waited = shown("queue_oldest_runnable_seconds", queue=queue)
        assert waited is not None
        assert waited > 0
        code = "MISCONFIGURATION:COMPUTE_ENVIRONMENT_MAX_RESOURCE"
        assert shown("queue_blocked", queue="large", reason=code) == 1
        assert shown("capacity_vcpus", environment="fleet", state="busy") == 2
        assert shown("capacity_vcpus", environment="fleet", state="max") == 256
        labels = {"environment": "fleet", "type": "local.host", "zone": "", "status": "READY"}
        assert shown("instances", option="ON_DEMAND", **labels) == 1
        # A second look is only due after a while; what is shown does not change by itself.
        await held.tick()
        monkeypatch.setattr(held, "_due_at", 0.0)
        monkeypatch.setattr(held, "_read_at", held._read_at - 10.0)
        await held.tick()
        cost = shown("cost_usd_total", environment="fleet", option="ON_DEMAND")
        assert cost is not None
        assert cost >= 0.01
        assert shown("cost_idle_usd_total", environment="fleet", option="ON_DEMAND") == 0
        await a_reading_fails(held, monkeypatch)
        assert shown("queue_jobs", queue=queue, status="PENDING") == 1
        await agent.close()
        await lead.release()
        assert shown("queue_jobs", queue=queue, status="PENDING") is None, "nobody leads"
        held.close()


async def test_series_of_queues_that_are_gone_go_after_two_readings() -> None:
    measuring.count_lost("gone-environment")
    name = "longshore_instances_lost_total"
    measuring.forget_others(set(), set())
    assert value(name, environment="gone-environment") == 1, "it may have come since"
    measuring.forget_others(set(), set())
    assert REGISTRY.get_sample_value(name, {"environment": "gone-environment"}) is None
