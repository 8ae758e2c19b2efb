"""Who calls: what is kept of keys, what the gateway says, and what users may do."""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from longshore.domain.access import managed
from longshore.domain.access.key import ACTIVE, AccessKey, KeyState, read_bearer
from longshore.domain.access.principal import KeyRecord, Principal, digest_of
from longshore.domain.arn import Arns
from longshore.domain.errors import PermissionDenied, Unauthenticated, Unavailable
from longshore.rpc import permission
from longshore.rpc.access import Rule
from longshore.rpc.assertion import LEEWAY_SECONDS, LIFE_SECONDS, Asserted, Assertions
from longshore.rpc.caller import Caller, Kind
from longshore.rpc.kept import KEPT_SECONDS, MISSING_KEPT, Kept
from longshore.rpc.users import Users
from longshore.v1 import job_definition_pb2 as jd
from longshore.v1 import job_pb2 as jb
from longshore.v1 import job_queue_pb2 as jq

METHOD = "/longshore.v1.SubmissionService/SubmitJob"
KEY = AccessKey("LSIA" + "A" * 16, "s" * 40)
ARNS = Arns("123456789012", "us-east-1")
GATEWAY = Caller(Kind.SERVICE, "gateway")
ANYBODY = Caller(Kind.ANONYMOUS)


class Clock:
    """Time as a test says it."""

    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def _principal(*policies: str, expires_at: datetime | None = None) -> Principal:
    return Principal(
        key=KeyRecord(
            key_id=KEY.key_id,
            user="ana",
            state=KeyState(ACTIVE, expires_at),
            created_at=datetime.now(UTC),
            last_used_at=None,
        ),
        groups=(),
        digest=digest_of(KEY.secret),
        policies=tuple(found for name in policies if (found := managed.read(name, ("a",)))),
    )


class Context:
    """Of a call, with nothing but its metadata."""

    def __init__(self, authorization: str | None) -> None:
        self._metadata = [] if authorization is None else [("authorization", authorization)]

    def invocation_metadata(self) -> Any:
        return self._metadata

    def peer(self) -> str:
        return "ipv4:10.0.0.7:4711"


def _rule(*services: str, users: bool = True) -> Rule:
    return Rule("SubmitJob", frozenset(services), False, users, False, "batch:SubmitJob")


def _users(found: Principal | None, clock: Clock | None = None) -> tuple[Users, Assertions]:
    async def resolve(key_id: str) -> Principal | None:
        return found if key_id == KEY.key_id else None

    assertions = Assertions(b"k" * 32, clock or Clock())
    return Users(Kept(resolve), assertions, ARNS), assertions


async def _admit(
    users: Users, authorization: str | None, caller: Caller = ANYBODY, rule: Rule | None = None
) -> Caller:
    context: Any = Context(authorization)
    return await users.admit(caller, rule or _rule(), METHOD, context)


async def test_a_key_says_who_calls() -> None:
    users, _ = _users(_principal("admin"))
    caller = await _admit(users, f"Bearer {KEY.key_id}:{KEY.secret}")
    assert caller == Caller(Kind.USER, "ana")
    user = permission.current_user()
    assert user is not None
    assert (user.principal.user, user.address) == ("ana", "10.0.0.7")
    assert users.take_used() == [KEY.key_id]
    assert users.take_used() == []


async def test_what_the_gateway_says_counts_from_the_gateway_alone() -> None:
    clock = Clock()
    users, assertions = _users(_principal("admin"), clock)
    said = f"Bearer {assertions.make(Asserted(KEY.key_id, '192.0.2.1'), METHOD)}"
    assert await _admit(users, said, GATEWAY) == Caller(Kind.USER, "ana")
    user = permission.current_user()
    assert user is not None
    assert user.address == "192.0.2.1"
    with pytest.raises(Unauthenticated):
        await _admit(users, said)
    clock.now += LIFE_SECONDS + LEEWAY_SECONDS + 30
    with pytest.raises(Unauthenticated, match="over"):
        await _admit(users, said, GATEWAY)


async def test_the_gateway_calls_for_nobody_only_what_is_its_own() -> None:
    users, _ = _users(_principal("admin"))
    with pytest.raises(Unauthenticated):
        await _admit(users, None, GATEWAY)
    assert await _admit(users, None, GATEWAY, _rule("gateway", users=False)) == GATEWAY
    events = Caller(Kind.SERVICE, "events")
    assert await _admit(users, None, events, _rule("events")) == events


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "",
        "Bearer",
        "Basic YTpi",
        f"Bearer {KEY.key_id}:",
        f"Bearer {KEY.key_id}:{'t' * 40}",
        f"Bearer LSIA{'B' * 16}:{KEY.secret}",
        f"Bearer {KEY.key_id}:{KEY.secret}x",
        f"Bearer {KEY.key_id.lower()}:{KEY.secret}",
    ],
)
async def test_anything_else_says_nothing(authorization: str | None) -> None:
    users, _ = _users(_principal("admin"))
    with pytest.raises(Unauthenticated) as refused:
        await _admit(users, authorization)
    assert KEY.secret not in refused.value.message


async def test_a_key_that_is_over_is_refused() -> None:
    users, _ = _users(_principal(expires_at=datetime(2020, 1, 1, tzinfo=UTC)))
    with pytest.raises(Unauthenticated, match="expired"):
        await _admit(users, f"Bearer {KEY.key_id}:{KEY.secret}")


@settings(max_examples=30)
@given(st.text(max_size=60))
def test_no_text_breaks_the_reading_of_a_bearer(text: str) -> None:
    for said in (text, f"Bearer {text}"):
        try:
            assert read_bearer(said) is not None
        except Unauthenticated:
            continue


# ---------------------------------------------------------------- tokens


