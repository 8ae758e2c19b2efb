"""Deliveries to real receivers: once answered they are over, otherwise tried again or given up."""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from support.agent import until
from support.patience import PATIENCE_SECONDS
from support.receiver import receiving
from support.targets import destination, targeted

from longshore.domain.arn import Arns
from longshore.domain.checks import Json
from longshore.domain.events import webhook
from longshore.domain.events.retrying import DeliveryFailed
from longshore.events.delivering import BATCH, PLACES, Delivering
from longshore.events.matching import prune
from longshore.events.senders.bus import Buses
from longshore.events.senders.webhook import Webhooks
from longshore.state.events import delivery
from longshore.state.events.delivery import Delivery, Lane, NewDelivery, TargetRecord
from longshore.state.pool import Pool, connection, open_pool, transaction

ARNS = Arns("123456789012", "us-east-1")


@pytest.fixture
async def pool(database_url: str) -> AsyncIterator[Pool]:
    pool = await open_pool(database_url)
    yield pool
    await pool.close()


class Opened:
    """Secrets as they are once opened."""

    async def open(self, secret: bytes) -> Json:
        opened: Json = json.loads(secret)
        return opened


def event(number: int = 0, **more: Any) -> Json:
    """An event."""
    return {
        "version": "0",
        "id": str(uuid.UUID(int=number)),
        "detail-type": "a type, é",
        "source": "s",
        "account": "123456789012",
        "time": "2026-11-28T18:01:03Z",
        "region": "us-east-1",
        "resources": ["arn:x"],
        "detail": {"number": number},
        **more,
    }


async def add(pool: Pool, lane: Lane, *events: Json) -> None:
    """Deliveries of events."""
    made = [NewDelivery(lane, uuid.UUID(one["id"]), json.dumps(one)) for one in events]
    async with transaction(pool) as conn:
        await delivery.add(conn, made)


async def once(delivering: Delivering) -> None:
    """Delivers what is due now."""
    await delivering.tick()
    await delivering.drain()


async def again(pool: Pool, seconds: float = 3600) -> None:
    """Lets time pass for what is put off."""
    async with transaction(pool) as conn:
        await conn.execute(
            "UPDATE event_deliveries SET due_at = due_at - make_interval(secs => $1), "
            "created_at = created_at - make_interval(secs => $1)",
            seconds,
        )


async def rows(pool: Pool) -> list[Any]:
    """Deliveries that are not over."""
    async with transaction(pool) as conn:
        return list(await conn.fetch("SELECT * FROM event_deliveries ORDER BY delivery_id"))


async def letters(pool: Pool) -> list[delivery.DeadLetter]:
    """What was given up."""
    async with transaction(pool) as conn:
        return await delivery.letters(conn, None, None, before=None, limit=100)


@asynccontextmanager
async def webhooks(pool: Pool, *, allows_private: bool = True) -> AsyncIterator[Delivering]:
    """Something that delivers to webhooks."""
    async with Webhooks(pool, ARNS, Opened(), allows_private=allows_private) as hooks:
        yield Delivering(pool, {"api-destination": hooks})


@dataclass
class AuthorizationServer:
    """Gives tokens while it has some."""

    url: str = ""
    tokens: list[str] = field(default_factory=lambda: ["1", "2"])
    asked: list[dict[str, str]] = field(default_factory=list)

    async def give(self, request: web.Request) -> web.StreamResponse:
        self.asked.append({name: str(value) for name, value in (await request.post()).items()})
        if not self.tokens:
            return web.json_response({"error": "invalid_client"}, status=400)
        response = web.StreamResponse()
        await response.prepare(request)
        # As packets come: not all at one time.
        for part in ('{"access_token": "', self.tokens.pop(0), '", "expires_in": 3600}'):
            await response.write(part.encode())
            await asyncio.sleep(0)
        return response


@asynccontextmanager
async def authorizing() -> AsyncIterator[AuthorizationServer]:
    """An authorization server."""
    server = AuthorizationServer()
    app = web.Application()
    app.router.add_post("/token", server.give)
    async with TestServer(app) as running:
        server.url = str(running.make_url("/token"))
        yield server


