"""EventBridgeService on the wire: check, call, convert."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import grpc
from google.protobuf.json_format import MessageToDict, ParseDict
from google.protobuf.message import Message

from longshore.domain.arn import Arns
from longshore.domain.checks import Json
from longshore.domain.events.archive import ENABLED, Archive, Replay
from longshore.domain.events.connection import ApiDestination, EventConnection
from longshore.domain.events.putting import Refused
from longshore.domain.events.rule import EventBus, Rule
from longshore.domain.events.target import Target
from longshore.events.archives import Archives, Replays
from longshore.events.buses import Buses, Tags
from longshore.events.connections import ApiDestinations, Connections
from longshore.events.putting import Putting, Taken
from longshore.events.rules import Rules, matches
from longshore.events.targets import Failure, Targets
from longshore.rpc.caller import arns_for
from longshore.rpc.refused import first_refusal
from longshore.v1 import event_bridge_service_pb2 as pb
from longshore.v1 import event_bridge_service_pb2_grpc

Context = grpc.aio.ServicerContext[Any, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class UseCases:
    """All that the service does."""

    rules: Rules
    targets: Targets
    putting: Putting
    buses: Buses
    tags: Tags
    connections: Connections
    destinations: ApiDestinations
    archives: Archives
    replays: Replays


class EventBridgeServicer(event_bridge_service_pb2_grpc.EventBridgeServiceServicer):
    """One method per AWS operation."""

    def __init__(self, arns: Arns, use_cases: UseCases) -> None:
        self._arns = arns
        self._do = use_cases

    def _arns_for(self, context: Context) -> Arns:
        """ARNs for the caller; asked for before anything is changed, since it may refuse."""
        return arns_for(context, self._arns)

    async def PutRule(self, request: pb.PutRuleRequest, context: Context) -> pb.PutRuleResponse:
        """Creates or replaces a rule."""
        arns = self._arns_for(context)
        rule = await self._do.rules.put(_asked(request))
        return pb.PutRuleResponse(rule_arn=arns.event_rule(rule.bus, rule.name))

    async def DescribeRule(
        self, request: pb.DescribeRuleRequest, context: Context
    ) -> pb.DescribeRuleResponse:
        """Answers a rule."""
        arns = self._arns_for(context)
        rule = await self._do.rules.describe(_asked(request))
        return pb.DescribeRuleResponse(created_by=arns.account, **_rule(rule, arns))

    async def ListRules(
        self, request: pb.ListRulesRequest, context: Context
    ) -> pb.ListRulesResponse:
        """Answers a page of the rules of a bus."""
        arns = self._arns_for(context)
        page = await self._do.rules.list_rules(_asked(request))
        return pb.ListRulesResponse(
            rules=[pb.Rule(**_rule(rule, arns)) for rule in page.items],
            next_token=page.next_token,
        )

    async def EnableRule(
        self, request: pb.EnableRuleRequest, context: Context
    ) -> pb.EnableRuleResponse:
        """Puts a rule in force."""
        await self._do.rules.switch(_asked(request), is_enabled=True)
        return pb.EnableRuleResponse()

    async def DisableRule(
        self, request: pb.DisableRuleRequest, context: Context
    ) -> pb.DisableRuleResponse:
        """Takes a rule out of force."""
        await self._do.rules.switch(_asked(request), is_enabled=False)
        return pb.DisableRuleResponse()

    async def DeleteRule(
        self, request: pb.DeleteRuleRequest, context: Context
    ) -> pb.DeleteRuleResponse:
        """Deletes a rule."""
        await self._do.rules.delete(_asked(request))
        return pb.DeleteRuleResponse()

    async def TestEventPattern(
        self, request: pb.TestEventPatternRequest, context: Context
    ) -> pb.TestEventPatternResponse:
        """Says whether an event matches a pattern."""
        return pb.TestEventPatternResponse(result=matches(_asked(request)))

    async def PutTargets(
        self, request: pb.PutTargetsRequest, context: Context
    ) -> pb.PutTargetsResponse:
        """Adds or replaces targets of a rule."""
        failures = await self._do.targets.put(_asked(request))
        return pb.PutTargetsResponse(
            failed_entry_count=len(failures),
            failed_entries=[pb.PutTargetsResultEntry(**_failure(one)) for one in failures],
        )

    async def RemoveTargets(
        self, request: pb.RemoveTargetsRequest, context: Context
    ) -> pb.RemoveTargetsResponse:
        """Removes targets of a rule."""
        failures = await self._do.targets.remove(_asked(request))
        return pb.RemoveTargetsResponse(
            failed_entry_count=len(failures),
            failed_entries=[pb.RemoveTargetsResultEntry(**_failure(one)) for one in failures],
        )

    async def ListTargetsByRule(
        self, request: pb.ListTargetsByRuleRequest, context: Context
    ) -> pb.ListTargetsByRuleResponse:
        """Answers a page of the targets of a rule."""
        page = await self._do.targets.list_targets(_asked(request))
        return pb.ListTargetsByRuleResponse(
            targets=[_target(one) for one in page.items], next_token=page.next_token
        )

    async def ListRuleNamesByTarget(
        self, request: pb.ListRuleNamesByTargetRequest, context: Context
    ) -> pb.ListRuleNamesByTargetResponse:
        """Answers a page of the names of the rules that have a target."""
        page = await self._do.targets.list_rules(_asked(request))
        return pb.ListRuleNamesByTargetResponse(rule_names=page.items, next_token=page.next_token)

    async def PutEvents(
        self, request: pb.PutEventsRequest, context: Context
    ) -> pb.PutEventsResponse:
        """Takes events in."""
        entries = [_put(one) for one in await self._do.putting.put(_asked(request))]
        return pb.PutEventsResponse(
            failed_entry_count=sum(entry.HasField("error_code") for entry in entries),
            entries=entries,
        )

    async def CreateEventBus(
        self, request: pb.CreateEventBusRequest, context: Context
    ) -> pb.CreateEventBusResponse:
        """Creates a bus."""
        arns = self._arns_for(context)
        bus = await self._do.buses.create(_asked(request))
        return pb.CreateEventBusResponse(
            event_bus_arn=arns.event_bus(bus.name),
            description=bus.description,
            dead_letter_config=_dead_letter(bus),
        )

    async def DescribeEventBus(
        self, request: pb.DescribeEventBusRequest, context: Context
    ) -> pb.DescribeEventBusResponse:
        """Answers a bus."""
        arns = self._arns_for(context)
        bus = await self._do.buses.describe(_asked(request))
        return pb.DescribeEventBusResponse(dead_letter_config=_dead_letter(bus), **_bus(bus, arns))

    async def UpdateEventBus(
        self, request: pb.UpdateEventBusRequest, context: Context
    ) -> pb.UpdateEventBusResponse:
        """Changes a bus."""
        arns = self._arns_for(context)
        bus = await self._do.buses.update(_asked(request))
        return pb.UpdateEventBusResponse(
            arn=arns.event_bus(bus.name),
            name=bus.name,
            description=bus.description,
            dead_letter_config=_dead_letter(bus),
        )

    async def ListEventBuses(
        self, request: pb.ListEventBusesRequest, context: Context
    ) -> pb.ListEventBusesResponse:
        """Answers a page of the buses."""
        arns = self._arns_for(context)
        page = await self._do.buses.list_buses(_asked(request))
        return pb.ListEventBusesResponse(
            event_buses=[pb.EventBus(**_bus(one, arns)) for one in page.items],
            next_token=page.next_token,
        )

    async def DeleteEventBus(
        self, request: pb.DeleteEventBusRequest, context: Context
    ) -> pb.DeleteEventBusResponse:
        """Deletes a bus."""
        await self._do.buses.delete(_asked(request))
        return pb.DeleteEventBusResponse()

    async def TagResource(
        self, request: pb.EventBridgeServiceTagResourceRequest, context: Context
    ) -> pb.EventBridgeServiceTagResourceResponse:
        """Adds tags."""
        await self._do.tags.add(_asked(request))
        return pb.EventBridgeServiceTagResourceResponse()

    async def UntagResource(
        self, request: pb.EventBridgeServiceUntagResourceRequest, context: Context
    ) -> pb.EventBridgeServiceUntagResourceResponse:
        """Removes tags."""
        await self._do.tags.remove(_asked(request))
        return pb.EventBridgeServiceUntagResourceResponse()

    async def ListTagsForResource(
        self, request: pb.EventBridgeServiceListTagsForResourceRequest, context: Context
    ) -> pb.EventBridgeServiceListTagsForResourceResponse:
        """Answers tags."""
        tags = await self._do.tags.read(_asked(request))
        return pb.EventBridgeServiceListTagsForResourceResponse(
            tags=[pb.EventsTag(key=key, value=value) for key, value in tags.items()]
        )

    async def CreateConnection(
        self, request: pb.CreateConnectionRequest, context: Context
    ) -> pb.CreateConnectionResponse:
        """Creates a connection."""
        arns = self._arns_for(context)
        made = await self._do.connections.create(_asked(request))
        state = _connection_state(made, arns)
        del state["last_authorized_time"]
        return pb.CreateConnectionResponse(**state)

    async def DescribeConnection(
        self, request: pb.DescribeConnectionRequest, context: Context
    ) -> pb.DescribeConnectionResponse:
        """Answers a connection."""
        arns = self._arns_for(context)
        found = await self._do.connections.describe(_asked(request))
        return pb.DescribeConnectionResponse(
            name=found.name,
            description=found.description,
            authorization_type=found.authorization_type,
            auth_parameters=ParseDict(found.parameters, pb.ConnectionAuthResponseParameters()),
            **_connection_state(found, arns),
        )

    async def UpdateConnection(
        self, request: pb.UpdateConnectionRequest, context: Context
    ) -> pb.UpdateConnectionResponse:
        """Changes a connection."""
        arns = self._arns_for(context)
        found = await self._do.connections.update(_asked(request))
        return pb.UpdateConnectionResponse(**_connection_state(found, arns))

    async def DeauthorizeConnection(
        self, request: pb.DeauthorizeConnectionRequest, context: Context
    ) -> pb.DeauthorizeConnectionResponse:
        """Forgets the secrets of a connection."""
        arns = self._arns_for(context)
        found = await self._do.connections.deauthorize(_asked(request))
        return pb.DeauthorizeConnectionResponse(**_connection_state(found, arns))

    async def DeleteConnection(
        self, request: pb.DeleteConnectionRequest, context: Context
    ) -> pb.DeleteConnectionResponse:
        """Deletes a connection."""
        arns = self._arns_for(context)
        found = await self._do.connections.delete(_asked(request))
        return pb.DeleteConnectionResponse(**_connection_state(found, arns))

    async def ListConnections(
        self, request: pb.ListConnectionsRequest, context: Context
    ) -> pb.ListConnectionsResponse:
        """Answers a page of the connections."""
        arns = self._arns_for(context)
        page = await self._do.connections.list_connections(_asked(request))
        return pb.ListConnectionsResponse(
            connections=[
                pb.Connection(
                    name=one.name,
                    authorization_type=one.authorization_type,
                    **_connection_state(one, arns),
                )
                for one in page.items
            ],
            next_token=page.next_token,
        )

    async def CreateApiDestination(
        self, request: pb.CreateApiDestinationRequest, context: Context
    ) -> pb.CreateApiDestinationResponse:
        """Creates an API destination."""
        arns = self._arns_for(context)
        made = await self._do.destinations.create(_asked(request))
        return pb.CreateApiDestinationResponse(**_destination_state(made, arns))

    async def DescribeApiDestination(
        self, request: pb.DescribeApiDestinationRequest, context: Context
    ) -> pb.DescribeApiDestinationResponse:
        """Answers an API destination."""
        arns = self._arns_for(context)
        found = await self._do.destinations.describe(_asked(request))
        return pb.DescribeApiDestinationResponse(
            description=found.description, **_destination(found, arns)
        )

    async def UpdateApiDestination(
        self, request: pb.UpdateApiDestinationRequest, context: Context
    ) -> pb.UpdateApiDestinationResponse:
        """Changes an API destination."""
        arns = self._arns_for(context)
        found = await self._do.destinations.update(_asked(request))
        return pb.UpdateApiDestinationResponse(**_destination_state(found, arns))

    async def DeleteApiDestination(
        self, request: pb.DeleteApiDestinationRequest, context: Context
    ) -> pb.DeleteApiDestinationResponse:
        """Deletes an API destination."""
        await self._do.destinations.delete(_asked(request))
        return pb.DeleteApiDestinationResponse()

    async def ListApiDestinations(
        self, request: pb.ListApiDestinationsRequest, context: Context
    ) -> pb.ListApiDestinationsResponse:
        """Answers a page of the API destinations."""
        arns = self._arns_for(context)
        page = await self._do.destinations.list_destinations(_asked(request))
        return pb.ListApiDestinationsResponse(
            api_destinations=[pb.ApiDestination(**_destination(one, arns)) for one in page.items],
            next_token=page.next_token,
        )

    async def CreateArchive(
        self, request: pb.CreateArchiveRequest, context: Context
    ) -> pb.CreateArchiveResponse:
        """Creates an archive."""
        arns = self._arns_for(context)
        made = await self._do.archives.create(_asked(request))
        return pb.CreateArchiveResponse(**_archive_state(made, arns))

    async def DescribeArchive(
        self, request: pb.DescribeArchiveRequest, context: Context
    ) -> pb.DescribeArchiveResponse:
        """Answers an archive."""
        arns = self._arns_for(context)
        found = await self._do.archives.describe(_asked(request))
        return pb.DescribeArchiveResponse(
            archive_arn=arns.event_archive(found.name),
            description=found.description,
            event_pattern=found.pattern,
            **_archive(found, arns),
        )

    async def UpdateArchive(
        self, request: pb.UpdateArchiveRequest, context: Context
    ) -> pb.UpdateArchiveResponse:
        """Changes an archive."""
        arns = self._arns_for(context)
        found = await self._do.archives.update(_asked(request))
        return pb.UpdateArchiveResponse(**_archive_state(found, arns))

    async def DeleteArchive(
        self, request: pb.DeleteArchiveRequest, context: Context
    ) -> pb.DeleteArchiveResponse:
        """Deletes an archive."""
        await self._do.archives.delete(_asked(request))
        return pb.DeleteArchiveResponse()

    async def ListArchives(
        self, request: pb.ListArchivesRequest, context: Context
    ) -> pb.ListArchivesResponse:
        """Answers a page of the archives."""
        arns = self._arns_for(context)
        page = await self._do.archives.list_archives(_asked(request))
        return pb.ListArchivesResponse(
            archives=[pb.Archive(**_archive(one, arns)) for one in page.items],
            next_token=page.next_token,
        )

    async def StartReplay(
        self, request: pb.StartReplayRequest, context: Context
    ) -> pb.StartReplayResponse:
        """Begins a replay."""
        arns = self._arns_for(context)
        made = await self._do.replays.start(_asked(request))
        return pb.StartReplayResponse(
            replay_start_time=_seconds(made.started_at), **_replay_state(made, arns)
        )

    async def DescribeReplay(
        self, request: pb.DescribeReplayRequest, context: Context
    ) -> pb.DescribeReplayResponse:
        """Answers a replay."""
        arns = self._arns_for(context)
        found = await self._do.replays.describe(_asked(request))
        return pb.DescribeReplayResponse(
            replay_arn=arns.event_replay(found.name),
            description=found.description,
            destination=pb.ReplayDestination(
                arn=arns.event_bus(found.bus), filter_arns=found.filter_arns
            ),
            **_replay(found, arns),
        )

    async def ListReplays(
        self, request: pb.ListReplaysRequest, context: Context
    ) -> pb.ListReplaysResponse:
        """Answers a page of the replays."""
        arns = self._arns_for(context)
        page = await self._do.replays.list_replays(_asked(request))
        return pb.ListReplaysResponse(
            replays=[pb.Replay(**_replay(one, arns)) for one in page.items],
            next_token=page.next_token,
        )

    async def CancelReplay(
        self, request: pb.CancelReplayRequest, context: Context
    ) -> pb.CancelReplayResponse:
        """Ends a replay early."""
        arns = self._arns_for(context)
        found = await self._do.replays.cancel(_asked(request))
        return pb.CancelReplayResponse(**_replay_state(found, arns))


def _asked(request: Message) -> Json:
    """A request as AWS-shaped JSON, less what is refused."""
    if (refusal := first_refusal(request)) is not None:
        raise refusal
    return MessageToDict(request)


def _seconds(at: datetime) -> float:
    """A time as AWS has it here, to the millisecond."""
    return round(at.timestamp(), 3)


def _failure(failure: Failure) -> Json:
    return {
        "target_id": failure.target_id,
        "error_code": failure.code,
        "error_message": failure.message,
    }


def _put(became: Taken | Refused) -> pb.PutEventsResultEntry:
    if isinstance(became, Taken):
        return pb.PutEventsResultEntry(event_id=became.event_id)
    return pb.PutEventsResultEntry(error_code=became.code, error_message=became.message)


def _rule(rule: Rule, arns: Arns) -> Json:
    """The members that a rule has wherever it is answered."""
    return {
        "name": rule.name,
        "arn": arns.event_rule(rule.bus, rule.name),
        "event_pattern": rule.pattern,
        "schedule_expression": rule.schedule,
        "state": rule.state,
        "description": rule.description,
        "role_arn": rule.role_arn,
        "event_bus_name": rule.bus,
        "next_time": None if rule.due_at is None else _seconds(rule.due_at),
    }


def _target(target: Target) -> pb.Target:
    return ParseDict(target.given, pb.Target())


def _dead_letter(bus: EventBus) -> pb.DeadLetterConfig | None:
    arn = bus.dead_letter_arn
    return pb.DeadLetterConfig(arn=arn) if arn is not None else None


def _bus(bus: EventBus, arns: Arns) -> Json:
    return {
        "name": bus.name,
        "arn": arns.event_bus(bus.name),
        "description": bus.description,
        "creation_time": _seconds(bus.created_at),
        "last_modified_time": _seconds(bus.changed_at),
    }


def _connection_state(found: EventConnection, arns: Arns) -> Json:
    return {
        "connection_arn": arns.event_connection(found.name, found.connection_id),
        "connection_state": found.state,
        "creation_time": _seconds(found.created_at),
        "last_modified_time": _seconds(found.changed_at),
        "last_authorized_time": _seconds(found.authorized_at),
    }


def _destination_state(found: ApiDestination, arns: Arns) -> Json:
    return {
        "api_destination_arn": arns.api_destination(found.name, found.destination_id),
        "api_destination_state": found.state,
        "creation_time": _seconds(found.created_at),
        "last_modified_time": _seconds(found.changed_at),
    }


def _destination(found: ApiDestination, arns: Arns) -> Json:
    return {
        "name": found.name,
        "connection_arn": arns.event_connection(found.connection, found.connection_id),
        "invocation_endpoint": found.endpoint,
        "http_method": found.http_method,
        "invocation_rate_limit_per_second": found.rate_limit,
        **_destination_state(found, arns),
    }


def _archive_state(found: Archive, arns: Arns) -> Json:
    return {
        "archive_arn": arns.event_archive(found.name),
        "state": ENABLED,
        "creation_time": _seconds(found.created_at),
    }


def _archive(found: Archive, arns: Arns) -> Json:
    return {
        "archive_name": found.name,
        "event_source_arn": arns.event_bus(found.bus),
        "state": ENABLED,
        "retention_days": found.retention_days,
        "creation_time": _seconds(found.created_at),
    }


def _replay_state(found: Replay, arns: Arns) -> Json:
    return {
        "replay_arn": arns.event_replay(found.name),
        "state": found.state,
        "state_reason": found.state_reason,
    }


def _replay(found: Replay, arns: Arns) -> Json:
    def optional(at: datetime | None) -> float | None:
        return None if at is None else _seconds(at)

    return {
        "replay_name": found.name,
        "event_source_arn": arns.event_archive(found.archive),
        "state": found.state,
        "state_reason": found.state_reason,
        "event_start_time": _seconds(found.begin_at),
        "event_end_time": _seconds(found.end_at),
        "event_last_replayed_time": optional(found.last_event_at),
        "replay_start_time": _seconds(found.started_at),
        "replay_end_time": optional(found.ended_at),
    }
