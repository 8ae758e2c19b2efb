"""Secrets in real containers and processes: there when it starts, and nowhere else."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs
from support.agent import Stand, a_part
from support.ports import free_port

from longshore.agent.attempts.attempt import AttemptKey
from longshore.agent.docker.container import container_name
from longshore.agent.docker.engine import Engine
from longshore.v1 import container_pb2, key_value_pb2

pytestmark = [pytest.mark.asyncio(loop_scope="session")]

VALUE = "hush-7f3a91"
#: A value that is no secret: it is in the agent's journal, and no more than that one in its log.
PLAIN = "plain-52c0e6"
ARN = "arn:aws:secretsmanager:us-east-1:123456789012:secret:slow-AbCdEf"
#: Says whether the variable is there, without printing it.
LOOK = f'test "$SECRET" = {VALUE[:4]}"-7f3a91" && echo found; sleep "${{1:-0}}"'


def _secret(value_from: str, name: str = "SECRET") -> container_pb2.Secret:
    return container_pb2.Secret(name=name, value_from=value_from)


def _files_with_the_value(directory: Path) -> list[Path]:
    """What the agent and the log service wrote, where the value stands in it."""
    return [
        path
        for path in directory.rglob("*")
        if path.is_file() and VALUE.encode() in path.read_bytes()
    ]


@pytest.fixture(params=["containers", "processes"])
def stand(request: pytest.FixtureRequest) -> Stand:
    stand: Stand = request.getfixturevalue(request.param)
    stand.secrets.set("token", VALUE)
    stand.secrets.set("object", f'{{"key": "{VALUE}"}}')
    return stand


BOTH = [pytest.param("containers", marks=pytest.mark.docker), "processes"]


@pytest.mark.parametrize("stand", BOTH, indirect=True)
async def test_a_value_is_in_the_environment_and_in_no_file_or_report(stand: Stand) -> None:
    for place in ("longshore:secret:token", "longshore:secret:object:key"):
        plain = key_value_pb2.KeyValuePair(name="PLAIN", value=PLAIN)
        attempt = stand.an_attempt("sh", "-c", LOOK, secrets=[_secret(place)], environment=[plain])
        with capture_logs() as said:
            end = await stand.run(attempt)
        assert not [entry for entry in said if VALUE in str(entry) or PLAIN in str(entry)]
        assert (end.exit_code, await stand.output(attempt)) == (0, "found\n")
        assert VALUE not in str(stand.scheduler.changes)
    assert _files_with_the_value(stand.directory) == []


@pytest.mark.parametrize("stand", BOTH, indirect=True)
async def test_a_secret_that_is_not_there_fails_the_start_by_name(stand: Stand) -> None:
    attempt = stand.an_attempt("true", secrets=[_secret("longshore:secret:none", "DB")])
    end = await stand.run(attempt)
    assert end.status_reason == end.reason
    assert end.reason.startswith(
        "ResourceInitializationError: unable to pull secrets or registry auth: "
        "DB (longshore:secret:none): "
    )
    assert "has no secret none" in end.reason or len(end.reason) == 255
    assert not end.HasField("exit_code")


@pytest.mark.docker
async def test_the_engine_has_a_value_in_the_environment_and_in_no_label(
    containers: Stand, engine: Engine
) -> None:
    """As on ECS, who may use the engine may see it there."""
    containers.secrets.set("token", VALUE)
    attempt = containers.an_attempt(
        "sleep", "60", secrets=[_secret("longshore:secret:token")], stop_seconds=0
    )
    await containers.scheduler.assign(attempt)
    await containers.scheduler.running(attempt)
    name = container_name(containers.instance_id, AttemptKey.of(attempt.key))
    shown = await engine.call(engine.docker.containers.container(name).show(), 30)
    assert f"SECRET={VALUE}" in shown["Config"].pop("Env")
    assert VALUE not in str(shown)
    await containers.scheduler.stop(attempt)
    await containers.scheduler.ended(attempt)


@pytest.mark.docker
async def test_a_value_in_the_engine_s_words_is_hidden(containers: Stand) -> None:
    containers.secrets.set("token", VALUE)
    log = container_pb2.LogConfiguration(
        log_driver="json-file", secret_options=[_secret("longshore:secret:token", "max-size")]
    )
    end = await containers.run(containers.an_attempt("true", log_configuration=log))
    assert end.reason.startswith(("CannotCreateContainerError", "CannotStartContainerError"))
    assert "***" in end.reason
    assert VALUE not in end.reason


@pytest.fixture
def silent_url() -> Iterator[str]:
    """A server that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


