"""Archives and replays: created, changed, ended, deleted, described, listed."""

from dataclasses import replace
from datetime import UTC, datetime

from longshore.domain.checks import Json
from longshore.domain.errors import NotFound, PreconditionFailed
from longshore.domain.events import members
from longshore.domain.events.archive import (
    ARCHIVE_NAME_MAX,
    ARCHIVE_STATES,
    ENABLED,
    FILTER_MAX,
    REPLAY_STATES,
    REPLAYS_MAX,
    RETENTION_DAYS_MAX,
    Archive,
    Replay,
)
from longshore.domain.events.members import constraint, invalid
from longshore.domain.events.pattern import PATTERN_MAX, compile_pattern
from longshore.domain.events.reference import parse_arn, rule_name
from longshore.domain.page import Page, decode_token, encode_token
from longshore.events.rules import no_bus, too_many
from longshore.state.events import archive as table
from longshore.state.events import bus as buses
from longshore.state.events import rule as rules
from longshore.state.pool import Connection, Pool, connection, transaction

_ARCHIVES = "archives"
_REPLAYS = "replays"
#: As at AWS.
ARCHIVES_MAX = 100
_LAST_SECOND = 253_402_300_799


class Archives:
    """Use cases of archives."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def create(self, request: Json) -> Archive:
        """Creates an archive.

        Raises:
            InvalidRequest: a member is wrong.
            LimitExceeded: there are as many as there may be.
            NotFound: there is no such bus.
            PreconditionFailed: its name is taken.
        """
        name = members.name(request, "ArchiveName", ARCHIVE_NAME_MAX)
        bus = _named(request, "EventSourceArn", "event-bus")
        _check(request)
        async with transaction(self._pool) as conn:
            if await table.count_archives(conn) >= ARCHIVES_MAX:
                raise too_many()
            if await buses.lock_bus(conn, bus) is None:
                raise no_bus(bus)
            made = await table.insert_archive(
                conn,
                name,
                bus,
                request.get("Description") or None,
                request.get("EventPattern") or None,
                request.get("RetentionDays", 0),
            )
            if made is None:
                raise PreconditionFailed(
                    f"Archive {name} already exists.", code="ResourceAlreadyExistsException"
                )
        return made

    async def update(self, request: Json) -> Archive:
        """Changes the members given.

        Raises:
            InvalidRequest: a member is wrong.
            NotFound: there is no such archive.
        """
        name = members.name(request, "ArchiveName", ARCHIVE_NAME_MAX)
        _check(request)
        async with transaction(self._pool) as conn:
            known = await table.lock_archive(conn, name)
            if known is None:
                raise _no_archive(name)
            changed = replace(
                known,
                description=request.get("Description", known.description) or None,
                pattern=request.get("EventPattern", known.pattern) or None,
                retention_days=request.get("RetentionDays", known.retention_days),
            )
            await table.update_archive(conn, changed)
        return changed

    async def describe(self, request: Json) -> Archive:
        """An archive.

        Raises:
            NotFound: there is none of that name.
        """
        name = members.name(request, "ArchiveName", ARCHIVE_NAME_MAX)
        async with connection(self._pool) as conn:
            found = await table.read_archive(conn, name)
        if found is None:
            raise _no_archive(name)
        return found

    async def delete(self, request: Json) -> None:
        """Deletes an archive.

        Raises:
            NotFound: there is none of that name.
        """
        name = members.name(request, "ArchiveName", ARCHIVE_NAME_MAX)
        async with transaction(self._pool) as conn:
            if not await table.delete_archive(conn, name):
                raise _no_archive(name)

    async def list_archives(self, request: Json) -> Page[Archive]:
        """A page of the archives.

        Raises:
            InvalidRequest: more than one of prefix, bus and state is given.
        """
        _only_one(request)
        prefix, bus = members.prefix(request, ARCHIVE_NAME_MAX), None
        if request.get("EventSourceArn") is not None:
            bus = _named(request, "EventSourceArn", "event-bus")
        members.choice(request.get("State"), "State", ARCHIVE_STATES)
        size, token = members.page(request)
        after = str(decode_token(token, _ARCHIVES, [members.NAME])[0]) if token else ""
        if request.get("State") not in (None, ENABLED):
            return Page([])
        async with connection(self._pool) as conn:
            found = await table.list_archives(conn, prefix, bus, after=after, limit=size + 1)
        more = encode_token(_ARCHIVES, [found[size - 1].name]) if len(found) > size else None
        return Page(found[:size], more)


class Replays:
    """Use cases of replays."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def start(self, request: Json) -> Replay:
        """Puts a replay on record; it begins by itself.

        Raises:
            InvalidRequest: a member is wrong.
            LimitExceeded: as many go on as may.
            NotFound: there is no such archive, or no such rule.
            PreconditionFailed: its name is taken.
        """
        name = members.name(request, "ReplayName")
        members.text(request.get("Description"), "Description", members.DESCRIPTION_MAX, least=0)
        archive_name = _named(request, "EventSourceArn", "archive")
        begin_at, end_at = _time(request, "EventStartTime"), _time(request, "EventEndTime")
        if begin_at >= end_at:
            raise invalid(
                "Parameter EventEndTime is not valid. Reason: EventStartTime must be before "
                "EventEndTime.",
                "EventEndTime",
            )
        destination: Json | None = request.get("Destination")
        if destination is None:
            raise constraint(None, "Destination", "not be null")
        bus = _named(destination, "Arn", "event-bus", path="Destination.")
        filters = destination.get("FilterArns", [])
        members.count(filters, "Destination.FilterArns", 0, FILTER_MAX)
        async with transaction(self._pool) as conn:
            archive = await table.lock_archive(conn, archive_name)
            if archive is None:
                raise _no_archive(archive_name)
            if archive.bus != bus:
                raise invalid(
                    "Parameter Destination.Arn is not valid. Reason: Cross event bus replay is not "
                    "permitted.",
                    "Destination.Arn",
                )
            await _check_filters(conn, bus, filters)
            if await table.count_live_replays(conn) >= REPLAYS_MAX:
                raise too_many()
            made = await table.insert_replay(
                conn, name, archive, request.get("Description") or None, filters, begin_at, end_at
            )
            if made is None:
                raise PreconditionFailed(
                    f"Replay {name} already exists.", code="ResourceAlreadyExistsException"
                )
        return made

    async def describe(self, request: Json) -> Replay:
        """A replay.

        Raises:
            NotFound: there is none of that name.
        """
        name = members.name(request, "ReplayName")
        async with connection(self._pool) as conn:
            found = await table.read_replay(conn, name)
        if found is None:
            raise _no_replay(name)
        return found

    async def cancel(self, request: Json) -> Replay:
        """Ends a replay early.

        Raises:
            NotFound: there is none of that name.
            PreconditionFailed: it does not go on.
        """
        name = members.name(request, "ReplayName")
        async with transaction(self._pool) as conn:
            cancelled = await table.cancel_replay(conn, name)
            found = await table.read_replay(conn, name)
        if found is None:
            raise _no_replay(name)
        if not cancelled:
            raise PreconditionFailed(
                f"Replay {name} is not in a valid state for this operation: it is {found.state}.",
                code="IllegalStatusException",
            )
        return found

    async def list_replays(self, request: Json) -> Page[Replay]:
        """A page of the replays.

        Raises:
            InvalidRequest: more than one of prefix, archive and state is given.
        """
        _only_one(request)
        prefix, state, archive = members.prefix(request), request.get("State"), None
        if request.get("EventSourceArn") is not None:
            archive = _named(request, "EventSourceArn", "archive")
        members.choice(state, "State", REPLAY_STATES)
        size, token = members.page(request)
        after = str(decode_token(token, _REPLAYS, [members.NAME])[0]) if token else ""
        async with connection(self._pool) as conn:
            found = await table.list_replays(
                conn, prefix, state, archive, after=after, limit=size + 1
            )
        more = encode_token(_REPLAYS, [found[size - 1].name]) if len(found) > size else None
        return Page(found[:size], more)


