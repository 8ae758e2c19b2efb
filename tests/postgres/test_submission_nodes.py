"""Multi-node jobs at the submission service: registered, submitted, described, listed."""

import json
import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest
from support.submission import (
    Stand,
    a_container,
    a_queue,
    a_range,
    some_nodes,
    submission_stand,
)

from longshore.domain.errors import InvalidRequest, LongshoreError, NotFound, Unimplemented
from longshore.domain.job.job import JobKey
from longshore.v1 import job_definition_pb2

Json = dict[str, Any]


@pytest.fixture
async def stand(database_url: str) -> AsyncIterator[Stand]:
    async with submission_stand(database_url) as stand:
        await stand.prepare()
        yield stand


async def play(
    stand: Stand,
    job_id: str,
    node: int,
    status: str,
    *,
    attempt: int = 1,
    exit_code: int | None = None,
    address: str | None = None,
) -> None:
    """As the scheduler does: a node has an attempt that has come so far."""
    await stand.conn.execute(
        """INSERT INTO attempts (job_id, array_index, attempt, attempt_id, instance_id,
            compute_environment, status, vcpu_milli, memory_mib, gpus, log_stream_name, started_at,
            stopped_at, address, exit_code, status_reason)
        VALUES ($1, $2, $3, $4, $5, 'ce', $6, 1000, 64, 0, $7,
            CASE WHEN $6 = 'STARTING' THEN NULL ELSE now() END,
            CASE WHEN $6 = 'ENDED' THEN now() END, $8, $9,
            CASE WHEN $6 = 'ENDED' THEN 'Essential container in task exited' END)""",
        *(uuid.UUID(job_id), JobKey.node(uuid.UUID(job_id), node).array_index, attempt),
        *(uuid.uuid4().hex, f"i-{node}", status, f"n/default/{attempt}-{node}"),
        *(address, exit_code),
    )


async def move(
    stand: Stand, job_id: str, status: str, *, attempt: int = 0, reason: str | None = None
) -> None:
    """As the scheduler does: the job is somewhere else."""
    await stand.conn.execute(
        """UPDATE jobs SET status = $2, status_reason = $3, attempt = greatest(attempt, $4),
            stopped_at = CASE WHEN $2 IN ('SUCCEEDED', 'FAILED') THEN now() END
        WHERE job_id = $1""",
        *(uuid.UUID(job_id), status, reason, attempt),
    )


async def states(stand: Stand, job_id: str, count: int = 4) -> list[str]:
    """Where each node is said to be."""
    answer = await stand("DescribeJobs", jobs=[f"{job_id}#{n}" for n in range(count)])
    return [entry["status"] for entry in answer["jobs"]]


async def test_a_definition_is_described_as_it_was_registered(stand: Stand) -> None:
    nodes = some_nodes(
        a_range("0:0", a_container(vcpus=2, instanceType="c6i.large")),
        a_range("1:", a_container(environment=[{"name": "A", "value": "1"}])),
        a_range("2:2", instanceTypes=["c6i.large"]),
        main_node=1,
    )
    await stand.register_nodes(nodes=nodes, retryStrategy={"attempts": 2})
    (shown,) = (await stand("DescribeJobDefinitions", jobDefinitions=["n"]))["jobDefinitions"]
    assert shown["nodeProperties"] == nodes
    assert (shown["type"], shown["retryStrategy"]) == ("multinode", {"attempts": 2})
    assert "containerProperties" not in shown


