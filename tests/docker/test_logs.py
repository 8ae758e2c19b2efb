"""What attempts print is kept, whole and once, after the container is gone."""

import asyncio
import socket

import pytest
from support.agent import Stand

from longshore.v1 import container_pb2

pytestmark = [pytest.mark.asyncio(loop_scope="session")]


@pytest.fixture(params=[pytest.param("containers", marks=pytest.mark.docker), "processes"])
def stand(request: pytest.FixtureRequest) -> Stand:
    stand: Stand = request.getfixturevalue(request.param)
    return stand


async def test_both_outputs_are_told_apart(stand: Stand) -> None:
    assignment = stand.an_attempt("sh", "-c", "echo out; echo err >&2; printf end")
    await stand.run(assignment)
    entries = {
        (entry.source, entry.text, entry.partial) for entry in await stand.entries(assignment)
    }
    assert entries == {(1, b"out", False), (2, b"err", False), (1, b"end", True)}


async def test_each_attempt_has_its_own_log(stand: Stand) -> None:
    first = stand.an_attempt("echo", "one", attempt=1)
    second = stand.an_attempt("echo", "two", attempt=2, job_id=first.key.job_id)
    await stand.run(first)
    await stand.run(second)
    assert await stand.output(first) == "one\n"
    assert await stand.output(second) == "two\n"


async def test_long_lines_and_bytes_that_are_no_text(stand: Stand) -> None:
    script = r"head -c 100000 /dev/zero | tr '\0' x; echo; printf 'a\377\001b\r\n'; echo"
    assignment = stand.an_attempt("sh", "-c", script)
    await stand.run(assignment)
    entries = await stand.entries(assignment)
    *pieces, binary, empty = entries
    assert b"".join(entry.text for entry in pieces) == b"x" * 100_000
    assert [entry.partial for entry in pieces] == [True] * (len(pieces) - 1) + [False]
    assert max(len(entry.text) for entry in pieces) <= 16 * 1024
    # The engine's json-file driver puts U+FFFD in the place of what is not UTF-8.
    assert binary.text in (b"a\xff\x01b\r", "a\ufffd\x01b\r".encode())
    assert empty.text == b""


async def test_much_output_in_a_short_time(stand: Stand) -> None:
    assignment = stand.an_attempt("seq", "1", "100000")
    await stand.run(assignment)
    assert await stand.output(assignment) == "".join(f"{n}\n" for n in range(1, 100_001))


async def test_much_output_over_a_while(stand: Stand) -> None:
    """Long enough that it is followed, and not read in one go at the end."""
    script = "for i in 1 2 3 4 5 6; do seq 1 5000; sleep 0.2; done"
    assignment = stand.an_attempt("sh", "-c", script)
    await stand.run(assignment)
    assert await stand.output(assignment) == "".join(f"{n}\n" for n in range(1, 5001)) * 6


async def test_output_is_there_while_it_runs(stand: Stand) -> None:
    assignment = stand.an_attempt("sh", "-c", "echo first; sleep 300", stop_seconds=0)
    await stand.scheduler.assign(assignment)
    entries = []
    while not entries:
        entries = await stand.entries_so_far(assignment)
    assert [entry.text for entry in entries] == [b"first"]
    last = stand.scheduler.last(assignment)
    assert last is not None
    assert last.status == 2
    await stand.scheduler.stop(assignment)
    await stand.scheduler.ended(assignment)


def numbers(first: int, last: int) -> str:
    return "".join(f"{number}\n" for number in range(first, last + 1))


@pytest.mark.parametrize(
    ("script", "printed"),
    [
        ("seq 1 30000; sleep 0.5; echo THE ERROR >&2; exit 3", numbers(1, 30_000) + "THE ERROR\n"),
        ("sleep 1; printf done", "done"),
        ("seq 1 200000; sleep 0.4; seq 200001 600000", numbers(1, 600_000)),
    ],
    ids=["error", "short", "long"],
)
async def test_the_end_is_there_though_the_engine_breaks_off(
    stand: Stand, script: str, printed: str
) -> None:
    """The engine may end a followed stream before the output is over, and says nothing of it."""
    assignment = stand.an_attempt("sh", "-c", script)
    await stand.run(assignment)
    output = await stand.output(assignment)
    assert len(output) == len(printed)
    assert output == printed


async def test_last_lines(stand: Stand) -> None:
    assignment = stand.an_attempt("seq", "1", "1000")
    await stand.run(assignment)
    await stand.output(assignment)
    entries = await stand.entries(assignment, follow=False, tail_lines=2)
    assert [entry.text for entry in entries] == [b"999", b"1000"]


async def test_log_of_an_attempt_that_never_started_is_empty_and_complete(stand: Stand) -> None:
    assignment = stand.an_attempt("true", secrets=[container_pb2.Secret(name="a", value_from="b")])
    await stand.run(assignment)
    assert await stand.entries(assignment) == []


@pytest.mark.docker
async def test_a_log_driver_that_the_engine_has_not_is_told_by_name(containers: Stand) -> None:
    log = container_pb2.LogConfiguration(log_driver="carrier-pigeon")
    end = await containers.run(containers.an_attempt("true", log_configuration=log))
    assert end.reason.startswith(
        "CannotCreateContainerError: logConfiguration.logDriver: carrier-pigeon is no log driver"
    )
    assert "which has awslogs, " in end.reason


@pytest.mark.docker
async def test_a_log_driver_of_the_engine_gets_the_output_and_its_options(
    containers: Stand, unused_udp_port: int
) -> None:
    """Here syslog's, which a socket of the test listens to; what we keep is the same."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", unused_udp_port))
        server.settimeout(15)
        log = container_pb2.LogConfiguration(
            log_driver="syslog",
            options={"syslog-address": f"udp://127.0.0.1:{unused_udp_port}", "tag": "mine"},
        )
        assert await containers.printed("echo", "kept", log_configuration=log) == "kept\n"
        message = (await asyncio.to_thread(server.recv, 4096)).decode()
    assert "mine" in message
    assert message.endswith(("kept\n", "kept"))


@pytest.mark.docker
@pytest.mark.parametrize("driver", ["json-file", "awslogs"])
async def test_log_configuration(containers: Stand, driver: str) -> None:
    options = {"max-size": "1m"} if driver == "json-file" else {"awslogs-group": "g"}
    log = container_pb2.LogConfiguration(log_driver=driver, options=options)
    assert await containers.printed("echo", "kept", log_configuration=log) == "kept\n"
