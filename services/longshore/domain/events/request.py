"""What may be asked of rules."""

from longshore.domain.checks import Json
from longshore.domain.events import members
from longshore.domain.events.members import invalid
from longshore.domain.events.pattern import PATTERN_MAX, compile_pattern
from longshore.domain.events.reference import bus_name
from longshore.domain.events.rule import DEFAULT_BUS, ENABLED, STATES, Rule
from longshore.domain.events.schedule import parse_schedule

SCHEDULE_MAX = 256


def rule_of(request: Json) -> Rule:
    """The rule that PutRule asks for.

    Raises:
        InvalidRequest: a member is wrong.
    """
    name, bus = members.name(request), bus_name(request.get("EventBusName"))
    pattern, schedule = request.get("EventPattern") or None, request.get("ScheduleExpression")
    members.text(pattern, "EventPattern", PATTERN_MAX)
    members.text(schedule, "ScheduleExpression", SCHEDULE_MAX, least=0)
    members.choice(request.get("State"), "State", STATES)
    members.text(request.get("Description"), "Description", members.DESCRIPTION_MAX, least=0)
    members.text(request.get("RoleArn"), "RoleArn", members.ARN_MAX)
    if not pattern and not schedule:
        raise invalid(
            "Parameter(s) EventPattern or ScheduleExpression must be specified.", "EventPattern"
        )
    if schedule:
        if bus != DEFAULT_BUS:
            raise invalid(
                "ScheduleExpression is supported only on the default event bus.",
                "ScheduleExpression",
            )
        parse_schedule(schedule)
    if pattern:
        compile_pattern(pattern)
    return Rule(
        bus=bus,
        name=name,
        pattern=pattern,
        schedule=schedule or None,
        state=request.get("State") or ENABLED,
        description=request.get("Description") or None,
        role_arn=request.get("RoleArn"),
        tags=members.tags(request),
    )
