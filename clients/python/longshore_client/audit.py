"""The audit log: who called what, and whether it is as it was written."""

from collections.abc import AsyncIterator, Mapping
from datetime import datetime

from longshore.v1 import audit_service_pb2, cloud_trail_service_pb2
from longshore_client import build
from longshore_client.connection import Connection


class AuditCalls(Connection):
    """The calls about the audit log."""

    async def lookup_events(
        self,
        attributes: Mapping[str, str] | None = None,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        calls_only: bool = False,
        page_size: int | None = None,
    ) -> AsyncIterator[cloud_trail_service_pb2.TrailEvent]:
        """Events of the audit log, the newest first, page after page.

        Args:
            attributes: what they must have, by CloudTrail's names, as `EventName`; all of it.
            since: not before this time.
            until: not after this time.
            calls_only: without what longshore does by itself.
            page_size: entries of a page.
        """
        with build.well_formed():
            request = cloud_trail_service_pb2.LookupEventsRequest(
                also=[
                    cloud_trail_service_pb2.LookupAttribute(
                        attribute_key=key, attribute_value=value
                    )
                    for key, value in (attributes or {}).items()
                ],
                start_time=None if since is None else since.timestamp(),
                end_time=None if until is None else until.timestamp(),
                calls_only=calls_only,
                max_results=page_size,
            )
        while True:
            response = await self._caller.unary(self._trail.LookupEvents, request)
            for event in response.events:
                yield event
            if not response.next_token:
                return
            request.next_token = response.next_token

    async def verify_audit_log(
        self,
    ) -> AsyncIterator[audit_service_pb2.VerifyAuditLogResponse]:
        """What is found of each day of the audit log, the oldest first."""
        async for day in self._caller.stream(
            self._audit.VerifyAuditLog, audit_service_pb2.VerifyAuditLogRequest()
        ):
            yield day
