"""Which network a container joins, and the address under which others reach it there.

Containers of an instance share the sandbox's network, unless the settings say otherwise. Nodes of a
multi-node job reach each other, so they may have a network of their own kind: where instances are
machines, that of the machine.
"""

from typing import Any

import structlog

from longshore.agent import machine
from longshore.agent.attempts.attempt import RuntimeAway, StepFailed
from longshore.agent.config import AgentConfig
from longshore.agent.docker.engine import Engine, EngineAwayError, EngineTimeoutError
from longshore.agent.docker.sandbox import Sandbox, SandboxError, addresses

log = structlog.get_logger()


class Network:
    """The networks of one instance."""

    def __init__(self, engine: Engine, config: AgentConfig) -> None:
        self.sandbox = Sandbox(engine, config.instance_id)
        self._config = config
        self._sandbox_refused = False

    @property
    def wants_sandbox(self) -> bool:
        """Whether attempts in general join the sandbox."""
        return self._config.network == "sandbox"

    @property
    def may_have_sandbox(self) -> bool:
        """Whether any attempt joins the sandbox."""
        return "sandbox" in (self._config.network, self._config.node_network)

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
        if not self._sandbox_refused:
            try:
                return await self.sandbox.network_mode()
            except SandboxError as error:
                log.warning("sandbox.unavailable", error=str(error), instead="bridge")
                self._sandbox_refused = True
            except EngineAwayError as error:
                raise RuntimeAway(str(error)) from error
            except EngineTimeoutError as error:
                raise StepFailed(
                    "DockerTimeoutError", f"Could not make the sandbox; {error}"
                ) from error
        return "bridge"

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
