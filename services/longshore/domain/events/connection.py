"""Connections and API destinations: how HTTP endpoints are called, and what is secret of it.

Of a connection's parameters some are secret: they are told apart here, kept encrypted, and put back
where a call is made. `parts` and `whole` are each other's inverse.
"""

import re
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import urlsplit

from longshore.domain.checks import Json
from longshore.domain.events import members
from longshore.domain.events.members import constraint, invalid
from longshore.domain.events.webhook import check_header

BASIC = "BASIC"
OAUTH = "OAUTH_CLIENT_CREDENTIALS"
API_KEY = "API_KEY"
AUTHORIZED = "AUTHORIZED"
DEAUTHORIZED = "DEAUTHORIZED"
#: AWS's; others are never reached here.
CONNECTION_STATES = (
    *("CREATING", "UPDATING", "DELETING", AUTHORIZED, DEAUTHORIZED),
    *("AUTHORIZING", "DEAUTHORIZING", "ACTIVE", "FAILED_CONNECTIVITY"),
)
METHODS = ("POST", "GET", "HEAD", "OPTIONS", "PUT", "PATCH", "DELETE")
OAUTH_METHODS = ("GET", "POST", "PUT")
RATE_DEFAULT = 300
RATE_MAX = 1_000_000
ENDPOINT_MAX = 2048
_CREDENTIAL_MAX = 512
_PARAMETERS_MAX = 100
_CREDENTIAL = re.compile(r"[^\x00-\x1F\x7F]+")
_USER = re.compile(r"[^\x00-\x1F:\x7F]+")
_HEADER = re.compile(r"[!#$%&'*+\-.^_`|~0-9a-zA-Z]+")
_HEADER_VALUE = re.compile(r"[\t\x20-\x7E]+")
_URL = re.compile(r"[!-~]+")

#: The member of AuthParameters that goes with each type.
_BY_TYPE = {BASIC: "BasicAuthParameters", OAUTH: "OAuthParameters", API_KEY: "ApiKeyAuthParameters"}
AUTHORIZATION_TYPES = tuple(_BY_TYPE)
#: Where lists of parameters are, each with its own secrets.
_LISTS = ("HeaderParameters", "QueryStringParameters", "BodyParameters")


@dataclass(frozen=True, slots=True, kw_only=True)
class EventConnection:
    """How API destinations are authorised."""

    name: str
    connection_id: uuid.UUID
    description: str | None
    authorization_type: str
    #: AuthParameters less what is secret.
    parameters: Json
    #: What is secret, encrypted.
    secret: bytes
    state: str
    created_at: datetime
    changed_at: datetime
    authorized_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiDestination:
    """An HTTP endpoint that can be a target."""

    name: str
    destination_id: uuid.UUID
    description: str | None
    connection: str
    connection_id: uuid.UUID
    endpoint: str
    http_method: str
    rate_limit: int
    state: str
    created_at: datetime
    changed_at: datetime


def check_connection(kind: str | None, parameters: Json | None, *, is_new: bool) -> None:
    """What a connection is to authorise with.

    Args:
        kind: its type.
        parameters: AuthParameters as they will be, secrets included.
        is_new: whether it is created; else it is changed, and this is what comes of it.

    Raises:
        InvalidRequest: a member is missing or wrong.
    """
    if kind is None:
        raise constraint(None, "AuthorizationType", "not be null")
    members.choice(kind, "AuthorizationType", AUTHORIZATION_TYPES)
    if parameters is None:
        raise constraint(None, "AuthParameters", "not be null")
    own = _BY_TYPE[kind]
    if own not in parameters:
        raise invalid(
            f"AuthParameters.{own} must be specified for AuthorizationType {kind}.",
            f"AuthParameters.{own}",
        )
    if is_new:
        for name in _BY_TYPE.values():
            if name != own and name in parameters:
                raise invalid(
                    f"AuthParameters.{name} does not go with AuthorizationType {kind}.",
                    f"AuthParameters.{name}",
                )
    _CHECKS[kind](parameters[own], f"AuthParameters.{own}")
    _check_http(
        parameters.get("InvocationHttpParameters"), "AuthParameters.InvocationHttpParameters"
    )


def _needed(given: Json, path: str, name: str, form: re.Pattern[str]) -> None:
    if given.get(name) is None:
        raise constraint(None, f"{path}.{name}", "not be null")
    value: str = given[name]
    # A value is not repeated in the refusal: it may be the secret.
    if not 1 <= len(value) <= _CREDENTIAL_MAX or form.fullmatch(value) is None:
        raise invalid(
            f"{path}.{name} must have 1 to {_CREDENTIAL_MAX} characters, none of control.",
            f"{path}.{name}",
        )


def _check_basic(given: Json, path: str) -> None:
    _needed(given, path, "Username", _USER)
    _needed(given, path, "Password", _CREDENTIAL)


