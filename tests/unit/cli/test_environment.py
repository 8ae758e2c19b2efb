"""What `env create` and `env update` ask for."""

import asyncio
import sys
import threading
from collections.abc import Iterator

import pytest
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from support.patience import PATIENCE_SECONDS
from unit.client.service import Script, start

from longshore.v1 import compute_environment_pb2, tag_pb2
from longshore_cli import settings
from longshore_cli.main import main

VALID = compute_environment_pb2.DescribeComputeEnvironmentsResponse(
    compute_environments=[
        compute_environment_pb2.ComputeEnvironmentDetail(
            compute_environment_name="lab", compute_environment_arn="arn:lab", status="VALID"
        )
    ]
)


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Iterator[Script]:
    """Answers of a service in a thread of its own: the command has its own event loop."""
    made = Script()
    made.on("CreateComputeEnvironment", lambda _: _created())
    made.on(
        "UpdateComputeEnvironment",
        lambda _: compute_environment_pb2.UpdateComputeEnvironmentResponse(),
    )
    made.on("TagResource", lambda _: tag_pb2.TagResourceResponse())
    made.on("UntagResource", lambda _: tag_pb2.UntagResourceResponse())
    made.on("DescribeComputeEnvironments", lambda _: VALID)
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


def _created() -> compute_environment_pb2.CreateComputeEnvironmentResponse:
    return compute_environment_pb2.CreateComputeEnvironmentResponse(
        compute_environment_arn="arn:lab"
    )


def _run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", ["longshore", "env", *arguments])
    with pytest.raises(SystemExit) as left:
        main()
    assert not left.value.code


def _asked(script: Script, method: str) -> dict[str, object]:
    [request] = script.sent(method)
    assert isinstance(request, Message)
    found: dict[str, object] = MessageToDict(request)
    return found


def test_spot(
    script: Script, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _run(
        monkeypatch,
        *("create", "lab", "--type", "spot", "--instance-type", "c6i", "--instance-type", "m6i"),
        *("--min-vcpus", "2", "--desired-vcpus", "4", "--max-vcpus", "8", "--bid-percentage", "50"),
        *("--scale-down-delay", "20", "--launch-template", "lt-0abc:7", "--subnet", "subnet-1"),
    )
    assert _asked(script, "CreateComputeEnvironment") == {
        "computeEnvironmentName": "lab",
        "type": "MANAGED",
        "state": "ENABLED",
        "computeResources": {
            "type": "SPOT",
            "allocationStrategy": "SPOT_PRICE_CAPACITY_OPTIMIZED",
            "minvCpus": 2,
            "desiredvCpus": 4,
            "maxvCpus": 8,
            "instanceTypes": ["c6i", "m6i"],
            "bidPercentage": 50,
            "scalingPolicy": {"minScaleDownDelayMinutes": 20},
            "launchTemplate": {"launchTemplateId": "lt-0abc", "version": "7"},
            "subnets": ["subnet-1"],
            "securityGroupIds": ["sg-local"],
            "instanceRole": "local",
        },
    }
    assert capsys.readouterr().out == "arn:lab\n"


def test_fargate_says_nothing_of_instances(script: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    _run(monkeypatch, "create", "lab", "--type", "FARGATE_SPOT", "--max-vcpus", "4")
    asked = _asked(script, "CreateComputeEnvironment")
    assert asked["computeResources"] == {
        "type": "FARGATE_SPOT",
        "maxvCpus": 4,
        "subnets": ["subnet-local"],
        "securityGroupIds": ["sg-local"],
    }


def test_unmanaged(script: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    _run(monkeypatch, "create", "lab", "--type", "UNMANAGED", "--unmanaged-vcpus", "12")
    asked = _asked(script, "CreateComputeEnvironment")
    assert (asked["type"], asked["unmanagedvCpus"]) == ("UNMANAGED", 12)
    assert "computeResources" not in asked


def test_update_asks_for_what_is_given_alone(
    script: Script, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _run(monkeypatch, "update", "lab", "--scale-down-delay", "0", "--let-jobs-finish")
    assert _asked(script, "UpdateComputeEnvironment") == {
        "computeEnvironment": "lab",
        "computeResources": {"scalingPolicy": {"minScaleDownDelayMinutes": 0}},
        "updatePolicy": {"terminateJobsOnUpdate": False},
    }
    assert "lab is updated" in capsys.readouterr().err


def test_update_of_the_state_alone(script: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    _run(monkeypatch, "update", "lab", "--state", "DISABLED")
    assert _asked(script, "UpdateComputeEnvironment") == {
        "computeEnvironment": "lab",
        "state": "DISABLED",
    }


def test_update_that_replaces_instances_says_where_to_look(
    script: Script, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    updating = compute_environment_pb2.DescribeComputeEnvironmentsResponse()
    updating.CopyFrom(VALID)
    updating.compute_environments[0].status = "UPDATING"
    script.on("DescribeComputeEnvironments", lambda _: updating)
    _run(monkeypatch, "update", "lab", "--type", "spot", "--job-timeout-minutes", "5")
    assert _asked(script, "UpdateComputeEnvironment") == {
        "computeEnvironment": "lab",
        "computeResources": {"type": "SPOT"},
        "updatePolicy": {"jobExecutionTimeoutMinutes": "5"},
    }
    assert "longshore capacity lab --watch" in capsys.readouterr().err


LOST_AFTER = "longshore:lost-after-seconds"


def test_the_silence_that_is_borne_is_a_tag(
    script: Script, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Set when the environment is made, changed later, and taken back."""
    _run(monkeypatch, "create", "lab", "--type", "UNMANAGED", "--lost-after", "60")
    assert _asked(script, "CreateComputeEnvironment")["tags"] == {LOST_AFTER: "60"}
    _run(monkeypatch, "update", "lab", "--lost-after", "90")
    assert _asked(script, "TagResource") == {"resourceArn": "arn:lab", "tags": {LOST_AFTER: "90"}}
    assert "lab is updated" in capsys.readouterr().err
    _run(monkeypatch, "update", "lab", "--lost-after", "0")
    assert _asked(script, "UntagResource") == {"resourceArn": "arn:lab", "tagKeys": [LOST_AFTER]}
    # Nothing else was to change.
    assert script.sent("UpdateComputeEnvironment") == []


def test_the_silence_that_is_borne_and_something_else(
    script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    _run(monkeypatch, "update", "lab", "--lost-after", "90", "--state", "DISABLED")
    assert len(script.sent("TagResource")) == 1
    assert _asked(script, "UpdateComputeEnvironment") == {
        "computeEnvironment": "lab",
        "state": "DISABLED",
    }


def test_the_silence_of_an_unknown_environment(
    script: Script, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    nothing = compute_environment_pb2.DescribeComputeEnvironmentsResponse()
    script.on("DescribeComputeEnvironments", lambda _: nothing)
    monkeypatch.setattr(sys, "argv", ["longshore", "env", "update", "lab", "--lost-after", "90"])
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code
    assert "There is no compute environment lab" in capsys.readouterr().err
