"""Jobs as users see them: described, listed, cancelled, terminated."""

import uuid
from collections.abc import AsyncIterator

import pytest
from support.submission import Stand, submission_stand

from longshore.domain.errors import InvalidRequest, NotFound
from longshore.domain.page import encode_token

STATUSES = ("SUBMITTED", "PENDING", "RUNNABLE", "STARTING", "RUNNING", "SUCCEEDED", "FAILED")


@pytest.fixture
async def stand(database_url: str) -> AsyncIterator[Stand]:
    async with submission_stand(database_url) as stand:
        await stand.prepare()
        yield stand


async def spawn(stand: Stand, job_id: str, size: int = 5) -> None:
    """As the scheduler does: 0 is running, 1 waits for its retry, 2 and 3 are ready, 4 waits."""
    async with stand.conn.transaction():
        await stand.conn.execute(
            "UPDATE jobs SET status = 'PENDING' WHERE job_id = $1", uuid.UUID(job_id)
        )
        await stand.conn.execute(
            "INSERT INTO array_jobs VALUES ($1, $2, 1, $2 - 2, 0, 1, 0, 0)", uuid.UUID(job_id), size
        )
        for index, status in ((0, "RUNNING"), (1, "RUNNABLE")):
            await stand.conn.execute(
                """INSERT INTO jobs (job_id, array_index, seq, job_queue, shape_id, name,
                    definition_name, definition_revision, status, attempt, started_at)
                SELECT job_id, $2, seq, job_queue, shape_id, name, definition_name,
                    definition_revision, $3, 1, now() FROM jobs
                WHERE job_id = $1 AND array_index = -1""",
                uuid.UUID(job_id),
                index,
                status,
            )
        for start, end in ((1, 2), (2, 4)):
            await stand.conn.execute(
                "INSERT INTO ready SELECT job_queue, 0, seq, $2, $3, job_id, shape_id FROM jobs "
                "WHERE job_id = $1 AND array_index = -1",
                uuid.UUID(job_id),
                start,
                end,
            )


async def finish(stand: Stand, job_id: str, status: str = "SUCCEEDED") -> None:
    await stand.conn.execute(
        "UPDATE jobs SET status = $2, stopped_at = now() WHERE job_id = $1",
        uuid.UUID(job_id),
        status,
    )


async def listed(stand: Stand, **members: object) -> list[str]:
    answer = await stand("ListJobs", **members)
    return [job["jobId"] for job in answer.get("jobSummaryList", [])]


async def test_unknown_and_impossible_ids_are_left_out(stand: Stand) -> None:
    job = await stand.submit()
    wanted = [str(uuid.uuid4()), "nonsense", f"{job}:0", f"{job}#0", job]
    answer = await stand("DescribeJobs", jobs=wanted)
    assert [entry["jobId"] for entry in answer["jobs"]] == [job]
    assert await stand("DescribeJobs", jobs=[]) == {}
    with pytest.raises(InvalidRequest, match=r"jobs\[1\]. is a required field"):
        await stand("DescribeJobs", jobs=[job, ""])
    with pytest.raises(InvalidRequest, match=r"Maximum number of jobs supported is  100 \."):
        await stand("DescribeJobs", jobs=[job] * 101)


async def test_a_job_is_named_by_its_arn_as_by_its_id(stand: Stand) -> None:
    """As torchx does, which describes and terminates what ListJobs gave it by `jobArn`."""
    job = await stand.submit(arrayProperties={"size": 5})
    await spawn(stand, job)
    shown = (await stand("DescribeJobs", jobs=[job, f"{job}:1"]))["jobs"]
    arns = [entry["jobArn"] for entry in shown]
    assert (await stand("DescribeJobs", jobs=arns))["jobs"] == shown
    assert await listed(stand, arrayJobId=arns[0], jobStatus="RUNNING") == [f"{job}:0"]
    after = await stand.submit(dependsOn=[{"jobId": arns[0]}])
    assert (await stand.describe(after))["dependsOn"] == [{"jobId": job}]
    answer = await stand("TerminateJobs", jobs=[arns[1]], reason="enough")
    assert answer == {"successful": [arns[1]]}
    await stand("TerminateJob", jobId=arns[0], reason="enough")
    asked = await stand.conn.fetch("SELECT array_index FROM job_requests ORDER BY 1")
    assert [row[0] for row in asked] == [-1, 1]


