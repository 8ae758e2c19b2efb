"""The gateway's HTTP edge: routes, bad input, limits, origins, health, stopping."""

import asyncio
import json
import time
import zlib
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import pytest
from structlog.contextvars import merge_contextvars
from structlog.testing import capture_logs
from support.patience import PATIENCE_SECONDS

from longshore.domain.errors import Unavailable
from longshore.gateway.behind import SERVICES
from longshore.gateway.config import GatewayConfig
from longshore.gateway.server import serve

ARN = "arn:aws:batch:us-east-1:123456789012:job-queue/q"
ESCAPED = "arn%3Aaws%3Abatch%3Aus-east-1%3A123456789012%3Ajob-queue%2Fq"


async def test_arn_is_one_label_of_the_raw_path(stack: Any) -> None:
    async with stack.http("GET", f"/v1/tags/{ESCAPED}") as response:
        assert response.status == 200
        assert await response.json() == {"tags": {}}
    assert stack.last.request.resource_arn == ARN

    status, code, _ = await stack.refused("GET", "/v1/tags/" + ARN)
    assert (status, code) == (404, "UnknownOperationException")


async def test_tag_keys_repeat_in_the_query(stack: Any) -> None:
    async with stack.http(
        "DELETE", f"/v1/tags/{ESCAPED}?tagKeys=a%20b&tagKeys=c%2Bd&X-Amz-Date=now"
    ) as response:
        assert response.status == 200
        assert await response.read() == b"{}"
    assert list(stack.last.request.tag_keys) == ["a b", "c+d"]


async def test_as_many_tag_keys_as_there_may_be_fit_into_a_query(stack: Any) -> None:
    """Of the longest characters, each of twelve bytes in a URL."""
    keys = [f"{number:02}" + "\N{ROCKET}" * 126 for number in range(50)]
    query = urlencode([("tagKeys", key) for key in keys])
    async with stack.http("DELETE", f"/v1/tags/{ESCAPED}?{query}") as response:
        assert response.status == 200
    assert list(stack.last.request.tag_keys) == keys


@pytest.mark.parametrize(
    ("start", "says"),
    [
        (b"GET /v1/tags/" + b"x" * 200_000 + b" HTTP/1.1", "first line has more than 131072 bytes"),
        (b"GET /v1/tags/x HTTP/1.1\r\nX-Long: " + b"x" * 10_000, "or a header does"),
        (b"\xff\xfe\x00", "not valid HTTP"),
        (b"POST /v1/submitjob HTTP/1.1\r\nContent-Length: -1", "not valid HTTP"),
    ],
    ids=["line", "header", "bytes", "length"],
)
async def test_what_is_no_request_is_refused_as_requests_are(
    stack: Any, caplog: pytest.LogCaptureFixture, start: bytes, says: str
) -> None:
    answer = await _raw(stack, start + b"\r\nHost: localhost\r\n\r\n", ended=False)

    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.split()[1] == b"400"
    assert b"x-amzn-errortype: ClientException" in head
    assert json.loads(body)["__type"] == "ClientException"
    assert says in json.loads(body)["message"]
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


@pytest.mark.parametrize("body", [b"", b"{}", b" \n", b'{"maxResults": null}'])
@pytest.mark.parametrize("content_type", ["application/json", "text/plain", ""])
async def test_no_members_may_be_no_body(stack: Any, body: bytes, content_type: str) -> None:
    async with stack.http(
        "POST",
        "/v1/describejobqueues",
        data=body,
        headers={"Content-Type": content_type},
        skip_auto_headers=["Content-Type"],
    ) as response:
        assert response.status == 200
        assert response.content_type == "application/json"
        assert await response.json() == {"jobQueues": []}
    assert "x-longshore-region" not in stack.last.metadata


