"""Secrets of an attempt: read by key, once for all who ask at one time, and never told."""

import asyncio
from collections import Counter
from typing import Any

import pytest

from longshore.agent.attempts.attempt import (
    Attempt,
    AttemptKey,
    Exit,
    SecretValues,
    StepFailed,
    now,
)
from longshore.agent.docker.container import ContainerLimits, Surroundings, container_config
from longshore.agent.secret.reading import Secrets
from longshore.domain.errors import NotFound
from longshore.domain.secret import SecretReference, Store
from longshore.v1 import agent_service_pb2 as pb
from longshore.v1 import job_definition_pb2

OWN = "longshore:secret:"


class _Source:
    """A store in memory."""

    def __init__(self, **values: str) -> None:
        self.values = values
        self.reads: Counter[str] = Counter()
        self.open = asyncio.Event()
        self.open.set()

    async def read(self, reference: SecretReference) -> str:
        self.reads[reference.secret_id] += 1
        await self.open.wait()
        if reference.secret_id not in self.values:
            raise NotFound(f"there is no secret {reference.secret_id}")
        return self.values[reference.secret_id]


def _secrets(source: _Source) -> Secrets:
    return Secrets(dict.fromkeys(Store, source))


def _attempt(driver: str = "", **secrets: str) -> Attempt:
    log: dict[str, Any] = {"log_driver": driver} if driver else {}
    options = {name: secrets.pop(name) for name in list(secrets) if name.startswith("o_")}
    log["secret_options"] = [{"name": n, "value_from": v} for n, v in options.items()]
    key = AttemptKey("job", 1)
    container = job_definition_pb2.ContainerProperties(
        image="busybox",
        environment=[{"name": "B", "value": "plain"}],
        secrets=[{"name": name, "value_from": value} for name, value in secrets.items()],
        log_configuration=log,
    )
    return Attempt(key, pb.Assignment(key=key.message(), container=container))


async def _why(secrets: Secrets, attempt: Attempt) -> str:
    with pytest.raises(StepFailed) as caught:
        await secrets.fetch(attempt)
    assert attempt.secrets is None
    return caught.value.reason


def _config(attempt: Attempt) -> dict[str, Any]:
    assert attempt.secrets is not None
    return container_config(
        attempt.assignment,
        instance_id="i-1",
        compute_environment="ce",
        surroundings=Surroundings("none"),
        gpu_ids=[],
        limits=ContainerLimits(pids=100, log_file_mib=1, log_files=2, spool_mib=1),
        variables={},
        secrets=attempt.secrets,
    )


async def test_values_become_variables_and_driver_options() -> None:
    secrets = _secrets(_Source(a="hush-a", t="hush-t", j='{"user": "u", "n": 1.5, "o": {"x": []}}'))
    attempt = _attempt(
        "splunk",
        A=f"{OWN}a",
        B="a",
        U=f"{OWN}j:user",
        N=f"{OWN}j:n",
        O=f"{OWN}j:o",
        AWS_BATCH_JOB_ID="a",
        o_token=f"{OWN}t",
    )
    assert not secrets.ready(attempt)
    await secrets.fetch(attempt)
    assert secrets.ready(attempt)
    config = _config(attempt)
    variables = dict(text.split("=", 1) for text in config["Env"])
    assert variables["A"] == variables["B"] == "hush-a"
    assert (variables["U"], variables["N"], variables["O"]) == ("u", "1.5", '{"x": []}')
    assert variables["AWS_BATCH_JOB_ID"] == "job"
    assert config["HostConfig"]["LogConfig"]["Config"] == {"o_token": "hush-t"}
    assert "hush" not in str(config["Labels"])
    assert "hush" not in repr(attempt)
    assert "hush" not in str(attempt.assignment)


async def test_options_of_a_driver_that_takes_none_are_not_read() -> None:
    source = _Source(a="hush")
    for driver in ("", "awslogs"):
        assert _secrets(source).ready(_attempt(driver, o_token=f"{OWN}a"))
    assert not source.reads


