"""SubmitJob: what is stored, what is refused with which words, and what happens under load."""

import asyncio
import json
import re
import uuid
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any

import pytest
from support.patience import PATIENCE_SECONDS
from support.submission import Stand, a_container, a_queue, submission_stand

from longshore.domain.arn import DefinitionName
from longshore.domain.errors import (
    InvalidRequest,
    LimitExceeded,
    LongshoreError,
    NotFound,
    PreconditionFailed,
    Unavailable,
    Unimplemented,
)
from longshore.domain.limits import LONGSHORE
from longshore.domain.request.submission import Submission
from longshore.state.embedded import EmbeddedPostgres
from longshore.state.migrate import migrate
from longshore.state.pool import open_pool
from longshore.state.submission import submission_token
from longshore.submission import submit
from longshore.submission.convert import encode_container, encode_nodes, encode_task
from longshore.submission.submit import TRANSACTIONS, Encoders, Submitter
from longshore.v1 import job_definition_pb2


@pytest.fixture
async def stand(database_url: str) -> AsyncIterator[Stand]:
    async with submission_stand(database_url) as stand:
        await stand.prepare()
        yield stand


async def test_a_job_is_stored_resolved(stand: Stand) -> None:
    await stand.register(
        "r",
        a_container(command=["go", "Ref::what"], environment=[{"name": "A", "value": "1"}]),
        parameters={"what": "home"},
        retryStrategy={"attempts": 3, "evaluateOnExit": [{"onExitCode": "1*", "action": "retry"}]},
        timeout={"attemptDurationSeconds": 60},
    )
    job_id = await stand.submit(
        jobDefinition="r",
        parameters={"what": "away"},
        containerOverrides={
            "environment": [{"name": "B", "value": "2"}],
            "resourceRequirements": [{"type": "VCPU", "value": "2"}],
        },
        tags={"team": "x"},
    )
    row = await stand.conn.fetchrow(
        "SELECT * FROM jobs JOIN job_specs USING (job_id) JOIN shapes USING (shape_id)"
    )
    assert (row["status"], row["attempts_max"], row["timeout_seconds"]) == ("SUBMITTED", 3, 60)
    assert (row["vcpu_milli"], row["memory_mib"], row["gpus"]) == (2000, 64, 0)
    detail = json.loads(row["detail"])
    assert detail["container"]["command"] == ["go", "away"]
    assert detail["retryStrategy"]["evaluateOnExit"][0]["action"] == "retry"
    container = job_definition_pb2.ContainerProperties.FromString(row["container"])
    assert list(container.command) == ["go", "away"]
    assert {v.name: v.value for v in container.environment} == {"A": "1", "B": "2"}
    shown = await stand.describe(job_id)
    assert shown["tags"] == {"team": "x"}
    assert shown["jobDefinition"].endswith(":job-definition/r:1")
    assert shown["parameters"] == {"what": "away"}


async def test_the_newest_active_revision_is_meant(stand: Stand) -> None:
    for _ in range(2):
        await stand.register()
    await stand.submit()
    assert await stand.conn.fetchval("SELECT max(definition_revision) FROM jobs") == 3
    await stand("DeregisterJobDefinition", jobDefinition="d:3")
    job = await stand.submit()
    assert (await stand.describe(job))["jobDefinition"].endswith("/d:2")
    arn = "arn:aws:batch:eu-west-1:000000000000:job-definition/d:1"
    job = await stand.submit(jobDefinition=arn)
    assert (await stand.describe(job))["jobDefinition"].endswith("/d:1")
    with pytest.raises(NotFound, match="name d:3 does not exist or is not in ACTIVE status"):
        await stand.submit(jobDefinition="d:3")