async def test_a_multi_node_job_is_stored_resolved(stand: Stand) -> None:
    await stand.register_nodes(
        nodes=some_nodes(
            a_range("0:0", a_container(vcpus=4, memory_mib=64, command=["lead", "Ref::what"])),
            a_range("1:", a_container(vcpus=1, memory_mib=256)),
        ),
        parameters={"what": "home"},
        timeout={"attemptDurationSeconds": 60},
    )
    job_id = await stand.submit(
        jobDefinition="n",
        parameters={"what": "away"},
        retryStrategy={"attempts": 3},
        nodeOverrides={
            "numNodes": 7,
            "nodePropertyOverrides": [
                {
                    "targetNodes": "1:",
                    "containerOverrides": {
                        "command": ["follow", "Ref::what"],
                        "environment": [{"name": "B", "value": "2"}],
                    },
                    "instanceTypes": ["c6i.xlarge"],
                }
            ],
        },
        tags={"team": "x"},
    )
    row = await stand.conn.fetchrow(
        "SELECT * FROM jobs JOIN job_specs USING (job_id) JOIN shapes USING (shape_id)"
    )
    assert (row["num_nodes"], row["main_node"], row["array_index"]) == (7, 0, -1)
    assert (row["attempts_max"], row["timeout_seconds"], row["container"]) == (3, 60, None)
    assert (row["vcpu_milli"], row["memory_mib"], row["gpus"]) == (4000, 256, 0)
    assert (row["nodes"], row["instance_type"]) == (7, "c6i.xlarge")
    spec = await stand.conn.fetchval("SELECT nodes FROM job_specs")
    stored = job_definition_pb2.NodeProperties.FromString(spec)
    assert (stored.num_nodes, stored.main_node) == (7, 0)
    first, rest = stored.node_range_properties
    assert list(first.container.command) == ["lead", "away"]
    assert list(rest.container.command) == ["follow", "away"]
    assert json.loads(row["detail"])["nodeProperties"]["numNodes"] == 7
    shown = await stand.describe(job_id)
    assert shown["nodeProperties"]["numNodes"] == 7
    assert shown["nodeProperties"]["nodeRangeProperties"][1]["container"]["environment"] == [
        {"name": "B", "value": "2"}
    ]
    assert "container" not in shown
    assert (shown["tags"], shown["status"]) == ({"team": "x"}, "SUBMITTED")


async def test_jobs_of_other_shapes_are_not_mixed_with_multi_node_jobs(stand: Stand) -> None:
    await stand.register_nodes("one", nodes=some_nodes(num_nodes=1))
    for name in ("d", "one", "one"):
        await stand.submit(jobDefinition=name)
    rows = await stand.conn.fetch(
        "SELECT nodes, count(*) FROM jobs JOIN shapes USING (shape_id) GROUP BY nodes ORDER BY 1"
    )
    assert [tuple(row) for row in rows] == [(0, 1), (1, 2)]
    assert await stand.conn.fetchval("SELECT count(*) FROM jobs WHERE num_nodes = 1") == 2


