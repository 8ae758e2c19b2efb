"""The endpoint of one agent: its attempts, the ways to it, and what runtimes do with it."""

import asyncio
import contextlib
import enum
import socket
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import structlog

from longshore.agent.attempts.attempt import Attempt, StepFailed
from longshore.agent.config import AgentConfig
from longshore.agent.endpoint.document import (
    Described,
    Facts,
    Place,
    container_document,
    task_document,
    task_document_with_tags,
)
from longshore.agent.endpoint.identity import EndpointIdentity
from longshore.agent.endpoint.namespace import ADDRESS
from longshore.agent.endpoint.role import Credentials, Issuer, Roles
from longshore.agent.endpoint.server import (
    CREDENTIALS_PATH,
    LOOPBACK,
    METADATA_PATH,
    EndpointServer,
    NotFetched,
)
from longshore.domain.arn import Arns

log = structlog.get_logger()

_TASK_DOCUMENTS = {
    "/task": task_document,
    "/taskWithTags": task_document_with_tags,
}
#: How long statistics are kept: a job that asks for them again and again costs the engine no more.
STATISTICS_SECONDS = 1.0
#: Statistics asked of the engine at one time: such a call costs little and lasts a second or two.
CONCURRENT_STATISTICS = 32
_BACKLOG = 256


class Way(enum.Enum):
    """How what runs for an attempt gets to the endpoint."""

    SANDBOX = "sandbox"
    LOOPBACK = "loopback"
    NONE = "none"


class MetadataSource(Protocol):
    """A runtime, as far as metadata come from it."""

    async def facts(self, attempt: Attempt) -> Facts:
        """What runs for an attempt.

        Raises:
            NotFetched: it cannot be told.
        """
        ...

    async def statistics(self, attempt: Attempt) -> Any:
        """What it uses, in the engine's form.

        Raises:
            NotFetched: it cannot be told.
        """
        ...


@dataclass(slots=True)
class _Guest:
    """An attempt that may ask."""

    attempt: Attempt
    role: str
    token: str
    endpoint: "Endpoint"
    facts: Facts | None = None
    statistics: Any = None
    statistics_until: float = 0.0
    #: Held while the engine is asked, so that it is asked for one thing at a time.
    asking: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def credentials(self) -> Credentials | None:
        """Of its role."""
        return await self.endpoint.roles.credentials_soon(self.attempt.scope)

    async def metadata(self, what: str) -> Any:
        """A document of its metadata."""
        return await self.endpoint.metadata(self, what)


