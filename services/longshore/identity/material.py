"""Keys and certificates as their holder reads them: from files that are replaced at times."""

import hashlib
import ssl
from dataclasses import dataclass
from pathlib import Path

from longshore.domain.errors import PreconditionFailed

_CERTIFICATE = b"-----BEGIN CERTIFICATE-----"
_END = b"-----END CERTIFICATE-----"

#: When a file was last replaced.
Stamp = tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Material:
    """What a connection is opened or taken with, each as PEM."""

    key: bytes
    chain: bytes
    trusted: bytes


@dataclass(frozen=True, slots=True)
class Identity:
    """Where the key and certificates of one holder are, and those that it trusts."""

    own: Path
    trusted: Path
    #: Where the key is apart from the certificates.
    key: Path | None = None

    def load(self) -> Material:
        """Reads them.

        Raises:
            PreconditionFailed: one of them is not there, or not ours to read.
        """
        try:
            own, trusted = self.own.read_bytes(), self.trusted.read_bytes()
            key = b"" if self.key is None else self.key.read_bytes()
        except OSError as error:
            raise PreconditionFailed(
                f"{error.filename} cannot be read ({error.strerror}): it has the key or the "
                "certificates of this process. `longshore ca issue` makes those of services."
            ) from None
        at = own.find(_CERTIFICATE)
        if at < 0 or not (own[:at] or key) or _CERTIFICATE not in trusted:
            raise PreconditionFailed(
                f"{self.own} or {self.trusted} does not hold the key and certificates that it "
                "should; `longshore ca issue` makes those of services anew."
            )
        return Material(key or own[:at], own[at:], trusted)

    def stamp(self) -> Stamp:
        """Changes whenever one of the files is replaced."""
        found = []
        for path in filter(None, (self.own, self.trusted, self.key)):
            try:
                status = path.stat()
            except OSError:
                found.append((0, 0))
            else:
                found.append((status.st_mtime_ns, status.st_ino))
        return tuple(found)


def service_identity(directory: Path, role: str) -> Identity:
    """That of a service, in the folder of its stack."""
    return Identity(directory / "service" / f"{role}.pem", directory / "trusted.pem")


def certificates(pem: bytes) -> list[bytes]:
    """The certificates in a text, each as DER."""
    return [
        ssl.PEM_cert_to_DER_cert((_CERTIFICATE + part.split(_END)[0] + _END).decode("ascii"))
        for part in pem.split(_CERTIFICATE)[1:]
    ]


def fingerprint(certificate: bytes) -> str:
    """Names a certificate, given as DER: SHA-256 in hexadecimal."""
    return hashlib.sha256(certificate).hexdigest()
