"""Registries that ask for tokens, lead elsewhere, and lie."""

import contextlib
import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, BinaryIO

import pytest

from longshore.docker_login import NO_LOGIN, Login
from longshore_cli.images import registry
from longshore_cli.images.registry import Reference, Registry
from longshore_client import InvalidRequest, LongshoreError, NotFound, Unavailable

Answer = tuple[int, dict[str, str], bytes]
CONFIG = json.dumps({"os": "linux", "architecture": "amd64"}).encode()
DIGEST = f"sha256:{hashlib.sha256(CONFIG).hexdigest()}"
MANIFEST: dict[str, Any] = {
    "config": {"digest": DIGEST},
    "layers": [{"digest": "sha256:a", "size": 700}],
}
LOGIN = Login("the test", "me", "hush")
TOKEN = Login("a helper", identity_token="hush")  # noqa: S106 - a password for tests


class _Trickle(Exception):
    """Answers byte by byte until it is over or nobody listens."""

    def __init__(self, head: bytes, over: threading.Event) -> None:
        self._head = head
        self._over = over

    def to(self, file: BinaryIO) -> None:
        file.write(self._head)
        with contextlib.suppress(OSError):
            while not self._over.wait(0.05):
                file.write(b" ")
                file.flush()


class _Server:
    """A web server that answers as a test says, and remembers what it was asked."""

    def __init__(self) -> None:
        self.answer: Callable[[str, Any], Answer] = lambda _path, _headers: (404, {}, b"")
        self.asked: list[tuple[str, str]] = []
        self.bodies: list[bytes] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                outer.bodies.append(self.rfile.read(length))
                outer.asked.append((self.path, self.headers.get("Authorization") or ""))
                try:
                    status, headers, body = outer.answer(self.path, self.headers)
                except _Trickle as trickle:
                    trickle.to(self.wfile)
                    return
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_POST = do_GET  # noqa: N815

            def log_message(self, *_: object) -> None:
                """Says nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.host = f"127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def read(self, login: Login = NO_LOGIN, name: str = "team/app:1") -> Any:
        reference = Reference.parse(f"{self.host}/{name}")
        return Registry(self.host, login).read(reference, "linux/amd64")

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def server() -> Iterator[_Server]:
    server = _Server()
    yield server
    server.close()


@pytest.fixture
def other() -> Iterator[_Server]:
    server = _Server()
    yield server
    server.close()


def _image(path: str) -> Answer:
    """A whole image."""
    return 200, {}, json.dumps(MANIFEST).encode() if "/manifests/" in path else CONFIG


@pytest.mark.parametrize("login", [LOGIN, NO_LOGIN, TOKEN])
def test_a_registry_that_sends_for_a_token(server: _Server, login: Login) -> None:
    """The login goes to the server of tokens alone, the token to the registry."""

    def answer(path: str, headers: Any) -> Answer:
        if path.startswith("/token"):
            return 200, {}, b'{"token": "t0ken"}'
        if headers.get("Authorization") != "Bearer t0ken":
            realm = f'realm="http://{server.host}/token",service="s",scope="repository:a:pull"'
            return 401, {"WWW-Authenticate": f"Bearer {realm}"}, b""
        return _image(path)

    server.answer = answer
    assert server.read(login).image.size_bytes == 700
    paths = [path for path, _ in server.asked]
    assert sum(path.startswith("/token") for path in paths) == 1
    (asked,) = [said for path, said in server.asked if path.startswith("/token")]
    assert asked.startswith("Basic ") is bool(login.user)
    assert any(b"refresh_token=hush" in body for body in server.bodies) is not (
        login.identity_token == ""
    )
    assert not [said for path, said in server.asked if "/v2/" in path and "Basic" in said]


@pytest.mark.parametrize("part", ["headers", "body"])
def test_a_registry_that_never_ends_its_answer_is_left(
    server: _Server, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    """However steadily it goes on: each byte begins the time of one read anew."""
    monkeypatch.setattr(registry, "ALL_SECONDS", 0.5)
    over = threading.Event()
    head = b"HTTP/1.1 200 OK\r\n" if part == "headers" else b"HTTP/1.1 200 OK\r\n\r\n"

    def trickle(_path: str, _headers: Any) -> Answer:
        raise _Trickle(head, over)

    server.answer = trickle
    try:
        with pytest.raises(Unavailable, match="has not answered to the end"):
            server.read()
    finally:
        over.set()


def test_no_login_goes_where_a_registry_leads(server: _Server, other: _Server) -> None:
    other.answer = lambda path, _: _image(path)

    def answer(path: str, headers: Any) -> Answer:
        if not headers.get("Authorization"):
            return 401, {"WWW-Authenticate": 'Basic realm="x"'}, b""
        if "/blobs/" in path:
            return 307, {"Location": f"http://{other.host}{path}"}, b""
        return _image(path)

    server.answer = answer
    assert server.read(LOGIN).image.size_bytes == 700
    assert other.asked == [(f"/v2/team/app/blobs/{DIGEST}", "")]


@pytest.mark.parametrize(
    ("status", "headers", "body", "words"),
    [
        (401, {}, b"", "asks for a login in a way that is not known"),
        (401, {"WWW-Authenticate": 'Bearer realm="ftp://x/"'}, b"", "in a way that is not known"),
        (401, {"WWW-Authenticate": 'Basic realm="x"'}, b"", r"credentials: none"),
        (403, {}, b'{"errors": [{"message": "no"}]}', r"does not let the image be read \(no\)"),
        (404, {}, b'{"errors": []}', "has no team/app/manifests/1"),
        (429, {}, b"", "lets no more be pulled for now"),
        (500, {}, b"[" * 99_999, "answers 500"),
        (302, {"Location": "file:///etc/passwd"}, b"", "answers 302"),
        (200, {}, b"{", "answers no JSON object"),
        (200, {}, b"[" * 99_999, "answers no JSON object"),
        (200, {}, b"{}", "in a form that is not known"),
        (200, {}, b'{"layers": 3, "config": {}}', "in a form that is not known"),
        (200, {}, b'{"layers": [{"digest": 1, "size": 1e999}]}', "in a form that is not known"),
        (200, {}, b'{"layers": [], "config": {"digest": "../x"}}', "a configuration that is none"),
        (200, {}, b'{"manifests": [1, {}, {"platform": 3}]}', "but for no platform"),
        (200, {}, b"x" * (8 * 1024 * 1024 + 1), "answers more than"),
    ],
)
def test_what_a_registry_may_answer(
    server: _Server, status: int, headers: dict[str, str], body: bytes, words: str
) -> None:
    server.answer = lambda _path, _headers: (status, headers, body)
    with pytest.raises(LongshoreError, match=words):
        server.read()


def test_what_is_not_what_its_digest_says_is_refused(server: _Server) -> None:
    server.answer = lambda path, _: (
        (200, {}, b'{"os": "evil"}') if "/blobs/" in path else _image(path)
    )
    with pytest.raises(Unavailable, match="answers something else for sha256"):
        server.read()
    with pytest.raises(Unavailable, match="answers another image"):
        server.read(name=f"team/app@sha256:{'0' * 64}")


def test_odd_sizes_and_steps_are_taken_as_far_as_they_can_be(server: _Server) -> None:
    config = json.dumps({"os": "linux", "history": [{"created_by": ["x"]}, {}]}).encode()
    manifest = {
        "config": {"digest": f"sha256:{hashlib.sha256(config).hexdigest()}"},
        "layers": [{"digest": None, "size": 10**400}, {"digest": "b", "size": -5}],
    }
    server.answer = lambda path, _: (
        200,
        {},
        config if "/blobs/" in path else json.dumps(manifest).encode(),
    )
    image = server.read().image
    assert [layer.size_bytes for layer in image.layers] == [2**50, 0]
    assert 0 < image.evenness <= 1


def test_a_registry_that_is_away_and_a_name_that_is_none(server: _Server) -> None:
    server.close()
    with pytest.raises(Unavailable, match="is not reached: "):
        server.read()
    for name in ("", "http://x/y", "a b", "x:" + "t" * 129, "../x", "x\n"):
        with pytest.raises(InvalidRequest, match="does not name an image"):
            Reference.parse(name)
    assert Reference.parse("busybox").repository == "library/busybox"


@pytest.mark.parametrize("asked", ["linux/arm64", "x", "linux", ""])
def test_an_image_of_one_platform_is_of_no_other(server: _Server, asked: str) -> None:
    server.answer = lambda path, _: _image(path)
    read = server.read()
    registry.check_platform("linux/amd64", read)
    registry.check_platform("linux/amd64/v2", read)
    with pytest.raises(NotFound, match="for linux/amd64 alone"):
        registry.check_platform(asked, read)
