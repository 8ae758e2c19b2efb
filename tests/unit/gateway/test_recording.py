"""What the gateway says of callers, and what it puts on record of those that it refuses."""

import asyncio
from typing import Any

import pytest
from support.patience import PATIENCE_SECONDS

SIGNED = {
    "Authorization": "AWS4-HMAC-SHA256 "
    "Credential=AKIAEXAMPLE/20260131/eu-west-1/batch/aws4_request, SignedHeaders=host, Signature=0"
}
BATCH = "batch.amazonaws.com"


async def test_the_service_behind_is_told_who_calls(stack: Any) -> None:
    headers = SIGNED | {"User-Agent": "Boto3/1 %"}
    async with stack.http("POST", "/v1/listjobs", data=b"{}", headers=headers) as response:
        assert response.status == 200

    told = stack.last.metadata
    assert told["x-longshore-source-address"] == "127.0.0.1"
    assert told["x-longshore-access-key-id"] == "AKIAEXAMPLE"
    assert told["x-longshore-user-agent"] == "Boto3/1 %25"
    assert told["x-longshore-region"] == "eu-west-1"
    assert stack.submission.recorded.empty()


@pytest.mark.parametrize(
    ("path", "headers", "body", "source", "name", "code"),
    [
        (
            "/v1/submitjob",
            {"Origin": "http://evil.example"},
            b"{}",
            BATCH,
            "SubmitJob",
            "AccessDeniedException",
        ),
        ("/v1/submitjob", {}, b"{", BATCH, "SubmitJob", "ClientException"),
        ("/v1/submitjob", {}, b'{"x":1}', BATCH, "SubmitJob", "ClientException"),
        ("/v1/none", {}, b"{}", "longshore", "UnknownOperation", "UnknownOperationException"),
        (
            "/",
            {"X-Amz-Target": "Kinesis_1.PutRecord"},
            b"{}",
            "longshore",
            "UnknownOperation",
            "UnknownOperationException",
        ),
    ],
)
async def test_what_is_refused_here_is_put_on_record(
    stack: Any, path: str, headers: dict[str, str], body: bytes, source: str, name: str, code: str
) -> None:
    _, answered, message = await stack.refused("POST", path, data=body, headers=SIGNED | headers)

    record = await asyncio.wait_for(stack.submission.recorded.get(), PATIENCE_SECONDS)
    assert (record["eventSource"], record["eventName"]) == (source, name)
    assert (record["errorCode"], record["errorMessage"]) == (answered, message)
    assert answered == code
    assert record["userIdentity"] == {"type": "Unknown", "accessKeyId": "AKIAEXAMPLE"}
    assert record["awsRegion"] == "eu-west-1"
    assert stack.submission.received == []


async def test_what_is_no_request_is_put_on_record(stack: Any) -> None:
    host, _, port = stack.url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"NO HTTP\r\n\r\n")
    await reader.read()
    writer.close()

    record = await asyncio.wait_for(stack.submission.recorded.get(), PATIENCE_SECONDS)
    assert (record["eventName"], record["sourceIPAddress"]) == ("MalformedRequest", "127.0.0.1")
