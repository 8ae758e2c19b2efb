"""How multi-node jobs and their nodes are shown."""

import asyncio
import json
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.patience import PATIENCE_SECONDS
from unit.client.service import Script, start

from longshore.domain.errors import Unavailable
from longshore.v1 import (
    container_pb2,
    job_control_service_pb2,
    job_definition_pb2,
    job_pb2,
    key_value_pb2,
    scheduler_service_pb2,
)
from longshore_cli import settings
from longshore_cli.main import main

NODES = job_definition_pb2.NodeProperties(
    num_nodes=3,
    main_node=1,
    node_range_properties=[
        job_definition_pb2.NodeRangeProperty(
            target_nodes=":",
            container=job_definition_pb2.ContainerProperties(
                image="busybox",
                command=["follow"],
                resource_requirements=[
                    container_pb2.ResourceRequirement(type="VCPU", value="2"),
                ],
            ),
            instance_types=["c6i.large"],
        )
    ],
)
JOB = job_pb2.JobDetail(job_id="j", job_name="mpi", status="RUNNING", node_properties=NODES)
NODE = job_pb2.JobDetail(
    job_id="j#1",
    job_name="mpi",
    status="RUNNING",
    node_details=job_pb2.NodeDetails(node_index=1, is_main_node=True),
    container=job_pb2.ContainerDetail(
        image="busybox",
        network_interfaces=[container_pb2.NetworkInterface(private_ipv4_address="10.0.0.1")],
    ),
)


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Iterator[Script]:
    """Answers of a service in a thread of its own: the command has its own event loop."""
    made = Script()
    made.on(
        "DescribeJobs",
        lambda request: job_pb2.DescribeJobsResponse(
            jobs=[job for job in (JOB, NODE) if job.job_id in request.jobs]
        ),
    )
    made.on("ListJobs", _list)
    made.on("ExplainJob", lambda _: scheduler_service_pb2.ExplainJobResponse())
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    server, addresses = asyncio.run_coroutine_threadsafe(start(made), loop).result(
        timeout=PATIENCE_SECONDS
    )
    monkeypatch.setattr(settings.settings, "_addresses", addresses)
    yield made
    asyncio.run_coroutine_threadsafe(server.stop(None), loop).result(timeout=PATIENCE_SECONDS)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(timeout=PATIENCE_SECONDS)
    loop.close()


def _list(request: job_pb2.ListJobsRequest) -> job_pb2.ListJobsResponse:
    wanted = request.multi_node_job_id == "j" and request.job_status == "RUNNING"
    found = [
        job_pb2.JobSummary(
            job_id=f"j#{index}",
            job_name="mpi",
            status="RUNNING",
            node_properties=job_pb2.NodePropertiesSummary(
                num_nodes=3, node_index=index, is_main_node=index == 1
            ),
        )
        for index in range(3)
    ]
    return job_pb2.ListJobsResponse(job_summary_list=found if wanted else [])


def _run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str
) -> str:
    monkeypatch.setattr(sys, "argv", ["longshore", *arguments])
    with pytest.raises(SystemExit) as left:
        main()
    assert not left.value.code
    return capsys.readouterr().out


def _lines(text: str) -> dict[str, str]:
    """What is known of one thing, by name."""
    split = (line.split("  ", 1) for line in text.splitlines())
    return {name: value.strip() for name, value in split}


@pytest.mark.usefixtures("script")
def test_a_multi_node_job_shows_what_its_ranges_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = _lines(_run(monkeypatch, capsys, "describe", "j"))
    assert shown["nodes"] == "3, the main node is 1"
    assert shown["nodes :"] == "busybox; follow; 2 vCPU; c6i.large"
    assert "image" not in shown


@pytest.mark.usefixtures("script")
def test_a_node_shows_which_one_it_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = _lines(_run(monkeypatch, capsys, "describe", "j#1"))
    assert (shown["job"], shown["node"]) == ("j#1", "1, the main node")
    assert (shown["image"], shown["address"]) == ("busybox", "10.0.0.1")


def test_a_job_shows_all_that_it_runs_with(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], script: Script
) -> None:
    job = job_pb2.JobDetail(
        job_id="j",
        status="RUNNING",
        parameters={"in": "a", "out": "b"},
        retry_strategy=job_definition_pb2.RetryStrategy(
            attempts=3,
            oom_memory_factor=1.5,
            oom_memory_max_mib=64,
            evaluate_on_exit=[
                job_definition_pb2.EvaluateOnExit(on_exit_code="137", action="RETRY"),
                job_definition_pb2.EvaluateOnExit(
                    on_reason="Cannot*", on_status_reason="Task*", action="exit"
                ),
            ],
        ),
        timeout=job_definition_pb2.JobTimeout(attempt_duration_seconds=60),
        container=job_pb2.ContainerDetail(
            image="busybox",
            vcpus=2,
            memory=16,
            resource_requirements=[
                container_pb2.ResourceRequirement(type="GPU", value="1"),
                container_pb2.ResourceRequirement(type="MEMORY", value="32"),
            ],
            environment=[key_value_pb2.KeyValuePair(name="MODE", value="fast")],
        ),
    )
    script.on("DescribeJobs", lambda _: job_pb2.DescribeJobsResponse(jobs=[job]))
    shown = _lines(_run(monkeypatch, capsys, "describe", "j"))
    assert (shown["environment"], shown["parameters"]) == ("MODE=fast", "in=a, out=b")
    assert (shown["attempts"], shown["timeout"]) == ("up to 3", "60 s for each attempt")
    assert shown["needs"] == "2 vCPU, 32 MiB, 1 GPU"
    assert shown["out of memory"] == "1.5 times the memory, at most 64 MiB"
    assert shown["retry"] == "where exit code is 137"
    assert shown["exit"] == "where reason is Cannot* and status reason is Task*"


