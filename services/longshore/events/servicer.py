"""EventBridgeService on the wire: check, call, convert."""

from typing import Any

import grpc
from google.protobuf.json_format import MessageToDict

from longshore.domain.arn import REGION, Arns
from longshore.domain.errors import InvalidRequest
from longshore.domain.events.rule import Rule
from longshore.events.rules import Rules, matches
from longshore.v1 import event_bridge_service_pb2 as pb
from longshore.v1 import event_bridge_service_pb2_grpc

Context = grpc.aio.ServicerContext[Any, Any]

#: Metadata: region for ARNs in answers.
REGION_KEY = "x-longshore-region"


class EventBridgeServicer(event_bridge_service_pb2_grpc.EventBridgeServiceServicer):
    """One method per AWS operation."""

    def __init__(self, arns: Arns, rules: Rules) -> None:
        self._arns = arns
        self._rules = rules

    def _arns_for(self, context: Context) -> Arns:
        """ARNs for the caller; asked for before anything is changed, since it may refuse."""
        for key, region in context.invocation_metadata() or ():
            if key == REGION_KEY:
                if not isinstance(region, str) or REGION.fullmatch(region) is None:
                    raise InvalidRequest(f"{REGION_KEY} is not the name of a region.")
                return Arns(self._arns.account, region)
        return self._arns

    async def PutRule(self, request: pb.PutRuleRequest, context: Context) -> pb.PutRuleResponse:
        """Creates or replaces a rule."""
        arns = self._arns_for(context)
        rule = await self._rules.put(MessageToDict(request))
        return pb.PutRuleResponse(rule_arn=arns.event_rule(rule.bus, rule.name))

    async def DescribeRule(
        self, request: pb.DescribeRuleRequest, context: Context
    ) -> pb.DescribeRuleResponse:
        """Answers a rule."""
        arns = self._arns_for(context)
        rule = await self._rules.describe(MessageToDict(request))
        return pb.DescribeRuleResponse(created_by=arns.account, **_rule(rule, arns))

    async def ListRules(
        self, request: pb.ListRulesRequest, context: Context
    ) -> pb.ListRulesResponse:
        """Answers a page of the rules of a bus."""
        arns = self._arns_for(context)
        page = await self._rules.list_rules(MessageToDict(request))
        return pb.ListRulesResponse(
            rules=[pb.Rule(**_rule(rule, arns)) for rule in page.items],
            next_token=page.next_token,
        )

    async def DeleteRule(
        self, request: pb.DeleteRuleRequest, context: Context
    ) -> pb.DeleteRuleResponse:
        """Deletes a rule."""
        await self._rules.delete(MessageToDict(request))
        return pb.DeleteRuleResponse()

    async def TestEventPattern(
        self, request: pb.TestEventPatternRequest, context: Context
    ) -> pb.TestEventPatternResponse:
        """Says whether an event matches a pattern."""
        return pb.TestEventPatternResponse(result=matches(MessageToDict(request)))


def _rule(rule: Rule, arns: Arns) -> dict[str, Any]:
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
    }