async def test_children_exist_once_their_parent_is_spawned(stand: Stand) -> None:
    job = await stand.submit(arrayProperties={"size": 5})
    children = [f"{job}:{index}" for index in range(5)]
    assert await stand("DescribeJobs", jobs=children) == {}
    shown = await stand.describe(job)
    assert shown["arrayProperties"] == {"size": 5, "statusSummary": dict.fromkeys(STATUSES, 0)}
    await spawn(stand, job)
    answer = await stand("DescribeJobs", jobs=[*children, f"{job}:5"])
    found = {entry["arrayProperties"]["index"]: entry["status"] for entry in answer["jobs"]}
    assert found == {0: "RUNNING", 1: "RUNNABLE", 2: "RUNNABLE", 3: "RUNNABLE", 4: "PENDING"}
    assert "createdAt" in answer["jobs"][4]
    assert answer["jobs"][0]["jobArn"].endswith(f":job/{job}:0")
    summary = (await stand.describe(job))["arrayProperties"]
    assert (summary["statusSummary"]["RUNNABLE"], summary["statusSummary"]["PENDING"]) == (3, 1)
    assert "statusSummaryLastUpdatedAt" in summary


async def test_children_are_listed_by_status_page_by_page(stand: Stand) -> None:
    job = await stand.submit(arrayProperties={"size": 5})
    assert await listed(stand, arrayJobId=job) == []
    await spawn(stand, job)
    assert await listed(stand, arrayJobId=job) == [f"{job}:0"]
    assert await listed(stand, arrayJobId=job, jobStatus="PENDING") == [f"{job}:4"]
    assert await listed(stand, arrayJobId=job, jobStatus="FAILED") == []
    first = await stand("ListJobs", arrayJobId=job, jobStatus="RUNNABLE", maxResults=2)
    assert [entry["arrayProperties"]["index"] for entry in first["jobSummaryList"]] == [1, 2]
    last = await stand(
        "ListJobs",
        arrayJobId=job,
        jobStatus="RUNNABLE",
        maxResults=2,
        nextToken=first["nextToken"],
    )
    assert [entry["arrayProperties"]["index"] for entry in last["jobSummaryList"]] == [3]
    assert "nextToken" not in last
    with pytest.raises(NotFound):
        await listed(stand, arrayJobId=str(uuid.uuid4()))
    filters = [{"name": "JOB_NAME", "values": ["x"]}]
    with pytest.raises(InvalidRequest, match="filters do not apply"):
        await listed(stand, arrayJobId=job, filters=filters)


async def test_queues_are_listed_newest_first_page_by_page(stand: Stand) -> None:
    jobs = [await stand.submit(jobName=f"j{n}") for n in range(5)]
    assert await listed(stand, jobQueue="q") == []
    token, found = {}, []
    for size in (2, 2, 1):
        page = await stand("ListJobs", jobQueue="q", jobStatus="SUBMITTED", maxResults=2, **token)
        assert len(page["jobSummaryList"]) == size
        found += [entry["jobId"] for entry in page["jobSummaryList"]]
        token = {"nextToken": page["nextToken"]} if "nextToken" in page else {}
    assert (found, token) == (jobs[::-1], {})
    summary = page["jobSummaryList"][0]
    assert "isCancelled" not in summary
    assert "container" not in summary


