"""The agent's end of the stream, against a scheduler that says what a test wants."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import cast

from support.patience import PATIENCE_SECONDS

from longshore.agent.attempts.crew import Crew
from longshore.agent.config import AgentConfig
from longshore.agent.health import HealthWatch
from longshore.agent.reporting.journal import Journal
from longshore.agent.reporting.outbox import Outbox
from longshore.agent.reporting.stream import AgentIdentity, SchedulerStream
from longshore.agent.simulated_runtime import SimulatedRuntime
from longshore.rpc.server import GrpcServer
from longshore.v1 import agent_service_pb2 as pb
from longshore.v1 import agent_service_pb2_grpc as pb_grpc
from longshore.v1 import resources_pb2


def an_assignment(number: int) -> pb.Assignment:
    return pb.Assignment(key=pb.AttemptKey(job_id=f"job-{number}", attempt=1))


class Answering(pb_grpc.AgentServiceServicer):
    """Answers a registration in two parts; the second waits for the test."""

    def __init__(self) -> None:
        self.first_sent = asyncio.Event()
        self.go_on = asyncio.Event()

    async def Connect(  # noqa: N802
        self,
        request_iterator: AsyncIterator[pb.ConnectRequest],
        context: object,  # noqa: ARG002
    ) -> AsyncIterator[pb.ConnectResponse]:
        await anext(aiter(request_iterator))
        yield pb.ConnectResponse(
            registered=pb.AgentRegistered(
                session_id="s", assignments=[an_assignment(0)], draining=True, more=True
            )
        )
        self.first_sent.set()
        await self.go_on.wait()
        yield pb.ConnectResponse(
            registered=pb.AgentRegistered(
                session_id="s",
                assignments=[an_assignment(1)],
                stops=[pb.AttemptStop(key=an_assignment(0).key)],
                draining=True,
            )
        )
        async for _ in request_iterator:
            pass


class Recording:
    """Stands in for the crew: notes the sets that it is given."""

    def __init__(self) -> None:
        self.outbox = Outbox(Journal(None), lambda _: None)
        self.sets: list[tuple[list[str], int]] = []
        self.given = asyncio.Event()
        self.recovered = asyncio.Event()
        self.recovered.set()

    def known_keys(self) -> list[object]:
        return []

    def live(self) -> int:
        return 0

    def apply_set(
        self, assignments: Iterable[pb.Assignment], stops: Iterable[pb.AttemptStop]
    ) -> None:
        self.sets.append(([a.key.job_id for a in assignments], len(list(stops))))
        self.given.set()


async def test_nothing_is_done_with_a_set_before_it_is_complete(tmp_path: Path) -> None:
    """What an incomplete one does not name yet would be stopped."""
    servicer, crew = Answering(), Recording()
    server = GrpcServer("127.0.0.1:0")
    server.add(pb_grpc.add_AgentServiceServicer_to_server, servicer, "longshore.v1.AgentService")
    async with server, asyncio.timeout(PATIENCE_SECONDS):
        config = AgentConfig.from_environment(
            {
                "LONGSHORE_DATA_DIR": str(tmp_path),
                "LONGSHORE_INSTANCE_ID": "i-00000000000000001",
                "LONGSHORE_COMPUTE_ENVIRONMENT": "ce",
                "LONGSHORE_SCHEDULER_PEER_ADDRESS": f"127.0.0.1:{server.port}",
            }
        )
        identity = AgentIdentity(resources_pb2.RUNTIME_SIMULATED, "1")
        stream = SchedulerStream(
            config, identity, cast("Crew", crew), HealthWatch(SimulatedRuntime())
        )
        running = asyncio.create_task(stream.run())
        await servicer.first_sent.wait()
        await asyncio.sleep(0.05)
        assert crew.sets == []
        assert not stream.draining.is_set()
        servicer.go_on.set()
        await crew.given.wait()
        assert crew.sets == [(["job-0", "job-1"], 1)]
        assert stream.draining.is_set()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
