"""The commands about jobs: submit, look, wait, stop."""

import json
import uuid

import pytest
from acceptance.stand import RUNTIME, Stack, eventually

IMAGE = "busybox:latest"


@pytest.fixture(scope="module")
def hello(stack: Stack) -> str:
    """A definition that greets Ref::who."""
    command = ("--", "echo", "hello", "Ref::who")
    options = ("--image", IMAGE, "--memory", "64", "--parameter", "who=you")
    return stack.call(
        "definition", "register", "hello", *options, *command, check=True
    ).stdout.strip()


@pytest.fixture(scope="module")
def sleeper(stack: Stack) -> str:
    """A definition that does not end by itself, but at once when asked to."""
    script = "trap 'exit 143' TERM; while :; do sleep 0.1; done"
    options = ("--image", IMAGE, "--memory", "64")
    registered = stack.call(
        "definition", "register", "sleeper", *options, "--", "sh", "-c", script, check=True
    )
    return registered.stdout.strip()


def _submit(stack: Stack, *arguments: str) -> str:
    return stack.call("submit", *arguments, check=True).stdout.strip()


def _printed(stack: Stack, *arguments: str) -> list[str]:
    return stack.call(*arguments).stdout.splitlines()


def test_submit_prints_the_id_alone(stack: Stack, hello: str) -> None:
    job_id = _submit(stack, "greeting", "-d", hello)
    assert str(uuid.UUID(job_id)) == job_id


def test_what_services_and_agents_say_of_themselves(stack: Stack, hello: str) -> None:
    """Without a shell on the machine: a service's file, and the agent's log by the log service."""
    job_id = _submit(stack, "greeting", "-d", hello)
    assert stack.call("wait", "--timeout", "100", job_id).returncode == 0
    said = stack.call("logs", "--service", "scheduler", "--since", "1h", check=True).stdout
    assert "agent.registered" in said
    unknown = stack.call("logs", "--service", "no-such")
    assert (unknown.returncode, "scheduler" in unknown.stderr) == (4, True)
    (instance, *_) = stack.json("instances")
    agent = instance["instanceId"]
    lines = eventually(
        lambda: _printed(stack, "logs", "--agent", agent, "--json"),
        "the agent's own log is there",
    )
    assert "agent.started" in [json.loads(line)["event"] for line in lines]
    assert stack.call("logs", "--agent", agent, job_id).returncode == 2
    assert stack.call("logs", "--engine", agent).returncode == 4
    if RUNTIME == "docker":
        took = [one["starts"] for one in stack.json("image", "list") if one["image"] == IMAGE]
        assert sum(took) >= 1


def test_wait_then_describe_and_logs(stack: Stack, hello: str) -> None:
    job_id = _submit(stack, "greeting", "-d", hello, "--parameter", "who=me", "--tag", "team=a")
    assert stack.cli("wait", "--timeout", "100", job_id).returncode == 0
    (job,) = stack.json("describe", job_id)
    assert job["status"] == "SUCCEEDED"
    assert job["container"]["command"] == ["echo", "hello", "me"]
    assert job["tags"] == {"team": "a"}
    assert isinstance(job["createdAt"], int)
    assert stack.cli("logs", job_id, check=True).stdout == "hello me\n"
    assert "hello me" in stack.call("logs", "-t", job_id, check=True).stdout
    (line,) = stack.call("logs", "--json", job_id, check=True).stdout.splitlines()
    assert json.loads(line)["text"] == "hello me"
    shown = stack.cli("describe", job_id, check=True).stdout
    assert "exit code   0" in shown
    assert "attempt 1" in shown
    missing = stack.call("logs", "--attempt", "2", job_id)
    assert missing.returncode == 4
    assert "has no attempt 2" in missing.stderr


def test_wait_fails_with_a_failed_job(stack: Stack, hello: str) -> None:
    job_id = _submit(stack, "failing", "-d", hello, "--", "false")
    done = stack.call("wait", job_id)
    assert done.returncode == 1
    assert job_id in done.stderr


def test_wait_gives_up_in_time(stack: Stack, sleeper: str) -> None:
    job_id = _submit(stack, "long", "-d", sleeper)
    done = stack.cli("wait", "--timeout", "0.5", job_id)
    assert done.returncode == 5
    assert job_id in done.stderr
    stack.call("terminate", job_id, check=True)
    assert stack.call("wait", "--timeout", "100", job_id).returncode == 1


def test_logs_follow_until_the_end(stack: Stack, hello: str) -> None:
    script = "for n in 1 2 3; do echo $n; sleep 0.2; done"
    job_id = _submit(stack, "counting", "-d", hello, "--", "sh", "-c", script)
    assert stack.cli("logs", "-f", job_id, check=True).stdout == "1\n2\n3\n"
    assert stack.call("logs", "--tail", "1", job_id, check=True).stdout == "3\n"


def test_array_and_its_dependent(stack: Stack, hello: str) -> None:
    array = _submit(stack, "array", "-d", hello, "--array", "3")
    each = _submit(stack, "each", "-d", hello, "--array", "3", "--depends-on", f"{array},N_TO_N")
    after = _submit(stack, "after", "-d", hello, "--depends-on", f"jobId={each}")
    assert stack.call("wait", "--timeout", "100", array, each, after).returncode == 0
    children = stack.json("jobs", "--array", array)
    assert {child["jobId"] for child in children} == {f"{array}:{index}" for index in range(3)}
    assert stack.call("logs", f"{array}:1", check=True).stdout == "hello you\n"
    refused = stack.call("logs", array)
    assert refused.returncode == 2
    assert f"{array}:0" in refused.stderr


