"""AWS Signature Version 4: what a request says of its signature, and whether it is right.

A request is signed in a header (`Authorization`) or in its query string, where it was signed ahead.
The secret is not needed here: a key of one day, region and service is derived from it
(`signing_key`), and that is enough to check what was signed for these.

Source: AWS's reference of Signature Version 4, "Create a signed AWS API request". Where clients
differ from it, what botocore signs is right: query strings are signed as they are written there.
"""

import contextlib
import hmac
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from hashlib import sha256
from urllib.parse import quote, unquote, unquote_plus

from longshore.domain.errors import Unauthenticated

ALGORITHM = "AWS4-HMAC-SHA256"
TERMINATOR = "aws4_request"
#: How far a caller's clock may be from ours.
SKEW = timedelta(minutes=5)
#: Longest life of what is signed ahead.
LIFE_SECONDS_MAX = 7 * 86_400
#: Most headers that are signed, and the longest text that says how.
SIGNED_HEADERS_MAX = 100
TEXT_MAX = 8 * 1024
UNSIGNED = "UNSIGNED-PAYLOAD"
DATE = "x-amz-date"
PAYLOAD = "x-amz-content-sha256"

_TIME = "%Y%m%dT%H%M%SZ"
_TIME_FORM = re.compile(r"[0-9]{8}T[0-9]{6}Z", re.ASCII)
_CREDENTIAL = re.compile(
    r"(?P<key>[A-Za-z0-9]{1,128})/(?P<day>[0-9]{8})/(?P<region>[a-z0-9-]{1,64})/"
    r"(?P<service>[a-z0-9-]{1,64})/(?P<end>[a-z0-9_]{1,64})",
    re.ASCII,
)
_SIGNATURE = re.compile(r"[0-9a-f]{64}", re.ASCII)
_DIGEST = _SIGNATURE
_NUMBER = re.compile(r"[0-9]{1,6}", re.ASCII)
_PARTS = ("Credential", "SignedHeaders", "Signature")
_DATE_IN_QUERY = "X-Amz-Date"
_EXPIRES = "X-Amz-Expires"
_SIGNED_HEADERS = "X-Amz-SignedHeaders"
_IN_QUERY = ("X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Signature")

INCOMPLETE = "IncompleteSignatureException"
MISSING = "MissingAuthenticationTokenException"
WRONG = "InvalidSignatureException"
UNKNOWN = "UnrecognizedClientException"
EXPIRED = "ExpiredTokenException"


@dataclass(frozen=True, slots=True)
class Scope:
    """What a signature is good for; `day` as in 20260131."""

    key_id: str
    day: str
    region: str
    service: str

    @property
    def text(self) -> str:
        """As it is signed: without the key."""
        return f"{self.day}/{self.region}/{self.service}/{TERMINATOR}"


@dataclass(frozen=True, slots=True)
class Request:
    """A request as it came over the wire."""

    method: str
    #: The path, percent-encoded.
    path: str
    #: What stands behind the `?`.
    query: str
    #: Values by name in lower case, in their order.
    headers: Mapping[str, Sequence[str]]

    def header(self, name: str) -> str | None:
        """The one value of a header; None where there is none, or more than one."""
        values = self.headers.get(name, ())
        return values[0] if len(values) == 1 else None


@dataclass(frozen=True, slots=True)
class Signed:
    """What a request says of its signature."""

    scope: Scope
    at: datetime
    #: Names of the headers that are signed, in order.
    headers: tuple[str, ...]
    signature: str
    #: For how long what was signed ahead is good; None where it is sent at once.
    life: timedelta | None = None


def read(request: Request) -> Signed:
    """What a request says of its signature.

    Raises:
        Unauthenticated: nothing, or what is no signature of this kind.
    """
    told = request.headers.get("authorization", ())
    in_query = any(f"{name}=" in request.query for name in _IN_QUERY)
    if told and in_query:
        raise _incomplete("A request is signed in its header or in its query string, not in both.")
    if in_query:
        return _of_query(request)
    if not told or not told[0].strip():
        raise Unauthenticated("Missing Authentication Token", code=MISSING)
    if len(told) > 1:
        raise _incomplete("There is more than one Authorization header.")
    return _of_header(request, told[0])


def check_time(signed: Signed, now: datetime) -> None:
    """Checks that a signature is of now.

    Raises:
        Unauthenticated: it is too old, or of a time that is yet to come.
    """
    age = now - signed.at
    if signed.life is None and age > SKEW:
        raise Unauthenticated(
            f"Signature expired: {_shown(signed.at)} is now earlier than {_shown(now - SKEW)} "
            f"({_shown(now)} - 5 min.)",
            code=WRONG,
        )
    if signed.life is not None and age > signed.life:
        raise Unauthenticated(
            f"Signature expired: {_shown(signed.at + signed.life)} is now earlier than "
            f"{_shown(now)}",
            code=WRONG,
        )
    if -age > SKEW:
        raise Unauthenticated(
            f"Signature not yet current: {_shown(signed.at)} is still later than "
            f"{_shown(now + SKEW)} ({_shown(now)} + 5 min.)",
            code=WRONG,
        )