REFUSED: list[tuple[dict[str, Any], type[LongshoreError], str]] = [
    ({"jobName": "-x"}, InvalidRequest, "Job name should match valid pattern"),
    ({"jobName": "x" * 129}, InvalidRequest, "Job name should match valid pattern"),
    ({"jobQueue": "nope"}, NotFound, "JobQueue nope not found."),
    ({"jobQueue": "a b"}, InvalidRequest, "jobQueue is neither a name"),
    (
        {"jobDefinition": "nope"},
        NotFound,
        "JobDefinition name nope does not exist or is not in ACTIVE status",
    ),
    (
        {"jobDefinition": "arn:aws:batch:us-east-1:123456789012:job-definition/nope:4"},
        NotFound,
        "JobDefinition arn:aws:batch:us-east-1:123456789012:job-definition/nope:4 not found.",
    ),
    ({"jobDefinition": "d:0"}, InvalidRequest, "jobDefinition is neither NAME"),
    (
        {"containerOverrides": {"command": ["Ref::gone"]}},
        InvalidRequest,
        "Unable to substitute value. No parameter found for reference gone",
    ),
    (
        {"dependsOn": [{"jobId": str(uuid.UUID(int=n))} for n in range(1001)]},
        InvalidRequest,
        "Job cannot have more than 1000 dependencies",
    ),
    ({"dependsOn": [{"jobId": str(uuid.UUID(int=1))}]}, NotFound, "not found, on which"),
    ({"dependsOn": [{"type": "SEQUENTIAL"}]}, InvalidRequest, "which is for array jobs"),
    ({"dependsOn": [{}]}, InvalidRequest, "dependsOn[0] needs a jobId"),
    ({"dependsOn": [{"type": "ODD"}]}, InvalidRequest, "dependsOn[0].type is 'ODD'"),
    (
        {"shareIdentifier": "s"},
        InvalidRequest,
        "can onlybe submitted to job queue with fair share scheduling policy.",
    ),
    ({"clientToken": ""}, InvalidRequest, "clientToken must have 1 to 64 printable"),
    ({"clientToken": "a b"}, InvalidRequest, "clientToken must have 1 to 64 printable"),
    ({"clientToken": "x" * 65}, InvalidRequest, "clientToken must have 1 to 64 printable"),
    ({"clientToken": "\u00e9"}, InvalidRequest, "clientToken must have 1 to 64 printable"),
    ({"schedulingPriorityOverride": 10000}, InvalidRequest, "must be from 0 to 9999"),
    ({"arrayProperties": {"size": 0}}, InvalidRequest, "must be from 1 to 1000000"),
    ({"arrayProperties": {"size": 1_000_001}}, InvalidRequest, "must be from 1 to 1000000"),
    ({"retryStrategy": {}}, InvalidRequest, "RetryAttempts must be provided with retry strategy"),
    ({"retryStrategy": {"attempts": 11}}, InvalidRequest, "must be from 1 to 10"),
    ({"timeout": {"attemptDurationSeconds": 0}}, InvalidRequest, "must be at least 1"),
    (
        {"containerOverrides": {"resourceRequirements": [{"type": "VCPU", "value": "0.3"}]}},
        InvalidRequest,
        "containerOverrides.resourceRequirements[0].value is '0.3'",
    ),
    (
        {"containerOverrides": {"resourceRequirements": [{"type": "DISK", "value": "1"}]}},
        InvalidRequest,
        "containerOverrides.resourceRequirements[0].type is 'DISK'",
    ),
    ({"containerOverrides": {"command": [""]}}, InvalidRequest, "has an empty string"),
    ({"containerOverrides": {"instanceType": "m6i.large"}}, InvalidRequest, "multi-node"),
    ({"tags": {"x": "a\0b"}}, InvalidRequest, "tags.x has a NUL character"),
    ({"tags": {"aws:x": "1"}}, InvalidRequest, "reserved prefix"),
    (
        {"nodeOverrides": {"numNodes": 2}},
        InvalidRequest,
        "nodeOverrides is for job definitions with nodeProperties",
    ),
    (
        {"ecsPropertiesOverride": {"taskProperties": [{"containers": [{"name": "main"}]}]}},
        InvalidRequest,
        "ecsPropertiesOverride is for job definitions with ecsProperties; use containerOverrides",
    ),
    ({"eksPropertiesOverride": {}}, Unimplemented, "eksPropertiesOverride"),
    (
        {"parameters": {f"x{n}": "y" * 30_000 for n in range(9)}},
        LimitExceeded,
        "SubmitJob request has",
    ),
]


