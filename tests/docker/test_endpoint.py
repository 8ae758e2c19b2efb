"""What jobs ask of their agent: credentials of their role and their metadata, from inside."""

import json
import sys
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from support.agent import Stand, a_part, until
from support.sts import REFUSAL, ROLE, agent_settings, refusing_sts, serving_moto

from longshore.agent.docker.engine import Engine, filters
from longshore.v1 import agent_service_pb2 as pb

pytestmark = [pytest.mark.asyncio(loop_scope="session")]

#: Prints an answer in a line; of what is refused, the status.
FETCH = 'fetch() { busybox wget -q -O - "$1" 2>&1 | sed "s/.*HTTP.1.1 //"; echo; }\n'
#: A container goes on once this is there.
GO = "/go"
CREDENTIALS = "http://169.254.170.2$AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"


@pytest.fixture(scope="module")
def sts() -> Iterator[str]:
    with serving_moto() as url:
        yield url


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def with_roles(
    engine: Engine, sts: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Stand]:
    stand = Stand(tmp_path_factory.mktemp("roles"), "docker", **agent_settings(sts))
    await stand.open()
    yield stand
    await stand.close()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def processes_with_roles(
    sts: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Stand]:
    stand = Stand(tmp_path_factory.mktemp("roles"), "process", **agent_settings(sts))
    await stand.open()
    yield stand
    await stand.close()


async def answers(stand: Stand, script: str, **attempt: Any) -> list[Any]:
    """What a script printed, each line as JSON where it is some."""
    printed = await stand.shell(FETCH + script, **attempt)
    return [_parsed(line) for line in printed.splitlines() if line]


def _parsed(line: str) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        return line


@pytest.mark.docker
async def test_a_job_finds_the_credentials_of_its_role(with_roles: Stand) -> None:
    [found] = await answers(with_roles, f'fetch "{CREDENTIALS}"', job_role_arn=ROLE)
    assert set(found) == {"RoleArn", "AccessKeyId", "SecretAccessKey", "Token", "Expiration"}
    assert found["RoleArn"] == ROLE
    assert found["AccessKeyId"].startswith("ASIA")
    left = datetime.fromisoformat(found["Expiration"]) - datetime.now(UTC)
    assert timedelta(minutes=50) < left <= timedelta(minutes=61)


@pytest.mark.docker
async def test_without_a_role_there_are_no_credentials_and_no_word_of_any(
    with_roles: Stand,
) -> None:
    lines = await answers(
        with_roles,
        "env | grep -c AWS_CONTAINER; fetch http://169.254.170.2/v2/credentials/; "
        "fetch http://169.254.170.2/v2/credentials/3f2504e0-4f89-41d3-9a0c-0305e82c3301",
    )
    assert lines == [0, "400 Bad Request", "400 Bad Request"]


@pytest.mark.docker
async def test_an_id_dies_with_its_attempt(with_roles: Stand) -> None:
    printed = await with_roles.shell(
        "echo $AWS_CONTAINER_CREDENTIALS_RELATIVE_URI; echo $ECS_CONTAINER_METADATA_URI_V4",
        job_role_arn=ROLE,
    )
    credentials, metadata = printed.split()
    lines = await answers(
        with_roles,
        f"fetch http://169.254.170.2{credentials}; fetch {metadata}; fetch {metadata}/task",
    )
    assert lines == ["400 Bad Request", "404 Not Found", "404 Not Found"]


@pytest.mark.docker
async def test_each_attempt_has_a_session_of_its_own(with_roles: Stand) -> None:
    script = f'fetch "{CREDENTIALS}"; fetch "{CREDENTIALS}"'
    first, again = await answers(with_roles, script, job_role_arn=ROLE)
    [other] = await answers(with_roles, f'fetch "{CREDENTIALS}"', job_role_arn=ROLE)
    assert first == again
    assert first["AccessKeyId"] != other["AccessKeyId"]


@pytest.mark.docker
async def test_a_role_that_cannot_be_assumed_fails_the_start_in_the_issuer_s_words(
    engine: Engine, tmp_path: Path
) -> None:
    async with refusing_sts() as url:
        stand = Stand(tmp_path, "docker", **agent_settings(url))
        try:
            await stand.open()
            end = await stand.run(stand.an_attempt("true", job_role_arn=ROLE))
        finally:
            await stand.close()
    assert end.status_reason == "Task failed to start"
    assert end.reason == f"CannotAssumeRole: AccessDenied: {REFUSAL}"
    assert not end.HasField("start_time")


