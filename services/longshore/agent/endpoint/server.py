"""The HTTP server of the endpoint, bounded in connections, rate, time and size.

It is aiohttp's server without an application: there are two paths, and nothing else is answered.
Jobs of one sandbox cannot be told apart before they have asked. So that none takes the endpoint
away from the others, where there are too many connections the oldest is closed for a new one:
who only asks is answered before it is the oldest. And so that they do not take the agent's time
from its other work, answers come at no more than a certain rate, and later rather than never.
"""

import asyncio
import hmac
import json
import logging
import socket
from collections.abc import Callable
from typing import Any, Protocol

import structlog
from aiohttp import web

from longshore.agent.endpoint.role import Credentials

log = structlog.get_logger()

#: Connections at one time; a job opens one, now and then.
CONNECTIONS = 512
#: Answers in a second on average, and how many may be ahead of that. With all connections asking,
#: one waits for a quarter of a second.
RATE = 2000.0
AHEAD = 500
#: Longest time from a connection to its first whole request, and from one request to the next.
REQUEST_SECONDS = 5.0
IDLE_SECONDS = 15.0
LINE_BYTES = 1024
FIELD_BYTES = 4096
FIELDS = 64
BACKLOG = 256
SHUTDOWN_SECONDS = 1.0

#: Every broken request would be worth a traceback to aiohttp, and jobs may send what they like.
_UNHEARD = logging.getLogger(f"{__name__}.unheard")
_UNHEARD.disabled = True

CREDENTIALS_PATH = "/v2/credentials"
METADATA_PATH = "/v4"
#: Where others of the machine may listen in: there an id alone is not enough.
LOOPBACK = "127.0.0.1"


class NotFetched(Exception):
    """What was asked for cannot be had now; the message says why."""


class Guest(Protocol):
    """An attempt, as the server sees it."""

    role: str
    token: str

    async def credentials(self) -> Credentials | None:
        """Of its role; None if there are none at present."""
        ...

    async def metadata(self, what: str) -> Any:
        """A document: empty for the container, or `/task` and its like, without anything else.

        Raises:
            NotFetched: it cannot be had.
        """
        ...


Find = Callable[[str], Guest | None]


class EndpointServer:
    """Serves any number of sockets."""

    def __init__(self, by_credentials: Find, by_metadata: Find) -> None:
        """Makes a server; to be made in a running loop.

        Args:
            by_credentials: finds an attempt by its id for credentials.
            by_metadata: finds an attempt by its id for metadata.
        """
        self._by_credentials = by_credentials
        self._by_metadata = by_metadata
        self._server = web.Server(
            self._handle,
            # Who has gone waits for nothing any more.
            handler_cancellation=True,
            access_log=None,
            logger=_UNHEARD,
            keepalive_timeout=IDLE_SECONDS,
            lingering_time=0,
            max_line_size=LINE_BYTES,
            max_field_size=FIELD_BYTES,
            max_headers=FIELDS,
        )
        #: Connections on which nothing was asked yet, with what will end them.
        self._silent: dict[Any, asyncio.TimerHandle] = {}
        #: By when all answers so far would have been given at the rate.
        self._paced = 0.0

    async def serve(self, listening: socket.socket) -> asyncio.Server:
        """Serves a socket, which is the server's from now on, until what is returned is closed."""
        loop = asyncio.get_running_loop()
        return await loop.create_server(self._connected, sock=listening, backlog=BACKLOG)

    async def close(self) -> None:
        """Closes what is open."""
        await self._server.shutdown(SHUTDOWN_SECONDS)

    def _connected(self) -> asyncio.BaseProtocol:
        connections = self._server.connections
        if len(connections) >= CONNECTIONS:
            # One that was closed just now is still among them, without a transport.
            oldest = next((each for each in connections if each.transport is not None), None)
            if oldest is not None:
                oldest.force_close()
        handler = self._server()
        self._silent[handler] = asyncio.get_running_loop().call_later(
            REQUEST_SECONDS, self._end_silent, handler
        )
        return handler

    def _end_silent(self, handler: Any) -> None:
        del self._silent[handler]
        handler.force_close()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if (timer := self._silent.pop(request.protocol, None)) is not None:
            timer.cancel()
        await self._pace()
        try:
            return await self._route(request)
        except Exception:
            log.exception("endpoint.failed")
            return _answer(500, "the agent's log says why")

    async def _route(self, request: web.BaseRequest) -> web.StreamResponse:
        path = request.path
        if request.method != "GET":
            return _answer(405, "only GET is answered")
        if path == CREDENTIALS_PATH or path.startswith(f"{CREDENTIALS_PATH}/"):
            return await self._credentials(request, path.removeprefix(CREDENTIALS_PATH).strip("/"))
        if path.startswith(f"{METADATA_PATH}/"):
            guest_id, _, what = path.removeprefix(f"{METADATA_PATH}/").partition("/")
            return await self._metadata(guest_id, f"/{what}".rstrip("/"))
        return _answer(404, "404 page not found")

    async def _pace(self) -> None:
        """Waits as long as the rate of answers asks for."""
        present = asyncio.get_running_loop().time()
        self._paced = max(self._paced, present - AHEAD / RATE) + 1 / RATE
        if self._paced > present:
            await asyncio.sleep(self._paced - present)

    async def _credentials(self, request: web.BaseRequest, guest_id: str) -> web.Response:
        if not guest_id:
            return _refusal(400, "NoIdInRequest", "No Credential ID in the request")
        guest = self._by_credentials(guest_id)
        if guest is None or not _is_let_in(request, guest):
            return _refusal(400, "InvalidIdInRequest", "Credentials not found")
        credentials = await guest.credentials()
        if credentials is None:
            return _refusal(
                503, "CredentialsUninitialized", "The role's credentials are being fetched"
            )
        return _answer(
            200,
            {
                "RoleArn": guest.role,
                "AccessKeyId": credentials.access_key_id,
                "SecretAccessKey": credentials.secret_access_key,
                "Token": credentials.token,
                "Expiration": credentials.expiration.strftime("%Y-%m-%dT%H:%M:%SZ"),
            },
        )

    async def _metadata(self, guest_id: str, what: str) -> web.Response:
        handler = _HANDLERS.get(what)
        if handler is None:
            return _answer(404, "404 page not found")
        guest = self._by_metadata(guest_id)
        if guest is None:
            return _answer(404, f"V4 {handler} handler: unable to get task arn from request")
        try:
            return _answer(200, await guest.metadata(what))
        except NotFetched as error:
            return _answer(500, f"V4 {handler} handler: {error}")


_HANDLERS = {
    "": "container metadata",
    "/task": "task metadata",
    "/taskWithTags": "task metadata",
    "/stats": "container stats",
    "/task/stats": "task stats",
}


def _is_let_in(request: web.BaseRequest, guest: Guest) -> bool:
    """Whether the request has what its way to here asks for besides the id."""
    address = request.get_extra_info("sockname")
    if address is not None and address[0] != LOOPBACK:
        return True
    given = request.headers.get("Authorization", "")
    # Bytes that are no text come as surrogates.
    return hmac.compare_digest(given.encode(errors="surrogateescape"), guest.token.encode())


def _answer(status: int, document: Any) -> web.Response:
    return web.Response(
        status=status, body=json.dumps(document).encode(), content_type="application/json"
    )


def _refusal(status: int, code: str, message: str) -> web.Response:
    return _answer(status, {"code": code, "message": message, "HTTPErrorCode": status})