async def test_a_start_that_waits_for_its_secret_can_be_stopped_and_outlives_its_agent(
    own_processes: Stand, silent_url: str
) -> None:
    stand = own_processes
    stand.environment |= {
        "AWS_ENDPOINT_URL": silent_url,
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
    }
    await stand.open()
    stopped, kept = (stand.an_attempt("true", secrets=[_secret(ARN)]) for _ in range(2))
    await stand.scheduler.assign(stopped, kept)
    await stand.scheduler.stop(stopped, "enough")
    end = await stand.scheduler.ended(stopped)
    assert (end.status_reason, end.HasField("exit_code")) == ("enough", False)
    assert stand.agent is not None
    await stand.agent.kill()
    stand.environment["AWS_ENDPOINT_URL"] = f"http://127.0.0.1:{free_port()}"
    await stand.start_agent()
    end = await stand.scheduler.ended(kept)
    assert end.reason.startswith("ResourceInitializationError")
    assert f"SECRET ({ARN}): get_secret_value: Could not connect" in end.reason


@pytest.mark.parametrize("stand", BOTH, indirect=True)
async def test_each_of_several_containers_has_its_own_secrets(stand: Stand) -> None:
    """And none of another's; also one whose turn comes late."""
    stand.secrets.set("other", "another-value")
    look = 'test "$SECRET" = another-"value" && test -z "$ODD" && echo found'
    assignment = stand.several(
        a_part("main", LOOK, ("beside", "SUCCESS"), secrets=[_secret("longshore:secret:token")]),
        a_part("beside", look, essential=False, secrets=[_secret("longshore:secret:other")]),
        a_part("odd", "env", essential=False, secrets=[_secret("longshore:secret:other", "ODD")]),
        a_part("bare", 'test -z "$SECRET$ODD" && echo bare', ("main", "START"), essential=False),
    )
    assignment.task.containers[0].depends_on.add(container_name="odd", condition="COMPLETE")
    end = await stand.run(assignment)
    assert end.exit_code == 0, end
    assert await stand.output_of(assignment, "main") == "found\n"
    assert await stand.output_of(assignment, "beside") == "found\n"
    printed = await stand.output_of(assignment, "odd")
    assert "ODD=another-value" in printed.splitlines()
    assert "SECRET=" not in printed
    assert VALUE not in str(stand.scheduler.changes)
    assert _files_with_the_value(stand.directory) == []


@pytest.mark.parametrize("stand", BOTH, indirect=True)
async def test_the_container_without_its_secret_is_named(stand: Stand) -> None:
    """It fails to start; as it is essential, the others that began are stopped."""
    assignment = stand.several(
        a_part("main", "sleep 300", stop_timeout=2, secrets=[_secret("longshore:secret:token")]),
        a_part("beside", "true", secrets=[_secret("longshore:secret:none", "DB")]),
    )
    end = await stand.run(assignment)
    [main, beside] = end.containers
    assert beside.reason.startswith(
        "ResourceInitializationError: unable to pull secrets or registry auth: "
        "DB (longshore:secret:none): "
    )
    assert not beside.HasField("start_time")
    assert not main.reason.startswith("ResourceInitializationError")
    assert end.reason == beside.reason
    assert not end.HasField("exit_code")


async def test_secrets_of_a_container_whose_turn_comes_after_its_agent_s_restart(
    own_processes: Stand, tmp_path: Path
) -> None:
    """They were in the memory of the agent that is gone; the next one reads them anew."""
    stand, go = own_processes, tmp_path / "go"
    stand.secrets.set("token", VALUE)
    await stand.open()
    assignment = stand.several(
        a_part("main", LOOK, ("wait", "SUCCESS"), secrets=[_secret("longshore:secret:token")]),
        a_part("wait", f"until [ -e {go} ]; do sleep 0.05; done", essential=False),
    )
    await stand.scheduler.assign(assignment)

    def waits() -> bool:
        last = stand.scheduler.last(assignment)
        return last is not None and any(one.HasField("start_time") for one in last.containers)

    await stand.scheduler.until(waits)
    assert stand.agent is not None
    await stand.agent.kill()
    await stand.start_agent()
    go.touch()
    end = await stand.scheduler.ended(assignment)
    assert (end.exit_code, await stand.output_of(assignment, "main")) == (0, "found\n")