async def test_bad_calls_are_refused_and_store_nothing(
    stand: Stand, subtests: pytest.Subtests
) -> None:
    for members, kind, text in REFUSED:
        with subtests.test(text), pytest.raises(kind) as caught:
            await stand.submit(**members)
        assert text in caught.value.message
    assert await stand.job_count() == 0


#: What longshore takes and AWS does not, with what is said of it.
REFUSED_BY_AWS: list[tuple[dict[str, Any], str]] = [
    ({"arrayProperties": {"size": 1}}, "must be from 2 to 10000"),
    ({"arrayProperties": {"size": 1_000_000}}, "must be from 2 to 10000"),
    ({"timeout": {"attemptDurationSeconds": 1}}, "must be at least 60"),
    (
        {"containerOverrides": {"resourceRequirements": [{"type": "VCPU", "value": "0.125"}]}},
        "VCPU must be a whole number",
    ),
    ({"parameters": {f"x{n}": "y" * 30_000 for n in range(8)}}, "at most 30720 are allowed"),
]


async def test_what_aws_refuses_is_taken_unless_it_is_to_be_refused(
    database_url: str, stand: Stand, subtests: pytest.Subtests
) -> None:
    jobs = [await stand.submit() for _ in range(21)]
    depends_on = {"dependsOn": [{"jobId": job} for job in jobs]}
    cases = [*REFUSED_BY_AWS, (depends_on, "Job cannot have more than 20 dependencies")]
    async with submission_stand(database_url, LONGSHORE_LIMITS="aws") as strict:
        for members, text in cases:
            with subtests.test(text):
                with pytest.raises((InvalidRequest, LimitExceeded), match=text):
                    await strict.submit(**members)
                job = await stand.describe(await stand.submit(**members))
                assert job["status"] == "SUBMITTED"


async def test_a_job_waits_for_a_thousand(stand: Stand) -> None:
    jobs = await asyncio.gather(*(stand.submit() for _ in range(1000)))
    job = await stand.submit(dependsOn=[{"jobId": job} for job in jobs])
    assert [entry["jobId"] for entry in (await stand.describe(job))["dependsOn"]] == jobs


@pytest.mark.parametrize("command", [["Ref::a"] * 2_000, ["Ref::a " * 2_000]], ids=["many", "one"])
async def test_a_command_does_not_grow_without_bound(stand: Stand, command: list[str]) -> None:
    """A request of some kilobytes would become a job of fifty megabytes, which nobody can read."""
    await stand.register("grow", a_container(command=command))
    before = await stand.job_count()
    with pytest.raises(InvalidRequest, match="more than 65536 bytes once") as refused:
        await stand.submit(jobDefinition="grow", parameters={"a": "\N{ROCKET}" * 6_000})
    assert refused.value.fields["member"] == "parameters"
    assert await stand.job_count() == before
    job = await stand.submit(jobDefinition="grow", parameters={"a": "x" * 30})
    assert "".join((await stand.describe(job))["container"]["command"]).count("x") == 60_000


async def test_missing_members_are_named(stand: Stand) -> None:
    with pytest.raises(InvalidRequest) as caught:
        await stand("SubmitJob", jobName="j", jobQueue="q")
    assert caught.value.fields == {"member": "jobDefinition"}


async def test_a_disabled_or_deleted_queue_takes_no_jobs(stand: Stand) -> None:
    await stand("UpdateJobQueue", jobQueue="q", state="DISABLED")
    with pytest.raises(PreconditionFailed, match="q is DISABLED"):
        await stand.submit()
    await stand("DeleteJobQueue", jobQueue="q")
    with pytest.raises(PreconditionFailed):
        await stand.submit()
    assert await stand.job_count() == 0


