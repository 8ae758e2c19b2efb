"""Reads what an image consists of from its registry, by the interface of Docker's registries.

Only descriptions are read, never a layer. Everything that a registry answers is bounded and, where
it is named by a digest, checked against that; a login goes to the registry and to the server of
tokens that it names over HTTPS, and along with no redirection.
"""

import base64
import hashlib
import http.client
import json
import re
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass
from typing import Any

from longshore.docker_login import DOCKER_HUB, REFERENCE, Login, registry_of
from longshore_cli.images.advice import Image, Layer, is_moving
from longshore_client import InvalidRequest, NotFound, PreconditionFailed, Unavailable

SECONDS = 30.0
#: Seconds for all that is read of one image, however many answers that takes.
ALL_SECONDS = 120.0
#: Largest description that is read.
TEXT_BYTES = 8 * 1024 * 1024
#: More than any layer has.
SIZE_MOST = 2**50
#: What an answer that refuses may say, for a person.
SAID_CHARACTERS = 200
_HUB = "registry-1.docker.io"
_INDEXES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
_MANIFESTS = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
#: Registries on this machine need no certificate, as for the engine.
_LOOPBACK = re.compile(r"(?:localhost|127(?:\.\d+){3}|\[::1\])(?::\d+)?")
_PARAMETER = re.compile(r'(\w+)="([^"]*)"')


@dataclass(frozen=True, slots=True)
class Reference:
    """The name of an image, taken apart."""

    registry: str
    repository: str
    tag: str
    digest: str

    @classmethod
    def parse(cls, text: str) -> "Reference":
        """Takes a name apart, as the engine does.

        Raises:
            InvalidRequest: it is none.
        """
        if REFERENCE.fullmatch(text) is None:
            raise InvalidRequest(f"{text!a} does not name an image, as in repository/name:tag.")
        registry, rest = registry_of(text)
        rest, _, digest = rest.partition("@")
        repository, _, tag = rest.partition(":")
        if registry == DOCKER_HUB and "/" not in repository:
            repository = f"library/{repository}"
        return cls(registry, repository, tag or ("" if digest else "latest"), digest)


@dataclass(frozen=True, slots=True)
class Read:
    """An image as its registry has it."""

    image: Image
    digest: str
    platform: str


def check_platform(asked: str, read: Read) -> None:
    """An image that is for one platform alone is for the one that was asked for.

    Raises:
        NotFound: it is for another.
    """
    if asked.split("/")[:2] != read.platform.split("/")[:2]:
        raise NotFound(f"The image is for {read.platform} alone, not for {asked}; see --platform.")


