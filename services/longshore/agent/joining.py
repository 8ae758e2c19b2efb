"""How the agent comes by its certificate, and keeps one.

    <data directory>/identity/key.pem           made here, and never sent
    <data directory>/identity/certificate.pem   what was signed for it, and leads to the trusted
    <data directory>/identity/trusted.pem       the authorities that services have theirs from
    <data directory>/identity/place.json        instance, environment and addresses; written last

A machine joins with a token. The token has the fingerprint of the stack's authority: what answers
at the address must show a certificate of that one before it is told the token. Later the key alone
is enough. The library of cryptography is loaded when something is to be signed, and not before.
"""

import asyncio
import dataclasses
import json
import socket
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import structlog

from longshore.agent.config import AgentConfig
from longshore.domain.errors import (
    LongshoreError,
    PermissionDenied,
    PreconditionFailed,
    Unauthenticated,
    Unavailable,
)
from longshore.identity.material import Identity, certificates, fingerprint
from longshore.identity.name import host_of
from longshore.identity.private_file import write_private
from longshore.identity.token import JoinToken
from longshore.rpc.channel import open_channel, reconnect_backoff
from longshore.rpc.errors import from_rpc_error
from longshore.runtime.config import ConfigError
from longshore.v1 import join_service_pb2 as pb
from longshore.v1 import join_service_pb2_grpc as pb_grpc

log = structlog.get_logger()

CALL_SECONDS = 15.0
#: Certificates are good for a day: so old is one that is renewed.
RENEW_SECONDS = 8 * 3600.0
#: How often that is looked at; a machine that slept past the end of its certificate has a new one
#: so soon.
LOOK_SECONDS = 60.0
_ROLE = "provisioning"


@dataclass(frozen=True, slots=True)
class Place:
    """An instance's place in a stack."""

    instance_id: str
    compute_environment: str
    scheduler_address: str
    logs_address: str
    join_address: str
    #: When its certificate was signed, by the clock of this machine.
    signed_at: float


class Membership:
    """The files of one agent."""

    def __init__(self, data_dir: Path) -> None:
        self._directory = data_dir / "identity"
        self._place_path = self._directory / "place.json"
        self._key_path = self._directory / "key.pem"
        self.identity = Identity(
            self._directory / "certificate.pem", self._directory / "trusted.pem", self._key_path
        )

    def place(self) -> Place | None:
        """Where the machine has joined; None if nowhere.

        Raises:
            PreconditionFailed: what is kept of it cannot be read.
        """
        try:
            return Place(**json.loads(self._place_path.read_bytes()))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError) as error:
            raise PreconditionFailed(
                f"{self._place_path} cannot be read ({type(error).__name__}). Remove "
                f"{self._directory}, and join with a new token."
            ) from None

    def trusts(self, token: JoinToken) -> bool:
        """Whether a token is of the stack that the machine has joined."""
        trusted = self.identity.load().trusted
        return token.fingerprint in map(fingerprint, certificates(trusted))

    def request(self) -> bytes:
        """What is to be signed, by the key that there is, or a new one."""
        from longshore.identity.request import new_key, signing_request  # noqa: PLC0415 - seldom

        if not self._key_path.exists():
            # First on the disk: a machine that asked, and was not answered, asks with it again.
            write_private(self._key_path, new_key())
        return signing_request(self._key_path.read_bytes())

    def keep(self, place: Place, certificate: bytes, trusted: bytes) -> None:
        """Keeps what was signed."""
        write_private(self.identity.trusted, trusted)
        write_private(self.identity.own, certificate)
        write_private(self._place_path, json.dumps(dataclasses.asdict(place), indent=1).encode())


async def enrol(config: AgentConfig) -> AgentConfig:
    """The settings with the place in the stack, which is waited for.

    Raises:
        ConfigError: there is neither a place nor a token.
        LongshoreError: the machine may not join.
    """
    membership = Membership(config.data_dir)
    token = _token(config)
    place = await asyncio.to_thread(membership.place)
    if place is not None and token is not None:
        place = await _again(config, membership, token, place)
    if place is None:
        if token is None:
            raise ConfigError(
                "This machine has joined no stack: start it with `longshore agent --join "
                "HOST:PORT --token TOKEN`. `longshore token create` makes a token."
            )
        place = await _until_there(lambda: _join(config, membership, token))
        log.info("agent.joined", instance_id=place.instance_id)
    if config.join_token_file is not None:
        try:
            await asyncio.to_thread(config.join_token_file.unlink, missing_ok=True)
        except OSError as error:
            # It may lie where the agent may not write; used up it is.
            log.warning("token.not_removed", error=str(error))
    return dataclasses.replace(
        config,
        instance_id=place.instance_id,
        compute_environment=place.compute_environment,
        scheduler_address=place.scheduler_address,
        logs_address=place.logs_address,
        identity=membership.identity,
    )


async def _again(
    config: AgentConfig, membership: Membership, token: JoinToken, place: Place
) -> Place | None:
    """The place of a machine that has one, and a token: None if the token is of another stack.

    A service is started with the same token each time, used up as it is; with a new one it may have
    to take its place anew.
    """
    if not await asyncio.to_thread(membership.trusts, token):
        return None
    try:
        return await _join(config, membership, token)
    except (Unauthenticated, Unavailable) as error:
        log.info("join.kept", error=error.message)
        return place


