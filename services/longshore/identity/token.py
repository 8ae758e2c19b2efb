"""Tokens by which machines join: `lsjoin.ID.SECRET.FINGERPRINT`.

The fingerprint is that of the authority, so that a machine that knows nothing else knows whom it
speaks to. Of the secret nothing but a digest is kept; as random as it is, it needs no salt.
"""

import hashlib
import re
import secrets
from dataclasses import dataclass, field

_FORM = re.compile(r"lsjoin\.([0-9a-f]{16})\.([0-9a-f]{64})\.([0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class JoinToken:
    """A token as its holder has it."""

    token_id: str
    secret: str = field(repr=False)
    fingerprint: str

    @classmethod
    def new(cls, fingerprint: str) -> "JoinToken":
        """A token that nobody has yet."""
        return cls(secrets.token_hex(8), secrets.token_hex(32), fingerprint)

    @classmethod
    def read(cls, text: str) -> "JoinToken | None":
        """The token that a text is; None if it is none."""
        match = _FORM.fullmatch(text.strip())
        return cls(*match.groups()) if match else None

    @property
    def text(self) -> str:
        """As it is handed over."""
        return f"lsjoin.{self.token_id}.{self.secret}.{self.fingerprint}"

    @property
    def digest(self) -> bytes:
        """What is kept of the secret."""
        return hashlib.sha256(self.secret.encode()).digest()
