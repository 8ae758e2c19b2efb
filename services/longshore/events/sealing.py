"""Encrypts what is secret of connections, by a key in a file that only its owner may read.

The key is made at the first use. Where several event services share a database they share the file,
or secrets of one cannot be read by the others.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from longshore.domain.checks import Json
from longshore.domain.errors import PreconditionFailed
from longshore.identity.private_file import make_private, read_private

if TYPE_CHECKING:
    from cryptography.fernet import Fernet


@dataclass(frozen=True, slots=True)
class Sealer:
    """Both ways. Every method reads a file: not for an event loop."""

    key_path: Path

    def seal(self, value: Json) -> bytes:
        """Encrypts.

        Raises:
            PreconditionFailed: there is no key, and none can be made.
        """
        return self._fernet().encrypt(json.dumps(value).encode())

    def unseal(self, sealed: bytes) -> Json:
        """Decrypts.

        Raises:
            PreconditionFailed: it was encrypted with another key, or there is none.
        """
        from cryptography.fernet import InvalidToken  # noqa: PLC0415 - as in `_fernet`

        try:
            found: Json = json.loads(self._fernet().decrypt(sealed))
        except InvalidToken:
            raise PreconditionFailed(
                f"The secrets of this connection were not written with the key in {self.key_path}; "
                "put the right file there, or set the secrets anew with UpdateConnection."
            ) from None
        return found

    def _fernet(self) -> "Fernet":
        # Loaded where it is needed: most event services keep no secrets.
        from cryptography.fernet import Fernet  # noqa: PLC0415

        try:
            return Fernet(self._key())
        except ValueError:
            raise PreconditionFailed(f"{self.key_path} has no key in it.") from None

    def _key(self) -> bytes:
        try:
            if not self.key_path.exists():
                self._make()
            return read_private(self.key_path)
        except OSError as error:
            raise PreconditionFailed(
                f"{self.key_path} cannot be used ({error.strerror}); it has the key of the secrets "
                "of connections."
            ) from error

    def _make(self) -> None:
        """Makes the key, unless another process does so meanwhile."""
        from cryptography.fernet import Fernet  # noqa: PLC0415 - as in `_fernet`

        self.key_path.parent.mkdir(parents=True, exist_ok=True)
        make_private(self.key_path, Fernet.generate_key() + b"\n")
