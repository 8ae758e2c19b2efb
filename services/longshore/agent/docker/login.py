"""With which login an image is pulled.

As on ECS there is one, and when it is refused no other is tried:

1. that of the job's `repositoryCredentials`;
2. where the image's name is one of Amazon ECR's, ECR's authorization token;
3. the engine's own configuration: `config.json` in DOCKER_CONFIG or ~/.docker, with its credential
   helpers;
4. none.

A machine without credentials for AWS goes on to the third for images of ECR too: somebody may have
logged in there by hand.
"""

import asyncio
import base64
import re
from datetime import UTC, datetime
from pathlib import Path

from longshore.agent.attempts.attempt import StepFailed
from longshore.agent.secret.reading import Secrets
from longshore.agent.sharing import Shared
from longshore.docker_login import NO_LOGIN, Login, engine_config, login_of_engine, registry_of
from longshore.domain.errors import LongshoreError
from longshore.runtime.aws import NoCredentials, open_api

_ECR = re.compile(
    r"(?P<account>[0-9]{12})\.dkr[.-]ecr(?:-fips)?\.(?P<region>[a-z0-9-]+)"
    r"\.(?:amazonaws\.(?:com(?:\.cn)?|eu)|on\.aws)"
)


class Logins:
    """Finds logins; ECR's tokens are kept for half their life."""

    def __init__(self, secrets: Secrets, directory: Path | None = None) -> None:
        """Finds nothing yet.

        Args:
            secrets: where `repositoryCredentials` lie.
            directory: of `config.json`; None: where the engine's own command has it.
        """
        self._config = engine_config() if directory is None else directory / "config.json"
        self._secrets = secrets
        self._tokens: dict[tuple[str, str], tuple[Login, float]] = {}
        self._asked: Shared[tuple[str, str], Login] = Shared()

    async def of_job(self, credentials_parameter: str) -> Login:
        """The login that a job's `repositoryCredentials` name.

        Raises:
            StepFailed: it cannot be had.
        """
        user, password = await self._secrets.login(credentials_parameter)
        return Login(f"repositoryCredentials {credentials_parameter}", user, password)

    async def of_machine(self, image: str) -> Login:
        """The login that this machine has for an image.

        Raises:
            StepFailed: there should be one, and it cannot be had.
        """
        registry, _ = registry_of(image)
        without = NO_LOGIN
        if match := _ECR.fullmatch(registry):
            try:
                return await self._of_ecr(match["account"], match["region"])
            except NoCredentials:
                without = Login("none, and none for AWS here")
        try:
            login = await login_of_engine(self._config, image)
        except (OSError, ValueError, RecursionError) as error:
            raise StepFailed("CannotPullContainerError", f"{self._config}: {error}") from error
        return login or without

    def refused(self, login: Login) -> None:
        """A registry did not take a login: the next one is a new one."""
        self._tokens = {key: kept for key, kept in self._tokens.items() if kept[0] != login}

    async def _of_ecr(self, account: str, region: str) -> Login:
        clock = asyncio.get_running_loop().time
        self._tokens = {key: kept for key, kept in self._tokens.items() if clock() < kept[1]}
        key = (account, region)
        if key in self._tokens:
            return self._tokens[key][0]
        return await self._asked.do(key, lambda: self._ask_ecr(account, region))

    async def _ask_ecr(self, account: str, region: str) -> Login:
        try:
            async with open_api("ecr", region=region) as api:
                answer = await api.call("get_authorization_token", registryIds=[account])
            data = answer["authorizationData"][0]
            text = base64.b64decode(data["authorizationToken"]).decode()
        except NoCredentials:
            raise
        except (LongshoreError, LookupError, ValueError) as error:
            why = f"ECR gives no authorization token for {account} in {region}: {error}"
            raise StepFailed("CannotPullECRContainerError", why) from error
        user, _, password = text.partition(":")
        login = Login(f"ECR's authorization token for {account} in {region}", user, password)
        life = (data["expiresAt"] - datetime.now(UTC)).total_seconds()
        until = asyncio.get_running_loop().time() + life / 2
        self._tokens[account, region] = login, until
        return login

    async def close(self) -> None:
        """Gives up what is asked for."""
        await self._asked.close()
