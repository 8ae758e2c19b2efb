"""Signatures, byte for byte against botocore's own signer."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest import mock
from urllib.parse import urlsplit

import pytest
from botocore import auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given, settings
from hypothesis import strategies as st

from longshore.domain.access import signature
from longshore.domain.access.signature import Request
from longshore.domain.errors import Unauthenticated

NOW = datetime(2026, 1, 31, 12, 0, 0, tzinfo=UTC)
KEY, SECRET = "LSIAAAAAAAAAAAAAAAAA", "s" * 40
HOST = "127.0.0.1:7080"

_ENCODED = st.one_of(
    st.text("abcAZ09-._~!$'()*,;:@+= ", min_size=0, max_size=6),
    st.sampled_from(["%2F", "%20", "%c3%A9", "%7E", "%25", "..", ".", "", "é", "\u202e"]),
)
PATHS = st.lists(_ENCODED, max_size=6).map(lambda parts: "/" + "/".join(parts))
QUERIES = st.lists(st.tuples(_ENCODED, _ENCODED), max_size=5).map(
    lambda pairs: "&".join(f"{k}={v}" if v else k for k, v in pairs)
)
HEADERS = st.dictionaries(
    st.from_regex(r"[Xx]-[A-Za-z0-9-]{1,12}", fullmatch=True),
    st.text(" \tabc09,;:=\"'%é", max_size=12),
    max_size=5,
)


def _signed(
    path: str = "/v1/submitjob",
    query: str = "",
    body: bytes = b"{}",
    headers: Mapping[str, str] | None = None,
    *,
    method: str = "POST",
    at: datetime = NOW,
    ahead: int | None = None,
    params: Mapping[str, str] | None = None,
) -> Request:
    """A request signed by botocore, as it goes over the wire."""
    url = f"http://{HOST}{path}" + (f"?{query}" if query else "")
    made = AWSRequest(method, url, dict(headers or {}), body, dict(params or {}))
    credentials = Credentials(KEY, SECRET)
    signer: Any = (
        auth.SigV4Auth(credentials, "batch", "eu-west-1")
        if ahead is None
        else auth.SigV4QueryAuth(credentials, "batch", "eu-west-1", expires=ahead)
    )
    with mock.patch.object(auth, "get_current_datetime", return_value=at.replace(tzinfo=None)):
        signer.add_auth(made)
    prepared = made.prepare()
    parts = urlsplit(prepared.url)
    found: dict[str, list[str]] = {"host": [HOST]}
    for name, value in prepared.headers.items():
        text = value.decode() if isinstance(value, bytes) else value
        found.setdefault(name.lower(), []).append(text.strip(" \t"))
    return Request(method, parts.path, parts.query, found)


def _check(request: Request, body: bytes = b"{}", now: datetime = NOW) -> signature.Signed:
    signed = signature.read(request)
    signature.check_time(signed, now)
    payload = signature.check_payload(request, body)
    signature.verify(signed, request, payload, signature.signing_key(SECRET, signed.scope))
    return signed


@settings(max_examples=40)
@given(PATHS, QUERIES, st.binary(max_size=20), HEADERS, st.sampled_from(["GET", "POST", "DELETE"]))
def test_what_botocore_signs_is_right(
    path: str, query: str, body: bytes, headers: dict[str, str], method: str
) -> None:
    if len({name.lower() for name in headers}) < len(headers):
        headers = {}
    path, query = path.replace("#", ""), query.replace("#", "")
    _check(_signed(path, query, body, headers, method=method), body)


@settings(max_examples=40)
@given(PATHS, QUERIES)
def test_what_botocore_signs_ahead_is_right(path: str, query: str) -> None:
    """It moves a body's members into the query string, so there is none here."""
    path, query = path.replace("#", ""), query.replace("#", "")
    _check(_signed(path, query, b"", ahead=600), b"", NOW + timedelta(minutes=9))


@settings(max_examples=40)
@given(st.dictionaries(st.text("ab +é%&=/~", min_size=1), st.text("ab +é%&=/~"), max_size=4))
def test_parameters_that_are_sent_otherwise_than_signed_are_right(params: dict[str, str]) -> None:
    """Spaces of botocore's `params` go as `+` and are signed as `%20`."""
    _check(_signed(params=params))


@settings(max_examples=40)
@given(QUERIES, QUERIES)
def test_another_query_is_wrong_unless_it_says_the_same(query: str, other: str) -> None:
    request = _signed(query=query)
    changed = Request(request.method, request.path, other, request.headers)
    if sorted(query.split("&")) != sorted(other.split("&")) and not (
        {*"%+ é\u202e"} & {*query, *other} or "=" in query + other
    ):
        with pytest.raises(Unauthenticated, match="does not match"):
            _check(changed)