@pytest.mark.parametrize("token", ["x", "AAAA", "bm9wZQ==", "WyJqb2JzIiwgInVwIl0=", "WyJqb2JzIl0="])
async def test_a_token_that_is_not_ours_is_refused(stand: Stand, token: str) -> None:
    with pytest.raises(InvalidRequest, match="nextToken"):
        await stand("ListJobs", jobQueue="q", nextToken=token)


@pytest.mark.parametrize("index", [-1, 1_000_000, 2**31 - 1, 2**31, 2**63])
async def test_a_token_beyond_every_child_and_node_is_refused(stand: Stand, index: int) -> None:
    job = await stand.submit(arrayProperties={"size": 2})
    for member, scope in (("arrayJobId", "children"), ("multiNodeJobId", "nodes")):
        with pytest.raises(InvalidRequest, match="nextToken"):
            await stand("ListJobs", **{member: job}, nextToken=encode_token(scope, [index]))


async def test_filters_show_every_status(stand: Stand) -> None:
    first = await stand.submit(jobName="Alpha_1")
    second = await stand.submit(jobName="alphaX1")
    await finish(stand, first)

    async def by(name: str, value: str) -> list[str]:
        filters = [{"name": name, "values": [value]}]
        return await listed(stand, jobQueue="q", filters=filters, jobStatus="RUNNING")

    assert await by("JOB_NAME", "alpha*") == [first, second]
    assert await by("JOB_NAME", "ALPHA_1") == [first]
    assert await by("JOB_NAME", "alpha") == []
    assert await by("JOB_DEFINITION", "d") == [second, first]
    assert await by("JOB_DEFINITION", "D") == []
    assert await by("JOB_DEFINITION", "d*") == [second, first]
    arn = "arn:aws:batch:us-east-1:123456789012:job-definition/d:"
    assert await by("JOB_DEFINITION", f"{arn}1") == [second, first]
    assert await by("JOB_DEFINITION", f"{arn}2") == []
    created = int((await stand.describe(second))["createdAt"])
    assert await by("AFTER_CREATED_AT", str(created + 60_000)) == []
    assert await by("BEFORE_CREATED_AT", str(created + 60_000)) == [second, first]
    assert await by("SHARE_IDENTIFIER", "s") == []
    for name, value, text in (
        ("ODD", "x", "it must be one of JOB_NAME"),
        ("BEFORE_CREATED_AT", "today", "epoch milliseconds"),
        ("JOB_NAME", "", "needs one value"),
    ):
        with pytest.raises(InvalidRequest, match=text):
            await by(name, value)


async def test_jobs_found_by_name_are_grouped_by_name_and_revision(stand: Stand) -> None:
    """The latest revision first, and the newest job of each; pages go on in that order."""
    await stand.register()
    placed = [("b", 1), ("B", 2), ("a", 2), ("b", 2), ("a", 1), ("b", 2), ("other", 2)]
    jobs = [
        await stand.submit(jobName=name, jobDefinition=f"d:{revision}") for name, revision in placed
    ]
    wanted = [jobs[n] for n in (2, 4, 5, 3, 0)]

    async def pages(value: str, size: int) -> list[str]:
        found, token = [], {}
        while True:
            page = await stand(
                "ListJobs",
                jobQueue="q",
                filters=[{"name": "JOB_NAME", "values": [value]}],
                maxResults=size,
                **token,
            )
            found += [one["jobId"] for one in page["jobSummaryList"]]
            if "nextToken" not in page:
                return found
            token = {"nextToken": page["nextToken"]}

    for size in (1, 2, 100):
        assert await pages("b*", size) == [jobs[1], *wanted[2:]]
        assert await pages("*", size) == [jobs[1], *wanted, jobs[6]]
    crafted = encode_token("jobs-by-name", ["b", "d", 2**40, 1])
    with pytest.raises(InvalidRequest, match="nextToken"):
        await stand(
            "ListJobs",
            jobQueue="q",
            filters=[{"name": "JOB_NAME", "values": ["b*"]}],
            nextToken=crafted,
        )


