"""Event buses: created, changed, deleted, described, listed; tags of buses and rules."""

from collections.abc import Mapping, Sequence

from longshore.domain.checks import TAGS_MAX, Json
from longshore.domain.errors import NotFound, PreconditionFailed
from longshore.domain.events import members
from longshore.domain.events.members import BUS_NAME, BUS_NAME_MAX, constraint, invalid
from longshore.domain.events.reference import bus_name, parse_arn, rule_name
from longshore.domain.events.rule import DEFAULT_BUS, EventBus
from longshore.domain.events.target import check_dead_letter
from longshore.domain.page import Page, decode_token, encode_token
from longshore.events.rules import no_bus, too_many
from longshore.state.events import bus as table
from longshore.state.events import rule as rules
from longshore.state.pool import Connection, Pool, connection, transaction

_SCOPE = "event buses"
#: As at AWS.
BUSES_MAX = 100


class Buses:
    """Use cases of event buses."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def create(self, request: Json) -> EventBus:
        """Creates a bus.

        Raises:
            InvalidRequest: a member is wrong.
            LimitExceeded: there are as many as there may be.
            PreconditionFailed: its name is taken.
        """
        name = _new_name(request)
        _check(request)
        tags = members.tags(request)
        async with transaction(self._pool) as conn:
            if await table.count_buses(conn) >= BUSES_MAX:
                raise too_many()
            made = await table.insert_bus(
                conn,
                name,
                request.get("Description") or None,
                request.get("DeadLetterConfig", {}).get("Arn"),
                tags,
            )
            if made is None:
                raise PreconditionFailed(
                    f"Event bus {name} already exists.", code="ResourceAlreadyExistsException"
                )
        return made

    async def update(self, request: Json) -> EventBus:
        """Changes the members given.

        Raises:
            InvalidRequest: a member is wrong.
            NotFound: there is no such bus.
        """
        name = bus_name(request.get("Name"), "Name")
        _check(request)
        async with transaction(self._pool) as conn:
            known = await table.lock_bus(conn, name)
            if known is None:
                raise no_bus(name)
            dead_letter = request.get("DeadLetterConfig")
            await table.update_bus(
                conn,
                name,
                request.get("Description", known.description) or None,
                known.dead_letter_arn if dead_letter is None else dead_letter.get("Arn"),
            )
            found = await table.read_bus(conn, name)
        assert found is not None  # noqa: S101 - it is locked
        return found

    async def describe(self, request: Json) -> EventBus:
        """A bus.

        Raises:
            NotFound: there is none of that name.
        """
        name = bus_name(request.get("Name"), "Name")
        async with connection(self._pool) as conn:
            found = await table.read_bus(conn, name)
        if found is None:
            raise no_bus(name)
        return found

    async def list_buses(self, request: Json) -> Page[EventBus]:
        """A page of the buses."""
        prefix = members.prefix(request, BUS_NAME_MAX, BUS_NAME)
        size, token = members.page(request)
        after = str(decode_token(token, _SCOPE, [BUS_NAME])[0]) if token else ""
        async with connection(self._pool) as conn:
            found = await table.list_buses(conn, prefix, after=after, limit=size + 1)
        more = encode_token(_SCOPE, [found[size - 1].name]) if len(found) > size else None
        return Page(found[:size], more)

    async def delete(self, request: Json) -> None:
        """Deletes a bus; one that is not there is deleted already.

        Raises:
            InvalidRequest: it is the default one, or has rules or archives.
        """
        if request.get("Name") is None:
            raise constraint(None, "Name", "not be null")
        name = bus_name(request["Name"], "Name")
        if name == DEFAULT_BUS:
            raise invalid("Cannot delete event bus default.", "Name")
        async with transaction(self._pool) as conn:
            if await table.lock_bus(conn, name) is None:
                return
            by_rules, by_archives = await table.is_used(conn, name)
            if by_rules or by_archives:
                what = "rules" if by_rules else "archives"
                raise invalid(f"Event bus {name} has {what}; delete them first.", "Name")
            await table.delete_bus(conn, name)


def _new_name(request: Json) -> str:
    name: str | None = request.get("Name")
    if name is None:
        raise constraint(None, "Name", "not be null")
    members.text(name, "Name", BUS_NAME_MAX, BUS_NAME)
    if "/" in name:
        raise invalid("Event bus name must not contain '/'.", "Name")
    return name


def _check(request: Json) -> None:
    members.text(request.get("Description"), "Description", members.DESCRIPTION_MAX, least=0)
    check_dead_letter(request.get("DeadLetterConfig"), "DeadLetterConfig")


class Tags:
    """Use cases of the tags of buses and rules."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def add(self, request: Json) -> None:
        """Adds tags or replaces their values; all others stay.

        Raises:
            InvalidRequest: a member is wrong.
            NotFound: there is no such resource.
        """
        tags = members.tags(request)
        async with transaction(self._pool) as conn:
            merged = {**await _tags(conn, request), **tags}
            if len(merged) > TAGS_MAX:
                raise invalid(f"There would be more than {TAGS_MAX} tags.", "Tags")
            await _write(conn, request, merged)

    async def remove(self, request: Json) -> None:
        """Removes tags by key; keys that are not there are passed over.

        Raises:
            NotFound: there is no such resource.
        """
        keys: Sequence[str] = request.get("TagKeys", ())
        members.count(keys, "TagKeys", 1, TAGS_MAX)
        async with transaction(self._pool) as conn:
            known = await _tags(conn, request)
            left = {key: value for key, value in known.items() if key not in keys}
            await _write(conn, request, left)

    async def read(self, request: Json) -> dict[str, str]:
        """All tags of a resource, in order of their keys.

        Raises:
            NotFound: there is no such resource.
        """
        async with transaction(self._pool) as conn:
            return dict(sorted((await _tags(conn, request)).items()))


async def _tags(conn: Connection, request: Json) -> Mapping[str, str]:
    """The tags of a resource, held still until the transaction ends."""
    arn = request.get("ResourceARN")
    if arn is None:
        raise constraint(None, "ResourceARN", "not be null")
    members.text(arn, "ResourceARN", members.ARN_MAX)
    parsed, rule = parse_arn(arn), rule_name(arn)
    if rule is not None:
        found = await rules.lock_rule(conn, *rule)
        if found is None:
            raise NotFound(f"Rule {rule[1]} does not exist on EventBus {rule[0]}.")
        return found.tags
    if parsed is None or parsed[0] != "event-bus":
        raise invalid(
            f"Parameter ResourceARN is not valid: {arn[:256]!r} is not the ARN of a rule or an "
            "event bus.",
            "ResourceARN",
        )
    bus = await table.lock_bus(conn, parsed[1])
    if bus is None:
        raise no_bus(parsed[1])
    return bus.tags


async def _write(conn: Connection, request: Json, tags: Mapping[str, str]) -> None:
    rule = rule_name(request["ResourceARN"])
    if rule is not None:
        await rules.write_tags(conn, *rule, tags)
    else:
        await table.write_tags(conn, bus_name(request["ResourceARN"]), tags)