async def test_what_does_not_go_with_the_definition_is_refused(
    stand: Stand, subtests: pytest.Subtests
) -> None:
    await stand.register_nodes(nodes=some_nodes(a_range("0:1"), a_range("2:3")))
    await stand.register_nodes("open", nodes=some_nodes(main_node=2))
    one = str(uuid.uuid4())

    def override(targets: str = ":", **members: Any) -> Json:
        return {"nodePropertyOverrides": [{"targetNodes": targets, **members}]}

    path = "nodeOverrides.nodePropertyOverrides[0]"
    cases: list[tuple[Json, type[LongshoreError], str]] = [
        ({"containerOverrides": {"command": ["x"]}}, InvalidRequest, "containerOverrides is for"),
        ({"arrayProperties": {"size": 2}}, InvalidRequest, "arrayProperties is not applicable"),
        ({"dependsOn": [{"jobId": f"{one}#0"}]}, InvalidRequest, "dependsOn[0].jobId is a node"),
        ({"nodeOverrides": {"numNodes": 0}}, InvalidRequest, "from 1 to 1000"),
        ({"nodeOverrides": {"numNodes": 1001}}, InvalidRequest, "from 1 to 1000"),
        ({"nodeOverrides": {"numNodes": 2}}, InvalidRequest, "the main node is 2"),
        (
            {"jobDefinition": "n", "nodeOverrides": {"numNodes": 4}},
            InvalidRequest,
            "needs a job definition with a node range that is open",
        ),
        (
            {"nodeOverrides": override("0:0")},
            InvalidRequest,
            "NodeOverride targets should match job definition. Non matching targets - 0:0",
        ),
        ({"nodeOverrides": override("x")}, InvalidRequest, f"{path}.targetNodes is 'x'"),
        (
            {"nodeOverrides": override(containerOverrides={"command": [""]})},
            InvalidRequest,
            f"{path}.containerOverrides.command has an empty string",
        ),
        (
            {
                "nodeOverrides": override(
                    containerOverrides={
                        "resourceRequirements": [{"type": "VCPU", "value": "0.3"}],
                    }
                )
            },
            InvalidRequest,
            f"{path}.containerOverrides.resourceRequirements[0].value",
        ),
        (
            {"nodeOverrides": override(containerOverrides={"command": ["Ref::gone"]})},
            InvalidRequest,
            "No parameter found for reference gone",
        ),
        (
            {"nodeOverrides": override(instanceTypes=["a.b", "c.d"])},
            InvalidRequest,
            "more than one instance type",
        ),
        (
            {"jobDefinition": "d", "nodeOverrides": {"numNodes": 2}},
            InvalidRequest,
            "nodeOverrides is for job definitions with nodeProperties",
        ),
        (
            {
                "nodeOverrides": override(
                    ecsPropertiesOverride={"taskProperties": [{"containers": [{"name": "a"}]}]}
                )
            },
            InvalidRequest,
            f"{path}.ecsPropertiesOverride is for node ranges with ecsProperties",
        ),
        (
            {"nodeOverrides": override(eksPropertiesOverride={})},
            Unimplemented,
            f"{path}.eksPropertiesOverride",
        ),
    ]
    for members, kind, text in cases:
        with subtests.test(text), pytest.raises(kind) as caught:
            await stand.submit(**{"jobDefinition": "open", **members})
        assert text in caught.value.message
    assert await stand.job_count() == 0


async def test_an_array_is_refused_beside_plain_jobs_too(stand: Stand) -> None:
    """What plain jobs of a definition resolve to is kept, and an array of them is plain."""
    await stand.register_nodes(nodes=some_nodes())
    for _ in range(2):
        await stand.submit(jobDefinition="n")
        with pytest.raises(InvalidRequest, match="arrayProperties is not applicable"):
            await stand.submit(jobDefinition="n", arrayProperties={"size": 2})
    assert await stand.job_count() == 2


async def test_a_queue_of_slots_takes_no_multi_node_jobs(stand: Stand) -> None:
    await stand(
        "CreateComputeEnvironment",
        computeEnvironmentName="slots",
        type="MANAGED",
        computeResources={"type": "FARGATE", "maxvCpus": 16},
    )
    await stand.conn.execute("UPDATE compute_environments SET status = 'VALID'")
    await stand("CreateJobQueue", **a_queue("f", "slots"))
    await stand.register_nodes(nodes=some_nodes())
    with pytest.raises(InvalidRequest, match="can not run Jobs with capability EC2"):
        await stand.submit(jobDefinition="n", jobQueue="f")


