"""Finished jobs become history, are found as before, and leave whole."""

import uuid
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from support.scheduling import Ended, Stand, scheduler_stand

from longshore.domain.errors import Unavailable
from longshore.domain.job.job import JobKey
from longshore.domain.request.reading import JobFilter
from longshore.scheduler import history
from longshore.scheduler.explaining import explain_job
from longshore.scheduler.history import History
from longshore.state.scheduler import job_history
from longshore.state.scheduler.job_history import OverJob
from longshore.state.submission import job_control, job_submission, tag
from longshore.state.submission.tag import Tagged
from longshore.state.views import instance_report, job_reading

KEPT = timedelta(days=90)
HISTORY = ("jobs", "job_specs", "array_jobs", "attempts", "job_events")


def keeper(stand: Stand, kept: timedelta = KEPT) -> History:
    """One that lets no finished job linger."""
    return History(stand.scheduler.lead.leadership, kept, timedelta(0))


async def live(stand: Stand) -> set[str]:
    """Jobs among the live ones."""
    return {str(r["job_id"]) for r in await stand.conn.fetch("SELECT DISTINCT job_id FROM jobs")}


async def age(stand: Stand, job: str, days: int) -> None:
    """Lets a finished job have ended so many days earlier."""
    await stand.conn.execute(
        "UPDATE jobs SET stopped_at = stopped_at - make_interval(days => $2) WHERE job_id = $1",
        uuid.UUID(job),
        days,
    )


async def finished_nodes(stand: Stand, like: str) -> str:
    """A multi-node job of three nodes that is over, otherwise like another job."""
    job = uuid.uuid4()
    await stand.conn.execute(
        "INSERT INTO jobs (job_id, seq, job_queue, shape_id, name, definition_name, "
        "definition_revision, num_nodes, main_node, status, attempt, stopped_at) "
        "SELECT $1, nextval('job_seq'), job_queue, shape_id, name, definition_name, "
        "definition_revision, 3, 0, status, 1, stopped_at FROM jobs WHERE job_id = $2",
        job,
        uuid.UUID(like),
    )
    await stand.conn.execute(
        "INSERT INTO job_specs (job_id, detail, nodes) VALUES ($1, '{}', '')", job
    )
    await stand.conn.execute(
        "INSERT INTO attempts (job_id, array_index, attempt, attempt_id, instance_id, "
        "compute_environment, status, vcpu_milli, memory_mib, gpus, log_stream_name, stopped_at, "
        "exit_code) SELECT $1, -2 - n, 1, n, 'i', 'machines', 'ENDED', 1, 1, 0, 'log', now(), 0 "
        "FROM generate_series(0, 2) n",
        job,
    )
    return str(job)


async def told(stand: Stand, job: str) -> list[Any]:
    """All that is told of a job with three children or nodes."""
    conn, whole = stand.conn, JobKey.parse(job)
    keys = [whole, *(JobKey(whole.job_id, index) for index in (0, 2, -2, -4))]
    wanted = JobFilter(("SUCCEEDED", "FAILED"))
    return [
        await job_reading.describe_jobs(conn, keys),
        await job_reading.list_queue(conn, "q", wanted, before_seq=None, limit=10),
        await job_reading.list_children(conn, whole.job_id, "SUCCEEDED", after_index=0, limit=1),
        await job_reading.list_nodes(conn, whole.job_id, "SUCCEEDED", after_node=0, limit=1),
        await job_reading.is_array(conn, whole.job_id),
        await job_reading.is_multi_node(conn, whole.job_id),
        await explain_job(conn, whole),
        await job_control.find_targets(conn, keys),
        await job_submission.find_jobs(conn, [whole.job_id]),
        await instance_report.job_costs(conn, [whole]),
        await tag.lock_tags(conn, Tagged.job(whole.job_id)),
    ]


async def test_a_finished_job_is_found_where_it_went(database_url: str) -> None:
    """A single job, an array and a multi-node job; their tags still change."""
    async with scheduler_stand(database_url) as stand:
        await stand.environment()
        await stand.queue()
        await stand.agent(vcpus=8, answers=lambda _: Ended())
        single = await stand.submit()
        array = await stand.submit(size=3)
        for job in (single, array):
            await stand.until(job, "SUCCEEDED")
        jobs = [single, array, await finished_nodes(stand, single)]
        before = [await told(stand, job) for job in jobs]
        await keeper(stand).tick()
        assert await live(stand) == set()
        assert [await told(stand, job) for job in jobs] == before
        for table in HISTORY:
            assert await stand.conn.fetchval(f"SELECT count(*) FROM {table}") == 0  # noqa: S608
        assert await stand.conn.fetchval("SELECT count(*) FROM all_job_events") > 0
        await tag.write_tags(stand.conn, Tagged.job(uuid.UUID(array)), {"a": "b"})
        described = await job_reading.describe_jobs(stand.conn, [JobKey.parse(array)])
        assert described[0].tags == {"a": "b"}
        assert await stand.submit() != single
        await stand.check()


