"""The loops by which events flow: matched, fired by the clock, delivered, streamed."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial

from longshore.domain.arn import Arns
from longshore.events.delivering import Delivering
from longshore.events.firing import ScheduleFiring
from longshore.events.matching import Matching, prune
from longshore.events.replaying import ReplayRuns
from longshore.events.senders.bus import Buses
from longshore.events.senders.job_queue import JobQueues
from longshore.events.senders.log_group import LogGroups
from longshore.events.senders.queues import AwsClients, Queues, Topics
from longshore.events.senders.webhook import Opener, Webhooks
from longshore.events.watching import Watching
from longshore.runtime.loop import Loop
from longshore.state.listen import DELIVERIES, EVENT_RULES, EVENTS, Listener
from longshore.state.pool import Pool
from longshore.v1 import cloudwatch_logs_service_pb2_grpc, submission_service_pb2_grpc

#: Between looks when nothing tells of something to do.
LOOK_SECONDS = 1.0
#: Notifications that come so close together fold into one pass; under load further apart.
GATHER_SECONDS = 0.005
GATHER_MOST_SECONDS = 0.05
PRUNE_SECONDS = 600.0


class _Timed:
    """A loop whose passes say when the next one is due."""

    def __init__(self, name: str, tick: Callable[[], Awaitable[float | None]]) -> None:
        self._tick = tick
        self._timer: asyncio.TimerHandle | None = None
        self.loop = Loop(
            name,
            self._pass,
            LOOK_SECONDS,
            gather=GATHER_SECONDS,
            gather_most=GATHER_MOST_SECONDS,
        )

    async def _pass(self) -> None:
        seconds = await self._tick()
        if self._timer is not None:
            self._timer.cancel()
        if seconds is not None:
            self._timer = asyncio.get_running_loop().call_later(seconds, self.loop.wake)

    def stop(self) -> None:
        """Lets the loop return."""
        if self._timer is not None:
            self._timer.cancel()
        self.loop.stop()


@contextlib.asynccontextmanager
async def flowing(
    pool: Pool,
    database_url: str,
    arns: Arns,
    opener: Opener,
    submission: submission_service_pb2_grpc.SubmissionServiceStub,
    logs: cloudwatch_logs_service_pb2_grpc.CloudWatchLogsServiceStub,
    *,
    allows_private: bool,
) -> AsyncIterator[Watching]:
    """Events flow while the context is open; what is under way on leaving is finished first.

    Args:
        pool: of the database.
        database_url: to listen there.
        arns: of the installation.
        opener: reads secrets of connections.
        submission: takes the jobs of job queues.
        logs: takes the lines of log groups.
        allows_private: whether webhooks may be in loopback and private networks.
    """
    watching = Watching(pool, arns)
    hooks = Webhooks(pool, arns, opener, allows_private=allows_private)
    async with hooks, AwsClients() as clients, asyncio.TaskGroup() as group:
        queues = Queues(clients, arns)
        delivering = Delivering(
            pool,
            {
                "api-destination": hooks,
                "job-queue": JobQueues(submission, arns),
                "sns": Topics(clients, arns),
                "sqs": queues,
            },
            queues,
            {"event-bus": Buses(pool), "log-group": LogGroups(logs, arns)},
        )
        matcher = Matching(pool, arns)
        matching = _Timed("events.matching", matcher.tick)
        sending = _Timed("events.delivering", delivering.tick)
        replays = _Timed("events.replaying", ReplayRuns(pool, arns).tick)
        clock = _Timed("events.firing", ScheduleFiring(pool, arns).tick)
        delivering.wake = sending.loop.wake
        pruning = Loop("events.pruning", partial(prune, pool), PRUNE_SECONDS)

        def happened() -> None:
            if matcher.is_wanted:
                matching.loop.wake()
            watching.wake()

        def rules_changed() -> None:
            matching.loop.wake()
            clock.loop.wake()

        listener = Listener(
            database_url,
            {
                EVENTS: happened,
                DELIVERIES: sending.loop.wake,
                EVENT_RULES: rules_changed,
            },
        )
        listens = group.create_task(listener.run())
        loops = [
            group.create_task(one.run())
            for one in (matching.loop, sending.loop, clock.loop, replays.loop, pruning)
        ]
        try:
            yield watching
        finally:
            listens.cancel()
            for one in (matching, sending, clock, replays, pruning):
                one.stop()
            await asyncio.gather(*loops)
            await delivering.drain()
