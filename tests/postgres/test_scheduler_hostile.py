"""Whatever an agent says, the jobs of others end.

Reports that no table can hold, times that cannot be, attempts of others, silence on an open stream,
and what still fails in the database although it was checked.
"""

import asyncio
import contextlib
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs
from support.patience import PATIENCE_SECONDS
from support.scheduling import LOST_SECONDS, Agent, Ended, Stand, scheduler_stand

from longshore.domain.job.job import JobKey
from longshore.rpc.channel import open_channel
from longshore.scheduler.wire import convert
from longshore.state.scheduler import agent as agent_table
from longshore.state.scheduler import attempt, job_dependency
from longshore.state.views import instance_report
from longshore.v1 import agent_service_pb2 as pb
from longshore.v1 import agent_service_pb2_grpc, resources_pb2

YEAR_9999 = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)


def ok(_: object) -> Ended:
    return Ended()


def a_stamp(at: datetime) -> Timestamp:
    stamp = Timestamp()
    stamp.FromDatetime(at)
    return stamp


async def say(agent: Agent, *changes: pb.AttemptChange) -> None:
    """Reports anything, and waits until it is acknowledged."""
    agent._sequence += 1
    sequence = agent._sequence
    report = pb.AgentReport(sequence=sequence, changes=changes)
    await agent._call.write(pb.ConnectRequest(report=report))
    await agent.until(lambda: agent.acknowledged >= sequence)


def events(logs: Sequence[Any], name: str) -> list[Any]:
    return [entry for entry in logs if entry["event"] == name]


async def others_end(stand: Stand, logs: Sequence[Any]) -> None:
    """A job of another machine runs to its end, and the mirror is what it was."""
    other = await stand.agent(environment=await stand.environment("others"), answers=ok)
    job = await stand.submit(await stand.queue("theirs", "others"))
    await stand.until(job, "SUCCEEDED")
    await other.close()
    assert not events(logs, "memory.loaded")
    assert not events(logs, "loop.failed")


# ---------------------------------------------------------------- what no table can hold


@pytest.mark.parametrize(
    "said",
    [
        {"reason": "NUL\0: here", "status_reason": "x"},
        {"status_reason": "a\0b" * 10_000},
        {"status_reason": "x", "address": "\0"},
        {"status_reason": "x", "start_time": a_stamp(YEAR_9999)},
        {"status_reason": "x", "start_time": Timestamp(seconds=-(2**63), nanos=-(2**31))},
        {"status_reason": "x", "stop_time": Timestamp(seconds=2**63 - 1, nanos=2**31 - 1)},
        {"status_reason": "x", "exit_code": -(2**31)},
    ],
)
async def test_an_end_that_no_table_can_hold_is_an_end(
    database_url: str, said: dict[str, Any]
) -> None:
    async with scheduler_stand(database_url) as stand:
        await stand.environment()
        await stand.queue()
        agent = await stand.agent()
        job = await stand.submit(timeout_seconds=300)
        await agent.until(lambda: job in agent.assigned)
        with capture_logs() as logs:
            key = agent.assigned[job].key
            change = pb.AttemptChange(key=key, status=pb.ATTEMPT_STATUS_ENDED, **said)
            await say(agent, change, change)
            await stand.until(job, "FAILED")
            row = await stand.conn.fetchrow("SELECT * FROM attempts")
            assert len(row["status_reason"]) <= convert.STATUS_REASON_MAX
            placed_at, now = row["placed_at"], datetime.now(UTC)
            assert placed_at <= (row["started_at"] or placed_at) <= row["stopped_at"] <= now
            await others_end(stand, logs)


