"""Keys of agents, and what they ask to be signed. The key never leaves its machine."""

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from longshore.domain.errors import InvalidRequest

#: Bytes that a request of ours stays far below.
REQUEST_BYTES = 4096


def new_key() -> bytes:
    """A new private key as PEM."""
    return private_pem(ec.generate_private_key(ec.SECP256R1()))


def private_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """A private key as PEM."""
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def read_key(pem: bytes) -> ec.EllipticCurvePrivateKey:
    """A private key of ours."""
    key = serialization.load_pem_private_key(pem, None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise TypeError("not a key of longshore")
    return key


def signing_request(key: bytes) -> bytes:
    """A request for a certificate, as DER: whose it is to be, only the authority says."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    request = builder.sign(read_key(key), hashes.SHA256())
    return request.public_bytes(serialization.Encoding.DER)


def requested_key(request: bytes) -> ec.EllipticCurvePublicKey:
    """The public key of a request whose sender has shown to hold the private one.

    Raises:
        InvalidRequest: it is no such request.
    """
    try:
        read = x509.load_der_x509_csr(request[: REQUEST_BYTES + 1])
        key = read.public_key()
        is_signed = read.is_signature_valid
    except Exception:  # noqa: BLE001 - the library has many errors for what is malformed
        key, is_signed = None, False
    if not (
        is_signed
        and isinstance(key, ec.EllipticCurvePublicKey)
        and isinstance(key.curve, ec.SECP256R1)
    ):
        raise InvalidRequest(
            "signingRequest is no certificate signing request with a P-256 key of its sender's.",
            member="signingRequest",
        )
    return key


def key_digest(key: ec.EllipticCurvePublicKey) -> bytes:
    """Names a public key: SHA-256 of it."""
    digest = hashes.Hash(hashes.SHA256())
    digest.update(
        key.public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    )
    return digest.finalize()
