"""Writes audit records beside the calls that they are of.

A call takes a place before it is served, so that nothing is done that could not be recorded: while
all places are taken, because the database is away or slower than calls arrive, further calls wait,
and are refused if that lasts. What is recorded while one batch is written makes up the next one.

A process that is killed loses what it has not written yet: the calls of a moment. One that is
stopped writes it first.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import structlog
from prometheus_client import Counter, Gauge

from longshore.backoff import Backoff
from longshore.domain.audit import AuditRecord
from longshore.domain.errors import Unavailable
from longshore.state.audit import audit_record
from longshore.state.pool import Pool, transaction

log = structlog.get_logger()

#: Calls that are served or wait to be written. A record has some kilobytes, 20 at the most.
PLACES = 2_000
#: Records in one transaction.
BATCH = 500
#: How long a call waits for a place.
PATIENCE_SECONDS = 5.0
#: Between two batches: calls share a commit, and the lock is free for other processes.
LINGER_SECONDS = 0.02
#: How long a service that stops tries to write what it has.
DRAIN_SECONDS = 5.0

RECORDS = Counter(
    "longshore_audit_records_total", "Audit records by what became of them.", ["result"]
)
PLACES_TAKEN = Gauge("longshore_audit_places_taken", "Audited calls served or not yet written.")


async def forget(pool: Pool, kept: timedelta) -> None:
    """Drops the days whose records are all older than is kept."""
    async with transaction(pool) as conn:
        days = await audit_record.drop_before(conn, (datetime.now(UTC) - kept).date())
    for day in days:
        log.info("audit.dropped", day=day.isoformat())


class Recorder:
    """The audit log of one process; `run` writes it."""

    def __init__(self, pool: Pool, places: int = PLACES) -> None:
        """Makes a recorder.

        Args:
            pool: connections to PostgreSQL.
            places: most calls that are served or wait to be written.
        """
        self._pool = pool
        self._free = asyncio.Semaphore(places)
        self._waiting: deque[AuditRecord] = deque()
        self._arrived = asyncio.Event()
        self._stopping = False

    async def reserve(self) -> None:
        """Takes a place for a call; `put` or `release` gives it back.

        Raises:
            Unavailable: none became free in time.
        """
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await self._free.acquire()
        except TimeoutError:
            raise Unavailable(
                "Calls cannot be recorded at the moment, and are not served while that is so; try "
                "again."
            ) from None
        PLACES_TAKEN.inc()

    def release(self) -> None:
        """Gives the place of a call back of which there is nothing to record."""
        PLACES_TAKEN.dec()
        self._free.release()

    def put(self, record: AuditRecord) -> None:
        """Hands over the record of a call that has a place."""
        self._waiting.append(record)
        self._arrived.set()

    async def run(self) -> None:
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
                await self._write(batch)
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

    async def stop(self, running: asyncio.Task[None]) -> None:
        """Has the rest written and ends `run`; says what could not be written in time."""
        self._stopping = True
        self._arrived.set()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_SECONDS):
                await running
        if self._waiting:
            RECORDS.labels("lost").inc(len(self._waiting))
            log.error("audit.lost", records=len(self._waiting))

    async def _write(self, batch: Sequence[AuditRecord]) -> None:
        try:
            async with transaction(self._pool) as conn:
                await audit_record.append(conn, batch)
        except Unavailable:
            raise
        except Exception:
            if len(batch) == 1:
                # One that the database does not take must not keep out all others for ever.
                RECORDS.labels("lost").inc()
                log.exception("audit.refused", event_id=str(batch[0].event_id))
                return
            for record in batch:
                await self._write([record])
            return
        RECORDS.labels("written").inc(len(batch))
