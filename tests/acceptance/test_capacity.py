"""Capacity as a user sees it: it comes with jobs, goes without them, and says why."""

import signal
import subprocess
from datetime import datetime
from typing import Any

import pytest
from acceptance.aws import Aws, Gate, Json
from acceptance.conftest import IDLE_SECONDS, INTERVAL_SECONDS
from acceptance.stand import LONGSHORE, eventually
from support.patience import PATIENCE_SECONDS

from longshore_cli import exit_code

#: What a busy machine may add to a bound; who knew nothing of ours would wait for a minute.
SLACK_SECONDS = 30
TYPE, OTHER_TYPE = "c6i.large", "m6i.large"
PRICE = 0.085
TERMINATED = "Host EC2 (instance {}) terminated."
_HOLD = "trap 'exit 143' TERM; while :; do sleep 0.2; done"


def _environment(user: Aws, name: str, *options: str) -> str:
    """A compute environment and a queue of one name."""
    user.stack.call("env", "create", name, *options, check=True)
    user.stack.call("queue", "create", name, "--env", name, check=True)
    return name


def _capacity(user: Aws, name: str) -> Json:
    [found] = user.stack.json("capacity", name)
    return dict(found)


def _instances(user: Aws, name: str) -> list[Json]:
    """All on record, in the order in which they were ordered."""
    found: list[Json] = user.stack.json("instances", "--env", name, "--all")
    return sorted(found, key=lambda item: (item["orderTime"], item["instanceId"]))


