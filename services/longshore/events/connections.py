"""Connections and API destinations: created, changed, deleted, described, listed."""

import asyncio
from dataclasses import replace

from longshore.domain.checks import Json
from longshore.domain.errors import InvalidRequest, NotFound, PreconditionFailed
from longshore.domain.events import members
from longshore.domain.events.connection import (
    AUTHORIZED,
    CONNECTION_STATES,
    DEAUTHORIZED,
    METHODS,
    RATE_DEFAULT,
    RATE_MAX,
    ApiDestination,
    EventConnection,
    check_connection,
    check_endpoint,
    merged,
    of_type,
    parts,
    whole,
)
from longshore.domain.events.members import constraint, invalid
from longshore.domain.events.reference import parse_arn
from longshore.domain.page import Page, decode_token, encode_token
from longshore.events.rules import too_many
from longshore.events.sealing import Sealer
from longshore.state.events import connection as table
from longshore.state.pool import Connection, Pool, connection, transaction

_CONNECTIONS = "connections"
_DESTINATIONS = "API destinations"
#: As at AWS, of each.
CONNECTIONS_MAX = 3_000


class Connections:
    """Use cases of connections."""

    def __init__(self, pool: Pool, sealer: Sealer) -> None:
        self._pool = pool
        self._sealer = sealer

    async def create(self, request: Json) -> EventConnection:
        """Creates a connection.

        Raises:
            InvalidRequest: a member is wrong.
            LimitExceeded: there are as many as there may be.
            PreconditionFailed: its name is taken, or secrets cannot be encrypted.
        """
        name = members.name(request)
        _check_description(request)
        kind, parameters = request.get("AuthorizationType"), request.get("AuthParameters")
        check_connection(kind, parameters, is_new=True)
        assert kind is not None  # noqa: S101 - just looked at
        assert parameters is not None  # noqa: S101 - just looked at
        shown, secret = parts(parameters)
        sealed = await asyncio.to_thread(self._sealer.seal, secret)
        async with transaction(self._pool) as conn:
            if await table.count_connections(conn) >= CONNECTIONS_MAX:
                raise too_many()
            made = await table.insert_connection(
                conn, name, request.get("Description") or None, kind, shown, sealed
            )
            if made is None:
                raise PreconditionFailed(
                    f"Connection {name} already exists.", code="ResourceAlreadyExistsException"
                )
        return made

    async def update(self, request: Json) -> EventConnection:
        """Changes the members given; with new parameters it is authorised again.

        Raises:
            InvalidRequest: a member is wrong.
            NotFound: there is no such connection.
            PreconditionFailed: secrets cannot be encrypted, or those known not be read.
        """
        name = members.name(request)
        _check_description(request)
        change = request.get("AuthParameters")
        async with transaction(self._pool) as conn:
            known = await _locked(conn, name)
            kind = request.get("AuthorizationType", known.authorization_type)
            changed = replace(
                known,
                description=request.get("Description", known.description) or None,
                authorization_type=kind,
            )
            if change is not None or kind != known.authorization_type:
                secret, lost = await self._known(known)
                parameters = of_type(
                    merged(whole(known.parameters, secret), change or {}), str(kind)
                )
                try:
                    check_connection(kind, parameters, is_new=False)
                except InvalidRequest as error:
                    raise lost or error from None
                shown, secret = parts(parameters)
                sealed = await asyncio.to_thread(self._sealer.seal, secret)
                changed = replace(changed, parameters=shown, secret=sealed, state=AUTHORIZED)
            return await table.update_connection(
                conn, changed, is_authorized_anew=changed.secret != known.secret
            )

    async def _known(self, found: EventConnection) -> tuple[Json, PreconditionFailed | None]:
        """What is secret of a connection; or nothing, and why it cannot be read any more."""
        try:
            return await asyncio.to_thread(self._sealer.unseal, found.secret), None
        except PreconditionFailed as error:
            return {}, error

    async def deauthorize(self, request: Json) -> EventConnection:
        """Forgets the secrets of a connection.

        Raises:
            NotFound: there is no such connection.
        """
        name = members.name(request)
        sealed = await asyncio.to_thread(self._sealer.seal, {})
        async with transaction(self._pool) as conn:
            known = await _locked(conn, name)
            changed = replace(known, secret=sealed, state=DEAUTHORIZED)
            return await table.update_connection(conn, changed, is_authorized_anew=False)

    async def describe(self, request: Json) -> EventConnection:
        """A connection.

        Raises:
            NotFound: there is none of that name.
        """
        name = members.name(request)
        async with connection(self._pool) as conn:
            found = await table.read_connection(conn, name)
        if found is None:
            raise _no_connection(name)
        return found

    async def delete(self, request: Json) -> EventConnection:
        """Deletes a connection; returns it as it was.

        Raises:
            InvalidRequest: an API destination uses it.
            NotFound: there is none of that name.
        """
        name = members.name(request)
        async with transaction(self._pool) as conn:
            known = await _locked(conn, name)
            user = await table.destination_of(conn, name)
            if user is not None:
                raise invalid(
                    f"Connection {name} is used by API destination {user}; delete that first, or "
                    "give it another connection.",
                    "Name",
                )
            await table.delete_connection(conn, name)
        return known

    async def list_connections(self, request: Json) -> Page[EventConnection]:
        """A page of the connections."""
        prefix, state = members.prefix(request), request.get("ConnectionState")
        members.choice(state, "ConnectionState", CONNECTION_STATES)
        size, token = members.page(request)
        after = str(decode_token(token, _CONNECTIONS, [members.NAME])[0]) if token else ""
        async with connection(self._pool) as conn:
            found = await table.list_connections(conn, prefix, state, after=after, limit=size + 1)
        more = encode_token(_CONNECTIONS, [found[size - 1].name]) if len(found) > size else None
        return Page(found[:size], more)


