"""Where values are read: three stores behind one call."""

import asyncio
from collections.abc import Mapping
from typing import Any, Protocol

from longshore.agent.secret.file import SecretsFile
from longshore.domain.errors import NotFound
from longshore.domain.secret import SecretReference, Store
from longshore.runtime.aws import open_api


class SecretSource(Protocol):
    """A store of secrets."""

    async def read(self, reference: SecretReference) -> str:
        """The whole value that a reference names, as text; its key is not looked at.

        Raises:
            LongshoreError: there is none, or it cannot be read; the message is the store's.
        """
        ...


class OwnSecrets:
    """Longshore's own file."""

    def __init__(self, file: SecretsFile) -> None:
        self._file = file

    async def read(self, reference: SecretReference) -> str:
        """Reads it anew each time: it is small, and what was set just now is there."""
        return await asyncio.to_thread(self._file.get, reference.secret_id)


class SecretsManager:
    """AWS Secrets Manager."""

    def __init__(self, region: str) -> None:
        self._region = region

    async def read(self, reference: SecretReference) -> str:
        """Of no version in particular: the one that is AWSCURRENT."""
        members: dict[str, Any] = {
            "SecretId": reference.secret_id,
            "VersionStage": reference.version_stage,
            "VersionId": reference.version_id,
        }
        async with open_api("secretsmanager", region=reference.region or self._region) as api:
            answer: Mapping[str, Any] = await api.call(
                "get_secret_value", **{name: value for name, value in members.items() if value}
            )
        text = answer.get("SecretString")
        if text is None:
            raise NotFound("the secret is binary; only text can be given to a container")
        return str(text)


class ParameterStore:
    """SSM Parameter Store."""

    def __init__(self, region: str) -> None:
        self._region = region

    async def read(self, reference: SecretReference) -> str:
        """By GetParameters, which is what roles for ECS allow."""
        async with open_api("ssm", region=reference.region or self._region) as api:
            answer: Mapping[str, Any] = await api.call(
                "get_parameters", Names=[reference.secret_id], WithDecryption=True
            )
        if not answer["Parameters"]:
            raise NotFound("invalid parameters: there is no such parameter or version")
        return str(answer["Parameters"][0]["Value"])


def open_sources(file: SecretsFile, region: str) -> dict[Store, SecretSource]:
    """All stores.

    Args:
        file: longshore's own.
        region: of AWS's where a reference names none.
    """
    return {
        Store.OWN: OwnSecrets(file),
        Store.SECRETS_MANAGER: SecretsManager(region),
        Store.PARAMETER_STORE: ParameterStore(region),
    }
