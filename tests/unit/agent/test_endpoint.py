"""The endpoint's parts: identity, roles and their renewal, the server's bounds, documents."""

import asyncio
import random
import socket
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from longshore.agent.attempts.attempt import StepFailed
from longshore.agent.endpoint import role, server
from longshore.agent.endpoint.document import Described, Facts, Place, container_document
from longshore.agent.endpoint.identity import EndpointIdentity
from longshore.agent.endpoint.role import Credentials, RoleRefused, Roles
from longshore.agent.endpoint.server import EndpointServer, NotFetched
from longshore.domain.arn import Arns
from longshore.v1 import agent_service_pb2 as pb
from longshore.v1 import container_pb2, job_definition_pb2

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
ROLE = "arn:aws:iam::123456789012:role/job"


class Clock:
    """A clock that tests move."""

    def __init__(self) -> None:
        self.now = BEGIN

    def __call__(self) -> datetime:
        return self.now


class FakeIssuer:
    """Gives numbered credentials, or refuses."""

    def __init__(self, clock: Clock, life: timedelta = timedelta(hours=1)) -> None:
        self._clock = clock
        self._life = life
        self.issued: list[tuple[str, str]] = []
        self.refusing = False

    async def issue(self, role: str, session: str) -> Credentials:
        if self.refusing:
            raise RoleRefused("AccessDenied: no")
        self.issued.append((role, session))
        number = str(len(self.issued))
        return Credentials(number, "secret", "token", self._clock() + self._life)


def test_ids_are_the_same_for_a_next_life_and_for_nobody_else(tmp_path: Path) -> None:
    path = tmp_path / "endpoint"
    first = EndpointIdentity.load(path)
    EndpointIdentity(first.key, 1234).save(path)
    again, other = EndpointIdentity.load(path), EndpointIdentity.load(tmp_path / "other")
    assert again == EndpointIdentity(first.key, 1234)
    assert path.stat().st_mode & 0o777 == 0o600
    ids = {
        find(attempt)
        for identity in (again, other)
        for attempt in ("a", "b")
        for find in (identity.credentials_id, identity.token, identity.metadata_id)
    }
    assert len(ids) == 12
    assert again.credentials_id("a") == first.credentials_id("a")


@pytest.mark.parametrize("left", ["", "{}", '{"key": "ab", "port": 1}', '{"key": 1}', "[1]"])
def test_what_is_no_identity_is_none(tmp_path: Path, left: str) -> None:
    path = tmp_path / "endpoint"
    path.write_text(left)
    with capture_logs() as logs:
        assert len(EndpointIdentity.load(path).key) == 64
    assert [entry["event"] for entry in logs] == ["endpoint.identity_lost"]


async def test_a_role_is_assumed_once_and_forgotten_with_its_session() -> None:
    clock = Clock()
    issuer = FakeIssuer(clock)
    roles = Roles(issuer, clock)
    assert not roles.holds("s")
    await roles.assume(ROLE, "s")
    assert issuer.issued == [(ROLE, "s")]
    assert roles.holds("s")
    roles.forget("s")
    assert roles.credentials("s") is None


async def test_what_has_expired_is_not_given() -> None:
    clock = Clock()
    roles = Roles(FakeIssuer(clock), clock)
    await roles.assume(ROLE, "s")
    clock.now += timedelta(hours=1)
    assert roles.credentials("s") is None


async def test_a_role_that_is_refused_fails_the_start() -> None:
    clock = Clock()
    issuer = FakeIssuer(clock)
    issuer.refusing = True
    with pytest.raises(StepFailed) as failed:
        await Roles(issuer, clock).assume(ROLE, "s")
    assert failed.value.reason == "CannotAssumeRole: AccessDenied: no"


async def test_an_issuer_that_does_not_answer_fails_the_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Silent:
        async def issue(self, role: str, session: str) -> Credentials:  # noqa: ARG002
            await asyncio.Event().wait()
            raise AssertionError

    monkeypatch.setattr(role, "ASSUME_SECONDS", 0.01)
    with pytest.raises(StepFailed, match="was not assumed within"):
        await Roles(Silent()).assume(ROLE, "s")