class Registry:
    """One registry, asked with one login."""

    def __init__(self, host: str, login: Login) -> None:
        scheme = "http" if _LOOPBACK.fullmatch(host) else "https"
        self._host = host
        self._base = f"{scheme}://{_HUB if host == DOCKER_HUB else host}/v2"
        self._login = login
        self._authorization = ""
        # No files, no FTP: a redirection leads to another web server at most.
        self._opener = urllib.request.OpenerDirector()
        for handler in (
            urllib.request.ProxyHandler(),
            urllib.request.HTTPHandler(),
            urllib.request.HTTPSHandler(),
            urllib.request.HTTPRedirectHandler(),
            urllib.request.HTTPDefaultErrorHandler(),
            urllib.request.HTTPErrorProcessor(),
        ):
            self._opener.add_handler(handler)

    def read(self, reference: Reference, platform: str) -> Read:
        """What an image consists of; of an index, what it has for a platform.

        Args:
            reference: which image.
            platform: `os/architecture`, or that and `/variant`.

        Raises:
            LongshoreError: it cannot be had, in words that say what to do.
        """
        # What trickles keeps every limit of one read, so that only a clock beside it ends it;
        # nothing waits for the thread that is left behind.
        read: Future[Read] = Future()
        threading.Thread(
            target=_fulfil, args=(read, self._read, reference, platform), daemon=True
        ).start()
        try:
            return read.result(ALL_SECONDS)
        except FutureTimeout:
            raise Unavailable(
                f"{self._host} has not answered to the end within {ALL_SECONDS:.0f} seconds; try "
                "again, or ask a mirror that is nearer.",
                registry=self._host,
            ) from None

    def _read(self, reference: Reference, platform: str) -> Read:
        name = reference.digest or reference.tag
        manifest, digest = self._manifest(reference.repository, name)
        is_index = manifest.get("mediaType") in _INDEXES or "manifests" in manifest
        if is_index:
            entry = _entry(manifest, platform)
            manifest, digest = self._manifest(reference.repository, entry)
        try:
            sizes = [(str(one["digest"]), _size(one["size"])) for one in manifest["layers"]]
            described = str(manifest["config"]["digest"])
        except (LookupError, TypeError, ValueError, OverflowError):
            raise Unavailable(
                f"{self._host} describes {reference.repository} in a form that is not known.",
                registry=self._host,
            ) from None
        config = self._blob(reference.repository, described)
        steps = steps_of(config.get("history"), len(sizes))
        image = Image(
            tuple(Layer(one, size, step) for (one, size), step in zip(sizes, steps, strict=True)),
            is_moving=is_moving(reference.tag, reference.digest),
            is_anonymous_hub=reference.registry == DOCKER_HUB and not self._login,
        )
        # What an index has for a platform is for it, whatever its configuration says.
        its_own = f"{config.get('os', '')}/{config.get('architecture', '')}"
        return Read(image, digest, platform if is_index else its_own)

    def _manifest(self, repository: str, name: str) -> tuple[dict[str, Any], str]:
        accept = ", ".join((*_INDEXES, *_MANIFESTS))
        content = self._get(f"{repository}/manifests/{name}", accept)
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        if name.startswith("sha256:") and digest != name:
            raise Unavailable(
                f"{self._host} answers another image for {name}.", registry=self._host
            )
        return self._parsed(content), digest

    def _blob(self, repository: str, digest: str) -> dict[str, Any]:
        if re.fullmatch(r"sha256:[0-9a-f]{64}", digest) is None:
            raise Unavailable(
                f"{self._host} names a configuration that is none.", registry=self._host
            )
        content = self._get(f"{repository}/blobs/{digest}", "*/*")
        if hashlib.sha256(content).hexdigest() != digest.removeprefix("sha256:"):
            raise Unavailable(
                f"{self._host} answers something else for {digest}.", registry=self._host
            )
        return self._parsed(content)

    def _parsed(self, content: bytes) -> dict[str, Any]:
        try:
            found = json.loads(content)
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            raise Unavailable(f"{self._host} answers no JSON object.", registry=self._host)
        return found

    def _get(self, path: str, accept: str) -> bytes:
        url = f"{self._base}/{path}"
        try:
            return self._ask(url, accept)
        except urllib.error.HTTPError as error:
            if error.code != 401 or self._authorization:
                raise self._refused(error, path) from error
            error.close()
            self._authorization = self._answer_to(error.headers.get("WWW-Authenticate") or "")
        try:
            return self._ask(url, accept)
        except urllib.error.HTTPError as error:
            raise self._refused(error, path) from error

    def _ask(self, url: str, accept: str = "*/*", data: bytes | None = None) -> bytes:
        # Only addresses that begin with http are made here or let through.
        request = urllib.request.Request(url, data=data, headers={"Accept": accept})  # noqa: S310
        if self._authorization:
            request.add_unredirected_header("Authorization", self._authorization)
        try:
            with self._opener.open(request, timeout=SECONDS) as answer:
                content: bytes = answer.read(TEXT_BYTES + 1)
        except urllib.error.HTTPError:
            raise
        except (OSError, http.client.HTTPException, ValueError) as error:
            why = getattr(error, "reason", None) or error
            raise Unavailable(
                f"{self._host} is not reached: {why}.", registry=self._host
            ) from error
        if len(content) > TEXT_BYTES:
            raise Unavailable(
                f"{self._host} answers more than {TEXT_BYTES:,} bytes.", registry=self._host
            )
        return content

    def _answer_to(self, challenge: str) -> str:
        """What to say to a registry that asks who we are."""
        scheme, _, rest = challenge.partition(" ")
        basic = base64.b64encode(f"{self._login.user}:{self._login.password}".encode()).decode()
        if scheme.lower() == "basic":
            return f"Basic {basic}" if self._login.user else ""
        given = dict(_PARAMETER.findall(rest))
        realm = given.get("realm", "")
        is_safe = realm.startswith("https://") or (
            realm.startswith("http://") and self._base.startswith("http://")
        )
        if scheme.lower() != "bearer" or not is_safe:
            raise Unavailable(
                f"{self._host} asks for a login in a way that is not known.", registry=self._host
            )
        asked = {name: given[name] for name in ("service", "scope") if name in given}
        data = None
        if self._login.identity_token:
            asked |= {
                "grant_type": "refresh_token",
                "client_id": "longshore",
                "refresh_token": self._login.identity_token,
            }
            data = urllib.parse.urlencode(asked).encode()
        else:
            realm = f"{realm}{'&' if '?' in realm else '?'}{urllib.parse.urlencode(asked)}"
            self._authorization = f"Basic {basic}" if self._login.user else ""
        try:
            answer = self._parsed(self._ask(realm, data=data))
        except urllib.error.HTTPError as error:
            raise self._refused(error, "") from error
        finally:
            self._authorization = ""
        token = answer.get("token") or answer.get("access_token")
        if not isinstance(token, str) or not token.isprintable():
            raise Unavailable(f"{self._host} gives no token.", registry=self._host)
        return f"Bearer {token}"

    def _refused(self, error: urllib.error.HTTPError, path: str) -> Exception:
        """Why a registry did not answer with what was asked for."""
        with error:
            said = _said(error)
        if error.code == 429:
            return Unavailable(
                f"{self._host} lets no more be pulled for now{said}; log in there with "
                "`docker login`, or try again later.",
                registry=self._host,
            )
        if error.code in (401, 403):
            return PreconditionFailed(
                f"{self._host} does not let the image be read{said} (credentials: "
                f"{self._login.source}); log in there with `docker login {self._host}`."
            )
        if error.code == 404:
            return NotFound(f"{self._host} has no {path}{said}.")
        return Unavailable(f"{self._host} answers {error.code}{said}.", registry=self._host)