@pytest.mark.parametrize(
    "change",
    [
        {"method": "GET"},
        {"path": "/v1/terminatejob"},
        {"query": "a=b"},
        {"host": "another:7080"},
        {"x-amz-target": "Logs_20140328.DeleteLogGroup"},
        {"body": b"{ }"},
    ],
)
@pytest.mark.parametrize("ahead", [None, 600])
def test_what_was_changed_after_it_was_signed_is_wrong(change: Any, ahead: int | None) -> None:
    sent = b"{}" if ahead is None else b""
    body = change.get("body", sent)
    plain = _signed(body=sent, headers={"x-amz-target": "Logs_20140328.GetLogEvents"}, ahead=ahead)
    assert _check(plain, sent)
    own = {name: change[name] for name in ("host", "x-amz-target") if name in change}
    request = Request(
        change.get("method", plain.method),
        change.get("path", plain.path),
        plain.query + ("&" if plain.query else "") + change["query"]
        if "query" in change
        else plain.query,
        {**plain.headers, **{name: [value] for name, value in own.items()}},
    )
    with pytest.raises(Unauthenticated) as refused:
        _check(request, body)
    assert refused.value.fields["code"] == "InvalidSignatureException"


def test_a_header_of_awss_that_is_not_signed_is_refused() -> None:
    plain = _signed()
    request = Request("POST", plain.path, "", {**plain.headers, "x-amz-target": ["Other"]})
    with pytest.raises(Unauthenticated, match="'x-amz-target' must be signed"):
        _check(request)


@pytest.mark.parametrize(
    ("minutes", "ahead", "words"),
    [
        (4.9, None, None),
        (5.1, None, "Signature expired: 20260131T120000Z is now earlier than 20260131T120006Z"),
        (-4.9, None, None),
        (-5.1, None, "Signature not yet current"),
        (9.9, 600, None),
        (10.1, 600, "Signature expired: 20260131T121000Z"),
        (-5.1, 600, "Signature not yet current"),
    ],
)
def test_a_signature_is_good_for_a_time(minutes: float, ahead: int | None, words: str) -> None:
    now = NOW + timedelta(minutes=minutes)
    if words is None:
        _check(_signed(body=b"", ahead=ahead), b"", now)
    else:
        with pytest.raises(Unauthenticated, match=words):
            _check(_signed(body=b"", ahead=ahead), b"", now)


def test_another_secret_or_scope_is_wrong() -> None:
    request = _signed()
    signed = signature.read(request)
    payload = signature.check_payload(request, b"{}")
    for key in (
        signature.signing_key("t" * 40, signed.scope),
        signature.signing_key(SECRET, signature.Scope(KEY, "20260131", "eu-west-1", "logs")),
    ):
        with pytest.raises(Unauthenticated):
            signature.verify(signed, request, payload, key)


def test_digests_of_the_body_are_checked_and_chunks_refused() -> None:
    unsigned = _signed(headers={"X-Amz-Content-SHA256": "UNSIGNED-PAYLOAD"})
    _check(unsigned, b"whatever")
    chunked = _signed(headers={"X-Amz-Content-SHA256": "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"})
    with pytest.raises(Unauthenticated, match="signed chunks are not taken"):
        _check(chunked)
    for wrong in ("0" * 64, "x", ""):
        with pytest.raises(Unauthenticated, match="not the SHA-256"):
            _check(_signed(headers={"X-Amz-Content-SHA256": wrong}))


_GOOD = f"Credential={KEY}/20260131/eu-west-1/batch/aws4_request"


@pytest.mark.parametrize(
    "text",
    [
        "Basic x",
        "AWS4-HMAC-SHA256",
        f"AWS4-HMAC-SHA256 {_GOOD}",
        f"AWS4-HMAC-SHA256 {_GOOD}, SignedHeaders=host;x-amz-date, Signature=xyz",
        f"AWS4-HMAC-SHA256 {_GOOD}, {_GOOD}, SignedHeaders=host;x-amz-date, Signature={'0' * 64}",
        f"AWS4-HMAC-SHA256 {_GOOD}, SignedHeaders=x-amz-date, Signature={'0' * 64}",
        f"AWS4-HMAC-SHA256 {_GOOD}, SignedHeaders=host, Signature={'0' * 64}",
        f"AWS4-HMAC-SHA256 {_GOOD}, SignedHeaders=host;Host, Signature={'0' * 64}",
        f"AWS4-HMAC-SHA256 {_GOOD}, SignedHeaders=host;x-amz-date;y, Signature={'0' * 64}",
        f"AWS4-HMAC-SHA256 Credential={KEY}, SignedHeaders=host;x-amz-date, Signature={'0' * 64}",
        "AWS4-HMAC-SHA256 " + "a" * 20_000,
    ],
)
def test_what_is_no_signature_is_incomplete(text: str) -> None:
    headers = {"host": [HOST], "x-amz-date": ["20260131T120000Z"], "authorization": [text]}
    with pytest.raises(Unauthenticated) as refused:
        signature.read(Request("POST", "/", "", headers))
    assert refused.value.fields["code"] == "IncompleteSignatureException"


@settings(max_examples=40)
@given(st.text(max_size=80), st.text(max_size=80), st.text(max_size=30))
def test_nothing_that_is_said_breaks_the_reading(text: str, query: str, date: str) -> None:
    for request in (
        Request("GET", "/", "", {"host": ["h"], "authorization": [text], "date": [date]}),
        Request("GET", "/", f"X-Amz-Signature={text}&{query}", {"host": ["h"]}),
    ):
        with pytest.raises(Unauthenticated):
            _check(request)


def test_without_a_signature_it_is_said_that_there_is_none() -> None:
    with pytest.raises(Unauthenticated) as refused:
        signature.read(Request("GET", "/", "", {"host": ["h"]}))
    assert refused.value.fields["code"] == "MissingAuthenticationTokenException"