async def test_listing_needs_exactly_one_place_to_look(stand: Stand) -> None:
    with pytest.raises(InvalidRequest, match="Exactly one of"):
        await listed(stand)
    with pytest.raises(InvalidRequest, match="Exactly one of"):
        await listed(stand, jobQueue="q", arrayJobId=str(uuid.uuid4()))
    with pytest.raises(InvalidRequest, match="Exactly one of"):
        await listed(stand, jobQueue="q", multiNodeJobId=str(uuid.uuid4()))
    with pytest.raises(NotFound, match="JobQueue none not found"):
        await listed(stand, jobQueue="none")
    with pytest.raises(InvalidRequest, match="jobStatus is 'DONE'"):
        await listed(stand, jobQueue="q", jobStatus="DONE")
    for size in (0, 1001):
        with pytest.raises(InvalidRequest, match="from 1 to 1000"):
            await listed(stand, jobQueue="q", maxResults=size)
    filters = [{"name": "JOB_NAME", "values": ["x"]}]
    with pytest.raises(InvalidRequest, match="from 1 to 100"):
        await listed(stand, jobQueue="q", filters=filters, maxResults=101)


async def test_what_is_asked_of_a_job_shows_at_once(stand: Stand) -> None:
    job = await stand.submit()
    await stand("CancelJob", jobId=job, reason="changed my mind")
    assert (await stand.describe(job))["isCancelled"] is True
    await stand("TerminateJob", jobId=job, reason="really")
    assert (await stand.describe(job))["isTerminated"] is True
    rows = await stand.conn.fetch("SELECT kind, reason FROM job_requests ORDER BY request_id")
    assert [tuple(row) for row in rows] == [
        ("CANCEL", "changed my mind"),
        ("TERMINATE", "really"),
    ]


async def test_what_is_asked_of_an_array_shows_of_its_children_at_once(stand: Stand) -> None:
    """Of a million of them it takes a while until each has ended."""
    job = await stand.submit(arrayProperties={"size": 5})
    await spawn(stand, job)
    children = [f"{job}:{index}" for index in range(5)]

    async def those(member: str) -> list[int]:
        described = (await stand("DescribeJobs", jobs=children))["jobs"]
        return [one["arrayProperties"]["index"] for one in described if one.get(member)]

    await stand("CancelJob", jobId=f"{job}:3", reason="not this one")
    assert await those("isCancelled") == [3]
    await stand("CancelJob", jobId=job, reason="none that waits")
    assert await those("isCancelled") == [1, 2, 3, 4]
    await stand("TerminateJob", jobId=job, reason="really none")
    assert await those("isTerminated") == [0, 1, 2, 3, 4]


async def test_nothing_is_asked_of_a_job_that_is_over(stand: Stand) -> None:
    job = await stand.submit()
    await finish(stand, job)
    await stand("CancelJob", jobId=job, reason="late")
    await stand("TerminateJob", jobId=job, reason="late")
    assert await stand.conn.fetchval("SELECT count(*) FROM job_requests") == 0
    shown = await stand.describe(job)
    assert not shown["isCancelled"]
    assert not shown["isTerminated"]


async def test_single_requests_name_what_is_wrong(stand: Stand) -> None:
    job = await stand.submit()
    for operation in ("CancelJob", "TerminateJob"):
        with pytest.raises(InvalidRequest, match="'jobId' is a required field"):
            await stand(operation, jobId="", reason="x")
        with pytest.raises(InvalidRequest, match="'reason' is a required field"):
            await stand(operation, jobId=job, reason="")
        with pytest.raises(InvalidRequest, match="reason is required"):
            await stand(operation, jobId=job)
        with pytest.raises(InvalidRequest, match="1024"):
            await stand(operation, jobId=job, reason="x" * 1025)


