"""What names an image, which registry has it, and with which login that is asked: as Docker has it.

Agents and the `longshore` command read the same file by the same rules; no other package of ours is
needed here.
"""

import asyncio
import base64
import binascii
import contextlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

DOCKER_HUB = "docker.io"
#: By which `config.json` knows Docker Hub.
HUB_KEY = "https://index.docker.io/v1/"
_HUB_NAMES = (DOCKER_HUB, "index.docker.io", "registry-1.docker.io")
#: What the engine takes for an image, by the grammar of github.com/distribution/reference: a name
#: with or without its registry, a tag, a digest. Others make addresses that mean something else.
_LABEL = r"(?:[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?)"
_REGISTRY = rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?"
_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_TAG = r"\w[\w.-]{0,127}"
_DIGEST = r"[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}"
REFERENCE = re.compile(
    rf"(?:{_REGISTRY}/)?{_PART}(?:/{_PART})*(?::{_TAG})?(?:@{_DIGEST})?", re.ASCII
)
_HELPER = re.compile(r"[A-Za-z0-9._-]+")
#: How long the end of a helper that was killed is waited for.
KILLED_SECONDS = 5.0
HELPER_SECONDS = 30.0
#: What a configuration or a helper may say, in bytes.
_TEXT_BYTES = 1024 * 1024
#: By which a helper says that it has no login, as the engine's own command looks for it.
_NONE_FOUND = "credentials not found"
#: User name that marks a helper's answer as an identity token.
_TOKEN_USER = "<token>"  # noqa: S105 - a mark, no secret


@dataclass(frozen=True, slots=True)
class Login:
    """Who a registry is told that the engine is."""

    #: Where it comes from, in words.
    source: str = "none"
    user: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)

    def __bool__(self) -> bool:
        """Whether there is anything to tell."""
        return bool(self.user or self.password or self.identity_token)

    def headers(self, image: str) -> dict[str, str]:
        """As the engine takes it, for the registry of an image alone."""
        if not self:
            return {}
        registry, _ = registry_of(image)
        server = {"serveraddress": HUB_KEY if registry == DOCKER_HUB else registry}
        said = (
            {"identitytoken": self.identity_token}
            if self.identity_token
            else {"username": self.user, "password": self.password}
        )
        text = json.dumps(said | server).encode()
        return {"X-Registry-Auth": base64.urlsafe_b64encode(text).decode()}


NO_LOGIN = Login()


def registry_of(image: str) -> tuple[str, str]:
    """Splits a reference into registry and the rest, as the engine does."""
    first, slash, rest = image.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost" or first.lower() != first):
        return (DOCKER_HUB if first in _HUB_NAMES else first), rest
    return DOCKER_HUB, image


def configured(config: Mapping[str, Any], image: str, source: str) -> Login:
    """The login of `auths` for an image: the key that covers most of its name counts.

    Raises:
        ValueError: the entry is none.
    """
    registry, rest = registry_of(image)
    name = f"{registry}/{rest}"
    keys = {key: _plain(key) for key in config.get("auths") or {}}
    fitting = [key for key, plain in keys.items() if f"{name}/".startswith(f"{plain}/")]
    if not fitting:
        return NO_LOGIN
    key = max(fitting, key=lambda key: len(keys[key]))
    return _entry(config["auths"][key], f"{key} in {source}")


def helper_of(config: Mapping[str, Any], registry: str) -> str:
    """The credential helper that is asked for a registry; empty if none is."""
    helpers = config.get("credHelpers") or {}
    names = (HUB_KEY, *_HUB_NAMES) if registry == DOCKER_HUB else (registry,)
    found = next((helpers[name] for name in names if name in helpers), None)
    return str(found or config.get("credsStore") or "")


def _plain(key: str) -> str:
    """A key of `auths` as names of images begin."""
    plain = re.sub(r"^https?://", "", key).rstrip("/")
    plain = re.sub(r"/v[12]$", "", plain)
    host, slash, rest = plain.partition("/")
    return f"{DOCKER_HUB if host in _HUB_NAMES else host}{slash}{rest}"