async def test_what_something_live_needs_stays(database_url: str) -> None:
    """A job on which an unfinished one depends, until that is over too; others pass it."""
    async with scheduler_stand(database_url) as stand:
        await stand.environment()
        await stand.queue()
        agent = await stand.agent(vcpus=8)
        first = await stand.submit()
        second = await stand.submit(depends_on=[(first, "PLAIN")])
        other = await stand.submit()
        for job in (first, other, second):
            await agent.until(lambda job=job: job in agent.assigned)
            await agent.end(job, Ended(), started=True)
            await stand.until(job, "SUCCEEDED")
            if job == other:
                kept = keeper(stand)
                await kept.tick()
                assert await live(stand) == {first, second}
        await kept.tick()
        assert await live(stand) == set()
        assert await stand.conn.fetchval("SELECT count(*) FROM job_dependencies") == 0


async def test_jobs_depend_on_history(database_url: str) -> None:
    """As on any finished job: on the whole, on a child, child by child, and on one that failed."""
    async with scheduler_stand(database_url) as stand:
        await stand.environment()
        await stand.queue()
        agent = await stand.agent(vcpus=8, answers=lambda _: Ended())
        array = await stand.submit(size=3)
        await stand.until(array, "SUCCEEDED")
        failed = await stand.submit(vcpus=64)
        await stand.until(failed, "RUNNABLE")
        await stand.request(failed, "TERMINATE")
        await stand.until(failed, "FAILED")
        await keeper(stand).tick()
        assert await live(stand) == set()
        good = [
            await stand.submit(depends_on=[(array, "PLAIN")]),
            await stand.submit(depends_on=[(f"{array}:1", "PLAIN")]),
            await stand.submit(size=3, depends_on=[(array, "N_TO_N")]),
        ]
        bad = await stand.submit(depends_on=[(failed, "PLAIN")])
        for job in good:
            await stand.until(job, "SUCCEEDED")
        await stand.until(bad, "FAILED")
        assert len(agent.seen) == 3 + 2 + 3


async def test_a_week_leaves_whole_after_its_time(database_url: str) -> None:
    """With all that is of its jobs, unless an unfinished job depends on one of them."""
    async with scheduler_stand(database_url) as stand:
        await stand.environment()
        await stand.queue()
        await stand.agent(vcpus=8, answers=lambda _: Ended())
        old, needed, young = [await stand.submit(size=2) for _ in range(3)]
        for job, days in ((old, 110), (needed, 130), (young, 80)):
            await stand.until(job, "SUCCEEDED")
            await age(stand, job, days)
        await stand.conn.execute(
            "INSERT INTO job_consumables SELECT 'licence', seq, job_id, 1 FROM jobs "
            "WHERE array_index = -1"
        )
        kept = keeper(stand)
        await kept._move(datetime.now(UTC))
        assert len(await job_history.weeks(stand.conn)) == 3
        waiting = await stand.submit(vcpus=64, depends_on=[(needed, "PLAIN")])
        await stand.until(waiting, "RUNNABLE")

        async def known() -> list[str]:
            keys = [JobKey.parse(job) for job in (old, needed, young)]
            found = await job_reading.describe_jobs(stand.conn, keys)
            needing, _ = await job_reading.list_needing(
                stand.conn, "licence", status=None, pattern=None, before_seq=None, limit=10
            )
            assert [one.job.key for one in needing] == [d.job.key for d in found[::-1]]
            return [str(d.job.key) for d in found]

        await kept.tick()
        assert await known() == [needed, young]
        await stand.request(waiting, "TERMINATE")
        await stand.until(waiting, "FAILED")
        await kept.tick()
        assert await known() == [young]
        for table in (*(f"all_{name}" for name in HISTORY), "job_consumables"):
            rows = await stand.conn.fetch(
                f"SELECT DISTINCT job_id FROM {table} WHERE job_id = ANY($1)",  # noqa: S608
                [uuid.UUID(old), uuid.UUID(needed)],
            )
            assert not rows
        # What was never there, and what left, is no job any more.
        late = await stand.submit(depends_on=[(old, "PLAIN")])
        await stand.until(late, "FAILED")


