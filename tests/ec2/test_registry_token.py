"""Amazon ECR's authorization tokens, on moto's server: for whose images, how long, and faults."""

import asyncio
import base64
import json
import time
from pathlib import Path

import pytest
from support.ec2 import FaultProxy

from longshore.agent.attempts.attempt import StepFailed
from longshore.agent.docker.login import Logins
from longshore.agent.secret.reading import Secrets
from longshore.docker_login import NO_LOGIN, Login
from longshore.runtime import aws

ACTION = "GetAuthorizationToken"
IMAGE = "111122223333.dkr.ecr.eu-central-1.amazonaws.com/team/app:1"


@pytest.fixture
def logins(proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Logins:
    monkeypatch.setenv("AWS_ENDPOINT_URL_ECR", proxy.url)
    auths = {"auths": {IMAGE.partition("/")[0]: {"username": "by hand", "password": "p"}}}
    (tmp_path / "config.json").write_text(json.dumps(auths))
    return Logins(Secrets({}), tmp_path)


def _answer(password: str, seconds: float) -> str:
    token = base64.b64encode(f"AWS:{password}".encode()).decode()
    data = {"authorizationToken": token, "expiresAt": time.time() + seconds}
    return json.dumps({"authorizationData": [data]})


async def test_an_image_of_ecr_s_gets_a_token_of_its_registry(logins: Logins) -> None:
    """Before any login that somebody made by hand."""
    assert await logins.of_machine(IMAGE) == Login(
        "ECR's authorization token for 111122223333 in eu-central-1",
        "AWS",
        "111122223333-auth-token",
    )


@pytest.mark.parametrize(
    "host",
    [
        "111122223333.dkr.ecr-fips.us-gov-west-1.amazonaws.com",
        "111122223333.dkr.ecr.cn-north-1.amazonaws.com.cn",
        "111122223333.dkr-ecr.eu-west-1.on.aws",
    ],
)
async def test_other_names_of_ecr_s(logins: Logins, host: str) -> None:
    assert (await logins.of_machine(f"{host}/a")).user == "AWS"


@pytest.mark.parametrize(
    "image",
    [
        "public.ecr.aws/docker/library/busybox",
        "111122223333.dkr.ecr.eu-west-1.amazonaws.com.example/a",
        "x.111122223333.dkr.ecr.eu-west-1.amazonaws.com/a",
        "r.example/111122223333.dkr.ecr.eu-west-1.amazonaws.com/a",
    ],
)
async def test_no_other_registry_is_shown_a_token(
    logins: Logins, proxy: FaultProxy, image: str
) -> None:
    assert await logins.of_machine(image) == NO_LOGIN
    assert proxy.count(ACTION) == 0


async def _token(logins: Logins) -> str:
    return (await logins.of_machine(IMAGE)).password


async def test_a_token_is_kept_for_half_its_life_unless_it_is_refused(
    logins: Logins, proxy: FaultProxy
) -> None:
    proxy.answers[ACTION] = _answer("first", 43_200)
    found = await asyncio.gather(*(logins.of_machine(IMAGE) for _ in range(10)))
    assert {login.password for login in found} == {"first"}
    assert proxy.count(ACTION) == 1
    proxy.answers[ACTION] = _answer("second", 0.1)
    assert await _token(logins) == "first"
    logins.refused(found[0])
    assert await _token(logins) == "second"
    await asyncio.sleep(0.06)
    assert await _token(logins) == "second"
    assert proxy.count(ACTION) == 3


async def test_ecr_s_faults_pass_and_its_refusals_are_said(
    logins: Logins, proxy: FaultProxy
) -> None:
    proxy.throttled[ACTION] = proxy.broken[ACTION] = 1
    assert (await logins.of_machine(IMAGE)).user == "AWS"
    proxy.refused[ACTION] = ("AccessDeniedException", "You may not.")
    with pytest.raises(StepFailed) as caught:
        await logins.of_machine(IMAGE)
    assert caught.value.reason.startswith(
        "CannotPullECRContainerError: ECR gives no authorization token for 111122223333 in "
        "eu-central-1: "
    )


async def test_without_credentials_for_aws_a_login_by_hand_counts(
    logins: Logins, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    aws._session.cache_clear()
    try:
        assert (await logins.of_machine(IMAGE)).user == "by hand"
        (tmp_path / "config.json").unlink()
        assert await logins.of_machine(IMAGE) == Login("none, and none for AWS here")
    finally:
        aws._session.cache_clear()
