"""EC2's metadata service for tests: tokens are wanted, most names are not there."""

import itertools
import json
from typing import Any

from aiohttp import web


class MetadataService:
    """Plays version 2 of the service, on loopback."""

    def __init__(self) -> None:
        #: Texts by path below `/latest/meta-data/`.
        self.texts: dict[str, str] = {}
        #: The token that it takes; None: the next one that it gives.
        self.token: str | None = None
        self.tokens_given = 0
        self.requests: list[str] = []
        self.fails = False
        self.url = ""
        self._numbers = itertools.count(1)
        self._runner: web.AppRunner | None = None

    def announce(self, path: str, document: Any) -> None:
        """Has something to say from now on."""
        self.texts[path] = json.dumps(document)

    async def start(self) -> None:
        app = web.Application()
        app.router.add_put("/latest/api/token", self._give_token)
        app.router.add_get("/latest/meta-data/{path:.*}", self._answer)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        server: Any = site._server
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _give_token(self, request: web.Request) -> web.Response:
        assert int(request.headers["X-aws-ec2-metadata-token-ttl-seconds"]) <= 21_600
        self.token = f"token-{next(self._numbers)}"
        self.tokens_given += 1
        return web.Response(text=self.token)

    async def _answer(self, request: web.Request) -> web.Response:
        path = request.match_info["path"]
        self.requests.append(path)
        if self.fails:
            return web.Response(status=503)
        if request.headers.get("X-aws-ec2-metadata-token") != self.token:
            return web.Response(status=401)
        if path not in self.texts:
            return web.Response(status=404)
        return web.Response(text=self.texts[path])
