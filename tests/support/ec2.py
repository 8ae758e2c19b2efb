"""EC2 for tests: moto's server over real HTTP, and a proxy before it that makes it fail.

moto keeps instances, templates, subnets and prices, but always has what is asked for, forgets
client tokens and never throttles. The proxy stands between it and the provider for that: a fleet
asked for again by the same token gets the first one's answer, and launches nothing.
"""

import asyncio
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlencode
from xml.sax.saxutils import escape

import aiohttp
from aiohttp import web

_NAMESPACE = "http://ec2.amazonaws.com/doc/2016-11-15/"
_DROPPED_HEADERS = ("Content-Length", "Transfer-Encoding", "Content-Encoding", "Connection")


@dataclass
class FaultProxy:
    """Passes calls on to moto, but for the faults that a test asks for."""

    backend: str
    #: Zones of subnets, for `short`.
    zones: Mapping[str, str] = field(default_factory=dict)
    #: (type, zone) that EC2 has none of; a zone of "" means everywhere. And how it says so.
    short: dict[tuple[str, str], str] = field(default_factory=dict)
    #: Fleets get only so much of their target.
    share: float = 1.0
    #: How many calls of an action are throttled.
    throttled: Counter[str] = field(default_factory=Counter)
    #: How many calls of an action are done, without an answer.
    unanswered: Counter[str] = field(default_factory=Counter)
    #: How many calls of an action fail inside EC2.
    broken: Counter[str] = field(default_factory=Counter)
    #: Seconds that calls of an action take longer.
    delays: dict[str, float] = field(default_factory=dict)
    #: Calls of an action go on once this is set.
    held: dict[str, asyncio.Event] = field(default_factory=dict)
    #: Error code and message that calls of an action are refused with.
    refused: dict[str, tuple[str, str]] = field(default_factory=dict)
    #: Bodies that calls of an action are answered with.
    answers: dict[str, str] = field(default_factory=dict)
    #: What stands in answers, and what is put in its place.
    replaced: dict[str, str] = field(default_factory=dict)
    #: Largest page of instances.
    page: int | None = None
    #: What was called: action and members.
    calls: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    url: str = ""
    _fleets: dict[str, asyncio.Future[web.Response]] = field(default_factory=dict)

    def count(self, action: str) -> int:
        """How often an action was called."""
        return sum(name == action for name, _ in self.calls)

    def last(self, action: str) -> dict[str, str]:
        """Members of the last call of an action."""
        return next(members for name, members in reversed(self.calls) if name == action)

    async def start(self) -> web.AppRunner:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._handle)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        server: Any = site._server
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        return runner

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        target = request.headers.get("X-Amz-Target")
        members = {} if target else dict(parse_qsl(body.decode(), keep_blank_values=True))
        action = target.rpartition(".")[2] if target else members.get("Action", "")
        self.calls.append((action, members))
        if delay := self.delays.get(action):
            await asyncio.sleep(delay)
        if action in self.held:
            await self.held[action].wait()
        if (fault := self._fault(action)) is not None:
            return fault
        if action == "DescribeInstances" and self.page and "MaxResults" in members:
            members["MaxResults"] = str(self.page)
        if action == "CreateFleet":
            response = await self._create_fleet(request, members)
        else:
            data = body if target else urlencode(members).encode()
            response = await self._pass_on(request, data)
        for old, new in self.replaced.items():
            assert isinstance(response.body, bytes)
            response.body = response.body.replace(old.encode(), new.encode())
        if self.unanswered[action] > 0:
            self.unanswered[action] -= 1
            assert request.transport is not None
            request.transport.abort()
        return response

    async def _create_fleet(self, request: web.Request, members: dict[str, str]) -> web.Response:
        """A fleet, or that of an earlier call with the same token."""
        token = members["ClientToken"]
        if token not in self._fleets:
            self._fleets[token] = asyncio.ensure_future(self._launch(request, members))
        response = await asyncio.shield(self._fleets[token])
        if response.status != 200:
            self._fleets.pop(token, None)
        return web.Response(
            status=response.status, body=response.body, content_type=response.content_type
        )

    async def _launch(self, request: web.Request, members: dict[str, str]) -> web.Response:
        members, errors = self._fleet(members)
        if not any(".Overrides." in name for name in members):
            return web.Response(text=_no_fleet(errors), content_type="text/xml")
        response = await self._pass_on(request, urlencode(members).encode())
        assert isinstance(response.body, bytes)
        text = response.body.decode().replace(
            "</CreateFleetResponse>", f"{errors}</CreateFleetResponse>"
        )
        return web.Response(status=response.status, text=text, content_type="text/xml")

    def _fault(self, action: str) -> web.Response | None:
        """What a call is answered with that moto does not hear of."""
        if self.throttled[action] > 0:
            self.throttled[action] -= 1
            return _error(503, "RequestLimitExceeded", "Request limit exceeded.")
        if self.broken[action] > 0:
            self.broken[action] -= 1
            return _error(500, "InternalError", "An internal error has occurred.")
        if action in self.refused:
            return _error(400, *self.refused[action])
        if action in self.answers:
            return web.Response(text=self.answers[action], content_type="text/xml")
        return None

    async def _pass_on(self, request: web.Request, data: bytes) -> web.Response:
        headers = {
            name: value
            for name, value in request.headers.items()
            if name not in (*_DROPPED_HEADERS, "Host")
        }
        async with (
            aiohttp.ClientSession() as session,
            session.request(
                request.method, self.backend + request.path_qs, data=data, headers=headers
            ) as answer,
        ):
            kept = {n: v for n, v in answer.headers.items() if n not in _DROPPED_HEADERS}
            return web.Response(status=answer.status, body=await answer.read(), headers=kept)

    def _fleet(self, members: dict[str, str]) -> tuple[dict[str, str], str]:
        """A fleet's request without what EC2 is short of, and the errors for that."""
        overrides: dict[str, dict[str, str]] = {}
        for name, value in members.items():
            if ".Overrides." in name:
                start, _, rest = name.partition(".Overrides.")
                number, _, member = rest.partition(".")
                overrides.setdefault(f"{start}.Overrides.{number}", {})[member] = value
        errors = []
        kept = {name: value for name, value in members.items() if ".Overrides." not in name}
        numbers: Counter[str] = Counter()
        for key, override in overrides.items():
            kind = override["InstanceType"]
            zone = self.zones.get(override.get("SubnetId", ""), "")
            code = self.short.get((kind, "")) or self.short.get((kind, zone))
            if code:
                errors.append(_fleet_error(override, code))
                continue
            start = key.rpartition(".")[0]
            numbers[start] += 1
            for member, value in override.items():
                kept[f"{start}.{numbers[start]}.{member}"] = value
        for start in {key.rpartition(".")[0] for key in overrides}:
            if not numbers[start]:
                config = start.removesuffix(".Overrides")
                kept = {n: v for n, v in kept.items() if not n.startswith(config + ".")}
        if self.share < 1 and numbers:
            target = "TargetCapacitySpecification.TotalTargetCapacity"
            kept[target] = str(int(int(kept[target]) * self.share))
            errors += [
                _fleet_error(override, "InsufficientInstanceCapacity")
                for override in overrides.values()
            ][:1]
        return kept, f"<errorSet>{''.join(errors)}</errorSet>" if errors else ""


def _fleet_error(override: Mapping[str, str], code: str) -> str:
    subnet = override.get("SubnetId")
    return (
        "<item><launchTemplateAndOverrides><overrides>"
        f"<instanceType>{override['InstanceType']}</instanceType>"
        + (f"<subnetId>{subnet}</subnetId>" if subnet else "")
        + "</overrides></launchTemplateAndOverrides><lifecycle>on-demand</lifecycle>"
        f"<errorCode>{code}</errorCode><errorMessage>There is none: {code}.</errorMessage></item>"
    )


def _no_fleet(errors: str) -> str:
    return (
        f'<CreateFleetResponse xmlns="{_NAMESPACE}"><requestId>none</requestId>'
        f"<fleetId>fleet-none</fleetId><fleetInstanceSet/>{errors}</CreateFleetResponse>"
    )


def _error(status: int, code: str, message: str) -> web.Response:
    text = (
        f"<Response><Errors><Error><Code>{code}</Code><Message>{escape(message)}</Message></Error>"
        "</Errors><RequestID>none</RequestID></Response>"
    )
    return web.Response(status=status, text=text, content_type="text/xml")
