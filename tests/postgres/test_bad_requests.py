"""Whatever a request says, it is done or refused: by the member that is wrong, changing nothing.

Requests are built from AWS's model and from what each operation can be asked for, and then broken;
`LONGSHORE_TEST_EXAMPLES=5000` tries more of them than usual.
"""

import json
import os
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from google.protobuf.descriptor import Descriptor
from google.protobuf.json_format import ParseDict, ParseError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.breaking import TOKENS, Broken, Json, Places, broken, cut_up
from support.contract import aws_model
from support.operations import OPERATIONS
from support.wire import REQUESTS, Answer, Tables, Wire

MODEL = aws_model()
PLACES = Places()
for _name, _operation in OPERATIONS.items():
    for _good in _operation.good:
        PLACES.add(_name, _good, MODEL.operation_model(_name).input_shape)
MEMBERS = {
    name: {step for place in PLACES if place.operation == name for step in place.names}
    for name in OPERATIONS
}
LISTINGS = [
    (name, {key: value for key, value in good.items() if key not in ("maxResults", "jobs")})
    for name, operation in OPERATIONS.items()
    if "nextToken" in MEMBERS[name]
    for good in operation.good
]
MESSAGES = [
    (name, ParseDict(good, REQUESTS[name]()).SerializeToString())
    for name, operation in OPERATIONS.items()
    for good in operation.good
]
EXAMPLES = int(os.environ.get("LONGSHORE_TEST_EXAMPLES", "120"))
MANY = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
#: Most examples take a few milliseconds, and what fails is looked at many times.
LONG = pytest.mark.timeout(600 + 4 * EXAMPLES)
#: What AWS says in words of its own, by the member that it says it of.
AWS_WORDS = {
    "jobName": "Job name should match valid pattern",
    "attempts": "RetryAttempts must be provided",
    "nextToken": "and MaxResults cannot both be set",
    "resourceRequirements": "is not provided.",
}
#: What is wrong with a request as a whole.
OF_THE_WHOLE = (
    "request has ",
    "request's first line has ",
    "Received message larger than max",
    "Request size exceeds",
    "The request body is not valid JSON",
    "The path must be UTF-8",
    "The query string must be UTF-8",
    "is not a message of the type",
)
NEVER = ("INTERNAL", "UNKNOWN", "UNAVAILABLE", "DEADLINE_EXCEEDED", "ABORTED")


@LONG
@MANY
@given(asked=broken(PLACES))
def test_over_http(wire: Wire, tables: Tables, asked: Broken) -> None:
    answer = _http(wire, asked.place.operation, asked.request)
    if answer is None:
        return

    assert answer.code in ("200", "400"), answer
    assert answer.error in ("", "ClientException")
    assert not (asked.is_wrong and answer.is_success)
    if not answer.is_success:
        assert _blames(answer, asked), answer.message
    _check_behind(wire, tables, answer)


@LONG
@MANY
@given(asked=broken(PLACES))
def test_over_grpc(wire: Wire, tables: Tables, asked: Broken) -> None:
    try:
        json.dumps(asked.request, ensure_ascii=False).encode()
        message = ParseDict(asked.request, REQUESTS[asked.place.operation]())
    except (ParseError, UnicodeEncodeError, RecursionError):
        # No message can say it.
        return
    answer = wire.rpc(asked.place.operation, message)

    assert answer.code not in NEVER, answer
    assert not (asked.is_wrong_message and answer.is_success)
    if not answer.is_success:
        assert _is_member(answer.member, message.DESCRIPTOR) or _is_whole(answer), answer
        assert not asked.is_wrong_message or _blames(answer, asked), answer.message
    _check_behind(wire, tables, answer)


@LONG
@MANY
@given(asked=st.sampled_from(LISTINGS), token=TOKENS)
def test_a_token_made_by_hand(
    wire: Wire, tables: Tables, asked: tuple[str, Json], token: str
) -> None:
    operation, members = asked
    answer = wire.post(operation, members | {"nextToken": token})

    assert answer.code in ("200", "400"), answer
    if not answer.is_success:
        assert "nextToken" in answer.message or AWS_WORDS["nextToken"] in answer.message, answer
    _check_behind(wire, tables, answer)


@LONG
@MANY
@given(asked=st.sampled_from(MESSAGES), cuts=cut_up())
def test_a_message_cut_up(wire: Wire, tables: Tables, asked: tuple[str, bytes], cuts: Any) -> None:
    operation, message = asked
    answer = wire.rpc(operation, cuts(message))

    assert answer.code not in NEVER, answer
    _check_behind(wire, tables, answer)


def _http(wire: Wire, operation: str, members: Json) -> Answer | None:
    """The answer to a call; None if the request's first line cannot say it."""
    http = MODEL.operation_model(operation).http
    if "{resourceArn}" not in http["requestUri"]:
        return wire.post(operation, members)
    body = dict(members)
    arn, keys = body.pop("resourceArn", ""), body.pop("tagKeys", [])
    if not (isinstance(arn, str) and arn and _are_texts(keys)):
        return None
    path = "/v1/tags/" + quote(arn, safe="", errors="surrogatepass")
    query = urlencode([("tagKeys", key) for key in keys], errors="surrogatepass")
    data = json.dumps(body).encode() if http["method"] == "POST" else None
    return wire.http(http["method"], f"{path}?{query}" if query else path, data)


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _is_whole(answer: Answer) -> bool:
    return any(words in answer.message for words in OF_THE_WHOLE)


def _blames(answer: Answer, asked: Broken) -> bool:
    """Whether what is said is of what is wrong.

    What may have been right by itself need not be to blame: it may not go with something else.
    """
    member = asked.place.names[-1]
    suspects = {member} if asked.is_wrong else {member} | MEMBERS[asked.place.operation]
    said = answer.message.lower()
    return (
        _is_whole(answer)
        or any(name.lower() in said for name in suspects)
        or any(AWS_WORDS.get(name, "\0") in answer.message for name in suspects)
        # As in `JobQueue x not found.`
        or (isinstance(asked.value, str) and asked.value != "" and asked.value in answer.message)
    )


def _is_member(path: str, message: Descriptor) -> bool:
    """Whether a path leads to a member of a message; a map's keys may be anything."""
    name, _, rest = path.partition(".")
    field = {field.json_name: field for field in message.fields}.get(name.partition("[")[0])
    if field is None:
        return False
    inner = field.message_type
    is_map = inner is not None and inner.GetOptions().map_entry
    return not rest or is_map or (inner is not None and _is_member(rest, inner))


def _check_behind(wire: Wire, tables: Tables, answer: Answer) -> None:
    """What is refused has changed nothing, and nobody complains."""
    assert wire.complaints.taken() == []
    if tables.changed():
        tables.put_back()
        assert answer.is_success, f"refused, and changed: {answer.message}"
