"""The endpoint's door in the network of the sandbox."""

import asyncio
from collections import OrderedDict

import structlog

from longshore.agent.attempts.attempt import RuntimeAway
from longshore.agent.docker.bridge import CALL_SECONDS
from longshore.agent.docker.engine import (
    Engine,
    EngineAwayError,
    EngineError,
    EngineTimeoutError,
)
from longshore.agent.docker.sandbox import Sandbox, addresses
from longshore.agent.endpoint.endpoint import Endpoint, Way
from longshore.agent.endpoint.namespace import listen_in

log = structlog.get_logger()

#: Containers that outlive their sandbox keep its network: so many doors stay open for them.
KEPT = 4
_JOINED = "container:"

#: One life of a sandbox: its container and the process in it.
_Life = tuple[str, int]


class Door:
    """Listens in the network namespace of the sandbox, and again when that is another one."""

    def __init__(self, engine: Engine, sandbox: Sandbox, endpoint: Endpoint) -> None:
        self._engine = engine
        self._sandbox = sandbox
        self._endpoint = endpoint
        self._servers: OrderedDict[_Life, asyncio.Server] = OrderedDict()
        self._opening = asyncio.Lock()
        #: What was looked at last, and how often the sandbox had been doubted by then.
        self._seen: tuple[str, int] | None = None
        self._told = ""

    async def way(self, network_mode: str) -> Way:
        """How a container gets to the endpoint; the door is opened if it needs to be.

        Args:
            network_mode: what the container joins, as the engine has it.

        Raises:
            RuntimeAway: the engine is, or the sandbox has just gone.
        """
        if network_mode == "host":
            return Way.LOOPBACK
        if not network_mode.startswith(_JOINED):
            return Way.NONE
        async with self._opening:
            wanted = network_mode.removeprefix(_JOINED), self._sandbox.doubts
            if self._seen == wanted:
                return Way.SANDBOX
            try:
                await self._open(wanted[0])
            except EngineAwayError as error:
                raise RuntimeAway(str(error)) from error
            except (EngineError, EngineTimeoutError, OSError) as error:
                if self._told != str(error):
                    log.warning("endpoint.no_way", sandbox=wanted[0][:12], error=str(error))
                self._told = str(error)
                return Way.NONE
            self._seen = wanted
            return Way.SANDBOX

    async def close(self) -> None:
        """Listens no more."""
        while self._servers:
            self._servers.popitem()[1].close()

    async def _open(self, container_id: str) -> None:
        container = self._engine.docker.containers.container(container_id)
        try:
            shown = await self._engine.call(container.show(), CALL_SECONDS)
        except EngineError as error:
            if error.status == 404:
                raise self._gone() from error
            raise
        life = container_id, int(shown["State"]["Pid"])
        if not life[1]:
            raise self._gone()
        if life in self._servers:
            return
        listening = await listen_in(life[1], next(addresses(shown), ""))
        self._servers[life] = await self._endpoint.serve(listening)
        if len(self._servers) > KEPT:
            self._servers.popitem(last=False)[1].close()

    def _gone(self) -> RuntimeAway:
        """The next to need the sandbox makes another."""
        self._sandbox.invalidate()
        return RuntimeAway("The sandbox is gone")
