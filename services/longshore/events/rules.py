"""Rules: created, replaced, deleted, described, listed."""

import json
import re

from longshore.domain.checks import Json
from longshore.domain.errors import InvalidRequest, LimitExceeded, NotFound
from longshore.domain.events import members
from longshore.domain.events.pattern import compile_pattern
from longshore.domain.events.reference import bus_name
from longshore.domain.events.request import rule_of
from longshore.domain.events.rule import Rule
from longshore.domain.page import Page, decode_token, encode_token
from longshore.state.events import rule as table
from longshore.state.pool import Connection, Pool, connection, transaction

_SCOPE = "rules"
#: As AWS has it.
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
                raise LimitExceeded("The requested resource exceeds the maximum number allowed.")
            if not await table.put_rule(conn, rule):
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
                raise await _absent(conn, bus, name)
        return found

    async def list_rules(self, request: Json) -> Page[Rule]:
        """A page of the rules of a bus.

        Raises:
            NotFound: there is no such bus.
        """
        bus = bus_name(request.get("EventBusName"))
        prefix: str = request.get("NamePrefix", "")
        members.text(request.get("NamePrefix"), "NamePrefix", members.NAME_MAX, members.NAME)
        size, token = members.page(request)
        after = str(decode_token(token, _SCOPE, [_NAME])[0]) if token else ""
        async with connection(self._pool) as conn:
            found = await table.list_rules(conn, bus, prefix, after=after, limit=size + 1)
            if not found and not await table.bus_exists(conn, bus):
                raise no_bus(bus)
        more = encode_token(_SCOPE, [found[size - 1].name]) if len(found) > size else None
        return Page(found[:size], more)

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
                raise members.invalid("Rule can't be deleted since it has targets.", "Name")
            await table.delete_rule(conn, bus, name)


_NAME = re.compile(r"[._A-Za-z0-9-]{1,64}")


def _which(request: Json) -> tuple[str, str]:
    """Name and bus of the rule that a request is about."""
    return members.name(request), bus_name(request.get("EventBusName"))


async def _absent(conn: Connection, bus: str, name: str) -> NotFound:
    """Why a rule was not found."""
    if not await table.bus_exists(conn, bus):
        return no_bus(bus)
    return NotFound(f"Rule {name} does not exist on EventBus {bus}.")


def no_bus(bus: str) -> NotFound:
    """There is no such bus."""
    return NotFound(f"Event bus {bus} does not exist.")


def matches(request: Json) -> bool:
    """Whether an event matches a pattern.

    Raises:
        InvalidRequest: one of them is none.
    """
    members.text(request.get("EventPattern"), "EventPattern", 4096)
    pattern = compile_pattern(request["EventPattern"])
    try:
        event = json.loads(request["Event"])
    except (ValueError, RecursionError):
        event = None
    if type(event) is not dict or any(name not in event for name in _ENVELOPE):
        raise InvalidRequest(
            "Parameter Event is not valid.", member="Event", code="ValidationException"
        )
    return pattern.matches(event)