class ApiDestinations:
    """Use cases of API destinations."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def create(self, request: Json) -> ApiDestination:
        """Creates an API destination.

        Raises:
            InvalidRequest: a member is wrong.
            LimitExceeded: there are as many as there may be.
            NotFound: there is no such connection.
            PreconditionFailed: its name is taken.
        """
        name = members.name(request)
        for member in ("ConnectionArn", "InvocationEndpoint", "HttpMethod"):
            if request.get(member) is None:
                raise constraint(None, member, "not be null")
        _check_destination(request)
        async with transaction(self._pool) as conn:
            if await table.count_destinations(conn) >= CONNECTIONS_MAX:
                raise too_many()
            made = await table.insert_destination(
                conn,
                name,
                request.get("Description") or None,
                await _kept(conn, request["ConnectionArn"]),
                request["InvocationEndpoint"],
                request["HttpMethod"],
                request.get("InvocationRateLimitPerSecond", RATE_DEFAULT),
            )
            if made is None:
                raise PreconditionFailed(
                    f"An api-destination '{name}' already exists.",
                    code="ResourceAlreadyExistsException",
                )
        return made

    async def update(self, request: Json) -> ApiDestination:
        """Changes the members given; it is ACTIVE afterwards.

        Raises:
            InvalidRequest: a member is wrong.
            NotFound: there is no such API destination, or connection.
        """
        name = members.name(request)
        _check_destination(request)
        async with transaction(self._pool) as conn:
            known = await table.lock_destination(conn, name)
            if known is None:
                raise _no_destination(name)
            arn = request.get("ConnectionArn")
            changed = replace(
                known,
                description=request.get("Description", known.description) or None,
                connection=known.connection if arn is None else await _kept(conn, arn),
                endpoint=request.get("InvocationEndpoint", known.endpoint),
                http_method=request.get("HttpMethod", known.http_method),
                rate_limit=request.get("InvocationRateLimitPerSecond", known.rate_limit),
            )
            await table.update_destination(conn, changed)
            found = await table.read_destination(conn, name)
        assert found is not None  # noqa: S101 - it is locked
        return found

    async def describe(self, request: Json) -> ApiDestination:
        """An API destination.

        Raises:
            NotFound: there is none of that name.
        """
        name = members.name(request)
        async with connection(self._pool) as conn:
            found = await table.read_destination(conn, name)
        if found is None:
            raise _no_destination(name)
        return found

    async def delete(self, request: Json) -> None:
        """Deletes an API destination.

        Raises:
            NotFound: there is none of that name.
        """
        name = members.name(request)
        async with transaction(self._pool) as conn:
            if not await table.delete_destination(conn, name):
                raise _no_destination(name)

    async def list_destinations(self, request: Json) -> Page[ApiDestination]:
        """A page of the API destinations."""
        prefix, arn = members.prefix(request), request.get("ConnectionArn")
        of = _connection_of(arn) if arn is not None else None
        size, token = members.page(request)
        after = str(decode_token(token, _DESTINATIONS, [members.NAME])[0]) if token else ""
        async with connection(self._pool) as conn:
            found = await table.list_destinations(conn, prefix, of, after=after, limit=size + 1)
        more = encode_token(_DESTINATIONS, [found[size - 1].name]) if len(found) > size else None
        return Page(found[:size], more)


def _check_description(request: Json) -> None:
    members.text(request.get("Description"), "Description", members.DESCRIPTION_MAX, least=0)


def _check_destination(request: Json) -> None:
    _check_description(request)
    if request.get("InvocationEndpoint") is not None:
        check_endpoint(request["InvocationEndpoint"], "InvocationEndpoint")
    members.choice(request.get("HttpMethod"), "HttpMethod", METHODS)
    rate = request.get("InvocationRateLimitPerSecond")
    members.number(rate, "InvocationRateLimitPerSecond", 1, RATE_MAX)


async def _locked(conn: Connection, name: str) -> EventConnection:
    found = await table.lock_connection(conn, name)
    if found is None:
        raise _no_connection(name)
    return found


async def _kept(conn: Connection, arn: str) -> str:
    """The name of a connection, which stays until the transaction ends."""
    name = _connection_of(arn)
    known = await table.read_connection(conn, name)
    if (
        known is None
        or not await table.keep_connection(conn, name)
        or not arn.endswith(f"/{known.connection_id}")
    ):
        raise NotFound(f"Connection '{arn[:512]}' does not exist.")
    return name


def _connection_of(arn: str) -> str:
    members.text(arn, "ConnectionArn", members.ARN_MAX)
    parsed = parse_arn(arn)
    name, slash, _ = parsed[1].partition("/") if parsed is not None else ("", "", "")
    if parsed is None or parsed[0] != "connection" or not slash:
        raise invalid(
            f"Parameter ConnectionArn is not valid: {arn[:256]!r} is not the ARN of a connection.",
            "ConnectionArn",
        )
    return name


def _no_connection(name: str) -> NotFound:
    return NotFound(f"Failed to describe the connection(s). Connection '{name}' does not exist.")


def _no_destination(name: str) -> NotFound:
    return NotFound(
        f"Failed to describe the api-destination(s). An api-destination '{name}' does not exist."
    )