@pytest.mark.docker
async def test_where_no_roles_are_assumed_a_job_with_one_fails_and_says_so(
    containers: Stand,
) -> None:
    end = await containers.run(containers.an_attempt("true", job_role_arn=ROLE))
    assert end.status_reason == "Task failed to start"
    assert end.reason == (
        "CannotAssumeRole: jobRoleArn has no effect here, as this agent assumes no roles: set "
        "LONGSHORE_JOB_ROLES=sts, or register a job definition without jobRoleArn"
    )


@pytest.mark.docker
async def test_containers_that_run_go_on_asking_a_new_agent(
    engine: Engine, sts: str, tmp_path: Path
) -> None:
    stand = Stand(tmp_path, "docker", **agent_settings(sts))
    try:
        await stand.open()
        script = (
            FETCH + f'fetch "{CREDENTIALS}"; while [ ! -e {GO} ]; do sleep 0.1; done; '
            f'for i in 1 2 3 4 5 6 7 8 9; do wget -q -O - "{CREDENTIALS}" && break; sleep 1; done; '
            "echo; fetch $ECS_CONTAINER_METADATA_URI_V4/task"
        )
        assignment = stand.an_attempt("sh", "-c", script, job_role_arn=ROLE)
        await stand.scheduler.assign(assignment)
        await until(lambda: stand.entries_so_far(assignment))
        assert stand.agent is not None
        await stand.agent.kill()
        await stand.start_agent()
        await touch(engine, stand, GO)
        end = await stand.scheduler.ended(assignment)
        output = await stand.output(assignment)
        assert end.exit_code == 0, output
        before, after, task = [json.loads(line) for line in output.splitlines() if line]
        assert before["RoleArn"] == after["RoleArn"] == ROLE
        assert task["TaskARN"].endswith(assignment.attempt_id)
    finally:
        await stand.close()


@pytest.mark.docker
@pytest.mark.parametrize("again", [False, True])
async def test_a_sandbox_that_comes_back_has_the_endpoint(
    engine: Engine, sts: str, tmp_path: Path, again: bool
) -> None:
    """As another container, or as the same one with another network namespace."""
    stand = Stand(tmp_path, "docker", **agent_settings(sts))
    sandbox = engine.docker.containers.container(f"longshore-{stand.instance_id}-sandbox")
    try:
        await stand.open()
        for last in (False, True):
            [found] = await answers(stand, f'fetch "{CREDENTIALS}"', job_role_arn=ROLE)
            assert found["RoleArn"] == ROLE
            if not last:
                await engine.call(sandbox.restart(t=0) if again else sandbox.kill(), 30)
    finally:
        await stand.close()


async def touch(engine: Engine, stand: Stand, path: str) -> None:
    label = f"longshore.instance={stand.instance_id}"
    listed = await engine.call(
        engine.docker.containers.list(filters=filters(label=[label, "longshore.attempt"])), 30
    )
    execute = await engine.call(listed[0].exec(["touch", path]), 30)
    await engine.call(execute.start(detach=True), 30)


@pytest.mark.docker
async def test_a_job_learns_what_it_is(containers: Stand) -> None:
    assignment = containers.an_attempt(
        "sh",
        "-c",
        FETCH + "for path in '' /task /taskWithTags; do "
        "fetch $ECS_CONTAINER_METADATA_URI_V4$path; done",
    )
    assignment.tags.update({"team": "a"})
    assignment.compute_environment_uuid = "6d6f2b32-0000-4000-8000-000000000001"
    container, task, tagged = await documents(containers, assignment)
    cluster = "arn:aws:ecs:us-east-1:123456789012:cluster/ce_Batch_" + (
        assignment.compute_environment_uuid
    )
    task_arn = cluster.replace(":cluster/", ":task/") + f"/{assignment.attempt_id}"
    assert container["Name"] == "default"
    assert container["DockerName"].endswith(f"{assignment.key.job_id}-1")
    assert len(container["DockerId"]) == 64
    assert container["Image"] == "busybox:latest"
    assert container["ImageID"].startswith("sha256:")
    assert container["Limits"] == {"CPU": 512, "Memory": 64}
    assert container["KnownStatus"] == "RUNNING"
    assert container["StartedAt"] >= container["CreatedAt"]
    assert container["LogDriver"] == "awslogs"
    assert container["LogOptions"] == {
        "awslogs-group": "/aws/batch/job",
        "awslogs-region": "us-east-1",
        "awslogs-stream": assignment.log_stream_name,
    }
    labels = container["Labels"]
    assert labels["com.amazonaws.ecs.cluster"] == cluster
    assert labels["com.amazonaws.ecs.task-arn"] == task_arn
    assert labels["com.amazonaws.ecs.task-definition-family"] == "definition"
    assert labels["com.amazonaws.ecs.task-definition-version"] == "3"
    [network] = container["Networks"]
    assert network["NetworkMode"] == "awsvpc"
    [address] = network["IPv4Addresses"]
    assert address.startswith("172.")
    assert (task["Cluster"], task["TaskARN"]) == (cluster, task_arn)
    assert (task["Family"], task["Revision"]) == ("definition", "3")
    assert task["Limits"] == {"CPU": 0.5, "Memory": 64}
    assert task["Containers"] == [container]
    assert tagged == {**task, "TaskTags": {"team": "a"}}
    assert labels["longshore.tag.team"] == "a"


