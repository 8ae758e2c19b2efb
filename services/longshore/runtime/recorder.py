"""Writes audit records beside the calls that they are of.

A call takes a place before it is served, so that nothing is done that could not be recorded: while
all places are taken, because what keeps them is away or slower than calls arrive, further calls
wait, and are refused if that lasts. What comes while one batch is written makes up the next one.

A process that is killed loses what it has not written yet: the calls of a moment. One that is
stopped writes it first.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Sequence
from typing import Protocol

import structlog
from prometheus_client import Counter, Gauge

from longshore.backoff import Backoff
from longshore.domain.audit.record import AuditRecord
from longshore.domain.errors import Unavailable

log = structlog.get_logger()

#: Calls that are served or wait to be written. A record has some kilobytes, 20 at the most.
PLACES = 2_000
#: Records in one transaction.
BATCH = 500
#: How long a call waits for a place.
PATIENCE_SECONDS = 5.0
#: Between two batches: calls share a commit, and the lock is free for other processes.
LINGER_SECONDS = 0.02
#: How long a service that ends tries to write what it has.
DRAIN_SECONDS = 3.0

RECORDS = Counter(
    "longshore_audit_records_total", "Audit records by what became of them.", ["result"]
)
PLACES_TAKEN = Gauge("longshore_audit_pending_calls", "Audited calls served or not yet written.")


class Write(Protocol):
    """Puts records where they are kept."""

    async def __call__(self, records: Sequence[AuditRecord], *, is_repeated: bool) -> None:
        """Writes all or none.

        Args:
            records: what to write.
            is_repeated: some may have been written already, by a try whose outcome is not known.

        Raises:
            Unavailable: it is to be tried again.
        """


class Recorder:
    """The audit records of one process, written while it is `running`."""

    def __init__(self, write: Write, places: int = PLACES) -> None:
        """Makes a recorder.

        Args:
            write: puts records where they are kept.
            places: most calls that are served or wait to be written.
        """
        self._write = write
        self._places = places
        self._taken = 0
        self._freed = asyncio.Event()
        self._waiting: deque[AuditRecord] = deque()
        self._arrived = asyncio.Event()
        self._stopping = False

    async def reserve(self) -> None:
        """Takes a place for a call; `put` or `release` gives it back.

        Raises:
            Unavailable: none became free in time.
        """
        if self.try_reserve():
            return
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                while not self.try_reserve():
                    self._freed.clear()
                    await self._freed.wait()
        except TimeoutError:
            raise Unavailable(
                "Calls cannot be recorded at the moment, and are not served while that is so; try "
                "again."
            ) from None

    def try_reserve(self) -> bool:
        """Takes a place if one is free; whether it did."""
        if self._taken >= self._places:
            return False
        self._taken += 1
        PLACES_TAKEN.inc()
        return True

    def release(self) -> None:
        """Gives the place of a call back of which there is nothing to record."""
        self._taken -= 1
        PLACES_TAKEN.dec()
        self._freed.set()

    def put(self, record: AuditRecord) -> None:
        """Hands over the record of a call that has a place."""
        self._waiting.append(record)
        self._arrived.set()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Writes while the context is open; on leaving, what is left, as far as that can be."""
        task = asyncio.create_task(self._run())
        try:
            yield
        finally:
            await self._stop(task)

    async def _run(self) -> None:
        """Writes until stopped."""
        backoff = Backoff(0.1, 2.0)
        while True:
            if not self._waiting and not self._stopping:
                await self._arrived.wait()
            self._arrived.clear()
            batch = list(self._waiting)[:BATCH]
            if not batch:
                if self._stopping:
                    return
                continue
            try:
                await self._write_all(batch, is_repeated=backoff.failures > 0)
            except Unavailable as error:
                log.warning("audit.not_written", records=len(self._waiting), error=error.message)
                await asyncio.sleep(backoff.delay())
                continue
            backoff.reset()
            for _ in batch:
                self._waiting.popleft()
                self.release()
            if not self._stopping:
                await asyncio.sleep(LINGER_SECONDS)

    async def _stop(self, running: asyncio.Task[None]) -> None:
        self._stopping = True
        self._arrived.set()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_SECONDS):
                await running
        if self._waiting:
            RECORDS.labels("lost").inc(len(self._waiting))
            log.error("audit.lost", records=len(self._waiting))

    async def _write_all(self, batch: Sequence[AuditRecord], *, is_repeated: bool) -> None:
        try:
            await self._write(batch, is_repeated=is_repeated)
        except Unavailable:
            raise
        except Exception:
            if len(batch) == 1:
                # One that is not taken must not keep out all others for ever.
                RECORDS.labels("lost").inc()
                log.exception("audit.refused", event_id=str(batch[0].event_id))
                return
            for record in batch:
                await self._write_all([record], is_repeated=True)
            return
        RECORDS.labels("written").inc(len(batch))
