"""Each client does what its section of docs/clients.md says, and what was meant has happened.

A test is named after the client whose section it follows.
"""

import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from acceptance.stand import Stack
from clients.page import ROOT, User
from moto.server import ThreadedMotoServer
from support.scratch import scratch_directory


@pytest.fixture(scope="session")
def docker_stack() -> Iterator[Stack]:
    """For clients that need nothing but longshore."""
    with scratch_directory() as made:
        stack = Stack(made / "stack", runtime="docker")
        stack.up()
        yield stack
        stack.down()


@pytest.fixture
def user(request: pytest.FixtureRequest, docker_stack: Stack, tmp_path: Path) -> User:
    """Somebody who has one client, and has run what `longshore credentials` says."""
    name = _client(request)
    return User(name, docker_stack, tmp_path)


@pytest.fixture(scope="session")
def store() -> Iterator[str]:
    """The address of an object store, which gives out roles' credentials as well."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def user_with_store(request: pytest.FixtureRequest, store: str, tmp_path: Path) -> Iterator[User]:
    """Somebody whose jobs run the client as well, as processes, and share an object store."""
    name = _client(request)
    with scratch_directory() as made:
        settings = {
            "PATH": f"{ROOT}/.venv/clients/{name}/bin:{os.environ['PATH']}",
            # Snakemake asks for privileges.
            "LONGSHORE_PROCESS_LENIENT": "true",
            "LONGSHORE_JOB_ROLES": "sts",
            "LONGSHORE_STS_ENDPOINT_URL": store,
            "AWS_ACCESS_KEY_ID": "any",
            "AWS_SECRET_ACCESS_KEY": "any",
        }
        stack = Stack(made / "stack", runtime="process", settings=settings)
        stack.up()
        user = User(
            name, stack, tmp_path, {"AWS_ENDPOINT_URL_S3": store, "AWS_ENDPOINT_URL_STS": store}
        )
        with closing(user.boto3("s3", store)) as s3:
            s3.create_bucket(Bucket=name)
        yield user
        stack.down()


def _client(request: pytest.FixtureRequest) -> str:
    return str(request.node.name).removeprefix("test_").replace("_", "-")


def test_aws_cli(user: User) -> None:
    user.follow()
    (job,) = user.jobs("hello")
    assert job["status"] == "SUCCEEDED"


def test_luigi(user: User) -> None:
    user.follow()
    succeeded, failed = sorted(user.jobs("square"), key=lambda job: int(job["parameters"]["n"]))
    assert (succeeded["status"], failed["status"]) == ("SUCCEEDED", "FAILED")


def test_torchx(user: User) -> None:
    user.follow()
    cancelled, ran = sorted(user.jobs("nodes-*", "nodes"), key=lambda job: str(job["status"]))
    assert (cancelled["status"], ran["status"]) == ("FAILED", "SUCCEEDED")
    assert ran["nodeProperties"]["numNodes"] == 2


def test_prefect(user: User) -> None:
    # Its own server starts first, which takes longer than it allows where the machine is busy.
    user.more = {"PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "600"}
    user.follow()
    (job,) = user.jobs("from-prefect")
    assert job["status"] == "SUCCEEDED"
    assert job["arrayProperties"]["size"] == 2
    assert job["tags"] == {"flow": "squares"}


def test_airflow(user: User) -> None:
    user.follow()
    for name in ("plain", "deferred", "array"):
        (job,) = user.jobs(f"airflow-{name}")
        assert job["status"] == "SUCCEEDED"
    assert job["arrayProperties"]["size"] == 3


def test_metaflow(user_with_store: User) -> None:
    user_with_store.follow()
    jobs = user_with_store.jobs("me-Squares-*")
    assert [job["status"] for job in jobs] == ["SUCCEEDED"] * 3


def test_redun(user_with_store: User) -> None:
    user_with_store.follow()
    (array,) = [job for job in user_with_store.jobs("redun-job-*") if "arrayProperties" in job]
    assert array["status"] == "SUCCEEDED"
    assert array["arrayProperties"]["size"] == 3


def test_snakemake(user_with_store: User) -> None:
    user_with_store.follow()
    jobs = user_with_store.jobs("snakejob-*")
    assert [job["status"] for job in jobs] == ["SUCCEEDED"] * 3