def _entry(entry: Any, source: str) -> Login:
    if not isinstance(entry, dict):
        raise ValueError(f"{source} is no object")  # noqa: TRY004 - of a file, not of a program
    user, password = str(entry.get("username") or ""), str(entry.get("password") or "")
    if entry.get("auth"):
        try:
            text = base64.b64decode(str(entry["auth"]), validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            text = ""
        user, colon, password = text.partition(":")
        if not colon:
            raise ValueError(f"auth of {source} is not USER:PASSWORD in base64")
        password = password.rstrip("\0")
    found = Login(source, user, password, str(entry.get("identitytoken") or ""))
    return found or NO_LOGIN


def engine_config() -> Path:
    """Where the engine's own command has its configuration."""
    found = os.environ.get("DOCKER_CONFIG") or "~/.docker"
    return Path(os.path.expanduser(found)) / "config.json"  # noqa: PTH111 - a home that is not known is left as it is


async def login_of_engine(path: Path, image: str) -> Login:
    """The login that the engine's own configuration has for an image; none if there is none.

    Raises:
        OSError: the file, or a credential helper that it names, cannot be used.
        ValueError: what one of them says cannot be understood.
        RecursionError: the file is nested too deep.
    """
    config = await asyncio.to_thread(_read, path)
    registry, _ = registry_of(image)
    if helper := helper_of(config, registry):
        found = await _ask_helper(helper, HUB_KEY if registry == DOCKER_HUB else registry, path)
        if found:
            return found
    return configured(config, image, str(path))


async def _ask_helper(helper: str, server: str, path: Path) -> Login:
    program = f"docker-credential-{helper}"
    if _HELPER.fullmatch(helper) is None:
        raise ValueError(f"{program!a} is no name of a credential helper")
    process = await asyncio.create_subprocess_exec(
        program,
        "get",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        async with asyncio.timeout(HELPER_SECONDS):
            said = await _exchange(process.stdin, process.stdout, server.encode())
            code = await process.wait()
    except TimeoutError:
        raise ValueError(f"{program} has not answered within {HELPER_SECONDS:g} s") from None
    finally:
        if process.returncode is None:
            process.kill()
            await _drained(process)
    if code:
        text = said.decode(errors="replace").strip()
        if _NONE_FOUND in text.lower():
            return NO_LOGIN
        raise ValueError(f"{program} says for {server}: {text[:100] or f'exit code {code}'}")
    try:
        found = json.loads(said)
        user, secret = str(found["Username"]), str(found["Secret"])
    except (ValueError, TypeError, KeyError, RecursionError):
        raise ValueError(f"{program} says no login for {server} that can be read") from None
    source = f"{program} of {path}"
    if user == _TOKEN_USER:
        return Login(source, identity_token=secret)
    return Login(source, user, secret)


async def _drained(process: asyncio.subprocess.Process) -> None:
    """Waits for the end of a program that was killed.

    That does not come while anything it printed is unread; what it started may hold on to the pipe.
    """
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(KILLED_SECONDS):
            while process.stdout is not None and await process.stdout.read(65_536):
                pass
            await process.wait()


async def _exchange(
    into: asyncio.StreamWriter | None, out_of: asyncio.StreamReader | None, given: bytes
) -> bytes:
    """Gives a program its input and returns what it prints, up to a bound."""
    if into is None or out_of is None:
        return b""
    with contextlib.suppress(ConnectionError):
        into.write(given)
        await into.drain()
        into.close()
    said = bytearray()
    while part := await out_of.read(65_536):
        said += part
        if len(said) > _TEXT_BYTES:
            raise ValueError(f"a credential helper printed more than {_TEXT_BYTES:,} bytes")
    return bytes(said)


def _read(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            content = file.read(_TEXT_BYTES + 1)
    except FileNotFoundError:
        return {}
    if len(content) > _TEXT_BYTES:
        raise ValueError(f"is longer than {_TEXT_BYTES:,} bytes")
    try:
        found = json.loads(content)
    except ValueError:
        # What is wrong at which place might show what is near it.
        raise ValueError("is not JSON") from None
    if not isinstance(found, dict):
        raise ValueError("is no JSON object")  # noqa: TRY004 - of a file, not of a program
    for name in ("auths", "credHelpers"):
        if not isinstance(found.get(name) or {}, dict):
            raise ValueError(f"{name} is no object")  # noqa: TRY004 - of a file, not of a program
    return found