async def turn() -> None:
    """Lets everything that can go on do so."""
    for _ in range(20):
        await asyncio.sleep(0)


@pytest.mark.parametrize(
    ("life", "least_left"),
    [(timedelta(hours=1), timedelta(minutes=20)), (timedelta(minutes=15), timedelta(minutes=7))],
)
async def test_credentials_are_renewed_well_before_an_sdk_asks_for_new_ones(
    life: timedelta, least_left: timedelta
) -> None:
    clock = Clock()
    issuer = FakeIssuer(clock, life)
    roles = Roles(issuer, clock)
    await roles.assume(ROLE, "s")
    for _ in range(600):
        clock.now += timedelta(seconds=30)
        await roles._renew_due()
        found = roles.credentials("s")
        assert found is not None
        assert found.expiration - clock.now >= least_left
    assert len(issuer.issued) <= timedelta(hours=5) / (life / 2) + 2


async def test_renewal_is_tried_until_it_works_and_what_there_is_stays_good() -> None:
    clock = Clock()
    issuer = FakeIssuer(clock)
    roles = Roles(issuer, clock)
    await roles.assume(ROLE, "s")
    issuer.refusing = True
    for _ in range(55):
        clock.now += timedelta(minutes=1)
        await roles._renew_due()
    found = roles.credentials("s")
    assert found is not None
    assert found.access_key_id == "1"
    issuer.refusing = False
    clock.now += timedelta(minutes=2)
    await roles._renew_due()
    found = roles.credentials("s")
    assert found is not None
    assert found.access_key_id == "2"


async def test_an_answer_that_nobody_understands_is_a_refusal() -> None:
    class Strange:
        async def issue(self, role: str, session: str) -> Credentials:  # noqa: ARG002
            raise KeyError("Credentials")

    with pytest.raises(StepFailed, match=r"not understood \(KeyError"):
        await Roles(Strange()).assume(ROLE, "s")


