"""Groups and streams: which there are, their making and end, retention and tags."""

import asyncio
import re
from collections.abc import Mapping

from longshore.domain.arn import Arns, parse_log_group
from longshore.domain.checks import TAGS_MAX, check_tags
from longshore.domain.errors import InvalidRequest, LimitExceeded, NotFound
from longshore.domain.log_group import AGENTS, GROUP, RETENTION_DAYS, is_attempts
from longshore.domain.page import NUMBER_64, decode_token, encode_token
from longshore.logs.catalogue import NEVER, Group, Stream
from longshore.logs.cloudwatch.naming import (
    check_group_name,
    check_stream_name,
    exists_already,
    find_group,
    find_log,
    identified,
    limit_of,
)
from longshore.logs.store import LogStore
from longshore.v1 import cloudwatch_logs_service_pb2 as pb

#: Groups or streams of one page.
PAGE = 50
#: Groups that callers may create.
GROUPS_MAX = 10_000
_GROUPS, _STREAMS, _EVENTS = "log-groups", "log-streams", "log-streams-by-event"
#: Streams deleted at one time.
_BATCH = 100
_ANY = re.compile(r".{1,512}", re.DOTALL)


class Groups:
    """The calls about groups and streams."""

    def __init__(self, store: LogStore) -> None:
        self._store = store
        self._catalogue = store.catalogue
        #: Held from a look at a group to its change.
        self._changing = asyncio.Lock()

    async def describe_groups(
        self, request: pb.DescribeLogGroupsRequest, arns: Arns
    ) -> pb.DescribeLogGroupsResponse:
        """A page of the groups that are asked for, in order of their names."""
        await self._store.stocked()
        limit = limit_of(request.limit if request.HasField("limit") else None, PAGE)
        names = sorted(self._wanted(request))
        if request.HasField("next_token"):
            (after,) = decode_token(request.next_token, _GROUPS, (GROUP,))
            names = [name for name in names if name > str(after)]
        page = [self._catalogue.groups[name] for name in names[:limit]]
        sizes = await self._catalogue.sizes(page)
        answer = pb.DescribeLogGroupsResponse(
            log_groups=[_group(group, sizes[group.id], arns) for group in page]
        )
        if len(names) > limit:
            answer.next_token = encode_token(_GROUPS, [page[-1].name])
        return answer

    def _wanted(self, request: pb.DescribeLogGroupsRequest) -> list[str]:
        prefix, pattern = request.log_group_name_prefix, request.log_group_name_pattern.lower()
        given = [identified(each, "logGroupIdentifiers") for each in request.log_group_identifiers]
        if bool(prefix) + bool(pattern) + bool(given) > 1:
            raise InvalidRequest(
                "At most one of logGroupNamePrefix, logGroupNamePattern and logGroupIdentifiers "
                "may be given.",
                member="logGroupNamePattern",
            )
        if len(given) > PAGE:
            raise InvalidRequest(
                f"logGroupIdentifiers has {len(given)} entries; it may have {PAGE}.",
                member="logGroupIdentifiers",
            )
        if request.log_group_class not in ("", "STANDARD"):
            return []
        return [
            name
            for name in self._catalogue.groups
            if name.startswith(prefix) and pattern in name.lower() and (not given or name in given)
        ]

    async def describe_streams(
        self, request: pb.DescribeLogStreamsRequest, arns: Arns
    ) -> pb.DescribeLogStreamsResponse:
        """A page of the streams of a group."""
        await self._store.stocked()
        group = find_group(self._store, request.log_group_name, request.log_group_identifier)
        limit = limit_of(request.limit if request.HasField("limit") else None, PAGE)
        by_event = request.order_by == "LastEventTime"
        token = request.next_token if request.HasField("next_token") else None
        find = self._by_last_event if by_event else self._by_name
        found = await find(group, request, token, limit + 1)
        page = found[:limit]
        answer = pb.DescribeLogStreamsResponse(
            log_streams=[_stream(stream, group, arns) for stream in page]
        )
        if len(found) > limit and by_event:
            last = page[-1]
            answer.next_token = encode_token(_EVENTS, [last.last_event + 1, last.name])
        elif len(found) > limit:
            answer.next_token = encode_token(_STREAMS, [page[-1].name])
        return answer

    async def _by_name(
        self, group: Group, request: pb.DescribeLogStreamsRequest, token: str | None, limit: int
    ) -> list[Stream]:
        prefix = request.log_stream_name_prefix
        if request.HasField("log_stream_name_prefix"):
            check_stream_name(prefix, "logStreamNamePrefix")
        after = None if token is None else str(decode_token(token, _STREAMS, (_ANY,))[0])
        return await self._catalogue.by_name(
            group, prefix, after, limit, descending=request.descending
        )

    async def _by_last_event(
        self, group: Group, request: pb.DescribeLogStreamsRequest, token: str | None, limit: int
    ) -> list[Stream]:
        if request.HasField("log_stream_name_prefix"):
            raise InvalidRequest(
                "Cannot order by LastEventTime with a logStreamNamePrefix.", member="orderBy"
            )
        after = None
        if token is not None:
            time, name = decode_token(token, _EVENTS, (NUMBER_64, _ANY))
            after = int(time) - 1, str(name)
        return await self._catalogue.by_last_event(
            group, after, limit, descending=request.descending
        )

    async def create_group(self, request: pb.CreateLogGroupRequest) -> None:
        """Creates a group."""
        check_group_name(request.log_group_name)
        tags = _tags(request.tags)
        if len(self._catalogue.groups) >= GROUPS_MAX:
            raise LimitExceeded(f"There are {GROUPS_MAX} log groups; delete some.")
        if not await self._catalogue.create_group(request.log_group_name, tags):
            raise exists_already("log group")

    async def create_stream(self, request: pb.CreateLogStreamRequest) -> None:
        """Creates a stream that callers write to."""
        group = find_group(self._store, request.log_group_name)
        name = request.log_stream_name
        check_stream_name(name)
        if group.name == AGENTS or is_attempts(name):
            raise InvalidRequest(
                f"logStreamName is of a log that longshore writes itself: those in {AGENTS}, and "
                "those that end in / and 32 hexadecimal digits.",
                member="logStreamName",
            )
        log = await self._store.log(name, group.name)
        if not await self._store.create(log):
            raise exists_already("log stream")

    async def delete_group(self, request: pb.DeleteLogGroupRequest) -> None:
        """Deletes a group with its streams."""
        group = find_group(self._store, request.log_group_name)
        after: str | None = None
        while streams := await self._catalogue.by_name(group, "", after, _BATCH, descending=False):
            await self._store.delete(group, [stream.name for stream in streams])
            after = streams[-1].name
        await self._catalogue.delete_group(group)

    async def delete_stream(self, request: pb.DeleteLogStreamRequest) -> None:
        """Deletes a stream."""
        group = find_group(self._store, request.log_group_name)
        log = await find_log(self._store, group, request.log_stream_name)
        await self._store.delete(group, [log.name])

    async def set_retention(self, name: str, days: int | None) -> None:
        """Sets for how many days the streams of a group are kept."""
        find_group(self._store, name)
        if days is not None and days not in RETENTION_DAYS:
            raise InvalidRequest(
                f"retentionInDays is {days}; it must be one of "
                f"{', '.join(map(str, RETENTION_DAYS))}.",
                member="retentionInDays",
            )
        async with self._changing:
            group = find_group(self._store, name)
            await self._catalogue.change_group(group, retention_days=days, tags=group.tags)

    # Tags

    def tags(self, arn: str) -> Mapping[str, str]:
        """The tags of a group."""
        return self._of_arn(arn).tags

    async def tag(self, arn: str, tags: Mapping[str, str]) -> None:
        """Sets tags of a group; others stay."""
        async with self._changing:
            group = self._of_arn(arn)
            await self._set_tags(group, {**group.tags, **_tags(tags)})

    async def untag(self, arn: str, keys: list[str]) -> None:
        """Removes tags of a group."""
        async with self._changing:
            group = self._of_arn(arn)
            await self._set_tags(group, {k: v for k, v in group.tags.items() if k not in keys})

    async def _set_tags(self, group: Group, tags: Mapping[str, str]) -> None:
        if len(tags) > TAGS_MAX:
            raise InvalidRequest(
                f"The log group would have {len(tags)} tags; it may have {TAGS_MAX}.",
                member="tags",
                code="TooManyTagsException",
            )
        await self._catalogue.change_group(group, retention_days=group.retention_days, tags=tags)

    def _of_arn(self, arn: str) -> Group:
        name = parse_log_group(arn)
        if name is None:
            raise InvalidRequest(
                f"resourceArn is not the ARN of a log group: {arn[:256]!r}.", member="resourceArn"
            )
        group = self._catalogue.groups.get(name)
        if group is None:
            raise NotFound("The specified resource does not exist.")
        return group


def _tags(tags: Mapping[str, str]) -> dict[str, str]:
    check_tags(dict(tags))
    return dict(tags)


def _group(group: Group, size: int, arns: Arns) -> pb.LogGroup:
    arn = arns.log_group(group.name)
    return pb.LogGroup(
        log_group_name=group.name,
        creation_time=group.created_at,
        retention_in_days=group.retention_days,
        metric_filter_count=0,
        arn=f"{arn}:*",
        stored_bytes=size,
        log_group_class="STANDARD",
        log_group_arn=arn,
        deletion_protection_enabled=False,
        bearer_token_authentication_enabled=False,
    )


def _stream(stream: Stream, group: Group, arns: Arns) -> pb.LogStream:
    def time(value: int) -> int | None:
        return None if value == NEVER else value

    return pb.LogStream(
        log_stream_name=stream.name,
        creation_time=stream.created_at,
        first_event_timestamp=time(stream.first_event),
        last_event_timestamp=time(stream.last_event),
        last_ingestion_time=time(stream.stored_at),
        upload_sequence_token=f"{stream.bytes:056d}",
        arn=arns.log_stream(group.name, stream.name),
        stored_bytes=0,
    )