def _at(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def _placed(user: Aws, job_id: str) -> list[str]:
    """The instances of a job's attempts."""
    return [item["instanceId"] for item in user.stack.json("explain", job_id)["attempts"]]


def _until_zero(user: Aws, name: str) -> None:
    def is_zero() -> bool:
        found = _capacity(user, name)
        return not any(found[k]["instances"] for k in ("busy", "idle", "booting", "draining"))

    eventually(is_zero, f"{name} has no instances")


def test_capacity_grows_from_zero_and_shrinks_to_zero(user: Aws, gate: Gate) -> None:
    name = _environment(
        user,
        *("grow", "--instance-type", TYPE, "--max-vcpus", "6"),
        *("--strategy", "BEST_FIT_PROGRESSIVE"),
    )
    before = _capacity(user, name)
    assert (before["desiredVcpus"], before["maxVcpus"], before["costPerHour"]) == (0, 6, 0)
    assert _instances(user, name) == []

    definition = user.register("grow", "sh", "-c", gate.script(), **gate.volumes)
    array = user.submit("grow", definition, queue=name, arrayProperties={"size": 7})
    busy: Json = eventually(
        lambda: (found := _capacity(user, name))["heldVcpus"] == 6 and found, "six run", 60
    )
    assert busy["busy"] == {"instances": 3, "vcpus": 6}
    assert (busy["desiredVcpus"], busy["runnableJobs"]) == (6, 1)
    assert busy["costPerHour"] == pytest.approx(3 * PRICE)
    table = user.stack.call("capacity", name, check=True).stdout
    assert "3 (6)" in table
    assert busy["lastActivity"]["reason"] in table
    ordered = user.stack.json("activities", name)[-1]
    assert (ordered["ordered"], ordered["desiredVcpus"]) == (3, 6)
    assert TYPE in ordered["reason"]
    assert {
        (i["status"], i["instanceType"], i["liveAttempts"]) for i in _instances(user, name)
    } == {("READY", TYPE, 2)}

    gate.open()
    assert user.end(array)["status"] == "SUCCEEDED"
    stopped = max(child["stoppedAt"] for child in user.children(array, 7)) / 1000
    _until_zero(user, name)
    gone = _instances(user, name)
    assert {item["status"] for item in gone} == {"TERMINATED"}
    assert len(gone) == 3
    last = max(_at(item["drainTime"]) for item in gone)
    assert IDLE_SECONDS <= last - stopped <= IDLE_SECONDS + INTERVAL_SECONDS + SLACK_SECONDS
    assert sum(item["terminated"] for item in user.stack.json("activities", name)) == 3

    cost = user.stack.json("cost", "--env", name, "--queue", name, "--job", array)
    [whole], [queue] = cost["computeEnvironments"], cost["jobQueues"]
    jobs = sum(job["cost"] for job in cost["jobs"])
    assert whole["name"] == queue["name"] == name
    assert 0 < jobs == pytest.approx(queue["cost"])
    assert queue["cost"] < whole["cost"]
    assert whole["cost"] == pytest.approx(sum(item["cost"] for item in gone))
    [child] = _placed(user, f"{array}:0")
    shown = user.stack.call("describe", f"{array}:0", check=True).stdout
    assert f"{child} ({TYPE}, {name})" in shown
    assert "USD so far" in shown


def test_an_interrupted_instance_hands_its_jobs_on(user: Aws) -> None:
    """As a spot notice: SIGTERM in time, the attempts' reason, and a try elsewhere if wanted."""
    name = _environment(user, "interrupted", "--instance-type", TYPE, "--max-vcpus", "4")
    script = f'[ "$AWS_BATCH_JOB_ATTEMPT" = 2 ] && exit 0; {_HOLD}'
    definition = user.register("interrupted", "sh", "-c", script)
    again = user.submit("again", definition, queue=name, retryStrategy={"attempts": 2})
    once = user.submit("once", definition, queue=name)
    for job_id in (again, once):
        user.until(job_id, "RUNNING")
    [instance] = {*_placed(user, again), *_placed(user, once)}
    told = user.stack.call("instance", "interrupt", instance, "--notice", "10", check=True)
    assert f"instance {instance} ends at" in told.stderr
    refused = user.stack.call("instance", "interrupt", instance)
    assert refused.returncode == exit_code.USAGE
    assert refused.stderr.count("\n") == 1

    ended = user.end(again)
    assert ended["status"] == "SUCCEEDED"
    first, second = ended["attempts"]
    assert first["statusReason"] == TERMINATED.format(instance)
    assert second["container"]["exitCode"] == 0
    one, other = _placed(user, again)
    assert (one, other != one) == (instance, True)
    failed = user.end(once)
    assert (failed["status"], failed["statusReason"]) == ("FAILED", TERMINATED.format(instance))
    gone = eventually(
        lambda: (
            (i := user.stack.json("instance", "describe", instance))["status"] == "TERMINATED" and i
        ),
        "the interrupted instance is gone",
    )
    assert _at(gone["endTime"]) >= _at(gone["drainTime"])


def _fargate_definition(user: Aws, name: str, *command: str) -> str:
    answer = user.client.register_job_definition(
        jobDefinitionName=name,
        type="container",
        platformCapabilities=["FARGATE"],
        containerProperties={
            "image": "busybox:latest",
            "command": list(command),
            "executionRoleArn": "arn:aws:iam::123456789012:role/execution",
            "resourceRequirements": [
                {"type": "VCPU", "value": "0.25"},
                {"type": "MEMORY", "value": "512"},
            ],
        },
    )
    return f"{name}:{answer['revision']}"


def test_a_fargate_job_has_a_slot_of_its_own(user: Aws) -> None:
    """Of exactly its size, and gone with it; one vCPU is the bound, so there are four at a time."""
    name = _environment(user, "fargate", "--type", "FARGATE", "--max-vcpus", "1")
    definition = _fargate_definition(user, "fargate", "sleep", "1")
    jobs = [user.submit(f"fargate-{n}", definition, queue=name) for n in range(5)]
    assert {user.end(job_id)["status"] for job_id in jobs} == {"SUCCEEDED"}
    slots = [slot for job_id in jobs for slot in _placed(user, job_id)]
    assert len(set(slots)) == 5
    _until_zero(user, name)
    gone = _instances(user, name)
    assert {item["instanceId"] for item in gone} == set(slots)
    assert {item["instanceType"] for item in gone} == {"fargate.0.25x512"}
    assert {(item["vcpus"], item["memoryMib"]) for item in gone} == {(0.25, 512)}
    assert all(item["cost"] > 0 for item in gone)
    for item in gone:
        there = [o for o in gone if o["orderTime"] <= item["orderTime"] < o["endTime"]]
        assert len(there) <= 4


def test_an_infrastructure_update_waits_for_jobs(user: Aws, gate: Gate) -> None:
    """New instances beside the old; the old one goes when its job has ended."""
    name = _environment(
        user,
        *("patient", "--instance-type", TYPE, "--max-vcpus", "4"),
        *("--strategy", "BEST_FIT_PROGRESSIVE"),
    )
    held = user.run("held", gate.script(), queue=name, **gate.volumes)
    user.until(held, "RUNNING")
    user.stack.call("env", "update", name, "--instance-type", OTHER_TYPE, check=True)
    eventually(lambda: _instances(user, name)[0]["status"] == "DRAINING", "the old one drains")
    later = user.run("later", "true", queue=name)
    assert user.end(later)["status"] == "SUCCEEDED"
    assert user.job(held)["status"] == "RUNNING"
    assert _capacity(user, name)["status"] == "UPDATING"
    gate.open()
    assert user.end(held)["status"] == "SUCCEEDED"
    eventually(lambda: _capacity(user, name)["status"] == "VALID", "the update is over")
    types = {item["instanceId"]: item["instanceType"] for item in _instances(user, name)}
    assert types[_placed(user, held)[0]] == TYPE
    assert types[_placed(user, later)[0]] == OTHER_TYPE


def test_an_infrastructure_update_may_end_jobs(user: Aws) -> None:
    name = _environment(
        user,
        *("impatient", "--instance-type", TYPE, "--max-vcpus", "4"),
        *("--strategy", "BEST_FIT_PROGRESSIVE"),
    )
    script = f'[ "$AWS_BATCH_JOB_ATTEMPT" = 2 ] && exit 0; {_HOLD}'
    job_id = user.run("ended", script, queue=name, retryStrategy={"attempts": 2})
    user.until(job_id, "RUNNING")
    [old] = _placed(user, job_id)
    told = user.stack.call(
        *("env", "update", name, "--instance-type", OTHER_TYPE, "--terminate-jobs"), check=True
    )
    assert f"longshore capacity {name} --watch" in told.stderr
    ended = user.end(job_id)
    assert ended["status"] == "SUCCEEDED"
    assert ended["attempts"][0]["statusReason"] == TERMINATED.format(old)
    eventually(lambda: _capacity(user, name)["status"] == "VALID", "the update is over")
    assert [item["instanceType"] for item in _instances(user, name)] == [TYPE, OTHER_TYPE]


def test_capacity_is_watched_until_interrupted(user: Aws) -> None:
    with subprocess.Popen(
        [LONGSHORE, "capacity", "default", "--watch"],
        env=user.stack.environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as watching:
        assert watching.stdout is not None
        header, row = watching.stdout.readline(), watching.stdout.readline()
        watching.send_signal(signal.SIGINT)
        _, told = watching.communicate(timeout=PATIENCE_SECONDS)
    assert header.startswith("COMPUTE ENVIRONMENT")
    assert row.startswith("default ")
    assert watching.returncode == exit_code.INTERRUPTED
    assert "Traceback" not in told


@pytest.mark.parametrize(
    "arguments",
    [
        ("capacity", "nowhere"),
        ("instance", "describe", "i-00000000000000000"),
        ("instance", "interrupt", "i-00000000000000000"),
    ],
)
def test_what_is_not_there_is_told(user: Aws, arguments: tuple[str, ...]) -> None:
    done = user.stack.call(*arguments)
    assert done.returncode == exit_code.NOT_FOUND
    assert done.stderr.count("\n") == 1
    assert "`longshore " in done.stderr


def test_every_listing_is_json_for_programs(user: Aws) -> None:
    commands: list[tuple[str, ...]] = [("capacity",), ("instances",), ("activities",), ("cost",)]
    found: dict[str, Any] = {command[0]: user.stack.json(*command) for command in commands}
    assert "default" in [item["computeEnvironment"] for item in found["capacity"]]
    assert set(found["cost"]) == {"computeEnvironments", "jobQueues", "jobs"}
    assert all(item["reason"] for item in found["activities"])
