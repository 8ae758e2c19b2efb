"""Requests at a gateway that asks who sends them."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from aiohttp.test_utils import make_mocked_request
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from longshore.domain.access.key import ACTIVE, DISABLED, KeyState
from longshore.domain.access.principal import KeyRecord, Principal
from longshore.domain.access.signature import Scope, signing_key
from longshore.domain.errors import Throttled, Unauthenticated, Unavailable
from longshore.gateway.authentication import Authentication
from longshore.gateway.fault import BATCH, Fault, Names
from longshore.rpc.assertion import Assertions

KEY, SECRET = "LSIA" + "A" * 16, "s" * 40
RPC = "/longshore.v1.SubmissionService/SubmitJob"
BODY = b'{"jobName": "j"}'
_JSON = Names("a", "b", "c", "d", "e", "f")


class Submission:
    """Says what keys stand for."""

    def __init__(self) -> None:
        self.state = KeyState(ACTIVE, None)
        self.asked: list[Scope] = []
        self.is_away = False

    async def signer(self, scope: Scope) -> tuple[Principal, bytes] | None:
        self.asked.append(scope)
        if self.is_away:
            raise Unavailable("away")
        if scope.key_id != KEY:
            return None
        record = KeyRecord(
            key_id=KEY,
            user="ana",
            state=self.state,
            created_at=datetime.now(UTC),
            last_used_at=None,
        )
        principal = Principal(key=record, groups=(), digest=b"", policies=())
        return principal, signing_key(SECRET, scope)


def _request(key: str = KEY, secret: str = SECRET, service: str = "batch") -> Any:
    made = AWSRequest("POST", "http://127.0.0.1/v1/submitjob", data=BODY)
    SigV4Auth(Credentials(key, secret), service, "eu-west-1").add_auth(made)
    headers = {"Host": "127.0.0.1", **dict(made.headers.items())}
    return make_mocked_request("POST", "/v1/submitjob", headers)


def _authentication(
    submission: Submission, clock: Callable[[], float] = lambda: 0.0
) -> tuple[Authentication, Assertions]:
    assertions = Assertions(b"k" * 32)
    asking: Any = submission
    return Authentication(asking, assertions, clock), assertions


async def _check(authentication: Authentication, request: Any, body: bytes = BODY) -> str:
    claim = await authentication.begin(request, "batch")
    return authentication.finish(claim, body, RPC)[1]


async def test_whose_signature_it_is_is_told_to_the_service() -> None:
    submission = Submission()
    authentication, assertions = _authentication(submission)
    told = await asyncio.gather(*(_check(authentication, _request()) for _ in range(3)))
    assert len(submission.asked) == 1
    assert submission.asked[0].region == "eu-west-1"
    for token in told:
        assert assertions.read(token.removeprefix("Bearer "), RPC).key_id == KEY


async def test_a_key_is_asked_for_again_once_something_changed() -> None:
    submission = Submission()
    authentication, _ = _authentication(submission)
    await _check(authentication, _request())
    submission.state = KeyState(DISABLED, None)
    authentication.forget()
    with pytest.raises(Unauthenticated, match="security token included in the request is invalid"):
        await _check(authentication, _request())


async def test_what_is_wrong_has_awss_names() -> None:
    submission = Submission()
    authentication, _ = _authentication(submission)
    for request, body, code in (
        (_request(key="LSIA" + "B" * 16), BODY, "UnrecognizedClientException"),
        (_request(key="AKIAIOSFODNN7EXAMPLE"), BODY, "UnrecognizedClientException"),
        (_request(secret="t" * 40), BODY, "InvalidSignatureException"),
        (_request(service="logs"), BODY, "InvalidSignatureException"),
        (_request(), b"{}", "InvalidSignatureException"),
        (
            make_mocked_request("POST", "/", {"Host": "h"}),
            BODY,
            "MissingAuthenticationTokenException",
        ),
    ):
        with pytest.raises(Unauthenticated) as refused:
            await _check(authentication, request, body)
        assert Fault.of(refused.value, BATCH).status == 403
        assert Fault.of(refused.value, _JSON).status == 400
        assert Fault.of(refused.value, BATCH).code == code
    submission.state = KeyState(ACTIVE, datetime(2020, 1, 1, tzinfo=UTC))
    authentication.forget()
    with pytest.raises(Unauthenticated) as refused:
        await _check(authentication, _request())
    assert Fault.of(refused.value).code == "ExpiredTokenException"


async def test_nobody_is_let_in_while_it_cannot_be_found_out() -> None:
    submission = Submission()
    submission.is_away = True
    authentication, _ = _authentication(submission)
    with pytest.raises(Unavailable):
        await _check(authentication, _request())
    submission.is_away = False
    assert await _check(authentication, _request())


async def test_guesses_are_slowed_down_and_then_heard_again() -> None:
    now = 0.0
    authentication, _ = _authentication(Submission(), lambda: now)
    wrong = _request(secret="t" * 40)
    seen = []
    for _ in range(15):
        with pytest.raises((Unauthenticated, Throttled)) as refused:
            await _check(authentication, wrong)
        seen.append(type(refused.value))
    assert seen == [Unauthenticated] * 10 + [Throttled] * 5
    now = 2.0
    assert await _check(authentication, _request())
    assert Fault.of(refused.value).status == 429
