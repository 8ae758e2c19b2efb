"""What the agent and the engine say of themselves, on its way to the log service.

Each has one log a day in a group of their own, `INSTANCE/agent/2026-11-29` and
`INSTANCE/engine/2026-11-29`: so they leave with the days, as jobs' logs do. What is said waits in
memory alone, up to a bound, and goes on a stream of its own: jobs' logs never wait for it. What
there is no room for is left out, and a line says so in its place.
"""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable
from datetime import UTC, date, datetime

import grpc
import structlog

from longshore.agent.logs.shipper import CHUNK_BYTES, Call
from longshore.agent.logs.spool import STDERR, format_lines, format_mark, format_time
from longshore.domain.log_group import AGENTS
from longshore.identity.material import Identity
from longshore.rpc.channel import peer_channel, reconnect_backoff
from longshore.v1 import log_service_pb2 as pb
from longshore.v1 import log_service_pb2_grpc as pb_grpc

log = structlog.get_logger()

#: What waits in memory at most.
WAITING_BYTES = 1024 * 1024
#: Characters of what is said at one time; more is cut.
SAID_CHARACTERS = 16 * 1024
#: What is kept of a day at most.
DAY_BYTES = 32 * 1024 * 1024
#: How long the log service may take for a chunk.
ANSWER_SECONDS = 30.0
#: How long something said waits for company.
GATHER_SECONDS = 0.2
FULL = b"longshore: more than %d bytes on one day; the rest of the day is left out"
LEFT_OUT = b"longshore: %d lines are left out here"


def _today() -> date:
    return datetime.now(UTC).date()


class Diary:
    """Takes lines from any thread, and sends them until cancelled."""

    def __init__(
        self,
        instance_id: str,
        kind: str,
        address: str,
        identity: Identity | None = None,
        today: Callable[[], date] = _today,
    ) -> None:
        """Makes an empty one; needs a running event loop.

        Args:
            instance_id: whose it is.
            kind: `agent` or `engine`.
            address: of the log service.
            identity: whose calls they are; None: speaks plaintext, in tests.
            today: the day it is.
        """
        self._prefix = f"{instance_id}/{kind}"
        self._address = address
        self._identity = identity
        self._today = today
        self._loop = asyncio.get_running_loop()
        self._lock = threading.Lock()
        self._lines: deque[bytes] = deque()
        self._size = 0
        self._left_out = 0
        self._said = asyncio.Event()
        #: Set when the log service has all there is.
        self._idle = asyncio.Event()
        self._idle.set()
        self._day: date | None = None
        #: What was taken to be sent, and where in the day's log it belongs.
        self._chunk = b""
        self._position = 0
        #: Lines left out because their day was full.
        self._skipped = 0

    def take(self, text: str) -> None:
        """Takes a line, or several, unless there is no room."""
        stamp = format_time(time.time_ns())
        data = b"".join(
            line
            for part in text[:SAID_CHARACTERS].encode(errors="replace").splitlines()
            for line in format_lines(stamp, STDERR, part, partial=False)
        )
        with self._lock:
            if self._size + len(data) > WAITING_BYTES:
                self._left_out += 1
                return
            if self._left_out:
                data = format_mark(stamp, LEFT_OUT % self._left_out) + data
                self._left_out = 0
            self._lines.append(data)
            self._size += len(data)
            self._idle.clear()
        self._loop.call_soon_threadsafe(self._said.set)

    async def drained(self, seconds: float) -> None:
        """Waits until the log service has what was said, for at most so long."""
        try:
            async with asyncio.timeout(seconds):
                await self._idle.wait()
        except TimeoutError:
            return

    async def run(self) -> None:
        """Sends until cancelled; a log service that is away is tried again."""
        backoff = reconnect_backoff()
        async with peer_channel(self._address, "logs", self._identity) as channel:
            stub = pb_grpc.LogServiceStub(channel)
            while True:
                await self._said.wait()
                call: Call = stub.AppendLogs()  # type: ignore[call-arg] # written to, not iterated
                try:
                    await self._session(call, backoff.reset)
                except (grpc.aio.AioRpcError, asyncio.InvalidStateError, TimeoutError):
                    # The shipper of jobs' logs says already that the service is away.
                    await asyncio.sleep(backoff.delay())
                finally:
                    call.cancel()

    async def _session(self, call: Call, reset: Callable[[], None]) -> None:
        """Sends one day after the other on one stream."""
        while True:
            await self._said.wait()
            day = self._current()
            if self._day is not None and day != self._day:
                await self._exchange(call, self._day, complete=True)
            full = await self._begin(call, day)
            reset()
            while self._current() == day:
                await asyncio.sleep(GATHER_SECONDS)
                self._chunk = self._chunk or self._gather()
                if not self._chunk:
                    await self._said.wait()
                elif full:
                    self._skipped += self._chunk.count(b"\n")
                    self._chunk = b""
                elif self._position + len(self._chunk) > DAY_BYTES:
                    self._skipped += self._chunk.count(b"\n")
                    self._chunk = format_mark(format_time(time.time_ns()), FULL % DAY_BYTES)
                    full = await self._exchange(call, day, complete=True)
                else:
                    full = await self._exchange(call, day)

    async def _begin(self, call: Call, day: date) -> bool:
        """Finds out where to go on in the log of a day; returns whether nothing more fits in."""
        answer = await self._ask(call, self._request(day))
        if day == self._day:
            # Of what a stream took along that broke, the answer may be all that is missing.
            self._chunk = self._chunk[max(0, answer.stored_bytes - self._position) :]
        elif self._skipped:
            stamp = format_time(time.time_ns())
            self._chunk = format_mark(stamp, LEFT_OUT % self._skipped) + self._chunk
            self._skipped = 0
        self._day, self._position = day, answer.stored_bytes
        return answer.complete

    def _current(self) -> date:
        """The day that it is; a clock that is set back does not open a day again that is over."""
        return max(self._today(), self._day or date.min)

    async def _exchange(self, call: Call, day: date, *, complete: bool = False) -> bool:
        """Sends what was taken; returns whether the day's log has its end."""
        request = self._request(day)
        request.offset, request.data, request.complete = self._position, self._chunk, complete
        answer = await self._ask(call, request)
        self._position, self._chunk = answer.stored_bytes, b""
        return answer.complete

    async def _ask(self, call: Call, request: pb.AppendLogsRequest) -> pb.AppendLogsResponse:
        async with asyncio.timeout(ANSWER_SECONDS):
            await call.write(request)
            answer = await call.read()
        if not isinstance(answer, pb.AppendLogsResponse):
            # What ended it is its status.
            raise TimeoutError
        return answer

    def _gather(self) -> bytes:
        """As much of what was said as fits into a chunk."""
        with self._lock:
            taken = bytearray()
            while self._lines and len(taken) + len(self._lines[0]) <= CHUNK_BYTES:
                taken += self._lines.popleft()
            if not taken and self._lines:
                taken += self._lines.popleft()
            self._size -= len(taken)
            if not taken:
                self._said.clear()
                self._idle.set()
        return bytes(taken)

    def _request(self, day: date) -> pb.AppendLogsRequest:
        return pb.AppendLogsRequest(
            log_group_name=AGENTS, log_stream_name=f"{self._prefix}/{day.isoformat()}"
        )
