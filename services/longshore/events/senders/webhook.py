"""Webhooks: API destinations, called over HTTP.

The address is resolved once for each call and judged before anything is sent, also where a name
has several: a name that is harmless when a rule is made may lead inside when it is called. What
redirects is not followed, for the same reason.
"""

import asyncio
import base64
import contextlib
import email.utils
import ipaddress
import json
import socket
import time
from datetime import UTC, datetime
from typing import Protocol, Self
from urllib.parse import quote
from weakref import WeakValueDictionary

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver
from multidict import CIMultiDict
from yarl import URL

from longshore.domain.arn import Arns
from longshore.domain.checks import Json
from longshore.domain.events import address, connection, webhook
from longshore.domain.events.retrying import DeliveryFailed
from longshore.events.senders.text import sent_text
from longshore.state.events import delivery
from longshore.state.events.delivery import Delivery, Endpoint, Lane, TargetRecord
from longshore.state.pool import Pool
from longshore.state.pool import connection as pool_connection

CALL_SECONDS = 5.0
#: Longest that a receiver may ask to be left alone.
RETRY_AFTER_SECONDS = 3_600.0
UNAUTHORIZED = 401
GONE = 410
#: Of an authorization server: longest answer, for how long a token holds of which that is not said,
#: the longest that one is kept, and how many are.
TOKEN_BYTES = 65_536
TOKEN_SECONDS = 300.0
TOKEN_SECONDS_MOST = 86_400.0
TOKENS = 1_000
THROTTLED = 429


class Opener(Protocol):
    """Reads the secret members of connections."""

    async def open(self, secret: bytes) -> Json:
        """Those of one, by their paths."""


class _RefusedAddressError(Exception):
    """Nothing is sent there."""


class _Resolver(AbstractResolver):
    """Resolves names to addresses that may be sent to."""

    def __init__(self, *, allows_private: bool) -> None:
        self._allows_private = allows_private
        self._resolver = ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        found = await self._resolver.resolve(host, port, family)
        for one in found:
            check_address(one["host"], allows_private=self._allows_private)
        return found

    async def close(self) -> None:
        await self._resolver.close()


def check_address(text: str, *, allows_private: bool) -> None:
    """Refuses an address that nothing is sent to."""
    if why := address.refusal(text, allows_private=allows_private):
        raise _RefusedAddressError(why)


