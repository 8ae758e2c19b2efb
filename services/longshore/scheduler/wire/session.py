"""Streams of agents, seen from the scheduler: one session per connected agent."""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Iterator, Sequence

from longshore.rpc.batch import BATCH_BYTES, fitting
from longshore.v1 import agent_service_pb2 as pb

#: Most assignments or stops sent in one message, whatever their bytes.
MESSAGE_LIMIT = 500


class Session:
    """One agent's stream. What is sent to it waits here; a closed session ends the stream.

    What waits is bounded by what an instance can hold: assignments are for room it has, stops for
    what it runs, and of acknowledgements only the latest counts.
    """

    def __init__(self, instance_id: str, process_id: str = "") -> None:
        self.instance_id = instance_id
        self.process_id = process_id
        #: When the agent last gave a sign of life on this stream, by our own monotonic clock.
        self.seen = time.monotonic()
        self.session_id = uuid.uuid4().hex
        self._assignments: list[pb.Assignment] = []
        self._stops: list[pb.AttemptStop] = []
        self._acknowledged = 0
        self._drain: str | None = None
        self._wake = asyncio.Event()
        self._closed = False

    @property
    def closed(self) -> bool:
        """Whether nothing more is sent."""
        return self._closed

    def assign(self, assignments: list[pb.Assignment]) -> None:
        """Sends new attempts."""
        self._assignments.extend(assignments)
        self._wake.set()

    def stop(self, stops: list[pb.AttemptStop]) -> None:
        """Sends stops."""
        self._stops.extend(stops)
        self._wake.set()

    def acknowledge(self, sequence: int) -> None:
        """Tells that reports up to this one are stored."""
        self._acknowledged = max(self._acknowledged, sequence)
        self._wake.set()

    def drain(self, reason: str) -> None:
        """Tells that the instance takes no more attempts."""
        self._drain = reason
        self._wake.set()

    def close(self) -> None:
        """Ends the stream after what is waiting was sent."""
        self._closed = True
        self._wake.set()

    async def messages(self) -> AsyncIterator[pb.ConnectResponse]:
        """What to send, until the session is closed.

        Acknowledgements, assignments, stops, drain. A stop never comes before its assignment: of
        what it does not know the agent has nothing to stop.
        """
        told = 0
        while True:
            await self._wake.wait()
            self._wake.clear()
            if self._acknowledged > told:
                told = self._acknowledged
                yield pb.ConnectResponse(acknowledge=pb.AgentAcknowledge(sequence=told))
            while self._assignments or self._stops:
                # More of both may come while one is sent.
                if self._assignments:
                    number = fitting(self._assignments, MESSAGE_LIMIT)
                    new, self._assignments = self._assignments[:number], self._assignments[number:]
                    yield pb.ConnectResponse(assign=pb.AgentAssign(assignments=new))
                else:
                    number = fitting(self._stops, MESSAGE_LIMIT)
                    part, self._stops = self._stops[:number], self._stops[number:]
                    yield pb.ConnectResponse(stop=pb.AgentStop(stops=part))
            if self._drain is not None:
                reason, self._drain = self._drain, None
                yield pb.ConnectResponse(drain=pb.AgentDrain(reason=reason))
            if self._closed:
                return


def answers(
    registered: pb.AgentRegistered,
    assignments: Sequence[pb.Assignment],
    stops: Sequence[pb.AttemptStop],
) -> Iterator[pb.ConnectResponse]:
    """The answer to a registration with the complete set, in as many messages as that takes.

    Each but the last says that more follows.
    """
    assigned = stopped = 0
    while True:
        part = pb.AgentRegistered()
        part.CopyFrom(registered)
        number = fitting(assignments[assigned : assigned + MESSAGE_LIMIT], MESSAGE_LIMIT)
        part.assignments.extend(assignments[assigned : assigned + number])
        assigned += number
        if assigned == len(assignments):
            room = BATCH_BYTES - part.ByteSize()
            rest = stops[stopped : stopped + MESSAGE_LIMIT]
            # Of an answer that is full already not one more.
            number = fitting(rest, MESSAGE_LIMIT, room) if room > 0 else 0
            part.stops.extend(rest[:number])
            stopped += number
        part.more = assigned < len(assignments) or stopped < len(stops)
        yield pb.ConnectResponse(registered=part)
        if not part.more:
            return