@pytest.mark.parametrize(
    "authorization",
    [
        "Bearer x",
        "AWS4-HMAC-SHA256 nonsense",
        "AWS4-HMAC-SHA256 Credential=a/20260101/EU WEST/batch/aws4_request",
        "AWS4-HMAC-SHA256 Credential=" + "a/" * 3000,
    ],
)
async def test_an_odd_authorization_names_no_region(stack: Any, authorization: str) -> None:
    headers = {"Authorization": authorization}
    async with stack.http("POST", "/v1/listjobs", json={}, headers=headers) as response:
        assert response.status == 200
    assert "x-longshore-region" not in stack.last.metadata


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"{'a': 1}",
        b'{"a": NaN}',
        b'{"a": Infinity}',
        b"\xff\xfe\x00",
        b"[" * 100_000,
        b'{"a": ' + b"9" * 5000 + b"}",
        b"{} {}",
    ],
)
async def test_malformed_json(stack: Any, body: bytes) -> None:
    found = await stack.refused("POST", "/v1/submitjob", data=body)

    assert found == (400, "ClientException", "The request body is not valid JSON.")
    assert not stack.submission.received


@pytest.mark.parametrize(
    ("method", "path", "body", "message"),
    [
        ("POST", "/v1/submitjob", "[]", "The request must be an object."),
        (
            "POST",
            "/v1/submitjob",
            '{"containerOverrides": {"command": ["a", 1]}}',
            "containerOverrides.command[1] must be a string.",
        ),
        (
            "POST",
            "/v1/submitjob",
            '{"nam": "x"}',
            "nam is not a known member: longshore ",
        ),
        ("POST", "/v1/submitjob", '{"\\ud800": 1}', "? is not a known member: longshore "),
        (
            "POST",
            "/v1/submitjob?jobName=a",
            "{}",
            "jobName is not a member of this part of the request.",
        ),
        (
            "POST",
            f"/v1/tags/{ESCAPED}",
            '{"resourceArn": "other", "tags": {}}',
            "resourceArn is not a member of this part of the request.",
        ),
        ("GET", f"/v1/tags/{ESCAPED}", '{"tags": {}}', "tags is not a known member: longshore "),
        ("GET", f"/v1/tags/{ESCAPED}?tags=a", "", "tags is not a known member: longshore "),
        ("POST", "/v1/describejobs", "{}", "jobs is required."),
        ("POST", "/v1/describejobs", '{"jobs": null}', "jobs is required."),
        ("POST", "/v1/canceljobs", '{"reason": "r"}', "jobs is required."),
        ("POST", f"/v1/tags/{ESCAPED}", "{}", "tags is required."),
        (
            "POST",
            "/v1/registerjobdefinition",
            '{"nodeProperties": {"numNodes": 1}}',
            "nodeProperties.nodeRangeProperties is required.",
        ),
        ("GET", "/v1/tags/%ff", "", "The path must be UTF-8."),
        (
            "DELETE",
            f"/v1/tags/{ESCAPED}?tagKeys=%ff",
            "",
            "The query string must be UTF-8 and hold at most 200 parameters.",
        ),
        (
            "DELETE",
            f"/v1/tags/{ESCAPED}?" + "&".join(["tagKeys=a"] * 201),
            "",
            "The query string must be UTF-8 and hold at most 200 parameters.",
        ),
    ],
)
async def test_bad_members(stack: Any, method: str, path: str, body: str, message: str) -> None:
    status, code, found = await stack.refused(method, path, data=body)

    assert (status, code, found[: len(message)]) == (400, "ClientException", message)
    assert not stack.submission.received
    async with stack.http("POST", "/v1/listjobs", data=b"{}") as response:
        assert response.status == 200


@pytest.mark.parametrize(
    "path",
    [
        *("/", "/v1/", "/v1/startjob", "/v1/submitjob/", "/v1//submitjob", "/v2/submitjob"),
        *("/v1/tags/", "/v1/submit%0Ajob", "/%0D%0A"),
    ],
)
async def test_unknown_route(stack: Any, path: str) -> None:
    status, code, _ = await stack.refused("POST", path, data=b"{}")

    assert (status, code) == (404, "UnknownOperationException")


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("GET", "/v1/submitjob", "POST"),
        ("OPTIONS", "/v1/submitjob", "POST"),
        ("PUT", f"/v1/tags/{ESCAPED}", "DELETE, GET, POST"),
    ],
)
async def test_wrong_method(stack: Any, method: str, path: str, allow: str) -> None:
    async with stack.http(method, path) as response:
        assert response.status == 405
        assert response.headers["Allow"] == allow
        assert (await response.json())["__type"] == "UnknownOperationException"