def test_jobs_lists_newest_first_in_every_status(stack: Stack, hello: str) -> None:
    first = _submit(stack, "listed", "-d", hello)
    second = _submit(stack, "listed", "-d", hello, "--", "false")
    stack.call("wait", first, second)
    found = stack.json("jobs", "--name", "listed")
    assert [(job["jobId"], job["status"]) for job in found] == [
        (second, "FAILED"),
        (first, "SUCCEEDED"),
    ]
    failed = stack.json("jobs", "--name", "listed", "--status", "failed")
    assert [job["jobId"] for job in failed] == [second]
    table = stack.cli("jobs", "--limit", "1", check=True).stdout.splitlines()
    assert table[0].split()[:3] == ["JOB", "NAME", "STATUS"]
    assert len(table) == 2


def test_cancel_takes_a_job_that_waits(stack: Stack, hello: str, sleeper: str) -> None:
    blocker = _submit(stack, "blocker", "-d", sleeper)
    # More than the machine has, so that it stays RUNNABLE behind the blocker at most.
    waiting = _submit(stack, "waiting", "-d", hello, "--depends-on", blocker)
    stack.cli("cancel", waiting, "--reason", "Not needed.", check=True)
    explained = stack.json("explain", waiting)
    assert explained["status"] in ("PENDING", "SUBMITTED", "FAILED")
    stack.call("terminate", blocker, "--reason", "Enough.", check=True)
    assert stack.call("wait", "--timeout", "100", blocker, waiting).returncode == 1
    (ended,) = stack.json("describe", blocker)
    assert ended["statusReason"] == "Enough."


def test_finished_jobs_are_left_alone(stack: Stack, hello: str) -> None:
    job_id = _submit(stack, "finished", "-d", hello)
    stack.call("wait", job_id, check=True)
    assert "SUCCEEDED already" in stack.call("terminate", job_id, check=True).stderr


def test_explain_says_why_a_job_cannot_run(stack: Stack, hello: str) -> None:
    job_id = _submit(stack, "huge", "-d", hello, "--memory", "9000000")
    (queued,) = stack.json("describe", job_id)
    assert queued["status"] in ("SUBMITTED", "PENDING", "RUNNABLE")
    assert stack.json("explain", job_id)["summary"]
    stack.call("cancel", job_id, check=True)
    assert stack.call("wait", "--timeout", "100", job_id).returncode == 1


def test_explain_says_why_a_job_failed(stack: Stack, hello: str) -> None:
    """How it ended, by attempt; and of one that waited, for which other job."""
    command = ("--", "sh", "-c", "exit 7")
    failing = _submit(stack, "failing", "-d", hello, "--attempts", "2", *command)
    after = _submit(stack, "after", "-d", hello, "--depends-on", failing)
    assert stack.call("wait", failing, after).returncode == 1
    told = stack.cli("explain", failing, check=True).stdout
    assert "attempt 1" in told
    assert "attempt 2" in told
    assert "exit code 7; Essential container in task exited" in told
    told = stack.call("explain", after, check=True).stdout
    assert "Dependent Job failed" in told
    assert failing in told


@pytest.mark.parametrize("job_id", [str(uuid.UUID(int=7)), "no-such-job"])
@pytest.mark.parametrize("command", ["describe", "logs", "wait", "cancel", "terminate", "explain"])
def test_unknown_job_is_told_in_a_sentence(stack: Stack, command: str, job_id: str) -> None:
    done = stack.call(command, job_id)
    assert done.returncode == 4, done.stderr
    assert f"There is no job {job_id}" in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("activities", "nowhere"),
        ("capacity", "nowhere"),
        ("instances", "--env", "nowhere"),
        ("cost", "--env", "nowhere"),
        ("cost", "--queue", "nowhere"),
        ("jobs", "--queue", "nowhere"),
        ("queue", "front", "nowhere"),
        ("definition", "list", "nowhere"),
        ("jobs", "--array", "nowhere"),
        ("jobs", "--nodes", "nowhere"),
        ("cost", "--job", "nowhere"),
        ("instance", "describe", "nowhere"),
        ("instance", "interrupt", "nowhere"),
        ("submit", "n", "--definition", "d", "--depends-on", "nowhere"),
    ],
)
def test_a_name_that_nothing_has_is_told_in_a_sentence(
    stack: Stack, arguments: tuple[str, ...]
) -> None:
    done = stack.call(*arguments)
    assert done.returncode == 4, done.stderr
    assert "nowhere" in done.stderr
    assert done.stdout == ""


def test_unknown_definition_is_told_in_a_sentence(stack: Stack) -> None:
    done = stack.cli("submit", "x", "-d", "no-such-definition")
    assert done.returncode in (2, 4)
    assert done.stderr.startswith("longshore: ")
    assert done.stdout == ""


def test_refused_member_is_named(stack: Stack, hello: str) -> None:
    done = stack.call("submit", "bad name!", "-d", hello)
    assert done.returncode == 2
    assert "jobName" in done.stderr or "job name" in done.stderr.lower()