def _check(request: Json) -> None:
    members.text(request.get("Description"), "Description", members.DESCRIPTION_MAX, least=0)
    members.number(request.get("RetentionDays"), "RetentionDays", 0, RETENTION_DAYS_MAX)
    pattern = request.get("EventPattern")
    members.text(pattern, "EventPattern", PATTERN_MAX, least=0)
    if pattern:
        compile_pattern(pattern)


def _only_one(request: Json) -> None:
    """AWS takes one filter of a listing."""
    names = ("NamePrefix", "EventSourceArn", "State")
    given = [name for name in names if request.get(name) is not None]
    if len(given) > 1:
        raise invalid(
            "At most one filter is allowed for the list: EventSourceArn, State or NamePrefix.",
            given[1],
        )


def _named(given: Json, member: str, kind: str, path: str = "") -> str:
    """The name in an ARN of a kind."""
    arn: str | None = given.get(member)
    if arn is None:
        raise constraint(None, path + member, "not be null")
    members.text(arn, path + member, members.ARN_MAX)
    parsed = parse_arn(arn)
    if parsed is None or parsed[0] != kind:
        raise invalid(
            f"Parameter {path}{member} is not valid. Reason: {arn[:256]!r} is not the ARN of an "
            f"{kind}.",
            path + member,
        )
    return parsed[1]


def _time(request: Json, member: str) -> datetime:
    """Seconds since 1970 as a time."""
    seconds = request.get(member)
    if seconds is None:
        raise constraint(None, member, "not be null")
    if isinstance(seconds, str) or not 0 <= seconds <= _LAST_SECOND:
        raise invalid(f"Parameter {member} is not valid: it is not a time since 1970.", member)
    return datetime.fromtimestamp(seconds, UTC)


async def _check_filters(conn: Connection, bus: str, arns: list[str]) -> None:
    for index, arn in enumerate(arns):
        member = f"Destination.FilterArns[{index}]"
        members.text(arn, member, members.ARN_MAX)
        named = rule_name(arn)
        if named is None or named[0] != bus:
            raise invalid(
                f"Parameter {member} is not valid: it is not the ARN of a rule of bus {bus}.",
                member,
            )
        if await rules.read_rule(conn, *named) is None:
            raise NotFound(f"Rule {named[1]} does not exist on EventBus {bus}.")


def _no_archive(name: str) -> NotFound:
    return NotFound(f"Archive {name} does not exist.")


def _no_replay(name: str) -> NotFound:
    return NotFound(f"Replay {name} does not exist.")
