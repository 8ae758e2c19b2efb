"""CloudTrailService on the wire: check, call, convert."""

from typing import Any

import grpc

from longshore.domain.arn import Arns
from longshore.domain.audit.lookup import lookup_of
from longshore.domain.audit.record import AuditRecord
from longshore.domain.errors import InvalidRequest
from longshore.events.trail import Trail
from longshore.rpc.caller import arns_for
from longshore.v1 import cloud_trail_service_pb2 as pb
from longshore.v1 import cloud_trail_service_pb2_grpc

Context = grpc.aio.ServicerContext[Any, Any]


class CloudTrailServicer(cloud_trail_service_pb2_grpc.CloudTrailServiceServicer):
    """What CloudTrail has for those who look up calls."""

    def __init__(self, arns: Arns, trail: Trail) -> None:
        self._arns = arns
        self._trail = trail

    async def LookupEvents(
        self, request: pb.LookupEventsRequest, context: Context
    ) -> pb.LookupEventsResponse:
        """Answers a page of events."""
        arns = arns_for(context, self._arns)
        if request.event_category:
            raise InvalidRequest(
                "There are no insight events; leave EventCategory out for those of calls.",
                member="EventCategory",
                code="InvalidEventCategoryException",
            )
        wanted = lookup_of(
            [(given.attribute_key, given.attribute_value) for given in request.lookup_attributes],
            [(given.attribute_key, given.attribute_value) for given in request.also],
            start=request.start_time if request.HasField("start_time") else None,
            end=request.end_time if request.HasField("end_time") else None,
            calls_only=request.calls_only,
        )
        page = await self._trail.look_up(
            wanted,
            request.max_results if request.HasField("max_results") else None,
            request.next_token or None,
            arns,
        )
        return pb.LookupEventsResponse(
            events=[_event(event) for event in page.items], next_token=page.next_token
        )


def _event(event: AuditRecord) -> pb.TrailEvent:
    return pb.TrailEvent(
        event_id=str(event.event_id),
        event_name=event.event_name,
        read_only="true" if event.is_read else "false",
        access_key_id=event.access_key_id,
        username=event.user_name,
        event_time=int(event.at.timestamp()),
        event_source=event.event_source,
        resources=[
            pb.TrailResource(resource_type=kind, resource_name=name)
            for kind, name in event.resources
        ],
        cloud_trail_event=event.text,
    )
