"""What a container asks for in secrets, read and put together."""

import asyncio
import json
from collections.abc import Iterable, Mapping
from typing import Any

from longshore.agent.attempts.attempt import Attempt, SecretValues, StepFailed
from longshore.agent.secret.sources import SecretSource
from longshore.agent.sharing import Shared
from longshore.domain.errors import LongshoreError, NotFound
from longshore.domain.secret import SecretReference, Store, parse_login, parse_secret
from longshore.v1 import container_pb2, job_definition_pb2

#: Reads at one time, of all attempts.
CONCURRENT_READS = 16
#: Characters of a reference in a failure's text, which AWS cuts; its end says the most.
_SHOWN = 96

Container = job_definition_pb2.ContainerProperties


def log_secrets(container: Container) -> list[container_pb2.Secret]:
    """The secrets among the log driver's options.

    Options of the default and of `awslogs` mean nothing here, and so do these.
    """
    log = container.log_configuration
    return [] if log.log_driver in ("", "awslogs") else list(log.secret_options)


class Secrets:
    """Reads secrets. Those who want the same one at the same time share a read of it."""

    def __init__(self, sources: Mapping[Store, SecretSource]) -> None:
        self._sources = sources
        self._turns = asyncio.Semaphore(CONCURRENT_READS)
        self._reads: Shared[SecretReference, str] = Shared()

    def ready(self, attempt: Attempt) -> bool:
        """Whether an attempt has all that it wants."""
        container = attempt.assignment.container
        return attempt.secrets is not None or not (container.secrets or log_secrets(container))

    async def fetch(self, attempt: Attempt) -> None:
        """Gives an attempt the values that it wants, unless it has them.

        Raises:
            StepFailed: one cannot be had; it says which, and what its store said.
        """
        if self.ready(attempt):
            return
        container = attempt.assignment.container
        try:
            async with asyncio.TaskGroup() as group:
                variables = self._start(group, container.secrets)
                options = self._start(group, log_secrets(container))
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None
        attempt.secrets = SecretValues(_results(variables), _results(options))

    async def login(self, credentials_parameter: str) -> tuple[str, str]:
        """User and password that `repositoryCredentials` name.

        Raises:
            StepFailed: they cannot be had.
        """
        name = "repositoryCredentials"
        text = await self._read(name, credentials_parameter, parse_login)
        try:
            found = json.loads(text)
            user, password = found["username"], found["password"]
        except (ValueError, TypeError, KeyError, RecursionError):
            user = password = None
        if not (isinstance(user, str) and isinstance(password, str)):
            raise _failed(
                name, credentials_parameter, "it must be a JSON object with username and password"
            )
        return user, password

    def _start(
        self, group: asyncio.TaskGroup, wanted: Iterable[container_pb2.Secret]
    ) -> dict[str, asyncio.Task[str]]:
        return {
            secret.name: group.create_task(self._read(secret.name, secret.value_from, parse_secret))
            for secret in wanted
        }

    async def _read(self, name: str, value_from: str, parse: Any) -> str:
        try:
            reference: SecretReference = parse(value_from, member=name)
            text = await self._reads.do(reference, lambda: self._read_source(reference))
            value = text if reference.key is None else _member(text, reference.key)
        except LongshoreError as error:
            raise _failed(name, value_from, error.message) from error
        if "\0" in value or _has_surrogates(value):
            raise _failed(name, value_from, "it has a character that no variable can have")
        return value

    async def _read_source(self, reference: SecretReference) -> str:
        async with self._turns:
            return await self._sources[reference.store].read(reference)

    async def close(self) -> None:
        """Gives up reads that are going on."""
        await self._reads.close()


def _results(tasks: Mapping[str, asyncio.Task[str]]) -> dict[str, str]:
    return {name: task.result() for name, task in tasks.items()}


def _has_surrogates(text: str) -> bool:
    """Whether a text has no form in UTF-8: JSON can name halves of characters."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


def _member(text: str, key: str) -> str:
    """The value of a key of a JSON object; what is no text, as JSON."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise NotFound(f"it is no JSON object, so it has no key {key!a}")
    if key not in found:
        raise NotFound(f"retrieved secret did not contain json key {key!a}")
    value = found[key]
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _failed(name: str, value_from: str, why: str) -> StepFailed:
    shown = value_from if len(value_from) <= _SHOWN else f"...{value_from[3 - _SHOWN :]}"
    return StepFailed(
        "ResourceInitializationError",
        f"unable to pull secrets or registry auth: {name} ({shown}): {why}",
        before_container=True,
    )
