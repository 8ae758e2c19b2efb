"""Every form in which a job may say what it waits for, and every one in which it may not."""

from collections.abc import Iterator

import pytest
from support.operations import ARRAY, JOB, NO_JOB, NODES
from support.wire import Json, Tables, Wire

SINGLE: Json = {"jobDefinition": "d"}
OF_NODES: Json = {"jobDefinition": "n"}


def an_array(size: int = 3) -> Json:
    """Members of a job that is an array."""
    return SINGLE | {"arrayProperties": {"size": size}}


@pytest.fixture(autouse=True)
def put_back(wire: Wire, tables: Tables) -> Iterator[None]:
    yield
    tables.put_back()
    assert wire.complaints.taken() == []


def submit(kind: Json, *edges: Json) -> Json:
    """The members of SubmitJob."""
    return kind | {"jobName": "j", "jobQueue": "q", "dependsOn": list(edges)}


@pytest.mark.parametrize("kind", [SINGLE, OF_NODES, an_array()], ids=["job", "nodes", "array"])
@pytest.mark.parametrize("upstream", [JOB, NODES, ARRAY, f"{ARRAY}:2"])
@pytest.mark.parametrize("of_type", [None, "SEQUENTIAL"])
def test_a_job_waits_for_another(
    wire: Wire, tables: Tables, kind: Json, upstream: str, of_type: str | None
) -> None:
    edge = {"jobId": upstream} | ({"type": of_type} if of_type else {})
    job = wire.aws("SubmitJob", **submit(kind, edge))
    (shown,) = wire.aws("DescribeJobs", jobs=[job["jobId"]])["jobs"]
    query = "SELECT * FROM job_dependencies WHERE job_id = $1::text::uuid"
    (stored,) = wire.run(wire.stand.conn.fetch(query, shown["jobId"]))

    assert shown["dependsOn"] == [edge]
    name, _, index = upstream.partition(":")
    assert (str(stored["depends_on"]), stored["depends_on_index"]) == (name, int(index or -1))
    # Only an array has a sequence: elsewhere a job to wait for is meant.
    is_array = "arrayProperties" in kind
    assert stored["type"] == ("SEQUENTIAL" if of_type and is_array else "PLAIN")


@pytest.mark.parametrize(
    "edges",
    [
        [{"type": "SEQUENTIAL"}],
        [{"jobId": ARRAY, "type": "N_TO_N"}],
        [{"jobId": JOB}, {"jobId": ARRAY, "type": "N_TO_N"}, {"type": "SEQUENTIAL"}],
        [{"jobId": ARRAY}, {"jobId": ARRAY, "type": "N_TO_N"}],
        [{"jobId": JOB}] * 20,
    ],
    ids=["sequence", "pairs", "all", "whole-and-pairs", "twenty"],
)
def test_an_array_waits_child_by_child(wire: Wire, tables: Tables, edges: list[Json]) -> None:
    job = wire.aws("SubmitJob", **submit(an_array(), *edges))
    (shown,) = wire.aws("DescribeJobs", jobs=[job["jobId"]])["jobs"]

    assert shown["dependsOn"] == edges


@pytest.mark.parametrize(
    ("kind", "edge", "says"),
    [
        (SINGLE, {}, "dependsOn[0] needs a jobId"),
        (SINGLE, {"jobId": ""}, "dependsOn[0] needs a jobId"),
        (SINGLE, {"type": "SEQUENTIAL"}, "dependsOn[0] has type SEQUENTIAL, which is for array"),
        (OF_NODES, {"type": "SEQUENTIAL"}, "dependsOn[0] has type SEQUENTIAL, which is for array"),
        (SINGLE, {"jobId": ARRAY, "type": "N_TO_N"}, "dependsOn[0] has type N_TO_N, which is for"),
        (OF_NODES, {"jobId": ARRAY, "type": "N_TO_N"}, "dependsOn[0] has type N_TO_N, which is"),
        (an_array(), {"type": "N_TO_N"}, "dependsOn[0] has type N_TO_N and needs a jobId"),
        (an_array(), {"jobId": f"{ARRAY}:0", "type": "N_TO_N"}, "needs the id of an array job"),
        (an_array(), {"jobId": JOB, "type": "N_TO_N"}, "needs an array job of size 3"),
        (an_array(), {"jobId": NODES, "type": "N_TO_N"}, "needs an array job of size 3"),
        (an_array(4), {"jobId": ARRAY, "type": "N_TO_N"}, "needs an array job of size 4"),
        (SINGLE, {"jobId": NO_JOB}, f"Job {NO_JOB} not found"),
        (SINGLE, {"jobId": NO_JOB, "type": "SEQUENTIAL"}, f"Job {NO_JOB} not found"),
        (SINGLE, {"jobId": f"{ARRAY}:3"}, f"Job {ARRAY}:3 not found"),
        (SINGLE, {"jobId": f"{JOB}:0"}, f"Job {JOB}:0 not found"),
        (SINGLE, {"jobId": f"{NODES}#0"}, f"dependsOn[0].jobId is a node; give {NODES}"),
        (SINGLE, {"jobId": "j"}, "dependsOn[0].jobId is "),
        (SINGLE, {"jobId": JOB, "type": "sequential"}, "dependsOn[0].type is 'sequential'"),
    ],
)
def test_what_nobody_can_wait_for_is_refused(
    wire: Wire, tables: Tables, kind: Json, edge: Json, says: str
) -> None:
    answer = wire.post("SubmitJob", submit(kind, edge))

    assert (answer.code, answer.error) == ("400", "ClientException")
    assert says in answer.message
    assert tables.changed() == set()