def _fulfil(read: Future[Read], call: Callable[..., Read], *args: Any) -> None:
    try:
        read.set_result(call(*args))
    except BaseException as error:  # noqa: BLE001 - whatever it is, it belongs to who waits
        read.set_exception(error)


def _size(told: Any) -> int:
    """A size as a registry tells it, within what can be."""
    return min(max(int(told), 0), SIZE_MOST)


def _said(error: urllib.error.HTTPError) -> str:
    """What a registry says of a refusal, in brackets, if it says anything."""
    try:
        first = json.loads(error.read(TEXT_BYTES))["errors"][0]
        text = str(first.get("message") or first.get("code") or "")
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        text = ""
    return f" ({text[:SAID_CHARACTERS]})" if text else ""


def _entry(index: Mapping[str, Any], platform: str) -> str:
    """The digest of what an index has for a platform.

    Raises:
        NotFound: it has nothing for that.
    """
    entries = index.get("manifests")
    found: dict[str, str] = {}
    for entry in entries if isinstance(entries, list) else ():
        is_whole = isinstance(entry, dict) and isinstance(entry.get("platform"), dict)
        if not is_whole or not isinstance(entry.get("digest"), str):
            continue
        on = entry["platform"]
        name = f"{on.get('os', '')}/{on.get('architecture', '')}"
        if name == "unknown/unknown":  # a signature or the like
            continue
        found.setdefault(name, entry["digest"])
        if on.get("variant"):
            found.setdefault(f"{name}/{on['variant']}", entry["digest"])
    if platform not in found:
        there = ", ".join(sorted(found)) or "no platform"
        raise NotFound(f"The image is not there for {platform}, but for {there}; see --platform.")
    return found[platform]


def steps_of(history: Any, layers: int) -> Sequence[str]:
    """The step that made each layer; empty ones where the history does not tell."""
    entries = history if isinstance(history, list) else []
    steps = [
        str(entry.get("created_by") or "")
        for entry in entries
        if isinstance(entry, dict) and not entry.get("empty_layer")
    ]
    return steps if len(steps) == layers else [""] * layers
