"""The name of an attempt's log is the definition's, unless its log configuration names another."""

import uuid
from datetime import UTC, datetime

import pytest
from google.protobuf.json_format import ParseDict

from longshore.domain.job.job import JobKey
from longshore.scheduler.log_stream import log_stream_name
from longshore.state.scheduler.job_transition import JobDetails
from longshore.v1 import job_definition_pb2 as pb

JOB = uuid.UUID(int=1)
CREATED = datetime(2026, 1, 1, tzinfo=UTC)


def container(driver: str, **options: str) -> dict[str, object]:
    named = {name.replace("_", "-"): value for name, value in options.items()}
    return {"image": "busybox", "logConfiguration": {"logDriver": driver, "options": named}}


def details(container: dict[str, object]) -> JobDetails:
    stored = ParseDict(container, pb.ContainerProperties()).SerializeToString()
    return JobDetails(JOB, "job", "q", "def", 1, None, 1, None, CREATED, stored, rules=())


@pytest.mark.parametrize(
    ("logging", "expected"),
    [
        ({"image": "busybox"}, "def/default/a1"),
        (container("awslogs"), "def/default/a1"),
        (container("awslogs", awslogs_stream_prefix="team/x"), "team/x/default/a1"),
        (container("awslogs", awslogs_stream_prefix=""), "def/default/a1"),
        (container("awslogs", awslogs_stream_prefix="x" * 5000), "x" * 471 + "/default/a1"),
        (container("json-file", awslogs_stream_prefix="team"), "def/default/a1"),
    ],
)
def test_of_a_job(logging: dict[str, object], expected: str) -> None:
    assert log_stream_name(details(logging), JobKey(JOB), "a1") == expected


def test_of_the_nodes_of_a_job() -> None:
    named = container("awslogs", awslogs_stream_prefix="main")
    nodes = {
        "numNodes": 3,
        "mainNode": 0,
        "nodeRangeProperties": [
            {"targetNodes": "0:0", "container": named},
            {"targetNodes": "1:", "container": {"image": "busybox"}},
        ],
    }
    stored = ParseDict(nodes, pb.NodeProperties()).SerializeToString()
    job = JobDetails(
        JOB, "job", "q", "def", 1, None, 1, None, CREATED, None, rules=(), nodes=stored
    )
    names = [log_stream_name(job, JobKey.node(JOB, n), "a1") for n in range(3)]
    assert names == ["main/default/a1", "def/default/a1", "def/default/a1"]