async def test_a_notice_that_no_table_can_hold_drains_its_instance_alone(
    database_url: str,
) -> None:
    async with scheduler_stand(database_url) as stand:
        await stand.environment()
        await stand.queue()
        agent = await stand.agent()
        with capture_logs() as logs:
            notice = pb.AgentNotice(reason="\0", end_time=Timestamp(seconds=2**62))
            await agent._call.write(pb.ConnectRequest(notice=notice))
            await asyncio.wait_for(agent.draining.wait(), PATIENCE_SECONDS)
            await others_end(stand, logs)
        assert await stand.conn.fetchval("SELECT notice FROM agents WHERE notice IS NOT NULL")


@pytest.mark.parametrize(
    ("member", "said"),
    [
        ("agent_version", {"agent_version": "1\0"}),
        ("agent_version", {"agent_version": "1" * 10_000}),
        ("address", {"address": "\0"}),
        ("instance_type", {"instance_type": "\0"}),
        ("architecture", {"architecture": "x" * 200}),
        ("compute_environment", {"compute_environment": "machines\0"}),
        ("instance_id", {"instance_id": "i-\0"}),
        ("instance_id", {"instance_id": "../../etc/passwd"}),
        ("resources.memory_mib", {"resources": {"vcpu_milli": 1, "memory_mib": 2**62}}),
        ("resources.vcpu_milli", {"resources": {"vcpu_milli": -1, "memory_mib": 1}}),
        ("resources.gpus", {"resources": {"vcpu_milli": 1, "memory_mib": 1, "gpus": -1}}),
        ("runtime", {"runtime": 77}),
    ],
)
async def test_a_registration_that_cannot_be_is_refused_by_its_member(
    database_url: str, member: str, said: dict[str, Any]
) -> None:
    async with scheduler_stand(database_url) as stand:
        await stand.environment()
        await stand.scheduler.tick()
        with capture_logs() as logs:
            error = await refusal(stand, a_registration(**said))
            assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
            assert (error.details() or "").startswith(f"{member} ")
            await others_end(stand, logs)


async def test_gpus_that_no_table_can_hold_keep_their_machine_from_nothing(
    database_url: str,
) -> None:
    async with scheduler_stand(database_url) as stand:
        await stand.environment()
        await stand.scheduler.tick()
        devices = [
            pb.GpuDevice(uuid="GPU-1", name="NVIDIA A10G", memory_mib=23028),
            pb.GpuDevice(uuid="\0" * 1000, name="x" * 1000, memory_mib=-(2**63)),
            *(pb.GpuDevice() for _ in range(5000)),
        ]
        async with open_channel(f"127.0.0.1:{stand.port}") as channel:
            call = agent_service_pb2_grpc.AgentServiceStub(channel).Connect()
            await call.write(pb.ConnectRequest(register=a_registration(gpu_devices=devices)))
            assert await asyncio.wait_for(call.read(), PATIENCE_SECONDS) is not grpc.aio.EOF
            [shown] = await instance_report.list_instances(stand.conn, limit=10)
            assert shown.gpu_devices[0] == "NVIDIA A10G, 23028 MiB, GPU-1"
            assert len(shown.gpu_devices) == 1024
            assert max(map(len, shown.gpu_devices)) < 300
            call.cancel()


def a_registration(**said: Any) -> pb.AgentRegister:
    """What an unmanaged machine says, but for some members."""
    usual: dict[str, Any] = {
        "instance_id": "i-00000000000000bad",
        "compute_environment": "machines",
        "resources": {"vcpu_milli": 1000, "memory_mib": 1024},
        "runtime": resources_pb2.RUNTIME_SIMULATED,
        "instance_type": "unmanaged",
        "architecture": "x86_64",
        "unmanaged": True,
    }
    return pb.AgentRegister(**usual | said)


async def refusal(stand: Stand, message: pb.AgentRegister) -> grpc.aio.AioRpcError:
    """Why an agent is not taken in."""
    async with open_channel(f"127.0.0.1:{stand.port}") as channel:
        call = agent_service_pb2_grpc.AgentServiceStub(channel).Connect()
        await call.write(pb.ConnectRequest(register=message))
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await asyncio.wait_for(call.read(), PATIENCE_SECONDS)
        return refused.value


