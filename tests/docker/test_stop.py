"""Stopping attempts, on containers and on processes alike."""

import grpc
import pytest
from support.agent import Stand
from support.patience import PATIENCE_SECONDS

from longshore.v1 import agent_service_pb2 as pb
from longshore.v1 import log_service_pb2, log_service_pb2_grpc

pytestmark = [pytest.mark.asyncio(loop_scope="session")]


@pytest.fixture(params=[pytest.param("containers", marks=pytest.mark.docker), "processes"])
def stand(request: pytest.FixtureRequest) -> Stand:
    stand: Stand = request.getfixturevalue(request.param)
    return stand


GENTLE = "trap 'echo bye; exit 3' TERM; echo up; while :; do sleep 0.2; done"
STUBBORN = "trap '' TERM; echo up; while :; do sleep 0.2; done"


async def test_sigterm_lets_it_end_by_itself(stand: Stand) -> None:
    assignment = stand.an_attempt("sh", "-c", GENTLE)
    await stand.scheduler.assign(assignment)
    await stand.scheduler.running(assignment)
    await _printed_up(stand, assignment)
    await stand.scheduler.stop(assignment, "Job attempt duration exceeded timeout")
    end = await stand.scheduler.ended(assignment)
    assert end.exit_code == 3
    assert end.status_reason == "Job attempt duration exceeded timeout"
    assert (await stand.output(assignment)).startswith("up\nbye\n")


async def test_sigkill_after_the_stop_timeout(stand: Stand) -> None:
    assignment = stand.an_attempt("sh", "-c", STUBBORN, stop_seconds=1)
    await stand.scheduler.assign(assignment)
    await stand.scheduler.running(assignment)
    await _printed_up(stand, assignment)
    await stand.scheduler.stop(assignment, "enough")
    end = await stand.scheduler.ended(assignment)
    assert end.exit_code == 137
    assert end.status_reason == "enough"


async def test_nobody_but_the_job_prints(stand: Stand) -> None:
    """Neither that it was ended by a signal nor by which."""
    assignment = stand.an_attempt("sh", "-c", "echo up; exec sleep 300", stop_seconds=1)
    await stand.scheduler.assign(assignment)
    await stand.scheduler.running(assignment)
    await _printed_up(stand, assignment)
    await stand.scheduler.stop(assignment, "enough")
    assert (await stand.scheduler.ended(assignment)).exit_code in (137, 143)
    assert await stand.output(assignment) == "up\n"


async def test_what_is_stopped_at_once_may_never_start(stand: Stand) -> None:
    assignment = stand.an_attempt("sh", "-c", GENTLE, stop_seconds=1)
    stand.scheduler.wanted[(assignment.key.job_id, 1)] = assignment
    await stand.scheduler.assign(assignment)
    await stand.scheduler.stop(assignment, "changed my mind")
    end = await stand.scheduler.ended(assignment)
    assert end.status_reason == "changed my mind"


async def test_stopping_twice_is_stopping_once(stand: Stand) -> None:
    assignment = stand.an_attempt("sh", "-c", GENTLE)
    await stand.scheduler.assign(assignment)
    await _printed_up(stand, assignment)
    await stand.scheduler.stop(assignment, "first")
    await stand.scheduler.stop(assignment, "second")
    assert (await stand.scheduler.ended(assignment)).status_reason == "first"


async def test_an_assignment_said_twice_runs_once(stand: Stand) -> None:
    assignment = stand.an_attempt("echo", "once")
    await stand.scheduler.assign(assignment)
    await stand.scheduler.assign(assignment)
    await stand.scheduler.ended(assignment)
    stand.scheduler.changes.pop((assignment.key.job_id, 1))
    await stand.scheduler.assign(assignment)
    after = stand.an_attempt("true")
    await stand.run(after)
    assert (assignment.key.job_id, 1) not in stand.scheduler.changes
    stand.scheduler.wanted.clear()
    assert await stand.output(assignment) == "once\n"


async def _printed_up(stand: Stand, assignment: pb.Assignment) -> None:
    """Waits for the first line, which says that the trap is set."""
    async with grpc.aio.insecure_channel(f"127.0.0.1:{stand.logs_port}") as channel:
        stub = log_service_pb2_grpc.LogServiceStub(channel)
        request = log_service_pb2.TailLogsRequest(
            log_stream_name=assignment.log_stream_name, follow=True
        )
        async for response in stub.TailLogs(request, timeout=PATIENCE_SECONDS):
            assert response.entries[0].text == b"up"
            return
