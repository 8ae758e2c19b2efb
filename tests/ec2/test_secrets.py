"""Secrets of AWS's stores, on moto's server: versions, keys, faults, and what is said of them."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from support.ec2 import FaultProxy

from longshore.agent.attempts.attempt import Attempt, AttemptKey, StepFailed
from longshore.agent.secret.file import SecretsFile
from longshore.agent.secret.reading import Secrets
from longshore.agent.secret.sources import open_sources
from longshore.runtime import aws
from longshore.runtime.aws import Api, open_api
from longshore.v1 import agent_service_pb2 as pb
from longshore.v1 import job_definition_pb2

REGION = "eu-central-1"


@pytest.fixture
def endpoint(proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch) -> str:
    """As on a machine whose environment says where AWS is."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
    return proxy.url


@pytest.fixture
async def manager(endpoint: str) -> AsyncIterator[Api]:
    async with open_api("secretsmanager", region=REGION) as api:
        yield api


@pytest.fixture
async def parameters(endpoint: str) -> AsyncIterator[Api]:
    async with open_api("ssm", region=REGION) as api:
        yield api


@pytest.fixture
def secrets(endpoint: str, tmp_path: Path) -> Secrets:
    """Of a machine in another region than the secrets that are named by ARN."""
    return Secrets(open_sources(SecretsFile(tmp_path / "s", tmp_path / "k"), "us-west-2"))


async def _read(secrets: Secrets, value_from: str) -> str:
    key = AttemptKey("job", 1)
    container = job_definition_pb2.ContainerProperties(
        secrets=[{"name": "A", "value_from": value_from}]
    )
    attempt = Attempt(key, pb.Assignment(key=key.message(), container=container))
    await secrets.fetch(attempt)
    assert attempt.secrets is not None
    return attempt.secrets.environment["A"]


async def _why(secrets: Secrets, value_from: str) -> str:
    with pytest.raises(StepFailed) as caught:
        await _read(secrets, value_from)
    start = "ResourceInitializationError: unable to pull secrets or registry auth: A ("
    assert caught.value.reason.startswith(start)
    return caught.value.reason.removeprefix(start)


async def test_a_secret_by_key_stage_and_version(manager: Api, secrets: Secrets) -> None:
    made = await manager.call("create_secret", Name="db", SecretString='{"user": "u", "word": "1"}')
    arn, first = made["ARN"], made["VersionId"]
    assert await _read(secrets, arn) == '{"user": "u", "word": "1"}'
    await manager.call("put_secret_value", SecretId=arn, SecretString='{"user": "u", "word": "2"}')
    assert await _read(secrets, f"{arn}:word::") == "2"
    assert await _read(secrets, f"{arn}:word:AWSPREVIOUS:") == "1"
    assert await _read(secrets, f"{arn}:word::{first}") == "1"
    assert await _read(secrets, f"{arn}::AWSCURRENT:") == '{"user": "u", "word": "2"}'
    assert "did not contain json key 'none'" in await _why(secrets, f"{arn}:none::")


async def test_parameters_by_name_arn_and_version(parameters: Api, secrets: Secrets) -> None:
    for value in ("1", "2"):
        await parameters.call(
            "put_parameter", Name="/team/db", Value=value, Type="SecureString", Overwrite=True
        )
    arn = f"arn:aws:ssm:{REGION}:123456789012:parameter/team/db"
    assert await _read(secrets, arn) == "2"
    assert await _read(secrets, f"{arn}:1") == "1"
    near = Secrets(open_sources(SecretsFile(Path("s"), Path("k")), REGION))
    assert await _read(near, "/team/db") == "2"
    # A bare name is one of the machine's own region.
    reason = await _why(secrets, "/team/db")
    assert reason == "/team/db): invalid parameters: there is no such parameter or version"


async def test_a_login_of_a_registry(manager: Api, secrets: Secrets) -> None:
    made = await manager.call(
        "create_secret", Name="registry", SecretString='{"username": "u", "password": "p"}'
    )
    assert await secrets.login(made["ARN"]) == ("u", "p")


async def test_what_aws_refuses_is_said_at_once_in_its_words(
    proxy: FaultProxy, manager: Api, secrets: Secrets
) -> None:
    arn = f"arn:aws:secretsmanager:{REGION}:123456789012:secret:none-AbCdEf"
    reason = await _why(secrets, arn)
    assert reason.startswith(f"{arn}): ResourceNotFoundException: Secrets Manager can't find the")
    assert proxy.count("GetSecretValue") == 1
    made = await manager.call("create_secret", Name="binary", SecretBinary=b"\0")
    assert "the secret is binary" in await _why(secrets, made["ARN"])


async def test_what_passes_is_waited_for_within_bounds(
    proxy: FaultProxy, manager: Api, secrets: Secrets
) -> None:
    arn = (await manager.call("create_secret", Name="a", SecretString="hush"))["ARN"]
    proxy.throttled["GetSecretValue"] = 2
    proxy.broken["GetSecretValue"] = 1
    proxy.unanswered["GetSecretValue"] = 1
    assert await _read(secrets, arn) == "hush"
    assert proxy.count("GetSecretValue") == aws.TRIES
    proxy.broken["GetSecretValue"] = 100
    assert "500" in await _why(secrets, arn)
    assert proxy.count("GetSecretValue") == 2 * aws.TRIES


async def test_a_machine_without_credentials_says_so_at_once(
    proxy: FaultProxy, secrets: Secrets, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    aws._session.cache_clear()
    try:
        reason = await _why(secrets, "/a")
    finally:
        aws._session.cache_clear()
    assert reason == "/a): get_parameters: Unable to locate credentials"
    assert proxy.count("GetParameters") == 0
