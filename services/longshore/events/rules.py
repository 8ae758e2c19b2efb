"""Rules: created, replaced, put in force and out of it, deleted, described, listed."""

from dataclasses import replace
from datetime import UTC, datetime

from longshore.domain import strict_json
from longshore.domain.checks import Json
from longshore.domain.errors import LimitExceeded, NotFound
from longshore.domain.events import members
from longshore.domain.events.members import invalid
from longshore.domain.events.pattern import PATTERN_MAX, compile_pattern
from longshore.domain.events.reference import bus_name
from longshore.domain.events.request import rule_of
from longshore.domain.events.rule import DISABLED, ENABLED, Rule
from longshore.domain.events.schedule import parse_schedule
from longshore.domain.page import Page, decode_token, encode_token
from longshore.state.events import rule as table
from longshore.state.pool import Connection, Pool, connection, transaction

_SCOPE = "rules"
#: Of one bus, as at AWS.
RULES_MAX = 300
#: What an event must have to be one.
_ENVELOPE = ("id", "account", "source", "time", "region", "resources", "detail-type")


class Rules:
    """Use cases of rules."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def put(self, request: Json) -> Rule:
        """Creates a rule, or replaces it but for its tags and targets.

        Raises:
            InvalidRequest: a member is wrong.
            LimitExceeded: the bus has as many as it may.
            NotFound: there is no such bus.
        """
        rule = rule_of(request)
        async with transaction(self._pool) as conn:
            known = await table.lock_rule(conn, rule.bus, rule.name)
            if known is None and await table.count_rules(conn, rule.bus) >= RULES_MAX:
                raise too_many()
            due_at = _due_at(rule, known)
            if not await table.put_rule(conn, replace(rule, due_at=due_at)):
                raise no_bus(rule.bus)
        return rule

    async def describe(self, request: Json) -> Rule:
        """A rule.

        Raises:
            NotFound: there is none of that name, or no such bus.
        """
        name, bus = _which(request)
        async with connection(self._pool) as conn:
            found = await table.read_rule(conn, bus, name)
            if found is None:
                raise await no_rule(conn, bus, name)
        return found

    async def list_rules(self, request: Json) -> Page[Rule]:
        """A page of the rules of a bus.

        Raises:
            NotFound: there is no such bus.
        """
        bus, prefix = bus_name(request.get("EventBusName")), members.prefix(request)
        size, token = members.page(request)
        after = str(decode_token(token, _SCOPE, [members.NAME])[0]) if token else ""
        async with connection(self._pool) as conn:
            found = await table.list_rules(conn, bus, prefix, after=after, limit=size + 1)
            if not found and not await table.bus_exists(conn, bus):
                raise no_bus(bus)
        more = encode_token(_SCOPE, [found[size - 1].name]) if len(found) > size else None
        return Page(found[:size], more)

    async def switch(self, request: Json, *, is_enabled: bool) -> None:
        """Puts a rule in force or out of it; one that is so already stays as it is.

        Raises:
            NotFound: there is none of that name, or no such bus.
        """
        name, bus = _which(request)
        async with transaction(self._pool) as conn:
            known = await table.lock_rule(conn, bus, name)
            if known is None:
                raise await no_rule(conn, bus, name)
            if (known.state != DISABLED) == is_enabled:
                return
            rule = replace(known, state=ENABLED if is_enabled else DISABLED)
            await table.set_state(conn, bus, name, rule.state, _due_at(rule, known))

    async def delete(self, request: Json) -> None:
        """Deletes a rule; one that is not there is deleted already.

        Raises:
            InvalidRequest: it has targets.
            NotFound: there is no such bus.
        """
        name, bus = _which(request)
        async with transaction(self._pool) as conn:
            if await table.lock_rule(conn, bus, name) is None:
                if not await table.bus_exists(conn, bus):
                    raise no_bus(bus)
                return
            if await table.has_targets(conn, bus, name):
                raise invalid("Rule can't be deleted since it has targets.", "Name")
            await table.delete_rule(conn, bus, name)


def _due_at(rule: Rule, known: Rule | None) -> datetime | None:
    """When a rule's schedule makes an event next; one that goes on keeps its time."""
    if rule.schedule is None or rule.state == DISABLED:
        return None
    if known is not None and known.schedule == rule.schedule and known.state != DISABLED:
        return known.due_at
    due_at = parse_schedule(rule.schedule).first(datetime.now(UTC))
    if due_at is None:
        raise invalid(
            "Parameter ScheduleExpression is not valid: it has no time that is yet to come.",
            "ScheduleExpression",
        )
    return due_at


def _which(request: Json) -> tuple[str, str]:
    """Name and bus of the rule that a request is about."""
    return members.name(request), bus_name(request.get("EventBusName"))


async def no_rule(conn: Connection, bus: str, name: str) -> NotFound:
    """Why a rule was not found."""
    if not await table.bus_exists(conn, bus):
        return no_bus(bus)
    return NotFound(f"Rule {name} does not exist on EventBus {bus}.")


def no_bus(bus: str) -> NotFound:
    """There is no such bus."""
    return NotFound(f"Event bus {bus} does not exist.")


def too_many() -> LimitExceeded:
    """There are as many as there may be."""
    return LimitExceeded("The requested resource exceeds the maximum number allowed.")


def matches(request: Json) -> bool:
    """Whether an event matches a pattern.

    Raises:
        InvalidRequest: one of them is none.
    """
    for name in ("EventPattern", "Event"):
        if request.get(name) is None:
            raise members.constraint(None, name, "not be null")
    members.text(request["EventPattern"], "EventPattern", PATTERN_MAX, least=0)
    pattern = compile_pattern(request["EventPattern"])
    try:
        event = strict_json.decode(request["Event"])
    except (ValueError, RecursionError):
        event = None
    if type(event) is not dict or any(name not in event for name in _ENVELOPE):
        raise invalid("Parameter Event is not valid.", "Event")
    return pattern.matches(event)
