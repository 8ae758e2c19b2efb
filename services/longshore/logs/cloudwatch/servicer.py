"""CloudWatch Logs' operations on the wire."""

import contextlib
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import grpc

from longshore.domain.arn import Arns
from longshore.logs.cloudwatch.groups import Groups
from longshore.logs.cloudwatch.live_tail import LiveTails
from longshore.logs.cloudwatch.putting import put_log_events
from longshore.logs.cloudwatch.reading import get_log_events
from longshore.logs.cloudwatch.searching import Searching
from longshore.logs.owning import Owners
from longshore.logs.store import LogStore
from longshore.rpc.caller import arns_for, metadata
from longshore.rpc.members import check_members
from longshore.rpc.refused import refuse
from longshore.v1 import cloudwatch_logs_service_pb2 as pb
from longshore.v1 import cloudwatch_logs_service_pb2_grpc as pb_grpc

Context = grpc.aio.ServicerContext[Any, Any]
SERVICE = pb.DESCRIPTOR.services_by_name["CloudWatchLogsService"]


class CloudWatchLogsServicer(pb_grpc.CloudWatchLogsServiceServicer):
    """One method per AWS operation."""

    def __init__(self, store: LogStore, arns: Arns, owners: Owners | None = None) -> None:
        """Makes one; without `owners` whoever is let in may read everything."""
        self._owners = owners
        self._store = store
        self._arns = arns
        self._groups = Groups(store)
        self._searching = Searching(store)
        self._tails = LiveTails(store)

    def stop(self) -> None:
        """Ends all live tails: their callers begin others."""
        self._tails.stop()

    async def GetLogEvents(
        self, request: pb.GetLogEventsRequest, context: Context
    ) -> pb.GetLogEventsResponse:
        """A page of one stream."""
        check_members(request)
        if self._owners is not None:
            await self._owners.check(
                request.log_group_name or request.log_group_identifier, request.log_stream_name
            )
        return await get_log_events(self._store, request)

    async def FilterLogEvents(
        self, request: pb.FilterLogEventsRequest, context: Context
    ) -> pb.FilterLogEventsResponse:
        """A page of what matches."""
        check_members(request)
        return await self._searching.filter(request)

    async def DescribeLogGroups(
        self, request: pb.DescribeLogGroupsRequest, context: Context
    ) -> pb.DescribeLogGroupsResponse:
        """A page of groups."""
        check_members(request)
        return await self._groups.describe_groups(request, arns_for(context, self._arns))

    async def DescribeLogStreams(
        self, request: pb.DescribeLogStreamsRequest, context: Context
    ) -> pb.DescribeLogStreamsResponse:
        """A page of streams."""
        check_members(request)
        return await self._groups.describe_streams(request, arns_for(context, self._arns))

    async def CreateLogGroup(
        self, request: pb.CreateLogGroupRequest, context: Context
    ) -> pb.CreateLogGroupResponse:
        """Creates a group."""
        check_members(request)
        await self._groups.create_group(request)
        return pb.CreateLogGroupResponse()

    async def CreateLogStream(
        self, request: pb.CreateLogStreamRequest, context: Context
    ) -> pb.CreateLogStreamResponse:
        """Creates a stream."""
        check_members(request)
        await self._groups.create_stream(request)
        return pb.CreateLogStreamResponse()

    async def DeleteLogGroup(
        self, request: pb.DeleteLogGroupRequest, context: Context
    ) -> pb.DeleteLogGroupResponse:
        """Deletes a group."""
        check_members(request)
        await self._groups.delete_group(request)
        return pb.DeleteLogGroupResponse()

    async def DeleteLogStream(
        self, request: pb.DeleteLogStreamRequest, context: Context
    ) -> pb.DeleteLogStreamResponse:
        """Deletes a stream."""
        check_members(request)
        await self._groups.delete_stream(request)
        return pb.DeleteLogStreamResponse()

    async def PutRetentionPolicy(
        self, request: pb.PutRetentionPolicyRequest, context: Context
    ) -> pb.PutRetentionPolicyResponse:
        """Sets a group's retention."""
        check_members(request)
        await self._groups.set_retention(request.log_group_name, request.retention_in_days)
        return pb.PutRetentionPolicyResponse()

    async def DeleteRetentionPolicy(
        self, request: pb.DeleteRetentionPolicyRequest, context: Context
    ) -> pb.DeleteRetentionPolicyResponse:
        """Takes a group's retention away."""
        check_members(request)
        await self._groups.set_retention(request.log_group_name, None)
        return pb.DeleteRetentionPolicyResponse()

    async def PutLogEvents(
        self, request: pb.PutLogEventsRequest, context: Context
    ) -> pb.PutLogEventsResponse:
        """Appends events."""
        check_members(request)
        return await put_log_events(self._store, request, datetime.now(UTC))

    async def TagResource(
        self, request: pb.CloudWatchLogsServiceTagResourceRequest, context: Context
    ) -> pb.CloudWatchLogsServiceTagResourceResponse:
        """Sets tags."""
        check_members(request)
        await self._groups.tag(request.resource_arn, request.tags)
        return pb.CloudWatchLogsServiceTagResourceResponse()

    async def UntagResource(
        self, request: pb.CloudWatchLogsServiceUntagResourceRequest, context: Context
    ) -> pb.CloudWatchLogsServiceUntagResourceResponse:
        """Removes tags."""
        check_members(request)
        await self._groups.untag(request.resource_arn, list(request.tag_keys))
        return pb.CloudWatchLogsServiceUntagResourceResponse()

    async def ListTagsForResource(
        self, request: pb.CloudWatchLogsServiceListTagsForResourceRequest, context: Context
    ) -> pb.CloudWatchLogsServiceListTagsForResourceResponse:
        """Answers tags."""
        check_members(request)
        return pb.CloudWatchLogsServiceListTagsForResourceResponse(
            tags=self._groups.tags(request.resource_arn)
        )

    async def StartLiveTail(
        self, request: pb.StartLiveTailRequest, context: Context
    ) -> AsyncIterator[pb.StartLiveTailResponse]:
        """Hands out what is stored from now on."""
        check_members(request)
        request_id = metadata(context, "x-request-id") or str(uuid.uuid4())
        messages = self._tails.tail(request, request_id, arns_for(context, self._arns))
        async with contextlib.aclosing(messages):
            async for message in messages:
                yield message


refuse(CloudWatchLogsServicer, SERVICE)