async def test_attempts_that_start_together_share_a_read_and_later_ones_do_not() -> None:
    source = _Source(a="1")
    secrets = _secrets(source)
    source.open.clear()
    attempts = [_attempt(A=f"{OWN}a") for _ in range(100)]
    fetches = [asyncio.create_task(secrets.fetch(attempt)) for attempt in attempts]
    await asyncio.sleep(0)
    # One that is stopped takes the value from nobody else.
    fetches[0].cancel()
    source.open.set()
    await asyncio.gather(*fetches, return_exceptions=True)
    assert source.reads == {"a": 1}
    assert [attempt.secrets is not None for attempt in attempts] == [False] + [True] * 99
    source.values["a"] = "2"
    late = _attempt(A=f"{OWN}a")
    await secrets.fetch(late)
    assert late.secrets is not None
    assert late.secrets.environment == {"A": "2"}


async def test_a_failure_names_the_secret_and_never_a_value() -> None:
    secrets = _secrets(
        _Source(
            text="hush",
            json='{"key": "hush"}',
            nul="hush\0",
            half='{"key": "hush\\ud800"}',
            deep="[" * 99_999,
        )
    )
    start = "ResourceInitializationError: unable to pull secrets or registry auth: "
    for value_from, words in (
        (f"{OWN}none", f"A ({OWN}none): there is no secret none"),
        (f"{OWN}text:key", f"A ({OWN}text:key): it is no JSON object, so it has no key 'key'"),
        (f"{OWN}json:other", "retrieved secret did not contain json key 'other'"),
        (f"{OWN}nul", f"A ({OWN}nul): it has a character that no variable can have"),
        (f"{OWN}half:key", "it has a character that no variable can have"),
        (f"{OWN}deep:key", "it is no JSON object"),
        ("no such place", "A (no such place): A is 'no such place'; it must be"),
    ):
        reason = await _why(secrets, _attempt(A=value_from, B=f"{OWN}text"))
        assert reason.startswith(start)
        assert words in reason
        assert "hush" not in reason


async def test_a_long_reference_leaves_room_for_the_reason() -> None:
    arn = f"arn:aws:secretsmanager:eu-west-1:123456789012:secret:{'x' * 300}-AbCdEf"
    reason = await _why(_secrets(_Source()), _attempt(A=arn))
    assert "x-AbCdEf): there is no secret arn:aws" in reason
    assert len(reason) <= 255


@pytest.mark.parametrize(
    "text", ["", "x", "[]", '{"username": "u"}', '{"username":1,"password":2}']
)
async def test_a_login_is_an_object_with_user_and_password(text: str) -> None:
    secrets = _secrets(_Source(good='{"username": "u", "password": "hush"}', bad=text))
    assert await secrets.login("good") == ("u", "hush")
    with pytest.raises(StepFailed) as caught:
        await secrets.login("bad")
    assert caught.value.reason == (
        "ResourceInitializationError: unable to pull secrets or registry auth: "
        "repositoryCredentials (bad): it must be a JSON object with username and password"
    )


async def test_values_are_let_go_when_the_start_is_over() -> None:
    secrets = _secrets(_Source(a="hush"))
    for over in (
        lambda attempt: attempt.started(now()),
        lambda attempt: attempt.ended(Exit(None, now()), "Task failed to start"),
    ):
        attempt = _attempt(A=f"{OWN}a")
        await secrets.fetch(attempt)
        over(attempt)
        assert attempt.secrets is None


def test_values_are_hidden_in_the_words_of_others() -> None:
    values = SecretValues({"A": "hush", "B": "hush-hush", "C": "1"}, {"D": ""})
    assert values.hide("bad option 1: hush-hush, hush") == "bad option 1: ***, ***"
    assert "hush" not in repr(values)
    key = SecretValues({"KEY": '--begin "key"--\nhush\nend\n'})
    assert key.hide(r'invalid size: "--begin \"key\"--\nhush\nend\n"') == 'invalid size: "***"'
    assert key.hide("line 2: hush") == "line 2: ***"