def check_payload(request: Request, body: bytes) -> str:
    """The digest of the body as it is signed.

    Raises:
        Unauthenticated: the header says another digest, or a form that is not taken here.
    """
    said = request.headers.get(PAYLOAD)
    if said is None:
        return sha256(body).hexdigest()
    if len(said) > 1:
        raise _incomplete(f"There is more than one {PAYLOAD} header.")
    if said[0] == UNSIGNED:
        return UNSIGNED
    if said[0].startswith("STREAMING-"):
        raise Unauthenticated(
            f"{PAYLOAD} is {said[0][:64]}: bodies in signed chunks are not taken here; sign the "
            f"whole body, or say {UNSIGNED}.",
            code=WRONG,
        )
    actual = sha256(body).hexdigest()
    if _DIGEST.fullmatch(said[0]) is None or not hmac.compare_digest(said[0], actual):
        raise Unauthenticated(
            f"The value of the {PAYLOAD} header is not the SHA-256 of the body that came.",
            code=WRONG,
        )
    return actual


def signing_key(secret: str, scope: Scope) -> bytes:
    """The key that signs for one day, region and service."""
    key = f"AWS4{secret}".encode()
    for part in (scope.day, scope.region, scope.service, TERMINATOR):
        key = _mac(key, part)
    return key


def verify(signed: Signed, request: Request, payload: str, key: bytes) -> None:
    """Checks a signature, in a time that tells nothing of the right one.

    Args:
        signed: what the request says of it.
        request: the request.
        payload: `check_payload`'s answer.
        key: `signing_key`'s.

    Raises:
        Unauthenticated: it is not right.
    """
    head = f"{request.method.upper()}\n{_path(request.path)}\n"
    tail = f"\n{_headers(signed, request)}\n{';'.join(signed.headers)}\n{payload}"
    is_right = False
    for query in _queries(request.query):
        canonical = (head + query + tail).encode(errors="surrogateescape")
        text = "\n".join(
            (ALGORITHM, _shown(signed.at), signed.scope.text, sha256(canonical).hexdigest())
        )
        is_right |= hmac.compare_digest(_mac(key, text).hex(), signed.signature)
    if not is_right:
        raise Unauthenticated(
            "The request signature we calculated does not match the signature you provided. Check "
            "your AWS Secret Access Key and signing method. Consult the service documentation for "
            "details.",
            code=WRONG,
        )


# ---------------------------------------------------------------- what is said


def _of_header(request: Request, text: str) -> Signed:
    algorithm, _, rest = text.strip().partition(" ")
    if algorithm != ALGORITHM or len(text) > TEXT_MAX:
        raise _incomplete(f"The Authorization header must begin with {ALGORITHM}.")
    said: dict[str, str] = {}
    for part in rest.split(","):
        name, _, value = part.strip().partition("=")
        if name not in _PARTS or name in said:
            raise _incomplete(
                "The Authorization header has a part twice, or one that is not known."
            )
        said[name] = value
    for name in _PARTS:
        if not said.get(name):
            raise _incomplete(f"Authorization header requires '{name}' parameter.")
    scope = _scope(said["Credential"])
    return Signed(
        scope=scope,
        at=_of_day(_time(request), scope),
        headers=_signed_headers(said["SignedHeaders"], request, is_ahead=False),
        signature=_signature(said["Signature"]),
    )


def _of_query(request: Request) -> Signed:
    if len(request.query) > 8 * TEXT_MAX:
        raise _incomplete("The query string is too long to be signed.")
    said: dict[str, str] = {}
    for pair in request.query.split("&"):
        name, _, value = pair.partition("=")
        if name.startswith("X-Amz-"):
            if name in said:
                raise _incomplete(f"The query string has {name[:32]} twice.")
            said[name] = unquote(value)
    for name in (*_IN_QUERY, _DATE_IN_QUERY, _EXPIRES, _SIGNED_HEADERS):
        if not said.get(name):
            raise _incomplete(f"AWS query-string parameters must include '{name}'.")
    if said["X-Amz-Algorithm"] != ALGORITHM:
        raise _incomplete(f"X-Amz-Algorithm must be {ALGORITHM}.")
    if _NUMBER.fullmatch(said[_EXPIRES]) is None or not (
        1 <= (seconds := int(said[_EXPIRES])) <= LIFE_SECONDS_MAX
    ):
        raise _incomplete(f"{_EXPIRES} must be from 1 to {LIFE_SECONDS_MAX} seconds.")
    scope = _scope(said["X-Amz-Credential"])
    return Signed(
        scope=scope,
        at=_of_day(_parsed(said[_DATE_IN_QUERY]), scope),
        headers=_signed_headers(said[_SIGNED_HEADERS], request, is_ahead=True),
        signature=_signature(said["X-Amz-Signature"]),
        life=timedelta(seconds=seconds),
    )


