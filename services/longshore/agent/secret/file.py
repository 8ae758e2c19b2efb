"""Longshore's own secrets: one encrypted file, and its key in another.

The file is a Fernet token (AES in CBC mode, authenticated by HMAC) of a JSON object, so neither
names nor values are seen, and no part can be changed, without the key. Whoever has both files has
the secrets: what this keeps out are copies of the file alone, as in a backup, on a shared disk or
in a repository. The key is usable only while nobody but its owner may read it.

Each change writes a new file beside the old one and renames it, under a lock that all writers on
the machine take; readers take none and see the old or the new file.
"""

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography.fernet import Fernet, InvalidToken

from longshore.domain.errors import InvalidRequest, LimitExceeded, NotFound, PreconditionFailed
from longshore.domain.secret import is_secret_name
from longshore.identity.private_file import read_private, write_private
from longshore.runtime.config import Settings

#: What AWS Secrets Manager takes, in bytes.
VALUE_BYTES = 65_536
#: Of all names and values, before encryption.
FILE_BYTES = 8 * 1024 * 1024


def secrets_file(settings: Settings) -> "SecretsFile":
    """Longshore's own secrets of this machine."""
    path = settings.path("LONGSHORE_SECRETS_FILE", Path("~/.longshore/secrets"))
    return SecretsFile(
        path, settings.path("LONGSHORE_SECRETS_KEY_FILE", Path("~/.longshore/secrets.key"))
    )


@dataclass(frozen=True, slots=True)
class SecretsFile:
    """The secrets of this machine. Every method reads or writes files: not for an event loop."""

    path: Path
    key_path: Path

    def get(self, name: str) -> str:
        """A value.

        Raises:
            NotFound: there is no such secret.
            PreconditionFailed: the file cannot be read.
        """
        secret = self._load().get(name)
        if secret is None:
            raise NotFound(f"{self.path} of this machine has no secret {name}.")
        return str(secret["value"])

    def list(self) -> dict[str, datetime]:
        """When each secret was set, by name, in the order of names.

        Raises:
            PreconditionFailed: the file cannot be read.
        """
        return {
            name: datetime.fromisoformat(secret["updated_at"])
            for name, secret in sorted(self._load().items())
        }

    def set(self, name: str, value: str) -> None:
        """Sets a secret, with the key's and the file's first making if need be.

        Raises:
            InvalidRequest: the name or the value is none that a secret may have.
            LimitExceeded: the value is too long, or the file is full.
            PreconditionFailed: the file cannot be read or written.
        """
        if not is_secret_name(name):
            raise InvalidRequest(
                "A secret's name must have 1 to 512 letters, digits and the characters / _ + = . @ "
                f"-; it is {name[:64]!r}.",
                member="name",
            )
        if not value or "\0" in value:
            raise InvalidRequest("A secret's value must not be empty, nor have a NUL character.")
        if len(value.encode()) > VALUE_BYTES:
            raise LimitExceeded(f"A secret's value must not be longer than {VALUE_BYTES:,} bytes.")
        with self._locked():
            secrets = self._load()
            secrets[name] = {"value": value, "updated_at": datetime.now(UTC).isoformat()}
            self._store(secrets)

    def delete(self, name: str) -> None:
        """Deletes a secret.

        Raises:
            NotFound: there is no such secret.
            PreconditionFailed: the file cannot be read or written.
        """
        with self._locked():
            secrets = self._load()
            if secrets.pop(name, None) is None:
                raise NotFound(f"{self.path} has no secret {name}.")
            self._store(secrets)

    def _load(self) -> dict[str, Any]:
        try:
            token = self.path.read_bytes()
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise _unusable(self.path, error) from error
        try:
            found = json.loads(Fernet(self._key()).decrypt(token))
        except InvalidToken:
            raise PreconditionFailed(
                f"{self.path} was not written with the key in {self.key_path}, or is damaged."
            ) from None
        secrets: dict[str, Any] = found["secrets"]
        return secrets

    def _store(self, secrets: dict[str, Any]) -> None:
        text = json.dumps({"secrets": secrets}, ensure_ascii=False).encode()
        if len(text) > FILE_BYTES:
            raise LimitExceeded(f"{self.path} would have more than {FILE_BYTES:,} bytes.")
        if not self.path.exists() and not self.key_path.exists():
            self._write(self.key_path, Fernet.generate_key() + b"\n")
        self._write(self.path, Fernet(self._key()).encrypt(text))

    def _key(self) -> bytes:
        try:
            key = read_private(self.key_path)
        except OSError as error:
            raise _unusable(self.key_path, error) from error
        try:
            Fernet(key)
        except ValueError:
            raise PreconditionFailed(f"{self.key_path} has no key in it.") from None
        return key

    def _write(self, path: Path, content: bytes) -> None:
        """Puts a file in place whole, readable by its owner alone."""
        try:
            write_private(path, content)
        except OSError as error:
            raise _unusable(path, error) from error

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            for directory in (self.path.parent, self.key_path.parent):
                directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            lock = os.open(self.path.with_name(f"{self.path.name}.lock"), os.O_CREAT, 0o600)
        except OSError as error:
            raise _unusable(self.path, error) from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)


def _unusable(path: Path, error: OSError) -> PreconditionFailed:
    return PreconditionFailed(f"{path} cannot be used: {error.strerror or error}.")
