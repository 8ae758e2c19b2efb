"""Who calls, as it is known once a key was checked."""

import hmac
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256

from longshore.domain.access.key import KeyState
from longshore.domain.access.policy import Policy


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRecord:
    """An access key, without its secret."""

    key_id: str
    user: str
    state: KeyState
    created_at: datetime
    last_used_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """A key and the user whose it is, with all that the user may do."""

    key: KeyRecord
    groups: tuple[str, ...]
    #: SHA-256 of the secret.
    digest: bytes = field(repr=False)
    policies: tuple[Policy, ...]
    #: Whether what the user may do with a job depends on who has submitted it.
    asks_for_submitters: bool = False

    @property
    def user(self) -> str:
        """The user's name."""
        return self.key.user

    def has_secret(self, secret: str) -> bool:
        """Whether a secret is the key's, in a time that tells nothing of it."""
        return hmac.compare_digest(digest_of(secret), self.digest)


def digest_of(secret: str) -> bytes:
    """What a secret is compared by: it has 240 random bits, which no table holds."""
    return sha256(secret.encode(errors="replace")).digest()
