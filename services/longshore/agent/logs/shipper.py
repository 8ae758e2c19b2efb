"""Sends the spool to the log service, each byte once, on one stream for all logs."""

import asyncio
import contextlib

import grpc
import structlog

from longshore.agent import metrics
from longshore.agent.logs.naming import joined, parted
from longshore.agent.logs.spool import Spool
from longshore.identity.material import Identity
from longshore.rpc.channel import peer_channel, reconnect_backoff
from longshore.v1 import log_service_pb2 as pb
from longshore.v1 import log_service_pb2_grpc as pb_grpc

log = structlog.get_logger()

#: Bytes of one chunk. A line is at most 16 KiB and its head, so a chunk always holds whole ones.
CHUNK_BYTES = 256 * 1024
#: Chunks sent and not answered yet, over all logs; with the size of a chunk it bounds the memory.
IN_FLIGHT = 32

Call = grpc.aio.StreamStreamCall[pb.AppendLogsRequest, pb.AppendLogsResponse]


class Shipper:
    """Keeps a stream to the log service and retries for ever.

    What is stored of a log is asked of the service whenever a stream begins, by an empty chunk at
    position 0, so nothing about it need be kept here.
    """

    def __init__(self, address: str, spool: Spool, identity: Identity | None = None) -> None:
        self._address = address
        self._identity = identity
        self._spool = spool
        self._stored: dict[str, int] = {}
        self._in_flight: set[str] = set()
        self._waiting: dict[str, None] = {}
        self._room = asyncio.Event()
        self._backoff = reconnect_backoff()
        #: Set whenever the spool is empty.
        self.idle = asyncio.Event()

    async def run(self) -> None:
        """Sends until cancelled."""
        async with peer_channel(self._address, "logs", self._identity) as channel:
            stub = pb_grpc.LogServiceStub(channel)
            while True:
                self._note_idle()
                if not self._waiting:
                    await self._spool.changed.wait()
                try:
                    await self._session(stub)
                except grpc.aio.AioRpcError as error:
                    failures = self._backoff.failures
                    log.info("logs.unreachable", code=error.code().name, failures=failures)
                await asyncio.sleep(self._backoff.delay())

    async def _session(self, stub: "pb_grpc.LogServiceStub") -> None:
        call: Call = stub.AppendLogs()  # type: ignore[call-arg] # written to, not iterated
        self._room.set()
        sending = asyncio.ensure_future(self._send(call))
        receiving = asyncio.ensure_future(self._receive(call))
        try:
            await asyncio.wait({sending, receiving}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            call.cancel()
            sending.cancel()
            receiving.cancel()
            results = await asyncio.gather(sending, receiving, return_exceptions=True)
            # Whatever was not stored for good is asked about anew on the next stream.
            self._waiting |= dict.fromkeys(self._in_flight | self._stored.keys())
            self._stored.clear()
            self._in_flight.clear()
        for result in reversed(results):
            if isinstance(result, Exception) and not isinstance(result, asyncio.InvalidStateError):
                raise result

    async def _send(self, call: Call) -> None:
        while True:
            await self._room.wait()
            self._waiting |= dict.fromkeys(self._spool.take_dirty())
            name = next((name for name in self._waiting if name not in self._in_flight), None)
            if name is None or len(self._in_flight) >= IN_FLIGHT:
                self._room.clear()
                if name is None and not self._spool.changed.is_set():
                    await self._wait_for_more()
                continue
            del self._waiting[name]
            # From here on, so that a stream that breaks while the disk is read does not lose it.
            self._in_flight.add(name)
            request = await self._chunk(name)
            if request is None:
                self._in_flight.discard(name)
            else:
                await call.write(request)

    async def _wait_for_more(self) -> None:
        changed = asyncio.ensure_future(self._spool.changed.wait())
        room = asyncio.ensure_future(self._room.wait())
        try:
            await asyncio.wait({changed, room}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            changed.cancel()
            room.cancel()
        self._room.set()

    async def _chunk(self, name: str) -> pb.AppendLogsRequest | None:
        """The next chunk of a log, or None if there is nothing new."""
        group, stream = parted(name)
        stored = self._stored.get(name)
        data, complete = await asyncio.to_thread(self._spool.read, name, stored or 0, CHUNK_BYTES)
        if stored is None and len(data) > CHUNK_BYTES // 2:
            # A large log of which the service may have most: ask first.
            return pb.AppendLogsRequest(log_group_name=group, log_stream_name=stream)
        if not data and not complete:
            return None
        return pb.AppendLogsRequest(
            log_group_name=group,
            log_stream_name=stream,
            offset=stored or 0,
            data=data,
            complete=complete,
        )

    async def _receive(self, call: Call) -> None:
        while True:
            response = await call.read()
            if not isinstance(response, pb.AppendLogsResponse):
                return
            self._backoff.reset()
            name = joined(response.log_group_name, response.log_stream_name)
            metrics.LOG_BYTES.inc(max(0, response.stored_bytes - self._stored.get(name, 0)))
            self._in_flight.discard(name)
            if response.complete:
                self._stored.pop(name, None)
                self._waiting.pop(name, None)
                self._spool.delete(name)
                self._note_idle()
            else:
                self._stored[name] = response.stored_bytes
                self._waiting[name] = None
            self._room.set()

    async def drained(self, seconds: float) -> bool:
        """Waits until the log service has everything, for at most so long."""
        self._note_idle()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.idle.wait()
        return self.idle.is_set()

    def _note_idle(self) -> None:
        if self._spool.empty:
            self.idle.set()
        else:
            self.idle.clear()