async def test_what_names_no_attempt_poisons_nothing_else_of_its_report(database_url: str) -> None:
    async with scheduler_stand(database_url) as stand:
        await stand.environment()
        await stand.queue()
        agent = await stand.agent()
        job = await stand.submit()
        await agent.until(lambda: job in agent.assigned)
        await say(
            agent,
            pb.AttemptChange(key=pb.AttemptKey(job_id="\0"), status=pb.ATTEMPT_STATUS_ENDED),
            pb.AttemptChange(key=agent.assigned[job].key),
            pb.AttemptChange(key=agent.assigned[job].key, status=99),
            pb.AttemptChange(
                key=agent.assigned[job].key, status=pb.ATTEMPT_STATUS_ENDED, exit_code=0
            ),
        )
        await stand.until(job, "SUCCEEDED")


async def test_an_agent_ends_no_attempt_of_another_instance(database_url: str) -> None:
    async with scheduler_stand(database_url) as stand:
        await stand.environment()
        await stand.queue()
        agent = await stand.agent()
        job = await stand.submit()
        await agent.until(lambda: job in agent.assigned)
        liar = await stand.agent(environment=await stand.environment("others"))
        key = agent.assigned[job].key
        await say(liar, pb.AttemptChange(key=key, status=pb.ATTEMPT_STATUS_ENDED, exit_code=7))
        assert (await stand.row(job))["status"] == "STARTING"
        await agent.end(job, Ended(), started=True)
        await stand.until(job, "SUCCEEDED")


# ---------------------------------------------------------------- clocks


@pytest.mark.parametrize("skew", [timedelta(minutes=-10), timedelta(days=3000)])
async def test_the_schedulers_clock_decides_about_timeouts(
    database_url: str, skew: timedelta
) -> None:
    """An agent's clock that is slow ends no attempt early, one that is fast bears none longer."""
    async with scheduler_stand(database_url) as stand:
        await stand.environment()
        await stand.queue()
        agent = await stand.agent()
        long, short = await stand.submit(timeout_seconds=300), await stand.submit(timeout_seconds=1)
        await agent.until(lambda: {long, short} <= agent.assigned.keys())
        # Its image took long to come: what is between placement and now is no bound.
        await stand.conn.execute("UPDATE attempts SET placed_at = now() - interval '1 hour'")
        for live in stand.scheduler.lead.memory.live.values():
            live.placed_at -= timedelta(hours=1)
        start = a_stamp(datetime.now(UTC) + skew)
        await say(
            agent,
            *(
                pb.AttemptChange(
                    key=agent.assigned[job].key, status=pb.ATTEMPT_STATUS_RUNNING, start_time=start
                )
                for job in (long, short)
            ),
        )
        await agent.until(lambda: bool(agent.stops))
        assert [stop.key.job_id for stop in agent.stops] == [short]
        assert (await stand.row(long))["started_at"] <= datetime.now(UTC)


async def test_a_timeout_counts_on_after_a_takeover(database_url: str) -> None:
    async with scheduler_stand(database_url) as stand:
        await stand.environment()
        await stand.queue()
        agent = await stand.agent()
        job = await stand.submit(timeout_seconds=300)
        await agent.until(lambda: job in agent.assigned)
        await agent.start(job)
        await stand.until(job, "RUNNING")
        await stand.conn.execute("UPDATE attempts SET running_at = now() - interval '400 s'")
        stand.scheduler.lead.memory = None
        await agent.until(lambda: bool(agent.stops))
        assert agent.stops[0].status_reason == "Job attempt duration exceeded timeout"


# ---------------------------------------------------------------- silence