async def test_nodes_are_where_their_job_is_until_they_are_placed(stand: Stand) -> None:
    await stand.register_nodes(nodes=some_nodes(main_node=1))
    job = await stand.submit(jobDefinition="n")
    for status in ("SUBMITTED", "PENDING", "RUNNABLE"):
        await move(stand, job, status)
        assert await states(stand, job, 6) == [status] * 4
    await move(stand, job, "STARTING", attempt=1)
    for node in range(4):
        await play(stand, job, node, "STARTING")
    assert await states(stand, job) == ["STARTING"] * 4
    await stand.conn.execute(
        "UPDATE attempts SET status = 'RUNNING', started_at = now() WHERE array_index IN (-2, -3)"
    )
    await stand.conn.execute(
        "UPDATE attempts SET status = 'ENDED', stopped_at = now(), exit_code = -array_index - 4 "
        "WHERE array_index IN (-4, -5)"
    )
    await move(stand, job, "RUNNING")
    assert await states(stand, job) == ["RUNNING", "RUNNING", "SUCCEEDED", "FAILED"]
    # Its retry: what the nodes did before counts no more.
    await stand.conn.execute("UPDATE attempts SET status = 'ENDED', stopped_at = now()")
    await move(stand, job, "RUNNABLE")
    assert await states(stand, job) == ["RUNNABLE"] * 4
    again = await stand.describe(f"{job}#2")
    assert len(again["attempts"]) == 1
    assert "startedAt" not in again
    assert "exitCode" not in again["container"]


async def test_a_job_that_never_ran_takes_its_nodes_along(stand: Stand) -> None:
    await stand.register_nodes(nodes=some_nodes())
    job = await stand.submit(jobDefinition="n")
    await move(stand, job, "FAILED", reason="no more")
    node = await stand.describe(f"{job}#3")
    assert (node["status"], node["statusReason"]) == ("FAILED", "no more")
    assert "stoppedAt" in node
    assert "attempts" not in node


async def test_a_job_shows_its_main_nodes_attempts_and_a_node_its_own(stand: Stand) -> None:
    await stand.register_nodes(
        nodes=some_nodes(
            a_range(":", a_container(command=["follow"])),
            a_range("1:1", a_container(command=["lead"])),
            num_nodes=3,
            main_node=1,
        )
    )
    job = await stand.submit(jobDefinition="n", tags={"team": "x"}, retryStrategy={"attempts": 2})
    await move(stand, job, "RUNNING", attempt=2)
    for node in range(3):
        await play(stand, job, node, "ENDED", exit_code=7 + node)
    await play(stand, job, 1, "RUNNING", attempt=2, address="10.0.0.1")
    await play(stand, job, 0, "ENDED", attempt=2, exit_code=0, address="10.0.0.2")
    await play(stand, job, 2, "STARTING", attempt=2)

    shown = await stand.describe(job)
    (ended,) = shown["attempts"]
    assert (ended["container"]["exitCode"], ended["container"]["logStreamName"]) == (
        8,
        "n/default/1-1",
    )
    assert "container" not in shown
    assert "nodeDetails" not in shown

    lead, other, third = (await stand("DescribeJobs", jobs=[f"{job}#{n}" for n in (1, 0, 2)]))[
        "jobs"
    ]
    assert lead["jobId"] == f"{job}#1"
    assert lead["jobArn"].endswith(f":job/{job}#1")
    assert lead["nodeDetails"] == {"nodeIndex": 1, "isMainNode": True}
    assert lead["container"]["command"] == ["lead"]
    assert lead["container"]["logStreamName"] == "n/default/2-1"
    assert lead["container"]["networkInterfaces"] == [{"privateIpv4Address": "10.0.0.1"}]
    assert "exitCode" not in lead["container"]
    assert lead["jobQueue"] == shown["jobQueue"]
    assert lead["jobDefinition"] == shown["jobDefinition"]
    assert "tags" not in lead
    assert "nodeProperties" not in lead

    assert other["nodeDetails"] == {"nodeIndex": 0, "isMainNode": False}
    assert (other["container"]["command"], other["container"]["exitCode"]) == (["follow"], 0)
    assert [a["container"]["exitCode"] for a in other["attempts"]] == [7, 0]
    assert other["statusReason"] == "Essential container in task exited"
    assert "stoppedAt" in other
    assert third["status"] == "STARTING"
    assert "logStreamName" not in third["container"]