async def test_a_reader_holds_a_week_and_is_not_held_by_it(database_url: str) -> None:
    """It goes once nobody reads history, with all of its tables or none."""
    async with scheduler_stand(database_url) as stand:
        await stand.environment()
        await stand.queue()
        await stand.agent(vcpus=8, answers=lambda _: Ended())
        old = await stand.submit()
        await stand.until(old, "SUCCEEDED")
        await age(stand, old, 110)
        async with stand.conn.transaction():
            assert await stand.conn.fetchval("SELECT count(*) FROM all_job_events") > 0
            with pytest.raises(Unavailable):
                await keeper(stand).tick()
            assert len(await job_history.weeks(stand.conn)) == 1
        await stand.until(await stand.submit(), "SUCCEEDED")
        await keeper(stand).tick()
        assert await job_reading.describe_jobs(stand.conn, [JobKey.parse(old)]) == []


async def test_shapes_go_with_their_last_job(database_url: str) -> None:
    """Those that submission may still know of, and those of live jobs, stay."""
    async with scheduler_stand(database_url) as stand:
        await stand.environment()
        await stand.queue()
        await stand.agent(vcpus=8, answers=lambda _: Ended())
        over, young = await stand.submit(memory_mib=1), await stand.submit(memory_mib=2)
        for job in (over, young):
            await stand.until(job, "SUCCEEDED")
        waiting = await stand.submit(memory_mib=1_000_000)
        await stand.until(waiting, "RUNNABLE")
        await stand.conn.execute(
            "UPDATE shapes SET used_on = used_on - 4 WHERE memory_mib IN (1, 1000000)"
        )
        before = await job_reading.describe_jobs(stand.conn, [JobKey.parse(over)])
        await keeper(stand).tick()
        sizes = await stand.conn.fetch("SELECT memory_mib FROM shapes ORDER BY 1")
        assert [row["memory_mib"] for row in sizes] == [2, 1_000_000]
        assert await job_reading.describe_jobs(stand.conn, [JobKey.parse(over)]) == before


async def test_a_pass_is_in_bounded_parts(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One job after the other, and the next pass goes on where the last one stopped."""
    monkeypatch.setattr(history, "BATCH", 1)
    monkeypatch.setattr(history, "BATCHES_MOST", 2)
    async with scheduler_stand(database_url) as stand:
        await stand.environment()
        await stand.queue()
        await stand.agent(vcpus=1, answers=lambda _: Ended())
        jobs = [await stand.submit() for _ in range(3)]
        await stand.until(jobs[-1], "SUCCEEDED")
        kept = keeper(stand)
        await kept.tick()
        assert await live(stand) == {jobs[2]}
        await kept.tick()
        assert await live(stand) == set()
        await History(stand.scheduler.lead.leadership, KEPT).tick()


async def test_a_large_array_goes_in_parts_and_is_told_whole_at_any_time(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever keeps history next goes on where the last one stopped."""
    monkeypatch.setattr(history, "CHILDREN", 2)
    monkeypatch.setattr(history, "BATCHES_MOST", 1)
    async with scheduler_stand(database_url) as stand:
        await stand.environment()
        await stand.queue()
        await stand.agent(vcpus=8, answers=lambda _: Ended())
        array = await stand.submit(size=5)
        await stand.until(array, "SUCCEEDED")
        before = await told(stand, array)
        rows = []
        for _ in range(4):
            await keeper(stand).tick()
            rows.append(await stand.conn.fetchval("SELECT count(*) FROM jobs"))
            assert await told(stand, array) == before
        assert rows == [5, 3, 1, 0]
        for table in ("attempts", "job_events", "job_specs", "array_jobs", "leaving_arrays"):
            assert await stand.conn.fetchval(f"SELECT count(*) FROM {table}") == 0, table  # noqa: S608


def test_large_arrays_fill_a_part() -> None:
    """At least one job, and no more children than a transaction moves."""
    now = datetime.now(UTC)

    def over(*sizes: int) -> list[OverJob]:
        return [OverJob(uuid.uuid4(), now, size, is_needed=False) for size in sizes]

    assert [len(history.bounded(over(*sizes))) for sizes in ((), (10_000, 1), (1, 4_999, 1))] == [
        0,
        1,
        2,
    ]


def test_weeks_begin_on_mondays() -> None:
    days = [date(2026, 11, 29), date(2026, 11, 30), date(2026, 12, 6)]
    assert [job_history.monday(day) for day in days] == [
        date(2026, 11, 23),
        date(2026, 11, 30),
        date(2026, 11, 30),
    ]
