"""A stack's authority: what it makes, what it trusts, and how it hands over."""

import subprocess
import sys
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import pytest
from cryptography import x509
from grpc_health.v1 import health_pb2, health_pb2_grpc
from support.patience import PATIENCE_SECONDS

from longshore.domain.errors import InvalidRequest, PreconditionFailed
from longshore.identity import authority as module
from longshore.identity.authority import OVERLAP, SKEW, Authority
from longshore.identity.doors import Doors
from longshore.identity.material import (
    Identity,
    certificates,
    fingerprint,
    service_identity,
)
from longshore.identity.name import ROLES, AgentName, ServiceName, parsed
from longshore.identity.private_file import write_private
from longshore.identity.request import new_key, requested_key, signing_request
from longshore.identity.token import JoinToken
from longshore.rpc import credentials
from longshore.rpc.channel import peer_channel
from longshore.rpc.server import GrpcServer


@pytest.fixture
def made(tmp_path: Path) -> Authority:
    authority = Authority.opened(tmp_path / "tls")
    authority.renew()
    return authority


def an_agent(authority: Authority, place: Path) -> Identity:
    """An agent that has just joined."""
    key = new_key()
    name = AgentName(authority.stack, "lab", "i-" + "0" * 17)
    certificate = authority.issue_agent(requested_key(signing_request(key)), name)
    write_private(place / "agent.pem", key + certificate)
    write_private(place / "trusted.pem", authority.trusted_pem())
    return Identity(place / "agent.pem", place / "trusted.pem")


Ask = Callable[[Identity], Awaitable[grpc.StatusCode]]


def asking(server: GrpcServer) -> Ask:
    """Opens a connection to a scheduler, and says how that went."""

    async def ask(identity: Identity) -> grpc.StatusCode:
        async with peer_channel(f"127.0.0.1:{server.peer_port}", "scheduler", identity) as channel:
            try:
                await health_pb2_grpc.HealthStub(channel).Check(
                    health_pb2.HealthCheckRequest(), timeout=PATIENCE_SECONDS
                )
            except grpc.aio.AioRpcError as error:
                return error.code()
        return grpc.StatusCode.OK

    return ask


def a_server(authority: Authority) -> GrpcServer:
    identity = service_identity(authority.directory, "scheduler")
    return GrpcServer("127.0.0.1:0", doors=Doors(identity, "127.0.0.1:0"))


def test_it_is_made_once_for_its_owner_alone(made: Authority) -> None:
    assert Authority.opened(made.directory).fingerprint == made.fingerprint
    paths = [made.directory, *made.directory.rglob("*")]
    assert {path.stat().st_mode & 0o777 for path in paths if path.is_dir()} == {0o700}
    assert {path.stat().st_mode & 0o777 for path in paths if path.is_file()} == {0o600}
    assert [fingerprint(one) for one in certificates(made.trusted_pem())] == [made.fingerprint]


def test_of_many_first_starts_at_once_one_makes_it(tmp_path: Path) -> None:
    program = (
        "import sys, pathlib; from longshore.identity.authority import Authority; "
        "a = Authority.opened(pathlib.Path(sys.argv[1])); a.renew(); print(a.fingerprint)"
    )
    starts = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(tmp_path / "tls")], stdout=subprocess.PIPE
        )
        for _ in range(4)
    ]
    said = {start.communicate(timeout=PATIENCE_SECONDS)[0] for start in starts}
    assert said == {f"{Authority(tmp_path / 'tls').fingerprint}\n".encode()}


def test_an_authority_that_was_rotated_meanwhile_changes_nothing(made: Authority) -> None:
    new = made.rotate()
    with pytest.raises(PreconditionFailed, match="rotated meanwhile"):
        made.retire()
    assert Authority(made.directory).fingerprint == new.fingerprint


def test_a_start_that_was_cut_off_is_made_good(made: Authority) -> None:
    """What tells that there is an authority is written last."""
    (made.directory / "authority" / "current.pem").unlink()
    again = Authority.opened(made.directory)
    assert again.fingerprint != made.fingerprint
    assert again.renew() == list(ROLES), "those of the one that was lost are of no use"


@pytest.mark.parametrize("content", [b"", b"-----BEGIN CERTIFICATE-----", b"\0" * 100])
def test_what_cannot_be_read_is_told_by_name(made: Authority, content: bytes) -> None:
    path = made.directory / "authority" / "current.pem"
    path.write_bytes(content)
    with pytest.raises(PreconditionFailed, match=r"current\.pem does not hold an authority"):
        Authority(made.directory)
    service = service_identity(made.directory, "logs")
    service.own.write_bytes(content)
    with pytest.raises(PreconditionFailed, match=r"logs\.pem"):
        service.load()