async def test_a_webhook_gets_a_cloud_event_that_is_signed(pool: Pool) -> None:
    async with receiving() as receiver, webhooks(pool) as delivering:
        lane = await destination(pool, receiver.url)
        await add(pool, lane, event(1))
        await once(delivering)
        [(headers, body, _)] = receiver.calls
    assert json.loads(body) == event(1)
    ident = event(1)["id"]
    assert headers["ce-id"] == headers["webhook-id"] == ident
    assert (headers["ce-source"], headers["ce-subject"]) == ("/s", "arn:x")
    assert headers["ce-type"] == "a type, %C3%A9"
    assert headers["content-type"] == "application/json"
    told = int(headers["webhook-timestamp"])
    assert headers | webhook.signed([b"s" * 32], ident, told, body) == headers
    assert "x-key" not in headers
    assert await rows(pool) == []


async def test_another_key_is_sent_as_its_connection_says(pool: Pool) -> None:
    async with receiving() as receiver, webhooks(pool) as delivering:
        lane = await destination(
            pool,
            receiver.url + "/*/x",
            key="plain",
            HttpParameters={
                "PathParameterValues": ["a/b"],
                "HeaderParameters": {
                    "X-More": "1",
                    "CE-Id": "forged",
                    "Webhook-Id": "forged",
                    "Content-Type": "text/plain",
                },
                "QueryStringParameters": {"q": "v"},
            },
            InputPath="$.detail",
        )
        await add(pool, lane, event(1))
        await once(delivering)
        [(headers, body, path)] = receiver.calls
    assert (headers["x-key"], headers["x-more"]) == ("plain", "1")
    assert headers["ce-id"] == headers["webhook-id"] == event(1)["id"]
    assert headers["content-type"] == "text/plain"
    assert path == "/in/a%2Fb/x?q=v"
    assert json.loads(body) == {"number": 1}


async def test_a_client_of_an_authorization_server_brings_its_token(pool: Pool) -> None:
    """It asks for one once, and anew where the receiver no longer takes it."""
    async with authorizing() as server, receiving() as receiver, webhooks(pool) as delivering:
        given = {
            "AuthorizationEndpoint": server.url,
            "HttpMethod": "POST",
            "ClientParameters": {"ClientID": "us"},
            "OAuthHttpParameters": {"BodyParameters": [{"Key": "scope", "Value": "events"}]},
        }
        secrets = {"OAuthParameters/ClientParameters/ClientSecret": "hidden"}
        authorization = "OAUTH_CLIENT_CREDENTIALS", {"OAuthParameters": given}, secrets
        lane = await destination(pool, receiver.url, authorization=authorization)
        await add(pool, lane, event(1), event(2))
        await once(delivering)
        receiver.refuse(401)
        await add(pool, lane, event(3))
        await once(delivering)
        receiver.refuse(None)
        await again(pool)
        await once(delivering)
        server.tokens = []
        receiver.refuse(401)
        await add(pool, lane, event(4))
        await once(delivering)
        await again(pool)
        await once(delivering)
        [left] = await rows(pool)
    brought = [headers["authorization"] for headers, _, _ in receiver.calls]
    assert brought == ["Bearer 1", "Bearer 1", "Bearer 1", "Bearer 2", "Bearer 2"]
    assert server.asked == [
        {
            "grant_type": "client_credentials",
            "client_id": "us",
            "client_secret": "hidden",
            "scope": "events",
        }
    ] * len(server.asked)
    assert "answered 400 without a token" in left["error"]


async def test_what_fails_comes_again_with_the_same_id_until_it_is_taken(pool: Pool) -> None:
    async with receiving() as receiver, webhooks(pool) as delivering:
        receiver.refuse(503)
        lane = await destination(pool, receiver.url)
        await add(pool, lane, event(1))
        await once(delivering)
        [row] = await rows(pool)
        assert (row["tries"], row["error"][:9]) == (1, "HTTP_503:")
        await again(pool, -600)
        await once(delivering)
        assert len(receiver.calls) == 1, "not before its time"
        receiver.refuse(None)
        await again(pool, 1200)
        await once(delivering)
    assert len({headers["webhook-id"] for headers, _, _ in receiver.calls}) == 1
    assert len(receiver.calls) == 2
    assert await rows(pool) == []