class Endpoint:
    """What attempts may ask of their agent."""

    def __init__(self, data_dir: Path, place: Place, roles: Roles) -> None:
        """Makes an endpoint that nobody can ask yet; to be made in a running loop.

        Args:
            data_dir: where the agent keeps what outlives it.
            place: where attempts run, in AWS's names.
            roles: the roles of attempts.
        """
        self.roles = roles
        self._place = place
        self._path = data_dir / "endpoint"
        self._identity = EndpointIdentity.load(self._path)
        self._source: MetadataSource | None = None
        self._by_credentials: dict[str, _Guest] = {}
        self._by_metadata: dict[str, _Guest] = {}
        self._statistics = asyncio.Semaphore(CONCURRENT_STATISTICS)
        self._server = EndpointServer(self._by_credentials.get, self._by_metadata.get)
        self._loopback: asyncio.Server | None = None
        self._binding = asyncio.Lock()

    # What a runtime calls in the life of an attempt

    def tell_of(self, source: MetadataSource) -> None:
        """Says where metadata come from."""
        self._source = source

    def prepared(self, attempt: Attempt) -> bool:
        """Whether `prepare` has nothing to do."""
        return not _role(attempt) or self.roles.holds(attempt.scope)

    async def prepare(self, attempt: Attempt) -> None:
        """Assumes the attempt's role, if it has one.

        Raises:
            StepFailed: the role cannot be assumed.
        """
        if not self.prepared(attempt):
            await self.roles.assume(_role(attempt), attempt.scope)

    async def let_in(self, attempt: Attempt, way: Way) -> dict[str, str]:
        """Lets an attempt ask, and returns the variables that tell it how.

        Raises:
            StepFailed: it has a role, and no way to its credentials.
        """
        if way is Way.NONE:
            if _role(attempt):
                raise StepFailed(
                    "CannotAssumeRole",
                    "containers on this network do not reach the credentials endpoint: set "
                    "LONGSHORE_NETWORK to sandbox or host, where the agent runs as root beside "
                    "the engine",
                )
            return {}
        if way is Way.LOOPBACK:
            await self._listen_on_loopback()
        if not self._path.exists():
            self._identity.save(self._path)
        self._add(attempt)
        return self._variables(attempt, way)

    def take_up(self, attempt: Attempt) -> None:
        """Lets an attempt ask again that an earlier life of the agent let in."""
        if attempt.live:
            self._add(attempt)
            if role := _role(attempt):
                self.roles.resume(role, attempt.scope)

    def shut_out(self, attempt: Attempt) -> None:
        """The attempt is over: its ids open nothing any more."""
        scope = attempt.scope
        self._by_credentials.pop(self._identity.credentials_id(scope), None)
        self._by_metadata.pop(self._identity.metadata_id(scope), None)
        self.roles.forget(scope)

    # Listening

    async def serve(self, listening: socket.socket) -> asyncio.Server:
        """Serves a socket until what is returned is closed."""
        return await self._server.serve(listening)

    async def run(self) -> None:
        """Listens where an earlier life did, and renews credentials, until cancelled."""
        if self._identity.port:
            try:
                await self._listen_on_loopback()
            except StepFailed as error:
                log.warning("endpoint.no_way", error=str(error))
        await self.roles.run()

    async def close(self) -> None:
        """Answers nobody any more."""
        if self._loopback is not None:
            self._loopback.close()
        await self._server.close()

    async def _listen_on_loopback(self) -> None:
        async with self._binding:
            if self._loopback is None:
                self._loopback = await self._server.serve(self._bound())

    def _bound(self) -> socket.socket:
        """A socket on loopback, at the port of before if there was one."""
        for port in dict.fromkeys((self._identity.port, 0)):
            listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listening.bind((LOOPBACK, port))
                listening.listen(_BACKLOG)
            except OSError as error:
                listening.close()
                log.warning("endpoint.moved", port=port, error=str(error))
                continue
            self._identity = EndpointIdentity(self._identity.key, int(listening.getsockname()[1]))
            self._identity.save(self._path)
            return listening
        raise StepFailed("CannotStartContainerError", "no port is free on the loopback interface")

    # Answers

    async def metadata(self, guest: _Guest, what: str) -> Any:
        """A document of an attempt's metadata.

        Raises:
            NotFetched: it cannot be had.
        """
        if self._source is None:
            raise NotFetched("nothing runs here")
        source, own = self._source, await self._facts_of(guest, self._source)
        if what == "":
            return container_document(_described(guest, own), self._place)
        if what == "/stats":
            return await self._statistics_of(guest, source)
        found = [_described(guest, own)]
        statistics = {own.id: await self._statistics_of(guest, source)} if "stats" in what else {}
        for other in self._others(guest):
            # What is there is told, without what is not there yet or any more.
            with contextlib.suppress(NotFetched):
                facts = await self._facts_of(other, source)
                found.append(_described(other, facts))
                if statistics:
                    statistics[facts.id] = await self._statistics_of(other, source)
        if statistics:
            return statistics
        whole = guest.attempt.of or guest.attempt
        return _TASK_DOCUMENTS[what](whole.assignment, found, self._place)

    def _others(self, guest: _Guest) -> list[_Guest]:
        """The other containers of an attempt that have been let in."""
        parts = guest.attempt.of.parts if guest.attempt.of is not None else ()
        ids = [self._identity.metadata_id(part.scope) for part in parts if part.handle]
        others = [self._by_metadata[one] for one in ids if one in self._by_metadata]
        return [other for other in others if other is not guest]

    async def _facts_of(self, guest: _Guest, source: MetadataSource) -> Facts:
        # What has started does not change any more.
        if guest.facts is None or not guest.facts.started_at:
            async with guest.asking:
                guest.facts = await source.facts(guest.attempt)
        return guest.facts

    async def _statistics_of(self, guest: _Guest, source: MetadataSource) -> Any:
        async with guest.asking:
            if time.monotonic() >= guest.statistics_until:
                async with self._statistics:
                    guest.statistics = await source.statistics(guest.attempt)
                guest.statistics_until = time.monotonic() + STATISTICS_SECONDS
            return guest.statistics

    def _add(self, attempt: Attempt) -> None:
        scope = attempt.scope
        guest = _Guest(attempt, _role(attempt), self._identity.token(scope), self)
        if guest.role:
            self._by_credentials[self._identity.credentials_id(scope)] = guest
        self._by_metadata[self._identity.metadata_id(scope)] = guest

    def _variables(self, attempt: Attempt, way: Way) -> dict[str, str]:
        scope = attempt.scope
        host = ADDRESS if way is Way.SANDBOX else f"{LOOPBACK}:{self._identity.port}"
        metadata = f"http://{host}{METADATA_PATH}/{self._identity.metadata_id(scope)}"
        variables = {"ECS_CONTAINER_METADATA_URI_V4": metadata}
        # An SDK that is told of an endpoint takes it for the last word: without a role, none.
        if _role(attempt):
            path = f"{CREDENTIALS_PATH}/{self._identity.credentials_id(scope)}"
            if way is Way.SANDBOX:
                variables["AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"] = path
            else:
                variables["AWS_CONTAINER_CREDENTIALS_FULL_URI"] = f"http://{host}{path}"
                variables["AWS_CONTAINER_AUTHORIZATION_TOKEN"] = self._identity.token(scope)
        return variables


def _described(guest: _Guest, facts: Facts) -> Described:
    return Described(guest.attempt.assignment, guest.attempt.container_name, facts)


def open_endpoint(config: AgentConfig, issuer: Issuer | None) -> Endpoint:
    """An endpoint as the settings say.

    Args:
        config: of the agent.
        issuer: who gives credentials of roles; None: nobody does.
    """
    place = Place(Arns(config.account, config.region), config.compute_environment)
    return Endpoint(config.data_dir, place, Roles(issuer))


def _role(attempt: Attempt) -> str:
    return attempt.assignment.container.job_role_arn