async def documents(stand: Stand, assignment: pb.Assignment) -> list[Any]:
    end = await stand.run(assignment)
    output = await stand.output(assignment)
    assert end.exit_code == 0, output
    return [json.loads(line) for line in output.splitlines() if line]


@pytest.mark.docker
async def test_a_job_learns_what_it_uses(containers: Stand) -> None:
    script = (
        "fetch $ECS_CONTAINER_METADATA_URI_V4/stats; "
        "fetch $ECS_CONTAINER_METADATA_URI_V4/task/stats; fetch $ECS_CONTAINER_METADATA_URI_V4"
    )
    alone, of_all, container = await answers(containers, script)
    assert alone["memory_stats"]["limit"] == 64 * 1024 * 1024
    assert alone["cpu_stats"]["cpu_usage"]["total_usage"] > 0
    assert list(of_all) == [container["DockerId"]]
    assert of_all[container["DockerId"]]["memory_stats"]["limit"] == 64 * 1024 * 1024


async def test_a_process_finds_the_credentials_of_its_role(
    processes_with_roles: Stand, sts: str
) -> None:
    printed = await processes_with_roles.printed(
        sys.executable,
        "-c",
        "import boto3, json, os;"
        "s = boto3.Session(region_name='us-east-1');"
        "c = s.get_credentials();"
        f"sts = s.client('sts', endpoint_url={sts!r});"
        "print(json.dumps([c.method, c.get_frozen_credentials().access_key,"
        " sts.get_caller_identity()['Arn'], dict(os.environ)]))",
        job_role_arn=ROLE,
    )
    method, key, arn, environment = json.loads(printed)
    assert method == "container-role"
    assert key.startswith("ASIA")
    assert arn.startswith("arn:aws:sts::123456789012:assumed-role/job/")
    assert not {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"} & environment.keys()
    assert environment["AWS_CONTAINER_CREDENTIALS_FULL_URI"].startswith("http://127.0.0.1:")
    assert (
        environment["AWS_SHARED_CREDENTIALS_FILE"] == environment["AWS_CONFIG_FILE"] == "/dev/null"
    )


async def test_on_loopback_an_id_alone_is_not_enough(processes_with_roles: Stand) -> None:
    lines = await answers(
        processes_with_roles,
        "fetch $AWS_CONTAINER_CREDENTIALS_FULL_URI; "
        'wget -q -O - --header "Authorization: $AWS_CONTAINER_AUTHORIZATION_TOKEN" '
        "$AWS_CONTAINER_CREDENTIALS_FULL_URI",
        job_role_arn=ROLE,
    )
    assert lines[0] == "400 Bad Request"
    assert lines[1]["RoleArn"] == ROLE


async def test_processes_that_run_go_on_asking_a_new_agent(sts: str, tmp_path: Path) -> None:
    stand = Stand(tmp_path, "process", **agent_settings(sts))
    go = tmp_path / "go"
    ask = (
        'busybox wget -q -O - --header "Authorization: $AWS_CONTAINER_AUTHORIZATION_TOKEN" '
        "$AWS_CONTAINER_CREDENTIALS_FULL_URI"
    )
    script = (
        f"{ask}; echo; while [ ! -e {go} ]; do sleep 0.1; done; "
        f"for i in 1 2 3 4 5 6 7 8 9; do {ask} && break; sleep 1; done"
    )
    try:
        await stand.open()
        assignment = stand.an_attempt("sh", "-c", script, job_role_arn=ROLE)
        await stand.scheduler.assign(assignment)
        await until(lambda: stand.entries_so_far(assignment))
        assert stand.agent is not None
        await stand.agent.kill()
        await stand.start_agent()
        go.touch()
        assert (await stand.scheduler.ended(assignment)).exit_code == 0
        output = await stand.output(assignment)
        assert [json.loads(line)["RoleArn"] for line in output.splitlines()] == [ROLE, ROLE]
    finally:
        await stand.close()


async def test_a_process_learns_what_it_is(processes: Stand) -> None:
    script = (
        "fetch $ECS_CONTAINER_METADATA_URI_V4; fetch $ECS_CONTAINER_METADATA_URI_V4/task; "
        "fetch $ECS_CONTAINER_METADATA_URI_V4/stats"
    )
    container, task, statistics = await answers(processes, script)
    assert container["Name"] == "default"
    assert container["Networks"][0]["NetworkMode"] == "host"
    assert task["Containers"][0]["DockerId"] == container["DockerId"]
    assert statistics == "500 Internal Server Error"


@pytest.mark.docker
async def test_a_network_without_a_way_to_the_endpoint_fails_a_job_with_a_role(
    engine: Engine, sts: str, tmp_path: Path
) -> None:
    stand = Stand(tmp_path, "docker", LONGSHORE_NETWORK="bridge", **agent_settings(sts))
    try:
        await stand.open()
        end = await stand.run(stand.an_attempt("true", job_role_arn=ROLE))
        assert end.reason.startswith("CannotAssumeRole: containers on this network do not reach")
        assert "ECS_CONTAINER_" not in await stand.printed("env")
    finally:
        await stand.close()


@pytest.mark.docker
async def test_a_container_on_the_machine_s_network_asks_on_loopback(
    engine: Engine, sts: str, tmp_path: Path
) -> None:
    stand = Stand(tmp_path, "docker", LONGSHORE_NETWORK="host", **agent_settings(sts))
    try:
        await stand.open()
        script = (
            'wget -q -O - --header "Authorization: $AWS_CONTAINER_AUTHORIZATION_TOKEN" '
            "$AWS_CONTAINER_CREDENTIALS_FULL_URI"
        )
        [found] = await answers(stand, script, job_role_arn=ROLE)
        assert found["RoleArn"] == ROLE
    finally:
        await stand.close()


async def credentials_of_each(stand: Stand, fetch: str) -> list[Any]:
    """What each of two containers of a task with a role is given, the second one's turn late."""
    assignment = stand.several(
        a_part("main", fetch, ("beside", "SUCCESS")),
        a_part("beside", fetch, essential=False),
        task_role_arn=ROLE,
    )
    end = await stand.run(assignment)
    printed = [await stand.output_of(assignment, name) for name in ("main", "beside")]
    assert end.exit_code == 0, (end, printed)
    return [json.loads(text) for text in printed]


@pytest.mark.docker
async def test_each_of_several_containers_finds_the_credentials_of_the_task_s_role(
    with_roles: Stand,
) -> None:
    for found in await credentials_of_each(with_roles, f'wget -q -O - "{CREDENTIALS}"'):
        assert found["RoleArn"] == ROLE
        assert found["AccessKeyId"].startswith("ASIA")


async def test_each_of_several_processes_finds_the_credentials_of_the_task_s_role(
    processes_with_roles: Stand,
) -> None:
    fetch = (
        'busybox wget -q -O - --header "Authorization: $AWS_CONTAINER_AUTHORIZATION_TOKEN" '
        "$AWS_CONTAINER_CREDENTIALS_FULL_URI"
    )
    for found in await credentials_of_each(processes_with_roles, fetch):
        assert found["RoleArn"] == ROLE


@pytest.mark.docker
async def test_a_role_that_cannot_be_assumed_fails_each_of_several_containers(
    containers: Stand,
) -> None:
    assignment = containers.several(
        a_part("main", "true"), a_part("beside", "true", essential=False), task_role_arn=ROLE
    )
    end = await containers.run(assignment)
    assert end.status_reason == "Task failed to start"
    assert end.reason.startswith("CannotAssumeRole: ")
    assert not any(one.HasField("start_time") for one in end.containers)


@pytest.mark.docker
async def test_an_id_of_one_of_several_containers_dies_with_the_job(with_roles: Stand) -> None:
    """Not earlier than that container, and with the others at the latest."""
    show = "echo $AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"
    assignment = with_roles.several(
        a_part("main", show), a_part("beside", show, essential=False), task_role_arn=ROLE
    )
    assert (await with_roles.run(assignment)).exit_code == 0
    shown = [await with_roles.output_of(assignment, name) for name in ("main", "beside")]
    for path in filter(None, shown):
        lines = await answers(with_roles, f"fetch http://169.254.170.2{path.strip()}")
        assert lines == ["400 Bad Request"]