def test_a_token_is_good_for_one_rpc_and_one_stack() -> None:
    clock = Clock()
    assertions = Assertions(b"k" * 32, clock)
    asserted = Asserted(KEY.key_id, "10.0.0.7")
    token = assertions.make(asserted, METHOD)
    assert assertions.read(token, METHOD) == asserted
    with pytest.raises(Unauthenticated):
        assertions.read(token, "/longshore.v1.SubmissionService/TerminateJob")
    with pytest.raises(Unauthenticated):
        Assertions(b"l" * 32, clock).read(token, METHOD)


@pytest.mark.parametrize("change", ["none", "alg", "cut", "long", "empty"])
def test_a_token_that_was_changed_is_none(change: str) -> None:
    assertions = Assertions(b"k" * 32, Clock())
    token = assertions.make(Asserted(KEY.key_id, "10.0.0.7"), METHOD)
    head, body, mark = token.split(".")
    changed = {
        # Of no algorithm, and of another one.
        "none": f"eyJhbGciOiJub25lIn0.{body}.",
        "alg": f"eyJhbGciOiJIUzUxMiJ9.{body}.{mark}",
        "cut": f"{head}.{body}.{mark[:-2]}",
        "long": f"{head}.{body}.{mark}" + "a" * 5000,
        "empty": "",
    }[change]
    with pytest.raises(Unauthenticated):
        assertions.read(changed, METHOD)


# ---------------------------------------------------------------- what is kept


async def test_what_was_found_is_asked_for_once_until_it_is_forgotten() -> None:
    asked: list[str] = []
    clock = Clock()

    async def resolve(key: str) -> str | None:
        asked.append(key)
        await asyncio.sleep(0)
        return key if key == "there" else None

    kept = Kept(resolve, clock)
    assert await asyncio.gather(*(kept.find("there") for _ in range(5))) == ["there"] * 5
    assert await asyncio.gather(*(kept.find("gone") for _ in range(5))) == [None] * 5
    assert asked == ["there", "gone"]
    kept.forget()
    await kept.find("there")
    clock.now += KEPT_SECONDS
    await kept.find("there")
    assert asked == ["there", "gone", "there", "there"]


async def test_what_is_not_there_pushes_nothing_out() -> None:
    asked: list[str] = []

    async def resolve(key: str) -> str | None:
        asked.append(key)
        return key if key == "there" else None

    kept = Kept(resolve, Clock())
    await kept.find("there")
    for number in range(MISSING_KEPT + 10):
        await kept.find(str(number))
    await kept.find("there")
    assert asked.count("there") == 1
    assert len(kept._missing) == MISSING_KEPT


async def test_an_answer_that_comes_after_a_change_is_not_kept() -> None:
    began, going, asked = asyncio.Event(), asyncio.Event(), 0

    async def resolve(_key: str) -> int | None:
        nonlocal asked
        asked += 1
        found = asked
        began.set()
        await going.wait()
        return found

    kept = Kept(resolve, Clock())
    first = asyncio.ensure_future(kept.find("key"))
    await began.wait()
    kept.forget()
    going.set()
    assert await first == 1
    assert await kept.find("key") == 2


async def test_asking_that_fails_is_tried_again() -> None:
    failures = 1

    async def resolve(key: str) -> str | None:
        nonlocal failures
        failures -= 1
        if failures >= 0:
            raise Unavailable("The database is away.")
        return key

    kept = Kept(resolve, Clock())
    with pytest.raises(Unavailable):
        await kept.find("key")
    assert await kept.find("key") == "key"


# ---------------------------------------------------------------- what users may do


def _check(name: str, action: str, message: Any, *policies: str) -> None:
    user = permission.User(_principal(*policies), "10.0.0.7", action, ARNS)
    permission.set_user(user)
    permission.check(user, name, message)


def test_a_request_is_checked_for_what_it_names() -> None:
    for queue in ("a", "arn:aws:batch:eu-west-1:000000000000:job-queue/a"):
        request = jb.SubmitJobRequest(job_name="j", job_queue=queue, job_definition="d")
        _check("SubmitJob", "batch:SubmitJob", request, "submitter")
    request.job_queue = "arn:aws:batch:eu-west-1:000000000000:job-queue/b"
    with pytest.raises(PermissionDenied, match="job-queue/b because no identity-based policy"):
        _check("SubmitJob", "batch:SubmitJob", request, "submitter")


def test_what_is_looked_at_later_is_refused_at_once_to_who_may_nothing_of_it() -> None:
    request = jq.DescribeJobQueuesRequest()
    _check("DescribeJobQueues", "batch:DescribeJobQueues", request, "submitter")
    with pytest.raises(PermissionDenied, match="on resource: \\*"):
        _check("DescribeJobQueues", "batch:DescribeJobQueues", request)


def test_each_container_of_a_definition_is_looked_at_by_itself() -> None:
    request = jd.RegisterJobDefinitionRequest(job_definition_name="d", type="multinode")
    for image in ("good", "evil"):
        one = request.node_properties.node_range_properties.add()
        one.container.image = image
        one.container.privileged = image == "evil"
    said: list[Mapping[str, Any]] = permission.contexts_of("RegisterJobDefinition", request)
    assert [one["batch:image"] for one in said] == [("good",), ("evil",)]
    assert [one["batch:privileged"] for one in said] == [("false",), ("true",)]


async def test_where_nobody_is_asked_everything_is_allowed() -> None:
    async def apart() -> None:
        assert permission.current_user() is None
        assert permission.permits(["*"])
        permission.demand(["*"])
        assert permission.definition_check() is None

    import contextvars  # noqa: PLC0415 - a context that nobody has called in

    await asyncio.create_task(apart(), context=contextvars.Context())
