"""Targets of rules: added, replaced, removed, listed."""

from collections.abc import Sequence
from dataclasses import dataclass

from longshore.domain.checks import Json
from longshore.domain.events import members
from longshore.domain.events.reference import bus_name, is_of, parse_arn
from longshore.domain.events.target import (
    API_DESTINATION,
    EVENT_BUS,
    RULE_MAX,
    Target,
    targets_of,
)
from longshore.domain.page import Page, decode_token, encode_token
from longshore.events.rules import no_bus, no_rule, too_many
from longshore.state.events import connection as connections
from longshore.state.events import rule as rules
from longshore.state.events import target as table
from longshore.state.pool import Connection, Pool, connection, transaction

_TARGETS = "targets"
_NAMES = "rules of a target"
_IDS_MAX = 100


@dataclass(frozen=True, slots=True)
class Failure:
    """An entry of a request that was refused by itself."""

    target_id: str
    code: str
    message: str


class Targets:
    """Use cases of targets."""

    def __init__(self, pool: Pool, account: str) -> None:
        """Makes the use cases.

        Args:
            pool: connections to the database.
            account: of the installation; what is of EventBridge's in others cannot be a target.
        """
        self._pool = pool
        self._account = account

    async def put(self, request: Json) -> list[Failure]:
        """Adds targets to a rule, or replaces those of the same ids; returns those refused.

        Raises:
            InvalidRequest: a member is wrong.
            LimitExceeded: the rule would have more targets than it may.
            NotFound: there is no such rule.
            Unimplemented: there can be no such target.
        """
        name, bus = members.name(request, "Rule"), bus_name(request.get("EventBusName"))
        targets = targets_of(request.get("Targets", ()))
        async with transaction(self._pool) as conn:
            if await rules.lock_rule(conn, bus, name) is None:
                raise await no_rule(conn, bus, name)
            failures = [
                failure
                for one in targets
                if (failure := await _missing(conn, one, self._account)) is not None
            ]
            refused = {failure.target_id for failure in failures}
            taken = [one for one in targets if one.target_id not in refused]
            ids = await table.target_ids(conn, bus, name)
            if len(ids | {one.target_id for one in taken}) > RULE_MAX:
                raise too_many()
            await table.put_targets(conn, bus, name, taken)
            await rules.tell(conn)
        return failures

    async def remove(self, request: Json) -> list[Failure]:
        """Removes targets from a rule; returns those that were not there.

        Raises:
            InvalidRequest: a member is wrong.
            NotFound: there is no such rule.
        """
        name, bus = members.name(request, "Rule"), bus_name(request.get("EventBusName"))
        ids: Sequence[str] = request.get("Ids", ())
        members.count(ids, "Ids", 1, _IDS_MAX)
        for index, one in enumerate(ids):
            members.text(one, f"Ids[{index}]", members.NAME_MAX, members.NAME)
        async with transaction(self._pool) as conn:
            if await rules.lock_rule(conn, bus, name) is None:
                raise await no_rule(conn, bus, name)
            removed = await table.remove_targets(conn, bus, name, ids)
            await rules.tell(conn)
        return [
            Failure(one, "ResourceNotFoundException", f"Rule {name} has no target {one}.")
            for one in dict.fromkeys(ids)
            if one not in removed
        ]

    async def list_targets(self, request: Json) -> Page[Target]:
        """A page of the targets of a rule.

        Raises:
            NotFound: there is no such rule.
        """
        name, bus = members.name(request, "Rule"), bus_name(request.get("EventBusName"))
        size, token = members.page(request)
        after = str(decode_token(token, _TARGETS, [members.NAME])[0]) if token else ""
        async with connection(self._pool) as conn:
            found = await table.list_targets(conn, bus, name, after=after, limit=size + 1)
            if not found and await rules.read_rule(conn, bus, name) is None:
                raise await no_rule(conn, bus, name)
        more = encode_token(_TARGETS, [found[size - 1].target_id]) if len(found) > size else None
        return Page(found[:size], more)

    async def list_rules(self, request: Json) -> Page[str]:
        """A page of the names of the rules that have a target.

        Raises:
            NotFound: there is no such bus.
        """
        arn, bus = request.get("TargetArn"), bus_name(request.get("EventBusName"))
        if arn is None:
            raise members.constraint(None, "TargetArn", "not be null")
        members.text(arn, "TargetArn", members.ARN_MAX)
        size, token = members.page(request)
        after = str(decode_token(token, _NAMES, [members.NAME])[0]) if token else ""
        async with connection(self._pool) as conn:
            found = await table.rules_of_target(conn, bus, arn, after=after, limit=size + 1)
            if not found and not await rules.bus_exists(conn, bus):
                raise no_bus(bus)
        more = encode_token(_NAMES, [found[size - 1]]) if len(found) > size else None
        return Page(found[:size], more)


async def _missing(conn: Connection, target: Target, account: str) -> Failure | None:
    """Why a target of EventBridge's own kinds cannot be one: it is not there."""
    if await _is_there(conn, target, account):
        return None
    return Failure(
        target.target_id, "ResourceNotFoundException", f"{target.arn[:512]} does not exist."
    )


async def _is_there(conn: Connection, target: Target, account: str) -> bool:
    parsed = parse_arn(target.arn)
    if parsed is None:
        return True
    kind, name = parsed
    if not is_of(target.arn, account):
        return False
    if kind == EVENT_BUS:
        return await rules.bus_exists(conn, name)
    assert kind == API_DESTINATION  # noqa: S101 - of EventBridge's there are two kinds
    name, _, own_id = name.partition("/")
    destination = await connections.read_destination(conn, name)
    return destination is not None and str(destination.destination_id) == own_id