async def test_a_single_job_waits_for_a_job_named_with_sequential(stand: Stand) -> None:
    first = await stand.submit()
    edges = [{"jobId": first, "type": "SEQUENTIAL"}, {"jobId": first}]
    job = await stand.submit(dependsOn=edges)
    rows = await stand.conn.fetch("SELECT * FROM job_dependencies")
    assert [(str(row["depends_on"]), row["type"]) for row in rows] == [(first, "PLAIN")]
    assert (await stand.describe(job))["dependsOn"] == edges


async def test_how_a_dependency_has_to_end_is_kept_and_told(stand: Stand) -> None:
    """Success is the default, also where it is said; the same job may be named twice."""
    first = await stand.submit()
    edges = [
        {"jobId": first},
        {"jobId": first, "condition": "COMPLETE"},
        {"jobId": first, "condition": "FAILURE", "type": "SEQUENTIAL"},
    ]
    job = await stand.submit(dependsOn=[*edges, {"jobId": first, "condition": "SUCCESS"}])
    rows = await stand.conn.fetch("SELECT type, condition FROM job_dependencies ORDER BY ordinal")
    assert [tuple(row) for row in rows] == [
        ("PLAIN", "SUCCESS"),
        ("PLAIN", "COMPLETE"),
        ("PLAIN", "FAILURE"),
    ]
    assert (await stand.describe(job))["dependsOn"] == [*edges, {"jobId": first}]


async def test_an_array_with_a_cap_has_a_shape_to_itself(stand: Stand) -> None:
    """Also among arrays that are alike otherwise; those without a cap share theirs."""
    properties = {"size": 3, "maxRunning": 2}
    capped = [await stand.submit(arrayProperties=properties) for _ in range(2)]
    free = [await stand.submit(arrayProperties={"size": 3}) for _ in range(2)]
    rows = await stand.conn.fetch(
        "SELECT j.job_id, s.shape_id, s.array_job, s.max_running "
        "FROM jobs j JOIN shapes s USING (shape_id)"
    )
    found = {str(row["job_id"]): row for row in rows}
    assert [(str(found[job]["array_job"]), found[job]["max_running"]) for job in capped] == [
        (job, 2) for job in capped
    ]
    assert {found[job]["max_running"] for job in free} == {0}
    assert len({row["shape_id"] for row in rows}) == 3
    told = [(await stand.describe(job))["arrayProperties"] for job in (capped[0], free[0])]
    assert [(one["size"], one.get("maxRunning")) for one in told] == [(3, 2), (3, None)]


@pytest.mark.parametrize(
    "properties", [{"size": 3, "maxRunning": 0}, {"size": 3, "maxRunning": -1}, {"maxRunning": 2}]
)
async def test_caps_without_a_meaning_are_refused(stand: Stand, properties: dict[str, int]) -> None:
    with pytest.raises(InvalidRequest, match=r"arrayProperties\.maxRunning must be above 0"):
        await stand.submit(arrayProperties=properties)
    assert await stand.job_count() == 0


@pytest.mark.parametrize(
    ("edge", "told"),
    [
        ({"type": "SEQUENTIAL", "condition": "FAILURE"}, "dependsOn[0].condition is FAILURE"),
        ({"type": "SEQUENTIAL", "condition": "ANY"}, "dependsOn[0].condition is 'ANY'"),
        ({"condition": "COMPLETE"}, "dependsOn[0] needs a jobId"),
    ],
)
async def test_conditions_without_a_meaning_are_refused(
    stand: Stand, edge: dict[str, str], told: str
) -> None:
    with pytest.raises(InvalidRequest, match=re.escape(told)):
        await stand.submit(dependsOn=[edge], arrayProperties={"size": 3})
    assert await stand.job_count() == 0


