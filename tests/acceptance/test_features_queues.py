"""Queues: whose turn it is, what is listed, what keeps a job from its turn; and tags."""

from dataclasses import dataclass

import pytest
from acceptance.aws import FINAL, REGION, Aws, Gate

_ACCOUNT = "123456789012"
_MAX_RESOURCE = (
    "MISCONFIGURATION:COMPUTE_ENVIRONMENT_MAX_RESOURCE - CE(s) associated with the job queue "
    "cannot meet the CPU requirement of the job."
)
_TOO_LARGE = (
    "MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT - The job resource requirement (vCPU/memory/GPU) is "
    "higher than that can be met by the CE(s) attached to the job queue."
)


def _arn(kind: str, name: str) -> str:
    return f"arn:aws:batch:{REGION}:{_ACCOUNT}:{kind}/{name}"


def _by_start(aws: Aws, jobs: list[str]) -> list[str]:
    """Jobs in the order in which they started; all must succeed."""
    ended = [aws.end(job_id) for job_id in jobs]
    assert {job["status"] for job in ended} == {"SUCCEEDED"}
    return [job["jobId"] for job in sorted(ended, key=lambda job: job["startedAt"])]


def test_priority_between_queues_and_order_within(aws: Aws, gate: Gate, narrow: str) -> None:
    """On one compute environment the higher queue goes first; each goes by time of submission."""
    urgent = aws.new_queue("narrow-urgent", "narrow", priority=50)
    idle = aws.new_queue("narrow-idle", "narrow", priority=0)
    blocker = aws.run("blocker", gate.script(), queue=narrow, **gate.volumes)
    aws.until(blocker, "RUNNING")
    quick = aws.register("queue-quick", "true")
    order = {
        queue: [aws.submit(f"{queue}-{n}", quick, queue=queue) for n in range(2)]
        for queue in (idle, narrow, urgent)
    }
    for jobs in order.values():
        aws.until(jobs[-1], "RUNNABLE")
    gate.open()
    started = _by_start(aws, [job_id for jobs in order.values() for job_id in jobs])
    assert started == [*order[urgent], *order[narrow], *order[idle]]


def test_first_in_first_out(aws: Aws, gate: Gate, narrow: str) -> None:
    """Single jobs and children of arrays alike, by index."""
    blocker = aws.run("blocker", gate.script(), queue=narrow, **gate.volumes)
    aws.until(blocker, "RUNNING")
    quick = aws.register("queue-quick", "true")
    before = aws.submit("before", quick, queue=narrow)
    array = aws.submit("array", quick, queue=narrow, arrayProperties={"size": 3})
    after = aws.submit("after", quick, queue=narrow)
    expected = [before, *(f"{array}:{index}" for index in range(3)), after]
    aws.until(after, "RUNNABLE")
    gate.open()
    assert _by_start(aws, expected) == expected


@pytest.mark.parametrize(
    ("needs", "reason"),
    [((9999, 64), _MAX_RESOURCE), ((1, 90_000_000), _TOO_LARGE)],
    ids=["vcpus", "memory"],
)
def test_impossible_resources_wait_with_a_reason(
    aws: Aws, needs: tuple[int, int], reason: str
) -> None:
    """The job stays RUNNABLE, and others pass it."""
    impossible = aws.submit("impossible", aws.register("queue-impossible", "true", needs=needs))
    blocked = aws.until_job(impossible, lambda job: job.get("statusReason"), "a reason")
    assert (blocked["status"], blocked["statusReason"]) == ("RUNNABLE", reason)
    assert aws.end(aws.submit("passing", aws.register("queue-quick", "true")))
    assert aws.job(impossible)["status"] == "RUNNABLE"
    aws.client.cancel_job(jobId=impossible, reason="Never possible.")
    assert aws.end(impossible)["statusReason"] == "Never possible."


def test_a_job_that_blocks_its_queue_for_longer_than_allowed_is_cancelled(aws: Aws) -> None:
    queue = aws.new_queue("queue-limited")
    limit = {
        "reason": _MAX_RESOURCE.partition(" ")[0],
        "state": "RUNNABLE",
        "maxTimeSeconds": 1,
        "action": "CANCEL",
    }
    aws.client.update_job_queue(jobQueue=queue, jobStateTimeLimitActions=[limit])
    (found,) = aws.client.describe_job_queues(jobQueues=[queue])["jobQueues"]
    assert found["jobStateTimeLimitActions"] == [limit]
    definition = aws.register("queue-impossible", "true", needs=(9999, 64))
    ended = aws.end(aws.submit("impossible", definition, queue=queue))
    assert ended["statusReason"] == (
        "Canceled by JobStateTimeLimit action due to reason: "
        "MISCONFIGURATION:COMPUTE_ENVIRONMENT_MAX_RESOURCE"
    )
    assert (ended["isCancelled"], ended["attempts"]) == (True, [])


