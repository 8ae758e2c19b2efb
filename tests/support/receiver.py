"""A webhook on a port of its own that answers as its test says."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web
from support.patience import PATIENCE_SECONDS


@dataclass
class Receiver:
    """What came, and what is answered."""

    url: str = ""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    #: Headers by their names in lower case, body, path with its query.
    calls: list[tuple[dict[str, str], bytes, str]] = field(default_factory=list)
    #: Nothing is answered before it is set.
    held: asyncio.Event | None = None
    _came: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def take(self, request: web.Request) -> web.Response:
        """Notes a call and answers it."""
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.calls.append((headers, await request.read(), request.path_qs))
        async with self._came:
            self._came.notify_all()
        if self.held is not None:
            await self.held.wait()
        return web.Response(status=self.status, headers=self.headers)

    def refuse(self, status: int | None, **headers: str) -> None:
        """Answers with a status from now on; None: takes everything."""
        self.status = status or 200
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}

    async def until(self, count: int, seconds: float = PATIENCE_SECONDS) -> None:
        """Waits for so many calls in all."""
        async with asyncio.timeout(seconds), self._came:
            await self._came.wait_for(lambda: len(self.calls) >= count)


@asynccontextmanager
async def receiving() -> AsyncIterator[Receiver]:
    """A receiver while the context is open."""
    receiver = Receiver()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", receiver.take)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    [(_, port)] = [address[:2] for address in runner.addresses]
    receiver.url = f"http://127.0.0.1:{port}/in"
    try:
        yield receiver
    finally:
        if receiver.held is not None:
            receiver.held.set()
        await runner.cleanup()