async def test_actions_come_back_in_lower_case(stand: Stand) -> None:
    rules = [{"action": "Retry", "onReason": "a"}, {"action": "EXIT", "onReason": "*"}]
    lowered = [{**rule, "action": rule["action"].lower()} for rule in rules]
    await stand.register(retryStrategy={"attempts": 2, "evaluateOnExit": rules})
    (definition,) = (await stand("DescribeJobDefinitions", jobDefinitions=["d:2"]))[
        "jobDefinitions"
    ]
    assert definition["retryStrategy"]["evaluateOnExit"] == lowered
    job = await stand.describe(await stand.submit())
    assert job["retryStrategy"]["evaluateOnExit"] == lowered


async def test_tags_are_propagated_as_the_submission_or_else_the_definition_says(
    stand: Stand,
) -> None:
    await stand.register("on", propagateTags=True)
    (definition,) = (await stand("DescribeJobDefinitions", jobDefinitions=["on"]))["jobDefinitions"]
    assert definition["propagateTags"] is True
    for name, given, shown in (
        ("on", {}, True),
        ("on", {"propagateTags": False}, False),
        ("d", {"propagateTags": True}, True),
        ("d", {}, False),
    ):
        job = await stand.submit(jobDefinition=name, **given)
        assert (await stand.describe(job))["propagateTags"] is shown


async def test_dependencies_are_stored_once_each_and_sizes_must_agree(stand: Stand) -> None:
    array = await stand.submit(arrayProperties={"size": 3})
    single = await stand.submit()
    edges = [
        {"jobId": single},
        {"jobId": single},
        {"jobId": f"{array}:2"},
        {"jobId": array, "type": "N_TO_N"},
        {"type": "SEQUENTIAL"},
    ]
    await stand.submit(jobName="last", arrayProperties={"size": 3}, dependsOn=edges)
    rows = await stand.conn.fetch("SELECT * FROM job_dependencies ORDER BY ordinal")
    assert [(row["depends_on_index"], row["type"]) for row in rows] == [
        (-1, "PLAIN"),
        (2, "PLAIN"),
        (-1, "N_TO_N"),
        (-1, "SEQUENTIAL"),
    ]
    assert rows[3]["depends_on"] is None
    for wrong in (f"{array}:3", f"{single}:0"):
        with pytest.raises(NotFound, match="not found"):
            await stand.submit(dependsOn=[{"jobId": wrong}])
    with pytest.raises(InvalidRequest, match="needs an array job of size 4"):
        await stand.submit(
            arrayProperties={"size": 4}, dependsOn=[{"jobId": array, "type": "N_TO_N"}]
        )


async def test_a_repeated_request_id_answers_the_same_job(stand: Stand) -> None:
    key = {"x-longshore-request-id": str(uuid.uuid4())}
    first = await stand.submit(key)
    assert first == key["x-longshore-request-id"]
    await stand.register()  # a newer revision does not make it another call
    assert await stand.submit(key) == first
    assert await stand.submit(key, jobDefinition="d:1") == first
    for other in ({"jobName": "k"}, {"jobDefinition": "d:2"}, {"arrayProperties": {"size": 2}}):
        with pytest.raises(PreconditionFailed, match="exists already"):
            await stand.submit(key, **other)
    assert await stand.job_count() == 1
    with pytest.raises(InvalidRequest, match="is no UUID"):
        await stand.submit({"x-longshore-request-id": "7"})


async def test_repetitions_that_arrive_together_make_one_job(stand: Stand) -> None:
    key = {"x-longshore-request-id": str(uuid.uuid4())}
    ids = await asyncio.gather(*(stand.submit(key) for _ in range(20)))
    assert set(ids) == {key["x-longshore-request-id"]}
    assert await stand.job_count() == 1