def _check_api_key(given: Json, path: str) -> None:
    _needed(given, path, "ApiKeyName", _HEADER)
    check_header(given["ApiKeyName"], f"{path}.ApiKeyName")
    _needed(given, path, "ApiKeyValue", _HEADER_VALUE)


def _check_oauth(given: Json, path: str) -> None:
    client = given.get("ClientParameters")
    if client is None:
        raise constraint(None, f"{path}.ClientParameters", "not be null")
    _needed(client, f"{path}.ClientParameters", "ClientID", _CREDENTIAL)
    _needed(client, f"{path}.ClientParameters", "ClientSecret", _CREDENTIAL)
    check_endpoint(given.get("AuthorizationEndpoint"), f"{path}.AuthorizationEndpoint")
    if given.get("HttpMethod") is None:
        raise constraint(None, f"{path}.HttpMethod", "not be null")
    members.choice(given["HttpMethod"], f"{path}.HttpMethod", OAUTH_METHODS)
    _check_http(given.get("OAuthHttpParameters"), f"{path}.OAuthHttpParameters")


_CHECKS: dict[str, Callable[[Json, str], None]] = {
    BASIC: _check_basic,
    OAUTH: _check_oauth,
    API_KEY: _check_api_key,
}


def _check_http(given: Json | None, path: str) -> None:
    for kind in _LISTS:
        entries = (given or {}).get(kind, ())
        members.count(entries, f"{path}.{kind}", 0, _PARAMETERS_MAX)
        is_header = kind == "HeaderParameters"
        for index, entry in enumerate(entries):
            where = f"{path}.{kind}[{index}]"
            _needed(entry, where, "Key", _HEADER if is_header else _CREDENTIAL)
            if is_header:
                check_header(entry["Key"], f"{where}.Key")
            _needed(entry, where, "Value", _HEADER_VALUE if is_header else _CREDENTIAL)


def check_endpoint(url: str | None, member: str) -> None:
    """A URL that can be called.

    Raises:
        InvalidRequest: it is none, or has a user or a fragment.
    """
    if url is None:
        raise constraint(None, member, "not be null")
    members.text(url, member, ENDPOINT_MAX)
    try:
        parts = urlsplit(url)
        is_whole = bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        parts, is_whole = urlsplit(""), False
    if (
        not is_whole
        or _URL.fullmatch(url) is None
        or parts.scheme not in ("http", "https")
        or "@" in parts.netloc
        or "*" in parts.netloc
        or parts.fragment
    ):
        raise invalid(
            f"{member} must be a URL with http or https and a host, without a user and a fragment.",
            member,
        )


def parts(parameters: Json) -> tuple[Json, Json]:
    """AuthParameters in two: what may be shown, and what is secret."""
    shown = _copied(parameters)
    secret: Json = {}
    for holder, name, path in _secrets(shown):
        secret[path] = holder.pop(name)
    return shown, secret


def whole(shown: Json, secret: Json) -> Json:
    """AuthParameters of what `parts` made of them."""
    found = _copied(shown)
    for path, value in secret.items():
        *steps, name = path.split("/")
        at = found
        for step in steps:
            at = at[int(step)] if isinstance(at, list) else at.setdefault(step, {})
        at[name] = value
    return found


def merged(known: Json, change: Json) -> Json:
    """AuthParameters with what is given replaced, member by member; lists as a whole."""
    found = dict(known)
    for name, value in change.items():
        inner = found.get(name)
        both = isinstance(inner, dict) and isinstance(value, dict)
        found[name] = merged(inner, value) if both else value  # type: ignore[arg-type]
    return found


def of_type(parameters: Json, kind: str) -> Json:
    """AuthParameters less those that go with another type."""
    others = {name for other, name in _BY_TYPE.items() if other != kind}
    return {name: value for name, value in parameters.items() if name not in others}


def _copied(value: Json) -> Json:
    return {name: _copy(inner) for name, inner in value.items()}


def _copy(value: object) -> object:
    if isinstance(value, dict):
        return _copied(value)
    return [_copy(entry) for entry in value] if isinstance(value, list) else value


def _secrets(parameters: Json) -> list[tuple[Json, str, str]]:
    """Where the secrets of AuthParameters are: what holds each, its name there, its path."""
    found: list[tuple[Json, str, str]] = []
    for path, name in (
        ("BasicAuthParameters", "Password"),
        ("ApiKeyAuthParameters", "ApiKeyValue"),
        ("OAuthParameters/ClientParameters", "ClientSecret"),
    ):
        holder: Json = parameters
        for step in path.split("/"):
            holder = holder.get(step, {})
        if name in holder:
            found.append((holder, name, f"{path}/{name}"))
    for path in ("InvocationHttpParameters", "OAuthParameters/OAuthHttpParameters"):
        holder = parameters
        for step in path.split("/"):
            holder = holder.get(step, {})
        for kind in _LISTS:
            for index, entry in enumerate(holder.get(kind, ())):
                if entry.get("IsValueSecret") and "Value" in entry:
                    found.append((entry, "Value", f"{path}/{kind}/{index}/Value"))
    return found