async def test_an_open_stream_is_no_sign_of_life(database_url: str) -> None:
    """Of two agents with open streams the silent one is lost, and its job runs elsewhere."""
    async with scheduler_stand(database_url) as stand:
        await stand.environment()
        await stand.queue()
        silent = await stand.agent()
        job = await stand.submit(attempts=2)
        await silent.until(lambda: job in silent.assigned)
        other = await stand.agent()
        async with stand.scheduler.lead.turn, asyncio.timeout(PATIENCE_SECONDS):
            memory = stand.scheduler.lead.memory
            assert memory is not None
            instances = [memory.instances[agent.instance_id] for agent in (silent, other)]
            began = time.monotonic()
            for instance in instances:
                instance.seen = began - 2 * LOST_SECONDS
            await other._call.write(pb.ConnectRequest(heartbeat=pb.AgentHeartbeat()))
            while instances[1].seen < began:
                await asyncio.sleep(0.01)
        await other.until(lambda: job in other.assigned)
        assert other.assigned[job].key.attempt == 2
        statuses = await stand.conn.fetch("SELECT instance_id, status FROM agents")
        assert {tuple(row) for row in statuses} == {
            (silent.instance_id, "LOST"),
            (other.instance_id, "READY"),
        }


async def test_only_those_who_gave_a_sign_of_life_are_noted_as_seen(database_url: str) -> None:
    async with scheduler_stand(database_url) as stand:
        await stand.environment()
        one, other = await stand.agent(), await stand.agent()
        await stand.scheduler.agents.store_seen()
        await stand.conn.execute("UPDATE agents SET last_seen_at = 'epoch'")
        await other.notice("a sign of life")
        await asyncio.wait_for(other.draining.wait(), PATIENCE_SECONDS)
        await stand.scheduler.agents.store_seen()
        seen = await stand.conn.fetch("SELECT instance_id FROM agents WHERE last_seen_at > 'epoch'")
        assert [row["instance_id"] for row in seen] == [other.instance_id]
        assert one.instance_id != other.instance_id


# ---------------------------------------------------------------- what fails all the same