async def test_the_same_token_and_request_are_the_same_job_for_a_day(stand: Stand) -> None:
    first = await stand.submit(clientToken="t-1", tags={"b": "1", "a": "2"})
    await stand.register()  # a newer revision does not make it another request
    assert await stand.submit(clientToken="t-1", tags={"a": "2", "b": "1"}) == first
    key = {"x-longshore-request-id": str(uuid.uuid4())}
    assert await stand.submit(key, clientToken="t-1", tags={"a": "2", "b": "1"}) == first
    with pytest.raises(PreconditionFailed, match=f"clientToken t-1 has made job {first} of") as no:
        await stand.submit(clientToken="t-1")
    assert no.value.fields == {"member": "clientToken"}
    assert await stand.submit(clientToken="t-2") != first
    await stand.conn.execute(
        "UPDATE submission_tokens SET created_at = created_at - interval '24 h' WHERE token = 't-1'"
    )
    later = await stand.submit(clientToken="t-1")
    assert later != first
    assert await stand.submit(clientToken="t-1") == later
    assert await stand.job_count() == 3


async def test_a_token_whose_request_was_refused_is_free(stand: Stand) -> None:
    for wrong in ({"jobQueue": "nope"}, {"jobDefinition": "nope"}):
        with pytest.raises(NotFound):
            await stand.submit(clientToken="t", **wrong)
    assert await stand.submit(clientToken="t")


