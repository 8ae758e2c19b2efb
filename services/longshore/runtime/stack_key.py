"""The key of a stack: what services keep and hand on is sealed and signed under it.

One file with 32 random bytes, in hexadecimal digits, that only its owner may read. Services of one
stack share it; agents and users have no part in it. Each use has a key of its own that follows from
it, so that nothing that one makes is good for another.
"""

import hmac
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from longshore.domain.errors import PreconditionFailed
from longshore.identity.private_file import make_private, read_private

KEY_BYTES = 32
_NONCE_BYTES = 12


@dataclass(frozen=True, slots=True)
class StackKey:
    """A stack's key in memory."""

    #: Signs what the gateway says of callers.
    assertions: bytes = field(repr=False)
    _secrets: bytes = field(repr=False)

    @classmethod
    def of(cls, master: bytes) -> Self:
        """The keys that follow from the bytes of the file."""
        return cls(
            hmac.digest(master, b"longshore assertions 1", "sha256"),
            hmac.digest(master, b"longshore secrets 1", "sha256"),
        )

    @classmethod
    def read(cls, path: Path) -> Self:
        """Reads the file.

        Raises:
            PreconditionFailed: it is not there, or others may read it, or it holds something else.
        """
        try:
            text = read_private(path)
        except OSError as error:
            raise PreconditionFailed(
                f"{path} cannot be read ({error.strerror}); it has the key of the stack. "
                "`longshore up` makes it, or `python -m longshore.standalone migrate`; services "
                "elsewhere need a copy, and LONGSHORE_STACK_KEY_FILE to say where it is."
            ) from None
        try:
            master = bytes.fromhex(text.decode())
        except ValueError:
            master = b""
        if len(master) != KEY_BYTES:
            raise PreconditionFailed(f"{path} has no stack's key in it.")
        return cls.of(master)

    def seal(self, secret: str, key_id: str) -> bytes:
        """Encrypts the secret of an access key, for this key's id alone."""
        # Loaded where it is needed: most services seal nothing.
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415

        nonce = secrets.token_bytes(_NONCE_BYTES)
        return nonce + AESGCM(self._secrets).encrypt(nonce, secret.encode(), key_id.encode())

    def unseal(self, sealed: bytes, key_id: str) -> str:
        """Decrypts what was sealed.

        Raises:
            PreconditionFailed: it was sealed under another key.
        """
        from cryptography.exceptions import InvalidTag  # noqa: PLC0415 - as in `seal`
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415

        nonce, text = sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:]
        try:
            return AESGCM(self._secrets).decrypt(nonce, text, key_id.encode()).decode()
        except InvalidTag:
            raise PreconditionFailed(
                f"The access key {key_id} was made under another key of the stack; put the right "
                "file in its place, or make a new access key."
            ) from None


def make_key(path: Path) -> None:
    """Makes a stack's key where there is none, in one step: nobody sees half of it."""
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    make_private(path, secrets.token_hex(KEY_BYTES).encode() + b"\n")