async def test_nodes_are_listed_by_status_page_by_page(stand: Stand) -> None:
    await stand.register_nodes(nodes=some_nodes(num_nodes=5, main_node=4))
    job = await stand.submit(jobDefinition="n")

    async def listed(**members: Any) -> Json:
        return await stand("ListJobs", multiNodeJobId=job, **members)

    assert await listed() == {}
    await move(stand, job, "RUNNING", attempt=1)
    for node in (0, 1, 2, 4):
        await play(stand, job, node, "RUNNING")
    await play(stand, job, 3, "ENDED", exit_code=9)
    first = await listed(maxResults=3)
    assert [entry["jobId"] for entry in first["jobSummaryList"]] == [f"{job}#{n}" for n in range(3)]
    last = await listed(maxResults=3, nextToken=first["nextToken"])
    (main,) = last["jobSummaryList"]
    assert main["nodeProperties"] == {"nodeIndex": 4, "numNodes": 5, "isMainNode": True}
    assert "nextToken" not in last
    (failed,) = (await listed(jobStatus="FAILED"))["jobSummaryList"]
    assert (failed["jobId"], failed["container"]) == (f"{job}#3", {"exitCode": 9})
    (whole,) = (await stand("ListJobs", jobQueue="q"))["jobSummaryList"]
    assert (whole["jobId"], whole["nodeProperties"]) == (job, {"numNodes": 5})
    with pytest.raises(InvalidRequest, match="filters do not apply"):
        await listed(filters=[{"name": "JOB_NAME", "values": ["x"]}])


async def test_arrays_have_no_nodes_and_multi_node_jobs_no_children(stand: Stand) -> None:
    await stand.register_nodes(nodes=some_nodes())
    job = await stand.submit(jobDefinition="n")
    array = await stand.submit(arrayProperties={"size": 2})
    single = await stand.submit()
    for other in (array, single, str(uuid.uuid4())):
        with pytest.raises(NotFound, match="Multi-node job"):
            await stand("ListJobs", multiNodeJobId=other)
    with pytest.raises(NotFound, match="Array job"):
        await stand("ListJobs", arrayJobId=job)
    wanted = [f"{job}#4", f"{array}#0", f"{single}#0", f"{job}:0"]
    assert await stand("DescribeJobs", jobs=wanted) == {}


async def test_nodes_cannot_be_stopped_or_tagged_by_themselves(stand: Stand) -> None:
    await stand.register_nodes(nodes=some_nodes())
    job = await stand.submit(jobDefinition="n")
    for operation in ("CancelJob", "TerminateJob"):
        with pytest.raises(InvalidRequest, match=f"give the job's id, {job}"):
            await stand(operation, jobId=f"{job}#0", reason="r")
    for operation in ("CancelJobs", "TerminateJobs"):
        answer = await stand(operation, jobs=[f"{job}#0"], reason="r")
        assert "give the job's id" in answer["errors"][0]["message"]
        assert "successful" not in answer
    assert await stand.conn.fetchval("SELECT count(*) FROM job_requests") == 0
    with pytest.raises(InvalidRequest, match="Nodes of multi-node jobs cannot have tags"):
        await stand(
            "TagResource",
            resourceArn=f"arn:aws:batch:us-east-1:123456789012:job/{job}#0",
            tags={"a": "b"},
        )
    await stand("TerminateJob", jobId=job, reason="r")
    answer = await stand("DescribeJobs", jobs=[job, f"{job}#0"])
    assert all(entry["isTerminated"] for entry in answer["jobs"])


async def test_what_waits_for_a_multi_node_job_names_the_job(stand: Stand) -> None:
    await stand.register_nodes(nodes=some_nodes())
    first = await stand.submit(jobDefinition="n")
    await stand.submit(jobDefinition="n", dependsOn=[{"jobId": first}])
    with pytest.raises(InvalidRequest, match=r"dependsOn\[0\]\.jobId is a node"):
        await stand.submit(dependsOn=[{"jobId": f"{first}#1"}])
