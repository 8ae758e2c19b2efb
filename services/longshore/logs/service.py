"""What the log service does."""

import asyncio
from collections.abc import AsyncIterator

from longshore.domain.errors import InvalidRequest, NotFound, OutOfRange
from longshore.domain.log_group import GROUP, JOBS
from longshore.logs.reader import read_entries, tail_offset
from longshore.logs.store import Log, LogStore
from longshore.v1 import log_service_pb2 as pb

CHUNK_BYTES = 1024 * 1024


class LogsService:
    """Appends to logs and tails them."""

    def __init__(self, store: LogStore) -> None:
        self._store = store
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """Ends all tails that follow: their readers connect again elsewhere or later."""
        self._stopping.set()

    async def append(
        self, request: pb.AppendLogsRequest, instance_id: str | None = None
    ) -> pb.AppendLogsResponse:
        """Stores a chunk and answers what is stored.

        Args:
            request: the chunk.
            instance_id: the instance whose agent sends it; None: nobody asks, in tests.

        Raises:
            PermissionDenied: the log is not the instance's.
            InvalidRequest: the chunk is too large or its log has no proper name.
            OutOfRange: it begins after the end of what is stored.
        """
        if len(request.data) > CHUNK_BYTES:
            raise InvalidRequest(f"A chunk has at most {CHUNK_BYTES} bytes.", member="data")
        if request.offset < 0:
            raise InvalidRequest("A position is not negative.", member="offset")
        log = await self._store.log(request.log_stream_name, _group(request.log_group_name))
        if instance_id is not None:
            await self._store.claim(log, instance_id)
        await self._store.append(log, request.offset, request.data, complete=request.complete)
        stored, complete = log.stored, log.complete
        if log.gone:
            # Its agent gets on, and has nothing to send again.
            stored, complete = request.offset + len(request.data), request.complete
        return pb.AppendLogsResponse(
            log_stream_name=request.log_stream_name,
            log_group_name=request.log_group_name,
            stored_bytes=stored,
            complete=complete,
        )

    async def tail(self, request: pb.TailLogsRequest) -> AsyncIterator[pb.TailLogsResponse]:
        """Reads a log from a position on; with follow, until it is complete.

        Raises:
            NotFound: nothing is known of the log, and follow is not set.
            InvalidRequest: a member is out of its range.
        """
        if request.offset < 0 or request.tail_lines < 0:
            raise InvalidRequest("Neither offset nor tailLines may be negative.", member="offset")
        log = await self._store.log(request.log_stream_name, _group(request.log_group_name))
        if not log.known and not request.follow:
            raise NotFound(f"Log {request.log_stream_name} is not known.")
        log.readers += 1
        try:
            async for response in self._tail(log, request):
                yield response
        finally:
            log.readers -= 1

    async def _tail(
        self, log: Log, request: pb.TailLogsRequest
    ) -> AsyncIterator[pb.TailLogsResponse]:
        offset = request.offset
        if offset > log.stored and not request.follow:
            raise OutOfRange(f"Only {log.stored} bytes are stored.", member="offset")
        if request.tail_lines and log.stored > offset:
            begin = await asyncio.to_thread(tail_offset, log.read, log.stored, request.tail_lines)
            offset = max(offset, begin)
        while True:
            # The order matters: complete is looked at before the size, so that nothing which came
            # before completeness is passed over.
            complete, end = log.complete or log.gone, log.stored
            entries: list[pb.LogEntry] = []
            if offset < end:
                entries, offset = await asyncio.to_thread(read_entries, log.read, offset, end)
            # Without entries nothing whole is left before the end.
            last = complete and (offset >= end or not entries)
            if entries or last:
                yield pb.TailLogsResponse(entries=entries, next_offset=offset, complete=last)
            if last or (not request.follow and (offset >= end or not entries)):
                return
            if not entries and not await self._wait(log, end):
                return

    async def _wait(self, log: Log, size: int) -> bool:
        """Waits for more. False when the service stops."""
        changed = asyncio.ensure_future(log.changed_from(size))
        stopping = asyncio.ensure_future(self._stopping.wait())
        try:
            await asyncio.wait({changed, stopping}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            changed.cancel()
            stopping.cancel()
        return not self._stopping.is_set()


def _group(name: str) -> str:
    """The group that is named; a name that none can have comes of what was not checked yet."""
    return name if GROUP.fullmatch(name) else JOBS
