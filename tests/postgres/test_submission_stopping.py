"""StopJobs: which jobs are meant, what is recorded of them, and what is refused."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from support.submission import Stand, a_queue, submission_stand

from longshore.domain.errors import InvalidRequest, LongshoreError, NotFound
from longshore.submission import stopping


@pytest.fixture
async def stand(database_url: str) -> AsyncIterator[Stand]:
    async with submission_stand(database_url) as stand:
        await stand.prepare()
        yield stand


async def _requested(stand: Stand) -> list[tuple[str, str, str]]:
    rows = await stand.conn.fetch(
        "SELECT name, kind, r.reason FROM job_requests r JOIN jobs USING (job_id)"
        " ORDER BY request_id"
    )
    return [tuple(row) for row in rows]


async def _count(stand: Stand, action: str = "CANCEL", **selection: Any) -> tuple[int, int]:
    *_, last = await stand.stop(action, selection=selection, dryRun=True)
    assert last["complete"] is True
    return int(last["jobs"]), int(last["children"])


async def test_every_member_narrows_the_selection(stand: Stand) -> None:
    await stand("CreateSchedulingPolicy", name="fair")
    policy = "arn:aws:batch:us-east-1:000000000000:scheduling-policy/fair"
    await stand("CreateJobQueue", **a_queue("p", schedulingPolicyArn=policy))
    await stand.register()
    await stand.register("e")
    await stand.submit(jobName="night_1", tags={"team": "x", "run": "1"}, jobDefinition="d:1")
    await stand.submit(jobName="night-2", tags={"team": "x"})
    await stand.submit(jobName="Night-3", arrayProperties={"size": 7}, jobDefinition="e")
    await stand.submit(jobName="day", jobQueue="p", shareIdentifier="anna")
    times = "UPDATE jobs SET created_at = '2026-01-01T00:00:00Z' WHERE name = 'night_1'"
    await stand.conn.execute(times)
    new_year = "2026-01-01T00:00:00Z"
    arn = "arn:aws:batch:us-east-1:000000000000:job-queue/q"
    for selection, count in (
        ({"jobQueue": "q"}, (3, 7)),
        ({"jobQueue": arn}, (3, 7)),
        ({"jobQueue": "p"}, (1, 0)),
        ({"jobName": "*"}, (4, 7)),
        ({"jobName": "night*"}, (2, 0)),
        ({"jobName": "?ight-?"}, (2, 7)),
        ({"jobName": "night_?"}, (1, 0)),
        ({"jobName": "night"}, (0, 0)),
        ({"jobDefinition": "d"}, (3, 0)),
        ({"jobDefinition": "d:1"}, (1, 0)),
        ({"tags": {"team": "x"}}, (2, 0)),
        ({"tags": {"team": "x", "run": "1"}}, (1, 0)),
        ({"tags": {"team": "y"}}, (0, 0)),
        ({"shareIdentifier": "anna"}, (1, 0)),
        ({"submittedBefore": new_year}, (0, 0)),
        ({"submittedAfter": new_year, "jobName": "night_1"}, (1, 0)),
        ({"submittedBefore": "2026-01-01T00:00:01Z"}, (1, 0)),
        ({"statuses": ["SUBMITTED"]}, (4, 7)),
        ({"statuses": ["RUNNABLE", "PENDING"]}, (0, 0)),
    ):
        assert await _count(stand, **selection) == count, selection
    assert await _requested(stand) == []


async def test_jobs_are_asked_for_in_bounded_parts_and_once(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stopping, "BATCH", 3)
    await asyncio.gather(*(stand.submit(jobName=f"a{n}") for n in range(8)))
    await stand.submit(jobName="b")
    told = await stand.stop("CANCEL", selection={"jobName": "a*"})
    assert [int(answer["jobs"]) for answer in told][-2:] == [8, 8]
    assert [answer["complete"] for answer in told] == [False] * (len(told) - 1) + [True]
    assert len(told) == 5
    assert {kind for _, kind, _ in await _requested(stand)} == {"CANCEL"}
    assert sorted(name for name, *_ in await _requested(stand)) == [f"a{n}" for n in range(8)]
    # What was asked for is selected no more; to terminate goes further than to cancel.
    assert await _count(stand, jobQueue="q") == (1, 0)
    assert await _count(stand, "TERMINATE", jobQueue="q") == (9, 0)
    await stand.stop("TERMINATE", selection={"jobName": "a1"}, reason="now")
    assert ("a1", "TERMINATE", "now") in await _requested(stand)
    assert await _count(stand, "TERMINATE", jobQueue="q") == (8, 0)


async def test_only_jobs_that_are_not_over_and_can_be_stopped(stand: Stand) -> None:
    for status in ("PENDING", "RUNNABLE", "STARTING", "RUNNING", "SUCCEEDED", "FAILED"):
        job_id = await stand.submit(jobName=status)
        await stand.conn.execute(
            "UPDATE jobs SET status = $2, stopped_at = CASE WHEN $2 IN ('SUCCEEDED', 'FAILED')"
            " THEN now() END WHERE job_id = $1",
            job_id,
            status,
        )
    assert await _count(stand, "CANCEL", jobQueue="q") == (2, 0)
    assert await _count(stand, "TERMINATE", jobQueue="q") == (4, 0)
    assert await _count(stand, "TERMINATE", jobQueue="q", statuses=["RUNNING"]) == (1, 0)


@pytest.mark.parametrize(
    ("members", "error", "member"),
    [
        ({"selection": {}}, InvalidRequest, "selection"),
        ({"selection": {"jobQueue": ""}}, InvalidRequest, "selection.jobQueue"),
        ({"selection": {"jobQueue": "nope"}}, NotFound, "selection.jobQueue"),
        ({"selection": {"jobName": ""}}, InvalidRequest, "selection.jobName"),
        ({"selection": {"jobName": "a%"}}, InvalidRequest, "selection.jobName"),
        ({"selection": {"jobDefinition": "d:0"}}, InvalidRequest, "selection.jobDefinition"),
        ({"selection": {"shareIdentifier": "a b"}}, InvalidRequest, "selection.shareIdentifier"),
        ({"selection": {"statuses": ["RUNNING"]}}, InvalidRequest, "selection.statuses[0]"),
        ({"selection": {"tags": {"": "x"}}}, InvalidRequest, "selection.tags"),
        ({"selection": {"jobQueue": "q"}, "reason": ""}, InvalidRequest, "reason"),
        ({"selection": {"jobQueue": "q"}, "reason": "x" * 1025}, InvalidRequest, "reason"),
        (
            {"selection": {"jobQueue": "q"}, "action": "UNSPECIFIED"},
            InvalidRequest,
            "action",
        ),
    ],
)
async def test_what_is_wrong_is_refused_by_its_member(
    stand: Stand, members: dict[str, Any], error: type[LongshoreError], member: str
) -> None:
    await stand.submit()
    with pytest.raises(error) as refused:
        await stand.stop(**{"action": "CANCEL"} | members)
    assert refused.value.fields["member"] == member
    assert await _requested(stand) == []