async def test_a_token_makes_one_job_whoever_gives_it_at_once(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In one batch, and in those of two services."""
    monkeypatch.setattr(submission_token, "WAIT_SECONDS", PATIENCE_SECONDS)
    async with submission_stand(database_url) as one, submission_stand(database_url) as other:
        await one.prepare()
        calls = [
            stand.submit(clientToken=f"t-{n % 3}") for n in range(60) for stand in (one, other)
        ]
        ids = await asyncio.gather(*calls)
        assert len(set(ids)) == 3
        assert await one.job_count() == 3
        results = await asyncio.gather(
            one.submit(clientToken="u"),
            other.submit(clientToken="u", jobName="k"),
            return_exceptions=True,
        )
        assert {type(result) for result in results} == {str, PreconditionFailed}
        assert await one.job_count() == 4


async def test_a_token_that_hangs_in_another_process_holds_no_other_call_up(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(submission_token, "WAIT_SECONDS", 0.1)
    async with stand.conn.transaction():
        await stand.conn.execute(
            "INSERT INTO submission_tokens (token, request, job_id)"
            " VALUES ('t', '', gen_random_uuid())"
        )
        results = await asyncio.gather(
            *(stand.submit(clientToken="t") for _ in range(3)),
            *(stand.submit() for _ in range(3)),
            return_exceptions=True,
        )
        assert [type(result) for result in results] == [Unavailable] * 3 + [str] * 3
    with pytest.raises(PreconditionFailed, match="another request"):
        await stand.submit(clientToken="t")


async def test_the_repetitions_of_a_refused_call_are_refused(stand: Stand) -> None:
    key = {"x-longshore-request-id": str(uuid.uuid4())}
    calls = [stand.submit(key, jobDefinition="nope") for _ in range(5)]
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert {type(result) for result in results} == {NotFound}


async def test_tokens_are_forgotten_after_a_day(stand: Stand, database_url: str) -> None:
    await stand.submit(clientToken="old")
    await stand.conn.execute("UPDATE submission_tokens SET created_at = now() - interval '24 h'")
    kept = await stand.submit(clientToken="new")
    pool = await open_pool(database_url)
    await submit.forget_tokens(pool)
    await pool.close()
    tokens = await stand.conn.fetch("SELECT token, job_id::text FROM submission_tokens")
    assert [tuple(row) for row in tokens] == [("new", kept)]


async def test_calls_that_arrive_together_share_transactions_and_fail_alone(stand: Stand) -> None:
    await stand.submit()
    before = TRANSACTIONS._value.get()
    calls = [
        stand.submit(jobName=f"j{n}", **({"jobQueue": "nope"} if n % 10 == 0 else {}))
        for n in range(100)
    ]
    results = await asyncio.gather(*calls, return_exceptions=True)
    failed = [n for n, result in enumerate(results) if isinstance(result, Exception)]
    assert failed == list(range(0, 100, 10))
    assert await stand.job_count() == 91
    # Far fewer than calls; how many depends on how soon after another they come.
    assert TRANSACTIONS._value.get() - before <= 50
    named = dict(await stand.conn.fetch("SELECT job_id::text, name FROM jobs"))
    assert all(named[r] == f"j{n}" for n, r in enumerate(results) if isinstance(r, str))


async def test_a_job_that_the_database_refuses_fails_alone(database_url: str) -> None:
    async with submission_stand(database_url) as stand:
        await stand.prepare()
        pool = await open_pool(database_url)
        submitter = Submitter(
            pool, Encoders(encode_container, encode_task, encode_nodes), LONGSHORE
        )
        good = Submission("fine", "q", DefinitionName("d", None, "d"))
        poison = replace(good, job_name="not\0fine")  # past the checks of the wire
        calls = [asyncio.create_task(submitter.submit(s)) for s in (good, good, poison, good)]
        running = asyncio.create_task(submitter.run())
        results = await asyncio.gather(*calls, return_exceptions=True)
        assert [isinstance(result, uuid.UUID) for result in results] == [True, True, False, True]
        assert await stand.job_count() == 3
        running.cancel()
        await pool.close()


async def test_a_call_that_cannot_be_answered_stores_nothing(stand: Stand) -> None:
    with pytest.raises(InvalidRequest, match="is no region"):
        await stand.submit({"x-longshore-region": "no region"})
    assert await stand.job_count() == 0


async def test_submitting_wakes_the_scheduler(stand: Stand) -> None:
    woken = asyncio.Event()
    await stand.conn.add_listener("longshore_jobs", lambda *_: woken.set())
    await stand.submit()
    async with asyncio.timeout(PATIENCE_SECONDS):
        await woken.wait()


async def test_shapes_are_shared_between_jobs_and_apart_between_queues(stand: Stand) -> None:
    await stand("CreateJobQueue", **a_queue("p"))
    for queue in ("q", "q", "p"):
        await stand.submit(jobQueue=queue)
    assert await stand.conn.fetchval("SELECT count(*) FROM shapes") == 2


async def test_with_the_database_away_calls_are_unavailable_until_it_is_back(
    postgres_directory: Path,
) -> None:
    server = EmbeddedPostgres(postgres_directory / "data", durable=False)
    server.start()
    try:
        await migrate(server.url())
        async with submission_stand(server.url()) as stand:
            await stand.prepare()
            kept = await stand.submit()
            await asyncio.to_thread(server.stop)
            with pytest.raises(Unavailable):
                await stand.submit()
            with pytest.raises(Unavailable):
                await stand.describe(kept)
            await asyncio.to_thread(server.start)
            assert (await stand.describe(kept))["status"] == "SUBMITTED"
            await stand.submit()
    finally:
        server.stop()


async def test_a_full_disk_of_the_database_is_unavailable(stand: Stand) -> None:
    """No call is at fault, and the same one succeeds once there is room."""
    await stand.conn.execute(
        "CREATE FUNCTION pg_temp.full() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE disk_full USING MESSAGE = 'No space left on device'; END $$;"
        " CREATE TRIGGER full_disk BEFORE INSERT ON jobs EXECUTE FUNCTION pg_temp.full()"
    )
    with pytest.raises(Unavailable, match="disk is full"):
        await stand.submit()
    await stand.conn.execute("DROP TRIGGER full_disk ON jobs")
    await stand.submit()


async def test_a_shape_is_noted_as_used_each_day(stand: Stand) -> None:
    """So that it is not forgotten while it is known here, nor used when it is."""
    await stand.submit()
    await stand.conn.execute("UPDATE shapes SET used_on = used_on - 1")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(submit, "datetime", Tomorrow)
        await stand.submit()
    assert await stand.conn.fetchval("SELECT used_on = current_date FROM shapes")
    assert await stand.job_count() == 2


class Tomorrow(datetime):
    """A clock a day ahead."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> "Tomorrow":
        return super().now(tz) + timedelta(days=1)