@pytest.fixture
def poison(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Jobs of which the database refuses each change of an attempt that has an exit code."""
    jobs: set[str] = set()
    real = attempt.move

    async def move(conn: Any, moves: Sequence[attempt.AttemptMove]) -> None:
        await real(conn, moves)
        if any(str(m.key) in jobs and m.exit_code is not None for m in moves):
            await conn.execute("SELECT 1 / 0")

    monkeypatch.setattr(attempt, "move", move)
    return jobs


async def test_a_report_that_fails_in_the_database_is_set_aside(
    database_url: str, poison: set[str]
) -> None:
    """Its attempt ended as failed and its agent starts anew; all others of its batch are stored."""
    async with scheduler_stand(database_url) as stand:
        await stand.environment()
        await stand.queue()
        agent = await stand.agent(vcpus=16)
        jobs = [await stand.submit(attempts=2) for _ in range(9)]
        await agent.until(lambda: set(jobs) <= agent.assigned.keys())
        bad = jobs[4]
        poison.add(bad)
        with capture_logs() as logs:
            await say(
                agent,
                *(
                    pb.AttemptChange(
                        key=agent.assigned[job].key,
                        status=pb.ATTEMPT_STATUS_ENDED,
                        start_time=a_stamp(datetime.now(UTC)),
                        exit_code=0,
                    )
                    for job in jobs
                ),
            )
            for job in jobs:
                await stand.until(job, "RUNNABLE" if job == bad else "SUCCEEDED", "STARTING")
            await asyncio.wait_for(agent._reader, PATIENCE_SECONDS)
            [aside] = events(logs, "item.set_aside")
            assert (aside["job_id"], aside["log_level"]) == (bad, "error")
            poison.clear()
            await agent.connect()
            await agent.until(lambda: agent.assigned[bad].key.attempt == 2)
            await agent.end(bad, Ended(), started=True)
            await stand.until(bad, "SUCCEEDED")
            await others_end(stand, logs)
        row = await stand.conn.fetchrow(
            "SELECT * FROM attempts WHERE job_id = $1 AND attempt = 1", JobKey.parse(bad).job_id
        )
        assert (row["exit_code"], row["status_reason"]) == (
            None,
            "What the agent reported of the attempt could not be stored",
        )


async def test_what_follows_from_a_report_may_fail_without_it(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nodes of a job, arrays and instances are in the mirror what they are in the tables."""
    real = job_dependency.depended_on
    poisoned: set[str] = set()

    async def depended_on(conn: Any, job_ids: Any) -> Any:
        if any(str(job_id) in poisoned for job_id in job_ids):
            raise RuntimeError("unforeseen")
        return await real(conn, job_ids)

    monkeypatch.setattr(job_dependency, "depended_on", depended_on)
    async with scheduler_stand(database_url) as stand:
        await stand.environment()
        await stand.queue()
        agent = await stand.agent(vcpus=16)
        array = await stand.submit(size=3)
        bad, good = await stand.submit(), await stand.submit()
        after = await stand.submit(depends_on=[(good, "PLAIN")])
        wanted = {bad, good, *(f"{array}:{i}" for i in range(3))}
        await agent.until(lambda: wanted <= agent.assigned.keys())
        poisoned.add(bad)
        with capture_logs() as logs:
            keys = [agent.assigned[job].key for job in sorted(wanted)]
            await say(
                agent,
                *(
                    pb.AttemptChange(key=key, status=status, start_time=a_stamp(datetime.now(UTC)))
                    for key in keys
                    for status in (pb.ATTEMPT_STATUS_RUNNING, pb.ATTEMPT_STATUS_ENDED)
                ),
            )
            await stand.until(array, "FAILED")
            await stand.until(good, "FAILED")
            await stand.until(after, "FAILED")
            # It ended as it ended: only what follows is set aside.
            await stand.until(bad, "FAILED")
            async with asyncio.timeout(PATIENCE_SECONDS):
                while not (aside := events(logs, "item.set_aside")):
                    await asyncio.sleep(0.01)
            assert {e["kind"] for e in aside} == {"happening"}
            memory = stand.scheduler.lead.memory
            assert memory is not None
            assert not memory.live
            instance = memory.instances[agent.instance_id]
            assert instance.free == instance.total
            poisoned.clear()
            await others_end(stand, logs)


async def test_a_notice_that_fails_in_the_database_is_set_aside(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = agent_table.notice

    async def notice(conn: Any, notices: Sequence[agent_table.Notice]) -> list[str]:
        if any(n.reason == "bad" for n in notices):
            await conn.execute("SELECT 1 / 0")
        return await real(conn, notices)

    monkeypatch.setattr(agent_table, "notice", notice)
    async with scheduler_stand(database_url) as stand:
        await stand.environment()
        bad, good = await stand.agent(), await stand.agent()
        with capture_logs() as logs:
            await bad.notice("bad")
            await good.notice("good")
            await asyncio.wait_for(good.draining.wait(), PATIENCE_SECONDS)
            await others_end(stand, logs)
        assert [e["instance_id"] for e in events(logs, "item.set_aside")] == [bad.instance_id]


async def test_a_registration_that_fails_in_the_database_costs_no_reload(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = agent_table.register

    async def register(conn: Any, registration: agent_table.Registration, **rest: Any) -> None:
        await real(conn, registration, **rest)
        if registration.instance_id.endswith("bad"):
            await conn.execute("SELECT 1 / 0")

    monkeypatch.setattr(agent_table, "register", register)
    async with scheduler_stand(database_url) as stand:
        await stand.environment()
        await stand.scheduler.tick()
        with capture_logs() as logs:
            for _ in range(5):
                error = await refusal(stand, a_registration())
                assert error.code() is grpc.StatusCode.INTERNAL
            await others_end(stand, logs)
        assert "i-00000000000000bad" not in stand.scheduler.lead.memory.instances


async def test_an_attempt_of_which_no_agent_can_be_told_has_failed(
    database_url: str,
) -> None:
    """Whoever is told with it, or after it, hears all the same."""
    async with scheduler_stand(database_url) as stand:
        await stand.environment()
        await stand.queue()
        jobs = [await stand.submit() for _ in range(3)]
        await stand.conn.execute(
            "UPDATE job_specs SET container = '\\xff'::bytea WHERE job_id = $1",
            JobKey.parse(jobs[1]).job_id,
        )
        await stand.scheduler.tick()
        with capture_logs() as logs:
            agent = await stand.agent(answers=ok)
            row = await stand.until(jobs[1], "FAILED")
            assert row["status_reason"] == "Task failed to start"
            assert row["reason"] == "AssignmentError: the job's properties cannot be read"
            for job in (jobs[0], jobs[2]):
                await stand.until(job, "SUCCEEDED")
            await others_end(stand, logs)
        assert len(events(logs, "item.set_aside")) == 1
        assert {job for job, _ in agent.seen} == {jobs[0], jobs[2]}


# ---------------------------------------------------------------- anything


TEXTS = st.text(st.characters(codec="utf-8"), max_size=40) | st.sampled_from(["\0", "x" * 70_000])
INT32 = st.integers(-(2**31), 2**31 - 1)
STAMPS = st.builds(Timestamp, seconds=st.integers(-(2**63), 2**63 - 1), nanos=INT32)
KEYS = st.sampled_from(
    ["own", "theirs", "", "\0", "0" * 36, "00000000-0000-4000-8000-000000000000"]
)


CONTAINERS = st.builds(
    pb.ContainerChange,
    name=TEXTS,
    start_time=st.none() | STAMPS,
    stop_time=st.none() | STAMPS,
    exit_code=st.none() | INT32,
    reason=st.none() | TEXTS,
)


@st.composite
def changes(draw: st.DrawFn) -> pb.AttemptChange:
    """A change of anything, mostly of an attempt that is there."""
    change = pb.AttemptChange(
        key=pb.AttemptKey(
            job_id=draw(KEYS) + draw(st.sampled_from(["", "", "", ":0", "#0", ":99999"])),
            attempt=draw(st.just(1) | INT32),
        ),
        status=draw(st.integers(-1, 5)),
        status_reason=draw(TEXTS),
        address=draw(TEXTS),
    )
    if draw(st.booleans()):
        change.start_time.CopyFrom(draw(STAMPS))
    if draw(st.booleans()):
        change.stop_time.CopyFrom(draw(STAMPS))
    if draw(st.booleans()):
        change.exit_code = draw(INT32)
    if draw(st.booleans()):
        change.reason = draw(TEXTS)
    if draw(st.booleans()):
        change.containers.extend(draw(st.lists(CONTAINERS, max_size=12)))
    return change


REPORTS = st.builds(
    pb.AgentReport,
    sequence=st.integers(-(2**63), 2**63 - 1),
    changes=st.lists(changes(), max_size=6),
)
HEALTHS = st.builds(
    pb.AgentHealth,
    condition=st.integers(-1, 6),
    detail=TEXTS,
    network=TEXTS | st.just("bridge"),
    network_detail=TEXTS,
)
MESSAGES = st.one_of(
    st.builds(pb.ConnectRequest, report=REPORTS),
    st.builds(pb.ConnectRequest, notice=st.builds(pb.AgentNotice, reason=TEXTS, end_time=STAMPS)),
    st.builds(
        pb.ConnectRequest,
        heartbeat=st.builds(pb.AgentHeartbeat, live_attempts=INT32, health=st.none() | HEALTHS),
    ),
    st.builds(pb.ConnectRequest, register=st.just(a_registration(agent_version="\0"))),
    st.just(pb.ConnectRequest()),
)
SESSIONS = st.lists(st.lists(MESSAGES, max_size=8), min_size=1, max_size=12)


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(sessions=SESSIONS)
def test_whatever_an_agent_says_the_jobs_of_others_end(
    database_url: str, sessions: list[list[pb.ConnectRequest]]
) -> None:
    asyncio.run(_say_anything(database_url, sessions))


async def _say_anything(database_url: str, sessions: list[list[pb.ConnectRequest]]) -> None:
    conn = await asyncpg.connect(database_url)
    await conn.execute(
        "TRUNCATE job_queues, compute_environments, agents, jobs, job_specs, attempts, ready, "
        "ready_blocks, demand, leases CASCADE"
    )
    await conn.close()
    async with scheduler_stand(database_url) as stand:
        theirs = await stand.queue("theirs", await stand.environment("theirs"))
        own = await stand.queue("own", await stand.environment("machines"))
        other = await stand.agent(environment="theirs")
        held = await stand.submit(theirs)
        await other.until(lambda: held in other.assigned)
        with capture_logs() as logs:
            for number, messages in enumerate(sessions):
                mine = await stand.submit(own)
                name = f"i-{number:016x}b"
                await _one_stream(stand, name, messages, own=mine, theirs=held)
            await other.end(held, Ended(), started=True)
            await stand.until(held, "SUCCEEDED")
            other.answers = ok
            await stand.until(await stand.submit(theirs), "SUCCEEDED")
        assert not [e for e in logs if e["event"] in ("memory.loaded", "loop.failed")]
        assert not [e for e in logs if e["event"].endswith("set_aside")]


async def _one_stream(
    stand: Stand, instance_id: str, messages: list[pb.ConnectRequest], *, own: str, theirs: str
) -> None:
    """A new machine gets its job, says some things twice, and waits for the end of the stream."""
    async with (
        open_channel(f"127.0.0.1:{stand.port}") as channel,
        asyncio.timeout(PATIENCE_SECONDS),
    ):
        call = agent_service_pb2_grpc.AgentServiceStub(channel).Connect()
        register = a_registration(instance_id=instance_id)
        await call.write(pb.ConnectRequest(register=register))
        heard = await call.read()
        while not (heard.registered.assignments or heard.assign.assignments):
            heard = await call.read()
        with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
            for message in messages * 2:
                for change in message.report.changes:
                    said = change.key.job_id
                    change.key.job_id = said.replace("own", own).replace("theirs", theirs)
                await call.write(message)
            await call.done_writing()
            while await call.read() is not grpc.aio.EOF:
                pass


async def test_many_registrations_at_one_time_cost_others_nothing(database_url: str) -> None:
    async with scheduler_stand(database_url) as stand:
        await stand.environment()
        await stand.scheduler.tick()
        with capture_logs() as logs:
            async with open_channel(f"127.0.0.1:{stand.port}") as channel:
                stub = agent_service_pb2_grpc.AgentServiceStub(channel)

                async def flood(first: int) -> None:
                    for number in range(first, first + 100):
                        call = stub.Connect()
                        name = f"i-{number:016x}f"
                        message = a_registration(instance_id=name)
                        await call.write(pb.ConnectRequest(register=message))
                        if number % 2:
                            await call.read()
                        call.cancel()

                async with asyncio.TaskGroup() as group:
                    for first in range(0, 1000, 100):
                        group.create_task(flood(first))
                    group.create_task(others_end(stand, logs))
            async with asyncio.timeout(PATIENCE_SECONDS):
                while stand.scheduler.agents.sessions:
                    await asyncio.sleep(0.01)
            assert not events(logs, "memory.loaded")
        # Also those whose stream broke meanwhile: what is on record is lost in time.
        rows = await stand.conn.fetch("SELECT instance_id FROM agents WHERE status <> 'LOST'")
        memory = stand.scheduler.lead.memory
        assert memory is not None
        assert {row["instance_id"] for row in rows} <= memory.instances.keys()
