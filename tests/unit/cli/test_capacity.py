"""How capacity is shown."""

import asyncio
import io
import json
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from rich.console import Console

from longshore.v1 import scaler_service_pb2
from longshore_cli import capacity, console
from longshore_client import Client, Unavailable


def _environment(**members: Any) -> scaler_service_pb2.EnvironmentCapacity:
    usual: dict[str, Any] = {
        "compute_environment": "lab",
        "type": "MANAGED",
        "resource_type": "EC2",
        "state": "ENABLED",
        "status": "VALID",
        "desired_vcpus": 6,
        "max_vcpus": 8,
        "busy": scaler_service_pb2.InstanceSum(instances=2, vcpus=4),
        "idle": scaler_service_pb2.InstanceSum(),
        "booting": scaler_service_pb2.InstanceSum(instances=1, vcpus=0.25),
        "draining": scaler_service_pb2.InstanceSum(),
        "held_vcpus": 3.5,
        "runnable_jobs": 12_000,
        "cost_per_hour": 0.255,
        "last_activity": scaler_service_pb2.ScalingActivity(
            activity_id=1,
            time=Timestamp(seconds=1_700_000_000),
            desired_vcpus=6,
            ordered=3,
            reason="Twelve jobs wait.",
        ),
    }
    return scaler_service_pb2.EnvironmentCapacity(**usual | members)


def test_table_and_last_decision(capsys: pytest.CaptureFixture[str]) -> None:
    capacity.show([_environment()], json=False)
    first, second = capsys.readouterr().out.split("\n\n")
    assert first.splitlines()[1].split() == [
        *("lab", "ENABLED", "VALID", "0/6/8", "2", "(4)", "0", "1", "(0.25)", "0"),
        *("3.5", "12,000", "0.2550"),
    ]
    assert second.splitlines()[1].endswith("6      3        0           Twelve jobs wait.")


def test_without_a_decision_and_out_of_order(capsys: pytest.CaptureFixture[str]) -> None:
    capacity.show(
        [
            _environment(
                type="UNMANAGED", max_vcpus=0, last_activity=None, status="INVALID",
                status_reason="CLIENT_ERROR - why",
            )
        ],
        json=False,
    )  # fmt: skip
    out = capsys.readouterr().out
    assert "LAST DECISION" not in out
    assert "0/6" not in out
    assert "lab is INVALID: CLIENT_ERROR - why" in out


def test_what_ails_instances_is_said_in_sentences(capsys: pytest.CaptureFixture[str]) -> None:
    remark = "Instance i-1 takes no jobs: its disk is full (/data has 3 MiB free)."
    capacity.show([_environment(remarks=[remark])], json=False)
    assert capsys.readouterr().out.endswith(f"\n\nlab: {remark}\n")


def test_json_has_zeros_and_times(capsys: pytest.CaptureFixture[str]) -> None:
    capacity.show([_environment(runnable_jobs=0)], json=True)
    [found] = json.loads(capsys.readouterr().out)
    assert found["runnableJobs"] == found["minVcpus"] == 0
    assert found["idle"] == {"instances": 0, "vcpus": 0}
    assert found["lastActivity"]["time"] == "2023-11-14T22:13:20Z"
    assert "orderId" in found["lastActivity"]


class _Scripted(Client):
    """Answers from a list; the errors in it are raised. Ends as Ctrl-C does."""

    def __init__(
        self, *answers: list[scaler_service_pb2.EnvironmentCapacity] | Unavailable
    ) -> None:
        self._answers = list(answers)

    async def describe_capacity(
        self, environments: object = ()
    ) -> list[scaler_service_pb2.EnvironmentCapacity]:
        del environments
        if not self._answers:
            raise asyncio.CancelledError
        answer = self._answers.pop(0)
        if isinstance(answer, Unavailable):
            raise answer
        return answer


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capacity, "WATCH_SECONDS", 0)


async def test_watch_prints_what_is_new(capsys: pytest.CaptureFixture[str]) -> None:
    away = Unavailable("the scaler is away")
    client = _Scripted([_environment()], [_environment()], away, [_environment(max_vcpus=9)])
    with pytest.raises(asyncio.CancelledError):
        await capacity.watch_plain(client, [], json=True)
    printed = capsys.readouterr()
    assert [json.loads(line)[0]["maxVcpus"] for line in printed.out.splitlines()] == [8, 9]
    assert "the scaler is away" in printed.err


async def test_watch_gives_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capacity, "WATCH_FAILURES", 2)
    away = Unavailable("the scaler is away")
    for watch in (
        lambda client: capacity.watch_plain(client, [], json=True),
        lambda client: capacity.watch_live(client, []),
    ):
        with pytest.raises(Unavailable):
            await watch(_Scripted(away))
        with pytest.raises(Unavailable):
            await watch(_Scripted([_environment()], away, away))


async def test_watch_on_a_terminal_stays_in_place(monkeypatch: pytest.MonkeyPatch) -> None:
    output = io.StringIO()
    terminal = Console(file=output, force_terminal=True, width=160, color_system=None)
    monkeypatch.setattr(console, "out", lambda: terminal)
    away = Unavailable("the scaler is away")
    with pytest.raises(asyncio.CancelledError):
        await capacity.watch_live(_Scripted([_environment()], away), [])
    assert "Twelve jobs wait." in output.getvalue()
    assert "not current: the scaler is away" in output.getvalue()
    assert "\x1b[1A" in output.getvalue(), "the cursor goes back up"