REFUSED = "CannotStartContainerError: no such driver"
FAILED = job_pb2.JobDetail(
    job_id="j",
    status="FAILED",
    status_reason="Task failed to start",
    container=job_pb2.ContainerDetail(reason=REFUSED),
    attempts=[
        job_pb2.AttemptDetail(
            status_reason=reason, container=job_pb2.AttemptContainerDetail(reason=REFUSED)
        )
        for reason in ("Task failed to start", REFUSED)
    ],
)


def test_what_a_container_says_of_its_end_is_told_once_by_each_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], script: Script
) -> None:
    summary = job_pb2.JobSummary(
        job_id="j",
        status="FAILED",
        status_reason="Task failed to start",
        container=job_pb2.ContainerSummary(reason=REFUSED),
    )
    script.on("DescribeJobs", lambda _: job_pb2.DescribeJobsResponse(jobs=[FAILED]))
    script.on("ListJobs", lambda _: job_pb2.ListJobsResponse(job_summary_list=[summary]))
    shown = _lines(_run(monkeypatch, capsys, "describe", "j"))
    assert shown["attempt 1"] == f"no exit code; Task failed to start; {REFUSED}"
    assert shown["attempt 2"] == f"no exit code; {REFUSED}"
    monkeypatch.setenv("COLUMNS", "200")
    assert f"Task failed to start; {REFUSED}" in _run(monkeypatch, capsys, "jobs")
    monkeypatch.setattr(sys, "argv", ["longshore", "wait", "--quiet", "j"])
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code == 1
    told = f"longshore: Job j FAILED: Task failed to start; {REFUSED}\n"
    assert capsys.readouterr().err == told


def test_a_job_changes_to_a_part_of_a_vcpu(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], script: Script
) -> None:
    script.on("UpdateJob", lambda _: job_control_service_pb2.UpdateJobResponse())
    _run(monkeypatch, capsys, "update", "j", "--vcpus", "0.5")
    [asked] = script.sent("UpdateJob")
    assert [(need.type, need.value) for need in asked.resource_requirements] == [("VCPU", "0.5")]


def test_a_job_is_shown_though_nobody_explains_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], script: Script
) -> None:
    monkeypatch.setattr("longshore_cli.inspect_jobs.ASIDE_SECONDS", 0.2)
    script.on("ExplainJob", Unavailable("away"))
    assert _lines(_run(monkeypatch, capsys, "describe", "j#1"))["status"] == "RUNNING"


@pytest.mark.usefixtures("script")
def test_nodes_are_listed_by_their_job(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _, *rows = _run(monkeypatch, capsys, "jobs", "--nodes", "j").splitlines()
    assert [row.split()[0] for row in rows] == ["j#0", "j#1", "j#2"]
    assert [row.endswith("main node") for row in rows] == [False, True, False]
    found = json.loads(_run(monkeypatch, capsys, "jobs", "--nodes", "j", "--json"))
    assert found[1]["nodeProperties"] == {"isMainNode": True, "numNodes": 3, "nodeIndex": 1}


def test_a_multi_node_definition_is_registered_from_a_file_and_listed(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    script: Script,
    tmp_path: Path,
) -> None:
    script.on(
        "RegisterJobDefinition",
        lambda _: job_definition_pb2.RegisterJobDefinitionResponse(
            job_definition_name="n", revision=1
        ),
    )
    script.on(
        "DescribeJobDefinitions",
        lambda _: job_definition_pb2.DescribeJobDefinitionsResponse(
            job_definitions=[
                job_definition_pb2.JobDefinition(
                    job_definition_name="n",
                    revision=1,
                    status="ACTIVE",
                    type="multinode",
                    node_properties=NODES,
                )
            ]
        ),
    )
    written = {
        "numNodes": 2,
        "mainNode": 0,
        "nodeRangeProperties": [{"targetNodes": ":", "container": {"image": "busybox"}}],
    }
    file = tmp_path / "n.json"
    file.write_text(json.dumps({"type": "multinode", "nodeProperties": written}))
    told = _run(monkeypatch, capsys, "definition", "register", "n", "--file", str(file))
    assert told == "n:1\n"
    (request,) = script.sent("RegisterJobDefinition")
    assert (request.job_definition_name, request.node_properties.num_nodes) == ("n", 2)
    file.write_text(json.dumps({"jobDefinitionName": "m", "type": "multinode"}))
    for given in ((), ("n",)):
        _run(monkeypatch, capsys, "definition", "register", *given, "--file", str(file))
    _, *requests = script.sent("RegisterJobDefinition")
    assert [request.job_definition_name for request in requests] == ["m", "n"]
    listed = _run(monkeypatch, capsys, "definition", "list").splitlines()[1]
    assert listed.split() == ["n:1", "ACTIVE", "multinode", "busybox", "follow"]
