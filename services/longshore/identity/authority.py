"""A stack's certificate authority: makes itself, signs, and hands over to the one after it."""

import contextlib
import fcntl
import hmac
import ipaddress
import os
import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from longshore.domain.errors import PreconditionFailed
from longshore.identity import material
from longshore.identity.name import ROLES, AgentName, ServiceName, host_of
from longshore.identity.private_file import write_private
from longshore.identity.request import private_pem, read_key

#: How long an authority signs; `rotate` makes the next one long before.
AUTHORITY_LIFE = timedelta(days=3650)
#: How long a certificate is good, and how much of that may be left when it is renewed.
LIFE = timedelta(hours=24)
RENEW_BEFORE = timedelta(hours=12)
#: How long ago a certificate begins: clocks differ.
SKEW = timedelta(hours=1)
#: How long the authority before stays trusted after a rotation: all that it signed is over by then.
OVERLAP = 2 * LIFE

_PEM = serialization.Encoding.PEM


@dataclass(frozen=True, slots=True)
class Trusted:
    """An authority that is trusted."""

    fingerprint: str
    not_before: datetime
    not_after: datetime
    is_current: bool


class Authority:
    """The authority in a folder."""

    def __init__(self, directory: Path) -> None:
        """Reads it.

        Raises:
            PreconditionFailed: there is none, or what is there cannot be read.
        """
        self.directory = directory
        self._path = directory / "authority" / "current.pem"
        try:
            data = self._path.read_bytes()
            self.stack = (directory / "stack").read_text().strip()
            self._key = read_key(data)
            self._certificate, *self._crossed = x509.load_pem_x509_certificates(data)
        except OSError as error:
            raise PreconditionFailed(
                f"No authority in {directory}: {error.filename} cannot be read "
                f"({error.strerror}). `longshore up` or `longshore ca init` makes one."
            ) from None
        except (ValueError, TypeError):
            raise PreconditionFailed(
                f"{self._path} does not hold an authority. Take it from a backup; or remove "
                f"{directory}, and all agents have to join anew."
            ) from None

    @classmethod
    def opened(cls, directory: Path) -> "Authority":
        """The authority in a folder, made there if there is none."""
        with _alone(directory):
            if not (directory / "authority" / "current.pem").exists():
                _make(directory)
            return cls(directory)

    @property
    def fingerprint(self) -> str:
        """Of the certificate that signs."""
        return material.fingerprint(self._certificate.public_bytes(serialization.Encoding.DER))

    def trusted(self) -> list[Trusted]:
        """All that are trusted, the current one first."""
        found = []
        for certificate in self._trusted():
            name = material.fingerprint(certificate.public_bytes(serialization.Encoding.DER))
            found.append(
                Trusted(
                    name,
                    certificate.not_valid_before_utc,
                    certificate.not_valid_after_utc,
                    name == self.fingerprint,
                )
            )
        return found

    def trusted_pem(self) -> bytes:
        """Certificates of all that are trusted."""
        return (self.directory / "trusted.pem").read_bytes()

    def _trusted(self) -> list[x509.Certificate]:
        return x509.load_pem_x509_certificates(self.trusted_pem())

    def issue_service(self, role: str, names: Iterable[str] = ()) -> None:
        """Writes a new key and certificate of a service.

        Args:
            role: which.
            names: names and addresses besides, by which users reach it.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        alternatives: list[x509.GeneralName] = [
            x509.UniformResourceIdentifier(ServiceName(self.stack, role).uri),
            x509.DNSName(host_of(role)),
        ]
        alternatives += [_general_name(name) for name in dict.fromkeys(names)]
        usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        chain = self._issue(key.public_key(), alternatives, usages)
        path = material.service_identity(self.directory, role).own
        write_private(path, private_pem(key) + chain)

    def derived(self, label: str) -> str:
        """A secret that follows from the authority's key and a label, in hexadecimal."""
        return hmac.digest(private_pem(self._key), label.encode(), "sha256").hex()

    def issue_agent(self, key: ec.EllipticCurvePublicKey, name: AgentName) -> bytes:
        """A certificate of an agent, as PEM with what leads to those that are trusted."""
        alternatives = [x509.UniformResourceIdentifier(name.uri)]
        return self._issue(key, alternatives, [ExtendedKeyUsageOID.CLIENT_AUTH])

    def _issue(
        self,
        key: ec.EllipticCurvePublicKey,
        alternatives: Sequence[x509.GeneralName],
        usages: Sequence[x509.ObjectIdentifier],
    ) -> bytes:
        now = datetime.now(UTC)
        until = min(now + LIFE, self._certificate.not_valid_after_utc)
        builder = (
            _builder(key, x509.Name([]), self._certificate.subject, now - SKEW, until)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName(alternatives), critical=True)
            .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
            .add_extension(_usage(signs=False), critical=True)
            .add_extension(_issuer(self._key.public_key()), critical=False)
        )
        made = builder.sign(self._key, hashes.SHA256())
        return b"".join(one.public_bytes(_PEM) for one in (made, *self._crossed))

    def renew(self, names: Iterable[str] = (), *, all_of_them: bool = False) -> list[str]:
        """Writes new certificates of the services whose own is missing or near its end.

        Returns:
            Their roles.
        """
        with _alone(self.directory):
            return self._renew(names, all_of_them=all_of_them)

    def _renew(self, names: Iterable[str], *, all_of_them: bool) -> list[str]:
        self._drop_old()
        due = [role for role in ROLES if all_of_them or self._is_due(role)]
        for role in due:
            self.issue_service(role, names)
        return due

    def _is_due(self, role: str) -> bool:
        path = material.service_identity(self.directory, role).own
        try:
            [certificate, *_] = x509.load_pem_x509_certificates(path.read_bytes())
        except (OSError, ValueError):
            return True
        left = certificate.not_valid_after_utc - datetime.now(UTC)
        return left < RENEW_BEFORE or certificate.issuer != self._certificate.subject

    def rotate(self, names: Iterable[str] = ()) -> "Authority":
        """Makes the next authority, and new certificates of all services.

        The one before stays trusted, and signs the new one, so that who knows it alone trusts what
        the new one signs. `retire`, or time, ends that.

        Raises:
            PreconditionFailed: the rotation before is not over.
        """
        with _alone(self.directory):
            return self._rotate(names)

    def _rotate(self, names: Iterable[str]) -> "Authority":
        self._check_current()
        if len(self._trusted()) > 1:
            raise PreconditionFailed(
                "The authority before the current one is trusted still. `longshore ca retire` ends "
                "that, once all agents have renewed their certificates."
            )
        key = ec.generate_private_key(ec.SECP256R1())
        made = _self_signed(key, self.stack)
        crossed = _signed(key.public_key(), made.subject, self._key, self._certificate.subject)
        old = self._certificate.public_bytes(_PEM)
        # Trust comes first: nobody is to meet what he does not know yet.
        write_private(self.directory / "trusted.pem", made.public_bytes(_PEM) + old)
        write_private(
            self._path, private_pem(key) + made.public_bytes(_PEM) + crossed.public_bytes(_PEM)
        )
        rotated = Authority(self.directory)
        rotated._renew(names, all_of_them=True)
        return rotated

    def retire(self) -> list[str]:
        """Ends the trust in all but the current authority; returns their fingerprints.

        Raises:
            PreconditionFailed: this is not the current one any more.
        """
        with _alone(self.directory):
            return self._retire()

    def _retire(self) -> list[str]:
        self._check_current()
        old = [one.fingerprint for one in self.trusted() if not one.is_current]
        if old:
            own = self._certificate.public_bytes(_PEM)
            write_private(self._path, private_pem(self._key) + own)
            write_private(self.directory / "trusted.pem", own)
            self._crossed = []
        return old

    def _drop_old(self) -> None:
        since = self._certificate.not_valid_before_utc + SKEW
        if self._crossed and datetime.now(UTC) > since + OVERLAP:
            self._retire()

    def _check_current(self) -> None:
        if Authority(self.directory).fingerprint != self.fingerprint:
            raise PreconditionFailed(
                f"The authority in {self.directory} was rotated meanwhile; try again."
            )