class Webhooks:
    """Calls API destinations."""

    def __init__(self, pool: Pool, arns: Arns, opener: Opener, *, allows_private: bool) -> None:
        """Makes a caller; it is to be opened and closed as a context.

        Args:
            pool: of the database.
            arns: of the installation.
            opener: reads what connections keep.
            allows_private: whether loopback and private networks may be called.
        """
        self._pool = pool
        self._arns = arns
        self._opener = opener
        self._allows_private = allows_private
        self._tokens: dict[bytes, tuple[str, float]] = {}
        # One asks for a token, the others that are sent at that time wait for it.
        self._turns: WeakValueDictionary[bytes, asyncio.Lock] = WeakValueDictionary()

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                resolver=_Resolver(allows_private=self._allows_private),
                # Each call judges anew: what is remembered would not be.
                use_dns_cache=False,
                # How many calls go on at one time is said by who delivers: one that waited for a
                # connection here would have failed by others' slowness.
                limit=0,
            ),
            timeout=aiohttp.ClientTimeout(total=CALL_SECONDS),
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def send(self, lane: Lane, target: TargetRecord, one: Delivery) -> None:
        """Calls the destination; see `Sender`."""
        endpoint = target.endpoint
        if endpoint is None:
            message = "The API destination is not there; make it, or take the target off."
            raise DeliveryFailed("NO_DESTINATION", message, again=False)
        if not endpoint.is_active:
            message = "The endpoint said that it is gone; update the API destination to use it."
            raise DeliveryFailed("DESTINATION_INACTIVE", message, again=False)
        body = sent_text(self._arns, lane, target, one).encode(errors="replace")
        event: Json = json.loads(one.event)
        asked = target.target.get("HttpParameters", {})
        known = connection.whole(endpoint.parameters, await self._opener.open(endpoint.secret))
        more = known.get("InvocationHttpParameters", {})
        body = _with_members(body, _pairs(more, "BodyParameters"))
        url = _url(endpoint, asked).update_query(_pairs(more, "QueryStringParameters"))
        # Whatever the case of letters: what says which event it is, and from whom, stands alone.
        headers = CIMultiDict({"content-type": "application/json"})
        headers.update(asked.get("HeaderParameters", {}))
        headers.update(_pairs(more, "HeaderParameters"))
        headers.update({**webhook.cloud_event(event), "webhook-id": event["id"]})
        headers.update(await self._authorization(endpoint, known, event["id"], body))
        await self._call(endpoint, url, headers, body)

    async def _call(
        self, endpoint: Endpoint, url: URL, headers: CIMultiDict[str], body: bytes
    ) -> None:
        try:
            self._check_literal(url)
            async with self._session.request(
                endpoint.http_method, url, data=body, headers=headers, allow_redirects=False
            ) as response:
                status, after = response.status, response.headers.get("Retry-After", "")
        except _RefusedAddressError as error:
            raise DeliveryFailed("ADDRESS_REFUSED", f"{error}.", again=False) from None
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            said = str(error) or f"no answer in {CALL_SECONDS:g} s"
            raise DeliveryFailed("CONNECTION", f"{url.host}: {said}") from None
        if status < 300:
            return
        message = f"{url.host} answered {status}."
        if status == UNAUTHORIZED and endpoint.authorization_type == connection.OAUTH:
            # The token was taken back, or held for less than was said: the next try has another.
            self._tokens.pop(endpoint.secret, None)
            raise DeliveryFailed(f"HTTP_{status}", message)
        if status == GONE:
            async with pool_connection(self._pool) as conn:
                await delivery.deactivate(conn, endpoint.name)
            raise DeliveryFailed(f"HTTP_{status}", message, again=False)
        again = status >= 500 or status == THROTTLED
        raise DeliveryFailed(
            f"HTTP_{status}", message, again=again, retry_after=_retry_after(after) if again else 0
        )

    def _check_literal(self, url: URL) -> None:
        """Judges an address that stands in the URL itself: such are not resolved."""
        with contextlib.suppress(ValueError):
            ipaddress.ip_address((url.host or "").partition("%")[0])
            check_address(url.host or "", allows_private=self._allows_private)

    async def _authorization(
        self, endpoint: Endpoint, known: Json, event_id: str, body: bytes
    ) -> dict[str, str]:
        """The headers by which the receiver knows the caller."""
        match endpoint.authorization_type:
            case connection.API_KEY:
                key = known["ApiKeyAuthParameters"]
                try:
                    signing = webhook.secrets_of(key["ApiKeyValue"])
                except ValueError as error:
                    raise DeliveryFailed("INVALID_SECRET", str(error), again=False) from None
                if signing is None:
                    return {key["ApiKeyName"]: key["ApiKeyValue"]}
                return webhook.signed(signing, event_id, int(time.time()), body)
            case connection.BASIC:
                basic = known["BasicAuthParameters"]
                encoded = f"{basic['Username']}:{basic['Password']}".encode()
                return {"Authorization": f"Basic {base64.b64encode(encoded).decode()}"}
            case _:
                async with self._turns.setdefault(endpoint.secret, asyncio.Lock()):
                    token = await self._token(endpoint.secret, known["OAuthParameters"])
                return {"Authorization": f"Bearer {token}"}

    async def _token(self, secret: bytes, given: Json) -> str:
        """A token of an authorization server, kept for as long as it says."""
        token, until = self._tokens.get(secret, ("", 0.0))
        if time.monotonic() < until:
            return token
        url, more = URL(given["AuthorizationEndpoint"]), given.get("OAuthHttpParameters", {})
        form = {
            "grant_type": "client_credentials",
            "client_id": given["ClientParameters"]["ClientID"],
            "client_secret": given["ClientParameters"]["ClientSecret"],
            **_pairs(more, "BodyParameters"),
        }
        try:
            self._check_literal(url)
            async with self._session.request(
                given["HttpMethod"],
                url.update_query(_pairs(more, "QueryStringParameters")),
                data=form,
                headers=_pairs(more, "HeaderParameters"),
                allow_redirects=False,
            ) as response:
                answer = json.loads(await _read(response)) if response.status < 300 else {}
                token = str(answer.get("access_token", ""))
                seconds = min(float(answer.get("expires_in", TOKEN_SECONDS)), TOKEN_SECONDS_MOST)
        except _RefusedAddressError as error:
            raise DeliveryFailed("ADDRESS_REFUSED", f"{error}.", again=False) from None
        except (aiohttp.ClientError, OSError, ValueError, AttributeError) as error:
            said_so = f"{url.host}, which authorises: {error}"
            raise DeliveryFailed("AUTHORIZATION", said_so) from None
        if not token:
            message = f"{url.host}, which authorises, answered {response.status} without a token."
            raise DeliveryFailed("AUTHORIZATION", message)
        if len(self._tokens) >= TOKENS:
            self._tokens.clear()
        # A little less than it holds: it is on its way for a while.
        self._tokens[secret] = token, time.monotonic() + seconds * 0.9
        return token


async def _read(response: aiohttp.ClientResponse) -> bytes:
    """A body, in however many parts it comes, as far as it is read at all."""
    said = b""
    while len(said) < TOKEN_BYTES and (part := await response.content.read(TOKEN_BYTES)):
        said += part
    return said


def _pairs(given: Json, kind: str) -> dict[str, str]:
    return {entry["Key"]: entry["Value"] for entry in given.get(kind, ())}


def _with_members(body: bytes, more: dict[str, str]) -> bytes:
    """A body that is an object, with further members."""
    if not more:
        return body
    try:
        said = json.loads(body)
    except ValueError:
        return body
    return json.dumps({**said, **more}).encode() if isinstance(said, dict) else body


def _url(endpoint: Endpoint, given: Json) -> URL:
    """The URL with its parameters: each * of the path takes one."""
    text = endpoint.url
    for value in given.get("PathParameterValues", ()):
        text = text.replace("*", quote(value, safe=""), 1)
    url = URL(text, encoded=True)
    return url.update_query(given.get("QueryStringParameters", {}))


def _retry_after(text: str) -> float:
    """For how many seconds a receiver asks to be left alone: a number, or a date."""
    seconds = 0.0
    if text.isascii() and text.isdigit():
        seconds = float(text[:9])
    elif text:
        with contextlib.suppress(ValueError, TypeError):
            at = email.utils.parsedate_to_datetime(text)
            at = at if at.tzinfo is not None else at.replace(tzinfo=UTC)
            seconds = (at - datetime.now(UTC)).total_seconds()
    return min(max(seconds, 0.0), RETRY_AFTER_SECONDS)