def test_a_disabled_queue_takes_no_jobs_but_runs_its_own(aws: Aws, gate: Gate) -> None:
    queue = aws.new_queue("queue-disabled")
    definition = aws.register("queue-gate", "sh", "-c", gate.script(), **gate.volumes)
    running = aws.submit("running", definition, queue=queue)
    aws.until(running, "RUNNING")
    aws.client.update_job_queue(jobQueue=queue, state="DISABLED")
    with pytest.raises(aws.client.exceptions.ClientException, match="queue-disabled"):
        aws.submit("refused", definition, queue=queue)
    gate.open()
    assert aws.end(running)["status"] == "SUCCEEDED"


@dataclass(frozen=True)
class _Listed:
    """Jobs of a queue of their own, in order of submission."""

    queue: str
    alpha: str
    alpine: str
    failed: str
    running: str
    array: str
    pending: str
    other_definition: str
    gate: Gate

    @property
    def all(self) -> list[str]:
        """Newest first, as a listing has them."""
        return [
            self.other_definition,
            self.pending,
            self.array,
            self.running,
            self.failed,
            self.alpine,
            self.alpha,
        ]


@pytest.fixture(scope="module")
def listed(aws: Aws, tmp_path_factory: pytest.TempPathFactory) -> _Listed:
    """One job of each kind; one runs until the end of the module."""
    gate = Gate(tmp_path_factory.mktemp("gate"))
    queue = aws.new_queue("listing")
    quick = aws.register("list-quick", "true")
    other = aws.register("list-quick", "false")
    held = aws.register("list-held", "sh", "-c", gate.script(), **gate.volumes)
    running = ""

    def submit(name: str, definition: str, **members: object) -> str:
        return aws.submit(name, definition, queue=queue, **members)

    alpha = submit("Alpha-1", quick)
    alpine = submit("alpine_2", quick)
    failed = submit("beta", other)
    running = submit("gamma", held)
    array = submit("array", quick, arrayProperties={"size": 3})
    pending = submit("delta", quick, dependsOn=[{"jobId": running}])
    last = submit("omega", aws.register("list-other", "true"))
    for job_id in (alpha, alpine, failed, array, last):
        aws.end(job_id)
    aws.until(running, "RUNNING")
    return _Listed(queue, alpha, alpine, failed, running, array, pending, last, gate)


def test_list_by_status(aws: Aws, listed: _Listed) -> None:
    """Without a status: what is RUNNING."""
    assert aws.listed(jobQueue=listed.queue) == [listed.running]
    assert aws.listed(jobQueue=listed.queue, jobStatus="RUNNING") == [listed.running]
    assert aws.listed(jobQueue=listed.queue, jobStatus="PENDING") == [listed.pending]
    assert aws.listed(jobQueue=listed.queue, jobStatus="FAILED") == [listed.failed]
    assert aws.listed(jobQueue=listed.queue, jobStatus="RUNNABLE") == []
    by_arn = aws.listed(jobQueue=_arn("job-queue", listed.queue), jobStatus="SUCCEEDED")
    assert by_arn == [listed.other_definition, listed.array, listed.alpine, listed.alpha]


def test_list_entries(aws: Aws, listed: _Listed) -> None:
    (entry,) = aws.client.list_jobs(jobQueue=listed.queue, jobStatus="FAILED")["jobSummaryList"]
    job = aws.job(listed.failed)
    same = ("jobArn", "jobId", "jobName", "status", "statusReason", "createdAt", "startedAt")
    assert {name: entry[name] for name in (*same, "stoppedAt", "jobDefinition")} == {
        name: job[name] for name in (*same, "stoppedAt", "jobDefinition")
    }
    assert entry["container"] == {"exitCode": 1}
    assert "isCancelled" not in entry
    assert "isTerminated" not in entry
    parents = aws.client.list_jobs(jobQueue=listed.queue, jobStatus="SUCCEEDED")["jobSummaryList"]
    assert [
        entry["arrayProperties"]["size"] for entry in parents if "arrayProperties" in entry
    ] == [3]


def test_list_children(aws: Aws, listed: _Listed) -> None:
    children = [f"{listed.array}:{index}" for index in range(3)]
    assert aws.listed(arrayJobId=listed.array) == []
    assert aws.listed(arrayJobId=listed.array, jobStatus="SUCCEEDED") == children
    answer = aws.client.list_jobs(arrayJobId=listed.array, jobStatus="SUCCEEDED")
    properties = [child["arrayProperties"] for child in answer["jobSummaryList"]]
    assert properties == [{"size": 3, "index": index} for index in range(3)]
    shown = aws.client.describe_jobs(jobs=children)["jobs"]
    assert [child["arrayProperties"] for child in shown] == properties


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("JOB_NAME", "ALPHA-1", ["alpha"]),
        ("JOB_NAME", "alp*", ["alpha", "alpine"]),
        ("JOB_NAME", "alp", []),
        ("JOB_NAME", "alpine%", []),
        ("JOB_DEFINITION", "list-held", ["running"]),
        ("JOB_DEFINITION", "list-quick", ["pending", "array", "failed", "alpine", "alpha"]),
        ("JOB_DEFINITION", "list-o*", ["other_definition"]),
        ("JOB_DEFINITION", "LIST-held", []),
        ("JOB_DEFINITION", _arn("job-definition", "list-quick:2"), ["failed"]),
        ("SHARE_IDENTIFIER", "anyone", []),
    ],
)
def test_list_by_filter(
    aws: Aws, listed: _Listed, name: str, value: str, expected: list[str]
) -> None:
    """Every status is listed, whatever the status asked for."""
    found = aws.listed(
        jobQueue=listed.queue, jobStatus="RUNNING", filters=[{"name": name, "values": [value]}]
    )
    assert found == [getattr(listed, job) for job in expected]