def _token(config: AgentConfig) -> JoinToken | None:
    text = config.join_token
    if not text and config.join_token_file is not None and config.join_token_file.exists():
        text = config.join_token_file.read_text()
    if not text.strip():
        return None
    token = JoinToken.read(text)
    if token is None:
        raise ConfigError("The join token is none: it begins with `lsjoin.`.")
    if not config.join_address:
        raise ConfigError("LONGSHORE_JOIN is not set; it says where to join: HOST:PORT.")
    return token


async def _until_there(attempt: Callable[[], Any]) -> Place:
    """Tries until it is answered, be it with a refusal."""
    backoff = reconnect_backoff()
    while True:
        try:
            place: Place = await attempt()
        except Unavailable as error:
            log.info("join.unavailable", error=error.message, failures=backoff.failures)
            await asyncio.sleep(backoff.delay())
        else:
            return place


async def _join(config: AgentConfig, membership: Membership, token: JoinToken) -> Place:
    authority = await asyncio.to_thread(_authority, config.join_address, token.fingerprint)
    request = pb.JoinRequest(
        token=token.text,
        signing_request=await asyncio.to_thread(membership.request),
        instance_id=config.instance_id,
    )
    async with _channel(config.join_address, authority) as channel:
        try:
            answer = await pb_grpc.JoinServiceStub(channel).Join(request, timeout=CALL_SECONDS)
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error) from None
    host = config.join_address.rpartition(":")[0]
    place = Place(
        instance_id=answer.instance_id,
        compute_environment=answer.compute_environment,
        scheduler_address=_whole(answer.scheduler_address, host),
        logs_address=_whole(answer.logs_address, host),
        join_address=config.join_address,
        signed_at=time.time(),
    )
    await asyncio.to_thread(membership.keep, place, answer.certificates, answer.trusted)
    return place


def _whole(address: str, host: str) -> str:
    return f"{host}{address}" if address.startswith(":") else address


def _authority(address: str, wanted: str) -> bytes:
    """The certificate of the authority with a fingerprint, as PEM: what is there shows it.

    What it is worth is known once the connection that tells the token was opened with it.

    Raises:
        Unavailable: nothing answers.
        Unauthenticated: what answers does not show it.
    """
    host, _, port = address.rpartition(":")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    try:
        with (
            socket.create_connection((host.strip("[]"), int(port)), CALL_SECONDS) as plain,
            context.wrap_socket(plain, server_hostname=host_of(_ROLE)) as connection,
        ):
            shown = _shown(connection)
    except (OSError, ValueError) as error:
        raise Unavailable(f"Nothing to join answers at {address}: {error}") from None
    for certificate in shown:
        if fingerprint(certificate) == wanted:
            return ssl.DER_cert_to_PEM_cert(certificate).encode()
    raise Unauthenticated(
        f"What answers at {address} is not of the stack that the token is for; the token was not "
        "shown to it."
    )


def _shown(connection: ssl.SSLSocket) -> list[bytes]:
    """All certificates that a peer shows, as DER."""
    if hasattr(connection, "get_unverified_chain"):  # from Python 3.13 on
        return list(connection.get_unverified_chain())
    inner: Any = connection._sslobj  # type: ignore[attr-defined]  # noqa: SLF001 - nothing public has it before
    return [one.public_bytes(ssl._ssl.ENCODING_DER) for one in inner.get_unverified_chain()]  # type: ignore[attr-defined]  # noqa: SLF001


def _channel(address: str, trusted: bytes) -> grpc.aio.Channel:
    return open_channel(
        address,
        grpc.ssl_channel_credentials(trusted),
        [("grpc.ssl_target_name_override", host_of(_ROLE))],
    )


async def renewing(config: AgentConfig, refused: Callable[[LongshoreError], None]) -> None:
    """Renews the certificate in time, until cancelled.

    Args:
        config: the settings, with a place.
        refused: told once the instance is over, or is somebody else.
    """
    membership = Membership(config.data_dir)
    while True:
        place = await asyncio.to_thread(membership.place)
        # A clock that was set back must not put it off.
        if place is not None and not 0 <= time.time() - place.signed_at < RENEW_SECONDS:
            try:
                await _renew(membership, place)
            except PermissionDenied as error:
                log.warning("certificate.refused", error=error.message)
                refused(error)
                return
            except (LongshoreError, OSError) as error:
                log.warning("certificate.not_renewed", error=str(error))
            else:
                log.info("certificate.renewed", instance_id=place.instance_id)
        await asyncio.sleep(LOOK_SECONDS)


async def _renew(membership: Membership, place: Place) -> None:
    trusted = (await asyncio.to_thread(membership.identity.load)).trusted
    request = pb.RenewCertificateRequest(
        instance_id=place.instance_id,
        signing_request=await asyncio.to_thread(membership.request),
    )
    async with _channel(place.join_address, trusted) as channel:
        try:
            answer = await pb_grpc.JoinServiceStub(channel).RenewCertificate(
                request, timeout=CALL_SECONDS
            )
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error) from None
    renewed = dataclasses.replace(place, signed_at=time.time())
    await asyncio.to_thread(membership.keep, renewed, answer.certificates, answer.trusted)
