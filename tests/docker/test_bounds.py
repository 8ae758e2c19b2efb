"""No attempt fills the disk or the process table, and what is left out of its log is marked."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from support.agent import Stand, until

from longshore.agent.docker.engine import Engine
from longshore.v1 import container_pb2, log_service_pb2

pytestmark = [pytest.mark.asyncio(loop_scope="session")]

MIB = 1024 * 1024
BOUNDS = {
    "LONGSHORE_CONTAINER_PIDS": "32",
    "LONGSHORE_CONTAINER_LOG_MIB": "8",
    "LONGSHORE_CONTAINER_LOG_FILES": "3",
    "LONGSHORE_SPOOL_MIB": "1",
}


@pytest_asyncio.fixture(
    params=[pytest.param("docker", marks=pytest.mark.docker), "process"],
    loop_scope="session",
)
async def stand(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Stand]:
    stand = Stand(tmp_path, request.param, **BOUNDS)
    await stand.open()
    yield stand
    await stand.close()


@pytest_asyncio.fixture(loop_scope="session")
async def small(engine: Engine, tmp_path: Path) -> AsyncIterator[Stand]:
    stand = Stand(tmp_path, "docker", **BOUNDS)
    await stand.open()
    yield stand
    await stand.close()


def check_marked(entries: list[log_service_pb2.LogEntry]) -> None:
    marks = [entry for entry in entries if entry.text.startswith(b"longshore: ")]
    assert marks
    size = sum(40 + len(entry.text) for entry in entries)
    assert size < 1.1 * MIB


@pytest.mark.parametrize("seconds", [0.1, 2])
async def test_one_that_prints_without_end(stand: Stand, seconds: float) -> None:
    """Its end is there, the log is no longer than it may be, and its record says so."""
    script = f"yes & sleep {seconds}; kill $!; sleep 0.5; echo THE ERROR; exit 3"
    assignment = stand.an_attempt("sh", "-c", script)
    end = await stand.run(assignment)
    assert end.exit_code == 3
    assert end.reason.startswith("LogIncomplete: ")
    entries = await stand.entries(assignment)
    check_marked(entries)
    assert b"THE ERROR" in [entry.text for entry in entries]


async def test_numbers_beyond_the_bound(stand: Stand) -> None:
    """What is kept is a beginning and an end, without a line lost or doubled in either."""
    script = "seq 1 30000; sleep 0.6; seq 30001 90000; sleep 0.3; seq 90001 91000"
    assignment = stand.an_attempt("sh", "-c", script)
    await stand.run(assignment)
    entries = await stand.entries(assignment)
    check_marked(entries)
    (mark,) = [i for i, entry in enumerate(entries) if entry.text.startswith(b"longshore: ")]
    before, after = entries[:mark], entries[mark + 1 :]
    assert [int(entry.text) for entry in before] == list(range(1, mark + 1))
    assert [int(entry.text) for entry in after] == list(range(91_001 - len(after), 91_001))


@pytest.mark.docker
async def test_a_fork_bomb_stays_in_its_container(small: Stand) -> None:
    script = "for i in $(seq 1 100); do sleep 5 & done; wait; exit 4"
    end = await small.run(small.an_attempt("sh", "-c", script))
    assert end.exit_code != 4
    assert end.reason == ""


@pytest.mark.docker
async def test_no_new_privileges(small: Stand) -> None:
    assert (await small.shell("grep NoNewPrivs /proc/self/status")).split()[1] == "1"


@pytest.mark.docker
async def test_the_engine_drops_output_while_the_agent_is_away(
    small: Stand, tmp_path: Path
) -> None:
    """The gap is marked in the log and in the record; what the engine still has is there."""
    gate = tmp_path / "gate"
    gate.mkdir()

    def waits(name: str) -> str:
        return f"until [ -e /gate/{name} ]; do sleep 0.1; done"

    script = f"echo first; {waits('away')}; seq 1 500000; touch /gate/printed; {waits('back')}"
    host = container_pb2.Host(source_path=str(gate))
    assignment = small.an_attempt(
        *("sh", "-c", f"{script}; echo last"),
        volumes=[container_pb2.Volume(name="gate", host=host)],
        mount_points=[container_pb2.MountPoint(source_volume="gate", container_path="/gate")],
    )
    await small.scheduler.assign(assignment)
    while not await small.entries_so_far(assignment):
        pass
    assert small.agent is not None
    await small.agent.kill()
    (gate / "away").touch()

    async def printed() -> bool:
        return (gate / "printed").exists()

    await until(printed)
    await small.start_agent()
    (gate / "back").touch()
    end = await small.scheduler.ended(assignment)
    assert end.exit_code == 0
    assert end.reason.startswith("LogIncomplete: ")
    entries = await small.entries(assignment)
    check_marked(entries)
    assert entries[0].text == b"first"
    assert entries[-1].text == b"last"
    assert b"500000" in [entry.text for entry in entries]