@pytest.mark.parametrize(
    ("status", "policy", "condition"),
    [
        (400, {}, "NotRetryable"),
        (302, {}, "NotRetryable"),
        (500, {"MaximumRetryAttempts": 0}, "MaximumRetryAttempts"),
        (500, {"MaximumEventAgeInSeconds": 60}, "MaximumEventAgeInSeconds"),
    ],
)
async def test_what_is_given_up_is_a_dead_letter_and_may_be_sent_anew(
    pool: Pool, status: int, policy: Json, condition: str
) -> None:
    async with receiving() as receiver, webhooks(pool) as delivering:
        receiver.refuse(status, Location="/elsewhere")
        lane = await destination(pool, receiver.url, RetryPolicy=policy)
        await add(pool, lane, event(1))
        await again(pool, 60)
        await once(delivering)
        [letter] = await letters(pool)
        assert (letter.condition, letter.error_code) == (condition, f"HTTP_{status}")
        assert json.loads(letter.event) == event(1)
        assert await rows(pool) == []
        receiver.refuse(None)
        async with transaction(pool) as conn:
            assert await delivery.resend(conn, [letter.letter_id, 77]) == [letter.letter_id]
        await once(delivering)
        assert len(receiver.calls) == 2
    assert await letters(pool) == await rows(pool) == []


async def test_who_asks_to_be_left_alone_is(pool: Pool) -> None:
    async with receiving() as receiver, webhooks(pool) as delivering:
        receiver.refuse(429, Retry_After="50")
        lane = await destination(pool, receiver.url)
        await add(pool, lane, event(1))
        await once(delivering)
        await add(pool, lane, event(2))
        # Longer than without a word of it.
        assert 2 < await delivering.tick() <= 50
        await delivering.drain()
        assert len(receiver.calls) == 1


async def test_an_endpoint_that_is_gone_gets_nothing_more(pool: Pool) -> None:
    async with receiving() as receiver, webhooks(pool) as delivering:
        receiver.refuse(410)
        lane = await destination(pool, receiver.url)
        await add(pool, lane, event(1))
        await once(delivering)
        await add(pool, lane, event(2))
        await once(delivering)
        assert len(receiver.calls) == 1
    codes = [letter.error_code for letter in await letters(pool)]
    assert codes == ["DESTINATION_INACTIVE", "HTTP_410"]


async def test_one_that_does_not_answer_delays_itself_alone(pool: Pool) -> None:
    async with receiving() as stuck, receiving() as well, webhooks(pool) as delivering:
        stuck.held = asyncio.Event()
        lanes = [
            await destination(pool, stuck.url, "a"),
            await destination(pool, "http://127.0.0.1:1/", "b"),
            await destination(pool, well.url, "c"),
        ]
        for lane in lanes:
            await add(pool, lane, *(event(number) for number in range(5)))
        await delivering.tick()
        await well.until(5)
        await stuck.until(5)
        stuck.held.set()
        await delivering.drain()
        left = await rows(pool)
    assert {row["rule"] for row in left} == {"b"}


class Holding:
    """Takes what is for one target, and holds on to what is for others."""

    def __init__(self, others: int) -> None:
        self.others = others
        self.lanes: set[Lane] = set()
        self.held = 0
        self.all_hold, self.taken, self.go = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def send(self, lane: Lane, target: TargetRecord, one: Delivery) -> None:  # noqa: ARG002 - see `Sender`
        if lane.rule == "quick":
            self.taken.set()
            return
        self.lanes.add(lane)
        self.held += 1
        if len(self.lanes) == self.others:
            self.all_hold.set()
        await self.go.wait()