async def _pieces(count: int) -> Any:
    for _ in range(count):
        yield b" " * 65_536


@pytest.mark.parametrize("chunked", [False, True])
async def test_oversize(start: Callable[..., Any], chunked: bool) -> None:
    """Refused by what it says of its length, or once it is over the limit."""
    async with start(body_bytes=100_000) as stack:
        data = _pieces(2) if chunked else b" " * 131_072
        found = await stack.refused("POST", "/v1/submitjob", data=data)
        fits = b'{"jobName": "' + b"a" * 99_000 + b'"}'
        async with stack.http("POST", "/v1/submitjob", data=fits) as response:
            assert response.status == 200

    assert found == (400, "ClientException", "Request size exceeds 100000 bytes.")


async def _raw(stack: Any, request: bytes, *, ended: bool = True) -> bytes:
    """Sends bytes, ends the sending side if asked to, reads until the gateway closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(stack.url.rpartition(":")[2]))
    writer.write(request)
    if ended:
        writer.write_eof()
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await reader.read()
    finally:
        writer.close()


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        (b"Transfer-Encoding: chunked\r\n", b"zz\r\n{}\r\n"),
        (b"Content-Encoding: gzip\r\nContent-Length: 2\r\n", b"{}"),
        (b"Content-Length: 20\r\n", b"{}"),
    ],
)
async def test_a_broken_body_breaks_nothing(stack: Any, headers: bytes, body: bytes) -> None:
    with capture_logs() as logs:
        await _raw(
            stack, b"POST /v1/submitjob HTTP/1.1\r\nHost: localhost\r\n" + headers + b"\r\n" + body
        )
        async with stack.http("POST", "/v1/listjobs", data=b"{}") as response:
            assert response.status == 200

    assert [call.operation for call in stack.submission.received] == ["ListJobs"]
    assert not [line for line in logs if line["log_level"] == "error"]


@pytest.mark.parametrize("host", ["localhost", "elsewhere.example"])
async def test_a_compressed_body_stays_as_it_is(stack: Any, host: str) -> None:
    """A megabyte may come out as a gigabyte, even for a request that is refused anyway."""
    packing = zlib.compressobj(9, zlib.DEFLATED, 31)
    block = b"a" * 1024 * 1024
    # After a full flush the next block is packed as the one before it.
    packed, again = (packing.compress(block) + packing.flush(zlib.Z_FULL_FLUSH) for _ in range(2))
    packed += again * 899
    assert len(packed) < 1024 * 1024
    headers = {"Host": host, "Content-Encoding": "gzip"}
    before = time.process_time()
    status, _, message = await stack.refused("POST", "/v1/submitjob", data=packed, headers=headers)
    async with stack.http("GET", "/healthz") as response:
        assert response.status == 200
    assert time.process_time() - before < 1.0
    assert status == (400 if host == "localhost" else 421)
    assert ("must be sent as it is" in message) == (host == "localhost")
    assert not stack.submission.received


async def test_a_body_that_never_ends_is_given_up(start: Callable[..., Any]) -> None:
    async with start(timeout_seconds=0.1) as stack:
        port = int(stack.url.rpartition(":")[2])
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"POST /v1/submitjob HTTP/1.1\r\nHost: [::1]\r\nContent-Length: 9\r\n\r\n{")
        async with asyncio.timeout(PATIENCE_SECONDS):
            assert b" 408 " in await reader.readline()
        writer.close()


async def test_a_call_has_a_deadline(start: Callable[..., Any]) -> None:
    async with start(timeout_seconds=0.2) as stack:
        stack.submission.hold = asyncio.Event()
        status, code, _ = await stack.refused("POST", "/v1/listjobs", data=b"{}")

    assert (status, code) == (503, "ServerException")


async def test_more_requests_than_the_gateway_takes(start: Callable[..., Any]) -> None:
    async with start(concurrency=1) as stack:
        stack.submission.hold = asyncio.Event()
        first = asyncio.create_task(stack.boto("list_jobs", jobQueue="q"))
        await stack.submission.entered.wait()
        found = await stack.refused("POST", "/v1/listjobs", data=b"{}")
        stack.submission.hold.set()
        await first

    assert found == (429, "TooManyRequestsException", "Too Many Requests")


async def test_who_sends_slowly_keeps_nobody_out(start: Callable[..., Any]) -> None:
    """Half a request takes no place from whole ones; of too many halves the oldest give way."""
    half = b"POST /v1/submitjob HTTP/1.1\r\nHost: [::1]\r\nContent-Length: 9\r\n\r\n{"
    async with start(concurrency=2) as stack:
        port = int(stack.url.rpartition(":")[2])
        slow = [await asyncio.open_connection("127.0.0.1", port) for _ in range(4)]
        for number, (_, writer) in enumerate(slow):
            writer.write(half)
            if number >= 2:
                answer = await asyncio.wait_for(slow[number - 2][0].readline(), PATIENCE_SECONDS)
                assert b" 408 " in answer
        for _ in range(3):
            async with stack.http("GET", "/healthz") as response:
                assert response.status == 200
            answers = await asyncio.gather(
                *(stack.boto("list_jobs", jobQueue="q") for _ in range(2))
            )
            assert len(answers) == 2
        for _, writer in slow:
            writer.close()


async def test_a_request_that_arrives_when_all_places_are_taken(
    start: Callable[..., Any],
) -> None:
    """It is refused once it is whole, as those are that come whole."""
    async with start(concurrency=2) as stack:
        stack.submission.hold = asyncio.Event()
        port = int(stack.url.rpartition(":")[2])
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        head = b"POST /v1/listjobs HTTP/1.1\r\nHost: [::1]\r\nContent-Length: 2\r\n\r\n"
        writer.write(head + b"{")
        calls = []
        for _ in range(2):
            stack.submission.entered.clear()
            calls.append(asyncio.create_task(stack.boto("list_jobs", jobQueue="q")))
            await stack.submission.entered.wait()
        writer.write(b"}")
        assert b" 429 " in await asyncio.wait_for(reader.readline(), PATIENCE_SECONDS)
        stack.submission.hold.set()
        await asyncio.gather(*calls)
        writer.close()


@pytest.mark.parametrize(
    ("origin", "host", "status"),
    [
        ("https://example.com", None, 403),
        ("null", None, 403),
        ("http://[", None, 403),
        ("http://localhost:7080", "127.0.0.1:7080", 403),
        ("http://localhost:7080", "localhost:7080", 200),
        ("http://[::1]:7080", "[::1]:7080", 200),
    ],
)
async def test_other_sites_pages_are_refused(
    stack: Any, origin: str | None, host: str | None, status: int
) -> None:
    headers = {"Origin": origin, "Host": host}
    headers = {name: value for name, value in headers.items() if value is not None}
    async with stack.http("POST", "/v1/listjobs", data=b"{}", headers=headers) as response:
        assert response.status == status
    assert len(stack.submission.received) == (status == 200)


@pytest.mark.parametrize(
    ("hosts", "status"),
    [
        (["127.0.0.1"], 200),
        (["LocalHost:80"], 200),
        (["[::1]:7080"], 200),
        (["gateway.internal"], 200),
        (["Gateway.Internal:7080"], 200),
        (["rebound.example:7080"], 421),
        (["10.1.2.3"], 421),
        (["gateway.internal.example"], 421),
        (["localhost@example.com"], 421),
        (["localhost:x"], 421),
        (["[localhost"], 421),
        ([""], 421),
        ([], 400),
        (["localhost", "example.com"], 400),
    ],
)
@pytest.mark.parametrize("path", ["/v1/tags/" + ESCAPED, "/healthz", "/metrics", "/none"])
async def test_the_gateway_answers_to_its_names_alone(
    start: Callable[..., Any], hosts: list[str], status: int, path: str
) -> None:
    """A page whose name was pointed at loopback sends no Origin with GET: its Host tells it."""
    sent = "".join(f"Host: {host}\r\n" for host in hosts)
    async with start(hosts=("gateway.internal",)) as stack:
        request = f"GET {path} HTTP/1.1\r\n{sent}Connection: close\r\n\r\n"
        answer = await _raw(stack, request.encode(), ended=False)
    found = int(answer.split(b" ", 2)[1])
    assert found == (404 if status == 200 and path == "/none" else status)
    if status == 421:
        assert b"LONGSHORE_GATEWAY_HOSTS" in answer
        assert b"rebound" not in answer
        assert not stack.submission.received


async def test_health_is_the_submission_services(stack: Any) -> None:
    async with stack.http("GET", "/healthz") as response:
        assert (response.status, await response.json()) == (200, {"status": "SERVING"})
    await stack.server.set_serving(False)
    async with stack.http("GET", "/healthz") as response:
        assert (response.status, await response.json()) == (503, {"status": "NOT_SERVING"})


async def test_submission_is_away(start: Callable[..., Any], unused_tcp_port: int) -> None:
    async with start(submission_address=f"127.0.0.1:{unused_tcp_port}") as stack:
        async with stack.http("GET", "/healthz") as response:
            assert response.status == 503
        async with stack.http("POST", "/v1/listjobs", data=b"{}") as response:
            assert response.status == 503
            assert response.headers["Retry-After"] == "1"
            assert str(unused_tcp_port) not in await response.text()


async def test_metrics_and_log_line_without_values(stack: Any) -> None:
    body = {"jobName": "a", "parameters": {"password": "hunter2"}}
    with capture_logs([merge_contextvars]) as logs:
        async with stack.http("POST", "/v1/submitjob", json=body) as response:
            request_id = response.headers["x-amzn-RequestId"]
    async with stack.http("GET", "/metrics") as response:
        text = await response.text()

    assert 'longshore_http_requests_total{operation="SubmitJob",status="200"}' in text
    [line] = [line for line in logs if line["event"] == "http.answered"]
    assert line["status"] == 200
    assert line["operation"] == "SubmitJob"
    assert line["request_id"] == request_id
    assert "hunter2" not in json.dumps(logs)


async def test_a_caller_s_place_in_a_trace_goes_on_and_what_is_none_does_not(stack: Any) -> None:
    parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    for given, expected in ((parent, parent), (parent + "-x", None), ("\u00e9" * 55, None)):
        headers = {"TraceParent": given, "tracestate": "a=1"}
        async with stack.http("POST", "/v1/listjobs", json={}, headers=headers) as response:
            assert response.status == 200
        assert stack.last.metadata.get("traceparent") == expected
        assert stack.last.metadata.get("tracestate") == ("a=1" if expected else None)


async def test_stops_after_the_calls_in_hand(stack: Any) -> None:
    stack.submission.hold = asyncio.Event()
    call = asyncio.create_task(stack.boto("list_jobs", jobQueue="q"))
    await stack.submission.entered.wait()

    stack.stop.set()
    await asyncio.sleep(0)
    assert not stack.serving.done()
    stack.submission.hold.set()

    assert (await call)["jobSummaryList"] == []
    await asyncio.wait_for(stack.serving, PATIENCE_SECONDS)


async def test_an_address_in_use_is_said_in_a_sentence(stack: Any) -> None:
    config = GatewayConfig(
        stack.url.removeprefix("http://"), dict.fromkeys(SERVICES, "127.0.0.1:1")
    )

    with pytest.raises(Unavailable, match=r"^Cannot listen on 127\.0\.0\.1:"):
        await serve(config, asyncio.Event())
