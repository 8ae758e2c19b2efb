"""AuditService on the wire: records from other services, and the log's own check."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

from longshore.domain.audit.chain import Checked, DayCheck
from longshore.domain.audit.record import AuditRecord, found_by, is_sound
from longshore.domain.checks import require
from longshore.domain.errors import InvalidRequest
from longshore.state.audit import audit_record
from longshore.state.pool import Pool, connection
from longshore.v1 import audit_service_pb2 as pb
from longshore.v1 import audit_service_pb2_grpc

RECORDS_MAX = 500
RECORD_BYTES = 32 * 1024
#: How far from the present a record's time may be: services keep them while they cannot write.
OLDEST = timedelta(days=1)
NEWEST = timedelta(minutes=10)
#: Records that are checked at once.
PAGE = 500


class AuditServicer(audit_service_pb2_grpc.AuditServiceServicer):
    """What longshore's own parts ask of the audit log."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def RecordCalls(
        self, request: pb.RecordCallsRequest, context: object
    ) -> pb.RecordCallsResponse:
        """Puts calls on record that another service saw."""
        count = len(request.records)
        require(1 <= count <= RECORDS_MAX, f"records must be 1 to {RECORDS_MAX}.", "records")
        now = datetime.now(UTC)
        records = [_record(entry, now, index) for index, entry in enumerate(request.records)]
        await audit_record.write(self._pool, records, is_repeated=True)
        return pb.RecordCallsResponse()

    async def VerifyAuditLog(
        self, request: pb.VerifyAuditLogRequest, context: object
    ) -> AsyncIterator[pb.VerifyAuditLogResponse]:
        """Checks each day's records against their digests."""
        async with connection(self._pool) as conn:
            days = await audit_record.days(conn)
        for day in days:
            checked = await self._check(day)
            yield pb.VerifyAuditLogResponse(
                day=day.day.isoformat(),
                records=checked.records,
                digest=checked.digest.hex(),
                fault=checked.fault,
            )

    async def _check(self, day: audit_record.Day) -> Checked:
        check = DayCheck(day.day, day.records, day.digest)
        after = 0
        while True:
            async with connection(self._pool) as conn:
                page = await audit_record.chain(conn, day.day, after, PAGE)
            await asyncio.to_thread(check.go_on, page)
            if len(page) < PAGE or check.fault:
                return check.result()
            after = page[-1].number


def _record(given: pb.CallRecord, now: datetime, index: int) -> AuditRecord:
    member = f"records[{index}]"
    require(len(given.record.encode()) <= RECORD_BYTES, f"{member}.record is too large.", member)
    try:
        at = given.time.ToDatetime(UTC)
        told: Any = json.loads(given.record)
        record = found_by(told, at)
        require(is_sound(record), f"{member} is no record of a call.", member)
    except (ValueError, OverflowError, KeyError, TypeError, AttributeError, RecursionError):
        raise InvalidRequest(f"{member} is no record of a call.", member=member) from None
    require(now - OLDEST <= at <= now + NEWEST, f"{member}.time is not near the present.", member)
    return record