def test_list_by_time(aws: Aws, listed: _Listed) -> None:
    moment = aws.job(listed.running)["createdAt"]

    def found(name: str) -> list[str]:
        filters = [{"name": name, "values": [str(moment)]}]
        return aws.listed(jobQueue=listed.queue, filters=filters)

    created = {job["jobId"]: job["createdAt"] for job in aws.describe(listed.all)}
    assert found("BEFORE_CREATED_AT") == [j for j in listed.all if created[j] < moment]
    assert found("AFTER_CREATED_AT") == [j for j in listed.all if created[j] > moment]


def test_list_in_pages(aws: Aws, listed: _Listed) -> None:
    """Newest first, but those that are asked for by their names in order of these."""
    names = {job["jobId"]: job["jobName"] for job in aws.describe(listed.all)}
    by_name = sorted(listed.all, key=names.__getitem__)
    assert pages_of(aws, listed.queue, "AFTER_CREATED_AT", "0") == listed.all
    assert pages_of(aws, listed.queue, "JOB_NAME", "*") == by_name


def pages_of(aws: Aws, queue: str, name: str, value: str) -> list[str]:
    """Ids of the jobs that a filter finds, page after page."""
    request = {"jobQueue": queue, "filters": [{"name": name, "values": [value]}]}
    pages, token = [], {}
    while True:
        answer = aws.client.list_jobs(**request, maxResults=3, **token)
        pages.append([job["jobId"] for job in answer["jobSummaryList"]])
        if "nextToken" not in answer:
            break
        token = {"nextToken": answer["nextToken"]}
    assert [len(page) for page in pages] == [3, 3, 1]
    return [job_id for page in pages for job_id in page]


def test_dependents_go_on_after_a_listing(aws: Aws, listed: _Listed) -> None:
    """Lets the held job of the listings go."""
    listed.gate.open()
    for job_id in (listed.running, listed.pending):
        assert aws.end(job_id)["status"] == "SUCCEEDED"
    assert not [s for s in FINAL if aws.listed(arrayJobId=listed.array, jobStatus="RUNNING")]


def test_tags(aws: Aws) -> None:
    """On every kind of resource, through its own operations and the shared ones."""
    definition = aws.register("tagged", "true", tags={"kind": "definition"})
    job_id = aws.submit("tagged", definition, tags={"kind": "job", "empty": ""})
    aws.client.create_job_queue(
        jobQueueName="tagged",
        priority=1,
        computeEnvironmentOrder=[{"order": 1, "computeEnvironment": "default"}],
        tags={"kind": "queue"},
    )
    arns = {
        "definition": _arn("job-definition", definition),
        "job": _arn("job", job_id),
        "queue": _arn("job-queue", "tagged"),
        "environment": _arn("compute-environment", "default"),
    }
    for kind, arn in arns.items():
        aws.client.tag_resource(resourceArn=arn, tags={"added": "1", "kind": f"new {kind}"})
        tags = aws.client.list_tags_for_resource(resourceArn=arn)["tags"]
        assert tags.items() >= {"added": "1", "kind": f"new {kind}"}.items()
        aws.client.untag_resource(resourceArn=arn, tagKeys=["added", "never there"])
        assert "added" not in aws.client.list_tags_for_resource(resourceArn=arn)["tags"]
    assert aws.job(job_id)["tags"] == {"kind": "new job", "empty": ""}
    (queue,) = aws.client.describe_job_queues(jobQueues=["tagged"])["jobQueues"]
    assert queue["tags"] == {"kind": "new queue"}
    (found,) = aws.client.describe_job_definitions(jobDefinitions=[definition])["jobDefinitions"]
    assert found["tags"] == {"kind": "new definition"}
    assert aws.end(job_id)["tags"] == {"kind": "new job", "empty": ""}


def test_children_have_no_tags(aws: Aws) -> None:
    definition = aws.register("tagged", "true")
    array = aws.submit("tagged", definition, arrayProperties={"size": 2}, tags={"a": "b"})
    assert aws.end(array)["tags"] == {"a": "b"}
    assert aws.job(f"{array}:0")["tags"] == {}
    with pytest.raises(aws.client.exceptions.ClientException):
        aws.client.tag_resource(resourceArn=_arn("job", f"{array}:0"), tags={"a": "b"})