def _scope(text: str) -> Scope:
    match = _CREDENTIAL.fullmatch(text)
    if match is None or match["end"] != TERMINATOR:
        raise _incomplete(f"Credential must be KEY/DAY/REGION/SERVICE/{TERMINATOR}.")
    return Scope(match["key"], match["day"], match["region"], match["service"])


def _signature(text: str) -> str:
    if _SIGNATURE.fullmatch(text) is None:
        raise _incomplete("Signature must be 64 hexadecimal digits in lower case.")
    return text


def _signed_headers(text: str, request: Request, *, is_ahead: bool) -> tuple[str, ...]:
    names = tuple(text.split(";"))
    if len(names) > SIGNED_HEADERS_MAX or list(names) != sorted({name.lower() for name in names}):
        raise _incomplete("SignedHeaders must be names in lower case and in order, each once.")
    if missing := [name for name in names if name not in request.headers]:
        raise _incomplete(f"The request has no header {missing[0][:64]!r}, which is signed.")
    # What changes the meaning of a request must not be changed behind its signer's back.
    wanted = {"host", *(name for name in request.headers if name.startswith("x-amz-"))}
    if not is_ahead and DATE not in request.headers:
        wanted.add("date")
    if open_ones := sorted(wanted.difference(names)):
        raise _incomplete(f"The header {open_ones[0][:64]!r} must be signed.")
    return names


def _time(request: Request) -> datetime:
    if (told := request.header(DATE)) is not None:
        return _parsed(told)
    try:
        found = parsedate_to_datetime(request.header("date") or "")
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, TypeError, OverflowError):
        raise _incomplete(
            "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header."
        ) from None


def _parsed(text: str) -> datetime:
    if _TIME_FORM.fullmatch(text) is not None:
        with contextlib.suppress(ValueError):
            return datetime.strptime(text, _TIME).replace(tzinfo=UTC)
    raise _incomplete("X-Amz-Date must look like 20260131T235959Z.")


def _of_day(at: datetime, scope: Scope) -> datetime:
    if _shown(at)[:8] != scope.day:
        raise Unauthenticated(
            f"Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from "
            f"HTTP: '{scope.day}' != '{_shown(at)[:8]}'.",
            code=WRONG,
        )
    return at


# ---------------------------------------------------------------- what is signed


def _path(path: str) -> str:
    """A path as it is signed: without dots and empty segments, and percent-encoded once more."""
    kept: list[str] = []
    for segment in path.split("/"):
        if segment == "..":
            del kept[-1:]
        elif segment not in ("", "."):
            kept.append(segment)
    plain = "/" + "/".join(kept) + ("/" if kept and path.endswith("/") else "")
    return quote(plain.encode(errors="surrogateescape"), safe="/~")


def _queries(query: str) -> tuple[str, ...]:
    """The forms in which a query string may have been signed: as it is written, and AWS's own.

    They say the same. Signatures do not sign themselves.
    """
    pairs = [
        pair.partition("=")[::2]
        for pair in (query.split("&") if query else ())
        if pair.partition("=")[0] != "X-Amz-Signature"
    ]
    written = _joined(pairs)
    encoded = _joined([(_recoded(name), _recoded(value)) for name, value in pairs])
    return (written,) if written == encoded else (written, encoded)


def _recoded(text: str) -> str:
    return quote(
        unquote_plus(text, errors="surrogateescape").encode(errors="surrogateescape"), "-_.~"
    )


def _joined(pairs: Sequence[tuple[str, str]]) -> str:
    return "&".join(f"{name}={value}" for name, value in sorted(pairs))


def _headers(signed: Signed, request: Request) -> str:
    return "".join(
        f"{name}:{','.join(' '.join(value.split()) for value in request.headers[name])}\n"
        for name in signed.headers
    )


def _mac(key: bytes, text: str) -> bytes:
    return hmac.digest(key, text.encode(), "sha256")


def _shown(at: datetime) -> str:
    return at.strftime(_TIME)


def _incomplete(message: str) -> Unauthenticated:
    return Unauthenticated(message, code=INCOMPLETE)