async def test_a_session_of_an_earlier_life_gets_credentials_soon(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = Clock()
    issuer = FakeIssuer(clock)
    roles = Roles(issuer, clock)
    running = asyncio.create_task(roles.run())
    await turn()
    roles.resume(ROLE, "s")
    found = await roles.credentials_soon("s")
    assert found is not None
    assert found.access_key_id == "1"
    monkeypatch.setattr(role, "MOMENT_SECONDS", 0.01)
    issuer.refusing = True
    roles.resume(ROLE, "later")
    assert await roles.credentials_soon("later") is None
    assert await roles.credentials_soon("unknown") is None
    running.cancel()


async def test_renewals_of_one_time_are_spread() -> None:
    clock = Clock()
    roles = Roles(FakeIssuer(clock), clock)
    random.seed(1)
    for number in range(50):
        await roles.assume(ROLE, str(number))
    dues = [session.due for session in roles._sessions.values()]
    assert max(dues) - min(dues) > timedelta(minutes=8)


class FakeGuest:
    """An attempt with a role."""

    role = ROLE
    token = "token"  # noqa: S105

    def __init__(self) -> None:
        self.given: Credentials | None = Credentials("key", "secret", "session", BEGIN)
        #: Of a document that never comes.
        self.asked, self.let_go = asyncio.Event(), asyncio.Event()

    async def credentials(self) -> Credentials | None:
        return self.given

    async def metadata(self, what: str) -> Any:
        if what == "/task":
            self.asked.set()
            try:
                await asyncio.Event().wait()
            finally:
                self.let_go.set()
        if what:
            raise NotFetched("gone")
        return {"Name": "default"}


class Served:
    """A server on loopback, and a client."""

    def __init__(self) -> None:
        self.guest = FakeGuest()
        self.server = EndpointServer({"known": self.guest}.get, {"known": self.guest}.get)
        self.port = 0

    async def get(self, path: str, **headers: str) -> tuple[int, Any]:
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"http://127.0.0.1:{self.port}{path}", headers=headers) as response,
        ):
            return response.status, await response.json()

    async def send(self, data: bytes) -> bytes:
        """What comes back until the server closes the connection."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(data)
        try:
            return await reader.read()
        finally:
            writer.close()


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    served = Served()
    listening = socket.create_server(("127.0.0.1", 0))
    served.port = listening.getsockname()[1]
    listener = await served.server.serve(listening)
    yield served
    listener.close()
    await served.server.close()


async def test_credentials_in_the_form_that_sdks_read(served: Served) -> None:
    assert await served.get("/v2/credentials/known", Authorization="token") == (
        200,
        {
            "RoleArn": ROLE,
            "AccessKeyId": "key",
            "SecretAccessKey": "secret",
            "Token": "session",
            "Expiration": "2026-01-01T00:00:00Z",
        },
    )
    served.guest.given = None
    status, answer = await served.get("/v2/credentials/known", Authorization="token")
    assert (status, answer["code"]) == (503, "CredentialsUninitialized")


@pytest.mark.parametrize(
    ("path", "authorization", "code"),
    [
        ("/v2/credentials", "token", "NoIdInRequest"),
        ("/v2/credentials/", "token", "NoIdInRequest"),
        ("/v2/credentials/other", "token", "InvalidIdInRequest"),
        ("/v2/credentials/known/x", "token", "InvalidIdInRequest"),
        ("/v2/credentials/known", "", "InvalidIdInRequest"),
        ("/v2/credentials/known", "tokem", "InvalidIdInRequest"),
        ("/v2/credentials/known", "t\u00f6ken", "InvalidIdInRequest"),
        ("/v2/credentials/%6bnown%00", "token", "InvalidIdInRequest"),
    ],
)
async def test_who_has_not_all_of_it_learns_nothing(
    served: Served, path: str, authorization: str, code: str
) -> None:
    status, answer = await served.get(path, Authorization=authorization)
    assert (status, answer["code"], answer["HTTPErrorCode"]) == (400, code, 400)


@pytest.mark.parametrize(
    ("path", "status", "text"),
    [
        ("/v4/other", 404, "V4 container metadata handler: unable to get task arn from request"),
        ("/v4/other/task", 404, "V4 task metadata handler: unable to get task arn from request"),
        ("/v4/known/stats", 500, "V4 container stats handler: gone"),
        ("/v4/known/task/stats", 500, "V4 task stats handler: gone"),
        ("/v4/known/secret", 404, "404 page not found"),
        ("/", 404, "404 page not found"),
    ],
)
async def test_metadata_that_cannot_be_had(
    served: Served, path: str, status: int, text: str
) -> None:
    assert await served.get(path) == (status, text)
    assert await served.get("/v4/known") == (200, {"Name": "default"})
    assert await served.get("/v4/known/") == (200, {"Name": "default"})


async def test_a_mistake_of_ours_is_told_of(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(what: str) -> Any:
        raise KeyError(what)

    monkeypatch.setattr(served.guest, "metadata", fail)
    with capture_logs() as logs:
        assert await served.get("/v4/known") == (500, "the agent's log says why")
    assert [entry["event"] for entry in logs] == ["endpoint.failed"]


async def test_only_get_is_answered(served: Served) -> None:
    answer = await served.send(
        b"POST /v4/known HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    )
    assert answer.startswith(b"HTTP/1.1 405 ")


@pytest.mark.parametrize(
    "request_head",
    [
        b"GET /" + b"x" * 5000 + b" HTTP/1.1\r\nHost: h\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\nX: " + b"x" * 9000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\n" + b"X: x\r\n" * 200 + b"\r\n",
        b"\x16\x03\x01 no HTTP\r\n\r\n",
    ],
)
async def test_what_is_too_long_or_no_request_is_refused(
    served: Served, request_head: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """Without a word in the agent's log, which no job is to fill."""
    answer = await served.send(request_head)
    assert caplog.records == []
    assert answer.startswith((b"HTTP/1.0 400 ", b"HTTP/1.1 400 "))