@pytest.mark.parametrize("operation", ["CancelJob", "TerminateJob"])
async def test_what_is_no_job_is_passed_over(stand: Stand, operation: str) -> None:
    job = await stand.submit()
    for text in (str(uuid.uuid4()), f"{job}:0", "bad", "arn:aws:batch:x", "é" * 2000):
        assert await stand(operation, jobId=text, reason="x") == {}
    assert await stand.conn.fetchval("SELECT count(*) FROM job_requests") == 0


async def test_bulk_requests_answer_for_each_job(stand: Stand) -> None:
    jobs = [await stand.submit() for _ in range(3)]
    unknown = str(uuid.uuid4())
    answer = await stand("TerminateJobs", jobs=[*jobs, unknown, "bad"], reason="enough")
    assert answer["successful"] == [*jobs, unknown]
    (error,) = answer["errors"]
    assert (error["job"], error["code"]) == ("bad", "ValidationException")
    assert await stand.conn.fetchval("SELECT count(*) FROM job_requests") == 3
    with pytest.raises(InvalidRequest, match="more than 50"):
        await stand("CancelJobs", jobs=[unknown] * 51, reason="x")


async def test_a_job_shows_its_attempts(stand: Stand) -> None:
    job = await stand.submit(retryStrategy={"attempts": 3})
    key = uuid.UUID(job)
    await stand.conn.execute(
        "UPDATE jobs SET status = 'RUNNING', attempt = 2, started_at = now() WHERE job_id = $1", key
    )
    for number, status, code in ((1, "ENDED", 3), (2, "RUNNING", None)):
        await stand.conn.execute(
            """INSERT INTO attempts (job_id, array_index, attempt, attempt_id, instance_id,
                compute_environment, status, vcpu_milli, memory_mib, gpus, log_stream_name,
                started_at, stopped_at, exit_code, status_reason)
            VALUES ($1, -1, $2, $3, 'i-0123456789abcdef0', 'ce', $4, 1000, 64, 0, $5, now(),
                CASE WHEN $4 = 'ENDED' THEN now() END, $6, 'Essential container in task exited')""",
            key,
            number,
            f"{number:032x}",
            status,
            f"d/default/{number:032x}",
            code,
        )
    shown = await stand.describe(job)
    (ended,) = shown["attempts"]
    assert ended["container"]["exitCode"] == 3
    assert ended["container"]["logStreamName"].endswith("1")
    assert shown["container"]["taskArn"].endswith(f"/{2:032x}")
    assert "exitCode" not in shown["container"]
    assert ":container-instance/ce_Batch_" in shown["container"]["containerInstanceArn"]
    await stand.conn.execute("DELETE FROM attempts WHERE attempt = 2")
    await stand.conn.execute("UPDATE jobs SET status = 'RUNNABLE', started_at = NULL")
    assert "taskArn" not in (await stand.describe(job))["container"]


async def test_a_runnable_job_says_what_blocks_it(stand: Stand) -> None:
    job = await stand.submit()
    await stand.conn.execute("UPDATE jobs SET status = 'RUNNABLE'")
    await stand.conn.execute("INSERT INTO demand SELECT shape_id, 1, 'BLOCKED - why' FROM shapes")
    assert (await stand.describe(job))["statusReason"] == "BLOCKED - why"
    answer = await stand("ListJobs", jobQueue="q", jobStatus="RUNNABLE")
    assert answer["jobSummaryList"][0]["statusReason"] == "BLOCKED - why"


async def test_arns_carry_the_region_of_the_caller(stand: Stand) -> None:
    answer = await stand(
        "SubmitJob",
        {"x-longshore-region": "eu-central-1"},
        jobName="j",
        jobQueue="arn:aws:batch:us-west-2:999999999999:job-queue/q",
        jobDefinition="d",
    )
    assert answer["jobArn"].startswith("arn:aws:batch:eu-central-1:123456789012:job/")
    with pytest.raises(InvalidRequest, match="no region"):
        await stand("DescribeJobs", {"x-longshore-region": "a b"}, jobs=[])
