"""Secrets from the command to the container, and in no record on the way."""

import subprocess

import pytest
from acceptance.aws import Aws
from acceptance.stand import RUNTIME, Stack

VALUE = "hush-b83d10c4"
#: Says whether the variable is there, without printing it.
LOOK = f'test "$SECRET" = {VALUE[:4]}"{VALUE[4:]}" && echo found'


def test_a_job_has_its_secret_and_no_record_has_the_value(aws: Aws, stack: Stack) -> None:
    subprocess.run(
        [stack.command, "secret", "set", "team/token"],
        input=f"{VALUE}\n".encode(),
        env=stack.environ,
        check=True,
    )
    named = [{"name": "SECRET", "valueFrom": "longshore:secret:team/token"}]
    job_id = aws.run("secret", LOOK, secrets=named)
    job = aws.end(job_id)
    assert (job["status"], aws.output(job_id)) == ("SUCCEEDED", "found\n"), job
    assert job["container"]["secrets"] == named
    assert VALUE not in str(job)
    holders = [
        path
        for path in stack.data_dir.rglob("*")
        if path.is_file() and VALUE.encode() in path.read_bytes()
    ]
    assert holders == []


def test_a_job_without_its_secret_fails_with_a_reason(aws: Aws) -> None:
    missing = [{"name": "SECRET", "valueFrom": "longshore:secret:none"}]
    job = aws.end(aws.run("no-secret", "true", secrets=missing))
    assert (job["status"], job["statusReason"]) == ("FAILED", job["container"]["reason"])
    assert job["statusReason"].startswith(
        "ResourceInitializationError: unable to pull secrets or registry auth: "
        "SECRET (longshore:secret:none): "
    )


@pytest.mark.skipif(RUNTIME != "docker", reason="processes have no image")
def test_the_login_for_an_image_is_the_job_s(aws: Aws) -> None:
    login = {"credentialsParameter": "longshore:secret:no-login"}
    image = "127.0.0.1:1/private:1"
    job = aws.end(aws.run("no-login", "true", image=image, repositoryCredentials=login))
    assert job["container"]["repositoryCredentials"] == login
    assert job["container"]["reason"].startswith(
        "ResourceInitializationError: unable to pull secrets or registry auth: "
        "repositoryCredentials (longshore:secret:no-login): "
    )