#: What a request may hold where it should hold something else.
HOSTILE = st.one_of(
    st.binary(max_size=40),
    st.text(max_size=20).map(lambda text: text.encode(errors="replace")),
    st.sampled_from(
        [b"%00", b"%ff%fe", b"..", b"/../v4/known", b"known%2f..", b"\xff", b"//", b"?#"]
    ),
)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    method=st.sampled_from([b"GET", b"get", b"HEAD", b"PUT", b"\xff"]),
    prefix=st.sampled_from(
        [b"", b"/v2/credentials/", b"/v2/credentials/known", b"/v4/", b"http://h/v4/"]
    ),
    rest=HOSTILE,
    authorization=HOSTILE,
    body=st.binary(max_size=20),
)
@example(method=b"GET", prefix=b"/v2/credentials/known", rest=b"", authorization=b"\xff", body=b"")
async def test_whatever_is_sent_opens_nothing_and_ends_nothing(
    served: Served, method: bytes, prefix: bytes, rest: bytes, authorization: bytes, body: bytes
) -> None:
    head = b"%s %s%s HTTP/1.1\r\nHost: h\r\nAuthorization: %s\r\nConnection: close\r\n\r\n%s"
    answer = await served.send(head % (method, prefix, rest, authorization, body))
    assert b"secret" not in answer
    assert b" 500 " not in answer.split(b"\r\n", 1)[0]
    assert (await served.get("/v4/known"))[0] == 200


async def test_a_connection_that_asks_nothing_is_closed(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "REQUEST_SECONDS", 0.05)
    assert await served.send(b"GET / HT") == b""


async def test_connections_are_bounded(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "CONNECTIONS", 1)
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
    writer.write(b"GET /v4/known HTTP/1.1\r\nHost: h\r\n\r\n")
    assert (await reader.readline()).startswith(b"HTTP/1.1 200 ")
    assert await served.get("/v4/known") == (200, {"Name": "default"})
    rest = await reader.read()
    assert rest.endswith(b'{"Name": "default"}')
    writer.close()


async def test_who_goes_away_waits_no_more(served: Served) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", served.port)
    writer.write(b"GET /v4/known/task HTTP/1.1\r\nHost: h\r\n\r\n")
    await served.guest.asked.wait()
    writer.close()
    await served.guest.let_go.wait()


async def test_answers_come_at_a_bounded_rate(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "RATE", 50.0)
    monkeypatch.setattr(server, "AHEAD", 5)
    begin = asyncio.get_running_loop().time()
    answers = await asyncio.gather(*(served.get("/v4/known") for _ in range(25)))
    assert {status for status, _ in answers} == {200}
    assert asyncio.get_running_loop().time() - begin >= 19 / 50


def test_another_log_driver_is_told_as_it_is() -> None:
    assignment = pb.Assignment(
        attempt_id="abc",
        job_definition="name:7",
        container=job_definition_pb2.ContainerProperties(
            image="image",
            log_configuration=container_pb2.LogConfiguration(
                log_driver="syslog", options={"tag": "t"}
            ),
        ),
    )
    facts = Facts("id", "name", "sha256:1", "2026-01-01T00:00:00Z", "", "host")
    place = Place(Arns("123456789012", "eu-west-1"), "ce")
    document = container_document(Described(assignment, "default", facts), place)
    assert (document["LogDriver"], document["LogOptions"]) == ("syslog", {"tag": "t"})
    assert document["KnownStatus"] == "CREATED"
    assert "StartedAt" not in document
    assert document["Labels"]["com.amazonaws.ecs.task-arn"] == (
        "arn:aws:ecs:eu-west-1:123456789012:task/ce_Batch/abc"
    )