async def test_slow_targets_leave_room_for_who_comes_after_them(pool: Pool) -> None:
    slow = [await targeted(pool, "sqs", "arn", f"slow{number}") for number in range(20)]
    for lane in slow:
        await add(pool, lane, *(event(number) for number in range(BATCH)))
    sender = Holding(len(slow))
    delivering = Delivering(pool, {"sqs": sender})
    await delivering.tick()
    async with asyncio.timeout(PATIENCE_SECONDS):
        await sender.all_hold.wait()
    # Each has one at least, and all of them together not much more than there is room for.
    assert sender.held <= PLACES + len(slow)
    await add(pool, await targeted(pool, "sqs", "arn", "quick"), event(1))
    await delivering.tick()
    async with asyncio.timeout(PATIENCE_SECONDS):
        await sender.taken.wait()
    sender.go.set()
    await delivering.drain()


async def test_however_many_targets_take_others_have_connections(
    pool: Pool, database_url: str
) -> None:
    few = await open_pool(database_url, maximum=4)
    for number in range(10):
        await add(pool, await targeted(pool, "sqs", "arn", f"r{number}"), event(1))
    delivering = Delivering(few, {})
    async with transaction(pool) as conn:
        await conn.execute("LOCK TABLE event_deliveries IN EXCLUSIVE MODE")
        await delivering.tick()

        async def waits() -> bool:
            waiting = "SELECT count(*) >= 2 FROM pg_locks WHERE NOT granted"
            return bool(await conn.fetchval(waiting))

        await until(waits)
        async with connection(few) as other:
            assert await other.fetchval("SELECT 1") == 1
    await delivering.drain()
    await few.close()
    assert len(await letters(pool)) == 10


async def test_a_dead_target_is_tried_less_and_less(pool: Pool) -> None:
    """And what becomes too old meanwhile is given up, though it was never tried."""

    class Dead:
        tries = 0

        async def send(self, *_: object) -> None:
            self.tries += 1
            raise DeliveryFailed("AWAY", "It is away.")

    dead = Dead()
    delivering = Delivering(pool, {"sqs": dead})
    lane = await targeted(pool, "sqs", "arn", RetryPolicy={"MaximumEventAgeInSeconds": 7200})
    await add(pool, lane, *(event(number) for number in range(300)))
    for _ in range(3):
        await once(delivering)
        await again(pool, 0)
    tried = dead.tries
    for state in delivering._states.values():
        assert state.circuit.open_until
        state.circuit.open_until += 3600
    assert await delivering.tick() > 0
    await delivering.drain()
    assert dead.tries == tried < 300
    await again(pool, 7200)
    for state in delivering._states.values():
        state.circuit.open_until = 0
    await once(delivering)
    assert dead.tries == tried + 1
    assert (len(await letters(pool)), await rows(pool)) == (100, [])


async def test_who_dies_with_deliveries_in_hand_leaves_them_to_others(pool: Pool) -> None:
    lane = await targeted(pool, "sqs", "arn")
    await add(pool, lane, event(1))
    async with transaction(pool) as conn:
        assert len(await delivery.take(conn, lane, 10, 60)) == 1
        assert await delivery.take(conn, lane, 10, 60) == []
    got: list[str] = []

    class Takes:
        async def send(self, _: Lane, __: TargetRecord, one: Delivery) -> None:
            got.append(str(one.event_id))

    await again(pool, 60)
    await once(Delivering(pool, {"sqs": Takes()}))
    assert got == [event(1)["id"]]


async def test_one_bad_event_is_set_aside_alone(pool: Pool) -> None:
    got: list[int] = []

    class Breaks:
        async def send(self, _: Lane, __: TargetRecord, one: Delivery) -> None:
            number = json.loads(one.event)["detail"]["number"]
            if number == 2:
                raise RuntimeError("bad")
            if number == 3:
                raise ValueError("worse")
            got.append(number)

    lane = await targeted(pool, "sqs", "arn")
    await add(pool, lane, *(event(number) for number in range(4)))
    await once(Delivering(pool, {"sqs": Breaks()}))
    assert sorted(got) == [0, 1]
    [row] = await rows(pool)
    assert row["error"] == "INTERNAL: RuntimeError: bad"
    [letter] = await letters(pool)
    assert (letter.error_code, letter.error) == ("INVALID_EVENT", "ValueError: worse")