def test_certificates_name_their_holder_and_are_renewed_in_time(
    made: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    def of(role: str) -> x509.Certificate:
        return x509.load_pem_x509_certificate(service_identity(made.directory, role).load().chain)

    for role in ROLES:
        names = of(role).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        (uri,) = names.get_values_for_type(x509.UniformResourceIdentifier)
        assert parsed(uri) == ServiceName(made.stack, role)
        assert names.get_values_for_type(x509.DNSName) == [f"{role}.longshore"]
    assert made.renew() == []
    before = of("logs").serial_number
    monkeypatch.setattr(module, "RENEW_BEFORE", timedelta(hours=25))
    assert made.renew() == list(ROLES)
    assert of("logs").serial_number != before


def test_a_rotation_is_one_at_a_time_and_over_after_a_while(
    made: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    new = made.rotate()
    assert [one.fingerprint for one in new.trusted()] == [new.fingerprint, made.fingerprint]
    with pytest.raises(PreconditionFailed, match="longshore ca retire"):
        new.rotate()

    class Later(datetime):
        @classmethod
        def now(cls, tz: object = None) -> datetime:  # type: ignore[override]
            del tz
            return datetime.now(UTC) + OVERLAP + SKEW

    monkeypatch.setattr(module, "datetime", Later)
    new.renew()
    assert [one.fingerprint for one in new.trusted()] == [new.fingerprint]


async def test_who_knows_the_old_authority_goes_on_until_it_is_retired(
    made: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Agents that have not heard of the new one trust it, and are trusted; then no more."""
    monkeypatch.setattr(credentials, "LOOK_SECONDS", 0.0)
    before = an_agent(made, tmp_path / "before")
    scaler = service_identity(made.directory, "scaler")
    async with (
        a_server(made) as server,
        peer_channel(f"127.0.0.1:{server.peer_port}", "scheduler", scaler) as lasting,
    ):
        ask = asking(server)
        assert await ask(before) is grpc.StatusCode.OK
        new = made.rotate()
        after = an_agent(new, tmp_path / "after")
        for identity in (before, after, scaler):
            assert await ask(identity) is grpc.StatusCode.OK
        new.retire()
        assert await ask(before) is grpc.StatusCode.UNAVAILABLE
        # Issued before the retirement, of the new authority: as good as ever.
        assert await ask(after) is grpc.StatusCode.OK
        # A service's channel that was there before takes its new certificate by itself.
        await health_pb2_grpc.HealthStub(lasting).Check(
            health_pb2.HealthCheckRequest(), timeout=PATIENCE_SECONDS
        )


async def test_what_is_over_opens_nothing(
    made: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LIFE", timedelta(seconds=-1))
    over = an_agent(made, tmp_path)
    async with a_server(made) as server:
        assert await asking(server)(over) is grpc.StatusCode.UNAVAILABLE


async def test_an_agents_certificate_makes_no_service(made: Authority, tmp_path: Path) -> None:
    """Who has one cannot sit down where others look for a service."""
    agent = an_agent(made, tmp_path)
    server = GrpcServer("127.0.0.1:0", doors=Doors(agent, "127.0.0.1:0"))
    async with server:
        own = service_identity(made.directory, "gateway")
        assert await asking(server)(own) is grpc.StatusCode.UNAVAILABLE


def test_what_is_no_request_is_refused() -> None:
    for request in (b"", b"x" * 10_000, signing_request(new_key())[:-1]):
        with pytest.raises(InvalidRequest, match="signingRequest"):
            requested_key(request)


def test_a_request_with_somebody_elses_key_is_refused() -> None:
    """Its signature shows that the sender has the key; another's does not fit."""
    own, other = signing_request(new_key()), signing_request(new_key())
    with pytest.raises(InvalidRequest):
        requested_key(own[:-70] + other[-70:])


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "spiffe://elsewhere/a/service/logs",
        "spiffe://longshore/a/service/logs/more",
        "spiffe://longshore/a/service/",
        "spiffe://longshore/a/agent/lab",
        "spiffe://longshore/a/agent/lab/i-1\n",
        "spiffe://longshore/a/agent/l b/i-1",
    ],
)
def test_other_names_are_nobodys(uri: str) -> None:
    assert parsed(uri) is None


def test_a_token_is_read_as_it_was_written_and_shows_its_secret_to_nobody() -> None:
    token = JoinToken.new("ab" * 32)
    assert JoinToken.read(f" {token.text}\n") == token
    assert token.secret not in repr(token)
    for other in ("", "lsjoin", token.text[:-1], token.text.upper(), f"{token.text}.x"):
        assert JoinToken.read(other) is None
