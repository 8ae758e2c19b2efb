"""Access keys: an id that anyone may see, and a secret, in the form that AWS's have."""

import base64
import hmac
import re
from dataclasses import dataclass, field
from datetime import datetime

from longshore.domain.errors import InvalidRequest, Unauthenticated

ID_BYTES = 10
SECRET_BYTES = 30
_ID = re.compile(r"LSIA[A-Z2-7]{16}", re.ASCII)
_SECRET = re.compile(r"[A-Za-z0-9+/]{40}", re.ASCII)
#: Names of users, of groups and of policies.
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@-]{0,63}", re.ASCII)

ACTIVE = "ACTIVE"
DISABLED = "DISABLED"

_BEARER = "bearer "


@dataclass(frozen=True, slots=True)
class AccessKey:
    """A key with its secret, which is never printed with it."""

    key_id: str
    secret: str = field(repr=False)

    @classmethod
    def of(cls, randomness: bytes) -> "AccessKey":
        """The key that follows from so many random bytes."""
        assert len(randomness) == ID_BYTES + SECRET_BYTES  # noqa: S101 - what the caller draws
        letters = base64.b32encode(randomness[:ID_BYTES]).decode()
        return cls(f"LSIA{letters}", base64.b64encode(randomness[ID_BYTES:]).decode())

    def matches(self, secret: str) -> bool:
        """Whether a secret is this one, in a time that tells nothing of it."""
        return hmac.compare_digest(self.secret.encode(), secret.encode(errors="replace"))


def is_key_id(text: str) -> bool:
    """Whether a text could be the id of one of our keys."""
    return _ID.fullmatch(text) is not None


def read_bearer(authorization: str) -> str | AccessKey:
    """What a call's `authorization` holds: a key, or another token.

    Raises:
        Unauthenticated: something else.
    """
    if authorization[: len(_BEARER)].lower() != _BEARER:
        raise Unauthenticated("authorization must be: Bearer ID:SECRET")
    token = authorization[len(_BEARER) :].strip()
    key_id, colon, secret = token.partition(":")
    if not colon:
        return token
    if _ID.fullmatch(key_id) is None or _SECRET.fullmatch(secret) is None:
        raise Unauthenticated(UNKNOWN_KEY)
    return AccessKey(key_id, secret)


#: What is said of a key that is not there, is disabled or has another secret: the same of all.
UNKNOWN_KEY = "The access key is not known, is disabled, or has another secret."
EXPIRED_KEY = "The access key has expired."


@dataclass(frozen=True, slots=True)
class KeyState:
    """Whether a key may be used."""

    status: str
    expires_at: datetime | None

    def why_not(self, now: datetime) -> str | None:
        """Why the key may not be used; None if it may."""
        if self.status != ACTIVE:
            return UNKNOWN_KEY
        if self.expires_at is not None and now >= self.expires_at:
            return EXPIRED_KEY
        return None


def check_name(name: str, member: str) -> None:
    """Checks the name of a user, group or policy.

    Raises:
        InvalidRequest: it has another form.
    """
    if NAME.fullmatch(name) is None:
        raise InvalidRequest(
            f"{member} is {name[:64]!r}; it must be 1 to 64 letters, digits and _ . @ -, and begin "
            "with a letter or digit.",
            member=member,
        )