async def test_what_was_for_a_target_that_is_gone_is_dropped(pool: Pool) -> None:
    await add(pool, Lane("default", "gone", "t"), event(1))
    await once(Delivering(pool, {}))
    assert await rows(pool) == await letters(pool) == []


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "0x7f.1", "169.254.169.254"])
async def test_nothing_is_sent_inside_unless_that_is_allowed(pool: Pool, host: str) -> None:
    async with webhooks(pool, allows_private=host.startswith("169")) as delivering:
        lane = await destination(pool, f"http://{host}:9/")
        await add(pool, lane, event(1))
        await once(delivering)
    [letter] = await letters(pool)
    assert letter.error_code == "ADDRESS_REFUSED"


async def test_an_event_goes_to_another_bus_once_and_a_ring_ends(pool: Pool) -> None:
    bus = "arn:aws:events:us-east-1:123456789012:event-bus/other"
    lane = await targeted(pool, "event-bus", bus)
    await add(pool, lane, event(1))
    delivering = Delivering(pool, {}, joint={"event-bus": Buses(pool)})
    await once(delivering)
    async with transaction(pool) as conn:
        [row] = await conn.fetch("SELECT body FROM outbox")
    body = json.loads(row["body"])
    assert (body["bus"], body["id"], body["longshore-hops"]) == ("other", event(1)["id"], 1)
    await add(pool, lane, event(2, **{"longshore-hops": 8}))
    await once(delivering)
    assert [letter.error_code for letter in await letters(pool)] == ["LOOP"]


@pytest.mark.parametrize("been", [[], ["other"]])
async def test_an_event_comes_to_each_bus_once_on_its_way(pool: Pool, been: list[str]) -> None:
    """Else a ring of buses, each with a few rules, would make millions of one event."""
    bus = "other" if been else "default"
    arn = f"arn:aws:events:us-east-1:123456789012:event-bus/{bus}"
    lane = await targeted(pool, "event-bus", arn)
    await add(pool, lane, event(1, **({"longshore-buses": been} if been else {})))
    await once(Delivering(pool, {}, joint={"event-bus": Buses(pool)}))
    assert [letter.error_code for letter in await letters(pool)] == ["LOOP"]


async def test_a_letter_whose_target_is_gone_stays(pool: Pool) -> None:
    class Refuses:
        async def send(self, *_: object) -> None:
            raise DeliveryFailed("NO", "It is refused.", again=False)

    kept = await targeted(pool, "sqs", "arn", "kept")
    gone = await targeted(pool, "sqs", "arn", "gone")
    for lane in (kept, gone):
        await add(pool, lane, event(1))
    await once(Delivering(pool, {"sqs": Refuses()}))
    both = {letter.rule: letter.letter_id for letter in await letters(pool)}
    async with transaction(pool) as conn:
        await conn.execute("DELETE FROM event_targets WHERE rule = 'gone'")
        assert await delivery.resend(conn, list(both.values())) == [both["kept"]]
    assert [letter.rule for letter in await letters(pool)] == ["gone"]
    assert [row["rule"] for row in await rows(pool)] == ["kept"]


async def test_replays_that_ended_long_ago_are_forgotten(pool: Pool) -> None:
    async with transaction(pool) as conn:
        await conn.executemany(
            "INSERT INTO event_replays (name, archive, bus, begin_at, end_at, state, ended_at) "
            "VALUES ($1, 'a', 'default', now(), now(), $2, now() - make_interval(days => $3))",
            [("old", "COMPLETED", 91), ("new", "COMPLETED", 89), ("running", "RUNNING", None)],
        )
    await prune(pool)
    async with transaction(pool) as conn:
        found = await conn.fetch("SELECT name FROM event_replays ORDER BY name")
    assert [row["name"] for row in found] == ["new", "running"]
