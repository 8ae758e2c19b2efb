"""Which network a container joins, and the address under which others reach it there.

Containers of an instance share the sandbox's network, unless the settings say otherwise. Nodes of a
multi-node job reach each other, so they may have a network of their own kind: where instances are
machines, that of the machine.
"""

import asyncio
import contextlib
from typing import Any

import structlog

from longshore.agent import machine
from longshore.agent.attempts.attempt import RuntimeAway, StepFailed
from longshore.agent.config import AgentConfig
from longshore.agent.docker import sandbox as sandboxes
from longshore.agent.docker.engine import Engine, EngineAwayError, EngineTimeoutError
from longshore.agent.docker.sandbox import Sandbox, SandboxError, addresses
from longshore.agent.runtime import Joined

log = structlog.get_logger()


#: Seconds until a sandbox that was refused is tried again: at first, and at most.
RETRY_FIRST_SECONDS = 30.0
RETRY_LAST_SECONDS = 600.0


class Network:
    """The networks of one instance."""

    def __init__(self, engine: Engine, config: AgentConfig) -> None:
        self.sandbox = Sandbox(engine, config.instance_id)
        self._config = config
        #: Why there is no sandbox at present; empty if nothing is known against it.
        self._refusal = ""
        self._refused = asyncio.Event()

    @property
    def wants_sandbox(self) -> bool:
        """Whether attempts in general join the sandbox."""
        return self._config.network == "sandbox"

    @property
    def may_have_sandbox(self) -> bool:
        """Whether any attempt joins the sandbox."""
        return "sandbox" in (self._config.network, self._config.node_network)

    def joined(self) -> Joined:
        """What containers join."""
        if not self.wants_sandbox:
            return Joined(self._config.network)
        if self._refusal:
            return Joined(
                "bridge", f"there is no sandbox, so they start more slowly ({self._refusal})"
            )
        if self.sandbox.network_name not in ("", sandboxes.NETWORK):
            return Joined(
                "sandbox",
                f"its network is {self.sandbox.network_name}, so they do not reach those on "
                f"{sandboxes.NETWORK}, of which there are several in use: remove what "
                f"`docker network ls --filter name={sandboxes.NETWORK}` lists twice",
            )
        return Joined("sandbox" if self.sandbox.network_name else "")

    async def mode(self, *, node: bool) -> str:
        """The engine's NetworkMode for an attempt's container.

        Args:
            node: whether the attempt is a node of a multi-node job.

        Raises:
            StepFailed: there is none at present.
            RuntimeAway: the engine did not answer.
        """
        wanted = self._config.node_network if node else self._config.network
        if wanted != "sandbox":
            return wanted
        return "bridge" if self._refused.is_set() else await self._mode_of_sandbox()

    async def keep(self) -> None:
        """Makes the sandbox, and tries again where it was refused, until cancelled."""
        delay = RETRY_FIRST_SECONDS
        while True:
            # Only so that no attempt need wait for it: each one asks for it again.
            with contextlib.suppress(StepFailed, RuntimeAway):
                await self._mode_of_sandbox()
            if not self._refusal:
                delay = RETRY_FIRST_SECONDS
            await self._refused.wait()
            await asyncio.sleep(delay)
            delay = min(2 * delay, RETRY_LAST_SECONDS)

    async def _mode_of_sandbox(self) -> str:
        try:
            mode = await self.sandbox.network_mode()
        except SandboxError as error:
            log.warning("sandbox.unavailable", error=str(error), instead="bridge")
            self._refusal = str(error)
            self._refused.set()
            return "bridge"
        except EngineAwayError as error:
            raise RuntimeAway(str(error)) from error
        except EngineTimeoutError as error:
            raise StepFailed(
                "DockerTimeoutError", f"Could not make the sandbox; {error}", may_be_machine=True
            ) from error
        self._refusal = ""
        self._refused.clear()
        return mode

    async def address(self, shown: dict[str, Any]) -> str:
        """Where others reach a container; empty if they do not, as when it has ended.

        Args:
            shown: what the engine says of the container.
        """
        joined = str(shown["HostConfig"]["NetworkMode"])
        if joined == "host":
            return await machine.address_toward(self._config.scheduler_address)
        if joined.startswith("container:"):
            return await self.sandbox.address(joined.removeprefix("container:"))
        return next(addresses(shown), "")
