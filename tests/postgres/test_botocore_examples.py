"""The examples that ship with botocore run as they stand, on the resources that they name."""

import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.loaders import Loader
from support.contract import SERVICE, built
from support.submission import a_queue
from support.wire import Json, Tables, Wire

SHIPPED = Loader().load_data("batch/2016-08-10/examples-1")["examples"]
EXAMPLES = [
    pytest.param(operation, example["input"], example.get("output", {}), id=example["id"])
    for operation, examples in SHIPPED.items()
    for example in examples
]
#: Members of answers that are each installation's own, or of a time.
OWN = {"jobId", "jobDefinition", "ecsClusterArn", "containerInstanceArn", "desiredvCpus"}
OWN |= {"createdAt", "startedAt", "stoppedAt"}
#: Of a family that EC2 offers no more, and of which longshore's catalogue knows nothing.
GONE, INSTEAD = "p2", "p3"
NEEDS = [{"type": "MEMORY", "value": "128"}, {"type": "VCPU", "value": "1"}]


@pytest.fixture(scope="module")
def empty(wire: Wire) -> Tables:
    return Tables(wire)


@pytest.fixture
def run(wire: Wire, empty: Tables) -> Iterator[Any]:
    """Calls by boto3; what they leave behind is removed."""
    yield wire.aws
    empty.put_back()


def test_every_example_is_of_an_operation_that_is_there() -> None:
    assert set(SHIPPED) <= {method.name for method in built(SERVICE)}


@pytest.mark.parametrize(("operation", "members", "output"), EXAMPLES)
def test_an_example(wire: Wire, run: Any, operation: str, members: Json, output: Json) -> None:
    world = World(wire)
    world.make(operation, members)

    answer = run(operation, **members)

    assert_like(answer, output)
    assert wire.complaints.taken() == []


def assert_like(found: Any, shown: Any, path: str = "") -> None:
    """All that AWS shows is there, and the same where it is not an installation's own."""
    if isinstance(shown, dict):
        assert set(shown) <= set(found), path
        for name, value in shown.items():
            if name not in OWN:
                assert_like(found[name], value, f"{path}.{name}")
    elif isinstance(shown, list):
        assert len(found) == len(shown), path
        for index, value in enumerate(shown):
            assert_like(found[index], value, f"{path}[{index}]")
    elif shown == GONE:
        assert found == INSTEAD, path
    elif isinstance(shown, str) and shown.startswith("arn:aws:batch:"):
        assert found.split(":")[5:] == shown.split(":")[5:], path
    else:
        assert found == shown, path


class World:
    """Makes the resources that an example names."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    def make(self, operation: str, members: Json) -> None:
        """All that the members of a request name, and that its answer shows."""
        for entry in members.get("computeEnvironmentOrder", []):
            self._environment(entry["computeEnvironment"])
        for member, make in (
            ("computeEnvironment", self._environment),
            ("jobQueue", self._queue),
            ("jobDefinition", self._definition),
            ("resourceArn", self._tagged),
            ("jobId", self._job),
            ("job", self._job),
        ):
            for name in _named(members, member):
                make(name)
        match operation:
            case "DeleteComputeEnvironment":
                self._wire.call("UpdateComputeEnvironment", state="DISABLED", **members)
                self._looked_at()
            case "DeleteJobQueue":
                self._wire.call("UpdateJobQueue", state="DISABLED", **members)
            case "DescribeJobDefinitions":
                self._definition("sleep60", command=["sleep", "60"], resourceRequirements=NEEDS)
            case "DescribeJobs":
                self._end(members["jobs"][0])
            case "ListJobs":
                self._job(str(uuid.UUID(int=1)), "HighPriority")
                status = members.get("jobStatus", "RUNNING")
                self._sql(f"UPDATE jobs SET status = '{status}'")  # noqa: S608 - an example's own

    def _sql(self, statement: str) -> None:
        self._wire.run(self._wire.stand.conn.execute(statement))

    def _looked_at(self) -> None:
        """As the scaler does, when it finds nothing wrong."""
        self._sql(
            "UPDATE compute_environments SET status = 'VALID', "
            "status_reason = 'ComputeEnvironment Healthy' WHERE status <> 'VALID'"
        )

    def _environment(self, name: str) -> None:
        """As AWS's own example makes it, or describes it."""
        examples = SHIPPED["CreateComputeEnvironment"]
        given = [e["input"] for e in examples if e["input"]["computeEnvironmentName"] == name]
        if not given:
            (shown,) = SHIPPED["DescribeComputeEnvironments"][0]["output"]["computeEnvironments"]
            resources = {**shown["computeResources"], "instanceTypes": [INSTEAD]}
            given = [
                {"computeEnvironmentName": name, "type": shown["type"]}
                | {"serviceRole": shown["serviceRole"], "computeResources": resources}
            ]
        self._wire.call("CreateComputeEnvironment", **given[0])
        self._looked_at()

    def _queue(self, name: str) -> None:
        self._environment("C4OnDemand")
        self._wire.call("CreateJobQueue", **a_queue(name, "C4OnDemand"))

    def _definition(self, name: str, tags: Json | None = None, **container: Any) -> None:
        self._wire.call(
            "RegisterJobDefinition",
            jobDefinitionName=name,
            type="container",
            containerProperties={"image": "busybox", **(container or {"vcpus": 1, "memory": 128})},
            tags=tags or {},
        )

    def _tagged(self, arn: str) -> None:
        tags = {"Department": "Engineering", "Stage": "Alpha", "User": "JaneDoe"}
        self._definition(arn.split("/")[1].split(":", maxsplit=1)[0], tags=tags)

    def _job(self, job_id: str, queue: str = "") -> None:
        """A job of the definition that the examples have: with vCPUs and memory as of old."""
        if not queue:
            queue = "HighPriority"
            self._queue(queue)
        self._definition("sleep60", command=["sleep", "60"], vcpus=1, memory=128)
        self._wire.run(
            self._wire.stand.submit(
                {"x-longshore-request-id": job_id},
                jobName="example",
                jobQueue=queue,
                jobDefinition="sleep60",
            )
        )

    def _end(self, job_id: str) -> None:
        """As the scheduler does with one that ran well."""
        self._sql(
            f"""INSERT INTO attempts (job_id, array_index, attempt, attempt_id, instance_id,
                compute_environment, status, vcpu_milli, memory_mib, gpus, log_stream_name,
                started_at, stopped_at, exit_code, status_reason)
            VALUES ('{job_id}', -1, 1, 'a', 'i-1', 'C4OnDemand', 'ENDED', 1000, 128, 0, 'log',
                now(), now(), 0, 'Essential container in task exited')"""  # noqa: S608 - ours
        )
        self._sql(
            "UPDATE jobs SET status = 'SUCCEEDED', attempt = 1, started_at = now(), "
            "stopped_at = now(), exit_code = 0"
        )


def _named(members: Json, member: str) -> list[str]:
    """What a member names, or its plural."""
    return [*([members[member]] if member in members else []), *members.get(f"{member}s", [])]
