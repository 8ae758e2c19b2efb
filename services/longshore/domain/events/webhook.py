"""What a webhook is sent: CloudEvents in headers, signed as Standard Webhooks says."""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Iterable
from urllib.parse import quote

from longshore.domain.checks import Json
from longshore.domain.events.members import invalid

#: What a secret that signs begins with; several are parted by a space while they change.
SECRET_PREFIX = "whsec_"  # noqa: S105 - no secret
_SECRET_BYTES = range(24, 65)
#: Headers by which a connection is led, and where a body ends: whose value is somebody's text, the
#: rest of the body would be another request.
_RESERVED = frozenset(
    {
        "connection",
        "content-encoding",
        "content-length",
        "expect",
        "host",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)


def check_header(name: str, member: str) -> None:
    """Refuses a header that is not the caller's to set.

    Raises:
        InvalidRequest: it is one.
    """
    if name.lower() in _RESERVED:
        raise invalid(f"{member} has the header {name}, which follows from the call.", member)


def cloud_event(event: Json) -> dict[str, str]:
    """The headers that tell of an event, CloudEvents 1.0 in binary mode."""
    headers = {
        "ce-specversion": "1.0",
        "ce-id": event["id"],
        "ce-source": "/" + _header(event["source"]),
        "ce-type": _header(event["detail-type"]),
        "ce-time": event["time"],
    }
    if event["resources"]:
        headers["ce-subject"] = _header(event["resources"][0])
    return headers


def signed(secrets: Iterable[bytes], event_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """The headers by which a receiver knows that an event is ours.

    Args:
        secrets: one, or two while they change.
        event_id: the same with each try.
        timestamp: of this try, in seconds.
        body: as it is sent.
    """
    told = f"{event_id}.{timestamp}.".encode() + body
    return {
        "webhook-id": event_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(
            "v1," + base64.b64encode(hmac.digest(secret, told, hashlib.sha256)).decode()
            for secret in secrets
        ),
    }


def secrets_of(text: str) -> list[bytes] | None:
    """The secrets that sign, of an API key's value; None if it is a key as any other.

    Raises:
        ValueError: it begins as such a secret and is none.
    """
    if not text.startswith(SECRET_PREFIX):
        return None
    found = []
    for part in text.split():
        try:
            secret = base64.b64decode(part.removeprefix(SECRET_PREFIX), validate=True)
        except binascii.Error:
            secret = b""
        if not part.startswith(SECRET_PREFIX) or len(secret) not in _SECRET_BYTES:
            raise ValueError(f"A secret is {SECRET_PREFIX} and base64 of 24 to 64 bytes.")
        found.append(secret)
    return found


def _header(text: str) -> str:
    """A text as CloudEvents has it in headers: percent-encoded but for printable ASCII."""
    return quote(
        text, safe="".join(map(chr, (*range(0x20, 0x22), *range(0x23, 0x25), *range(0x26, 0x7F))))
    )