@contextlib.contextmanager
def _alone(directory: Path) -> Iterator[None]:
    """Changes a folder while nobody else does: the supervisor, provisioning and the command may."""
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _make(directory: Path) -> None:
    """Makes an authority. What a start before left half-made is made anew: nobody has seen it."""
    stack = uuid.uuid4().hex
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = _self_signed(key, stack).public_bytes(_PEM)
    directory.chmod(0o700)
    write_private(directory / "stack", f"{stack}\n".encode())
    write_private(directory / "trusted.pem", certificate)
    # Last: it is what tells that there is one.
    write_private(directory / "authority" / "current.pem", private_pem(key) + certificate)


def _self_signed(key: ec.EllipticCurvePrivateKey, stack: str) -> x509.Certificate:
    # Of two authorities of a stack each has a name of its own: chains are built by name.
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, f"longshore {stack}"),
            x509.NameAttribute(NameOID.COMMON_NAME, uuid.uuid4().hex),
        ]
    )
    return _signed(key.public_key(), name, key, name)


def _signed(
    key: ec.EllipticCurvePublicKey,
    subject: x509.Name,
    signer: ec.EllipticCurvePrivateKey,
    issuer: x509.Name,
) -> x509.Certificate:
    """The certificate of an authority, signed by itself or by the one before it."""
    now = datetime.now(UTC)
    return (
        _builder(key, subject, issuer, now - SKEW, now + AUTHORITY_LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=1), critical=True)
        .add_extension(_usage(signs=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(_issuer(signer.public_key()), critical=False)
        .sign(signer, hashes.SHA256())
    )


def _builder(
    key: ec.EllipticCurvePublicKey,
    subject: x509.Name,
    issuer: x509.Name,
    begin: datetime,
    end: datetime,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(end)
    )


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=signs,
        crl_sign=signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _issuer(key: ec.EllipticCurvePublicKey) -> x509.AuthorityKeyIdentifier:
    return x509.AuthorityKeyIdentifier.from_issuer_public_key(key)


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
