"""Who joins with what: tokens of users and of providers, and how long an instance is somebody."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg
import pytest
from support.cloud import Cloud, CloudWorld, a_cloud_world, add_environment, an_order
from support.identity import tls_directory

from longshore.domain.errors import (
    InvalidRequest,
    NotFound,
    PermissionDenied,
    PreconditionFailed,
    Unauthenticated,
    Unavailable,
)
from longshore.identity.request import new_key, signing_request
from longshore.identity.token import JoinToken
from longshore.provisioning.joining import Joined, Joining
from longshore.state.pool import connection
from longshore.state.provisioning import joining as records

HOUR = timedelta(hours=1)
OTHER = "i-" + "f" * 17


@pytest.fixture
async def world(database_url: str) -> AsyncIterator[CloudWorld]:
    await add_environment(database_url, "default")
    await add_environment(database_url, "lab")
    conn = await asyncpg.connect(database_url)
    await conn.execute("UPDATE compute_environments SET type = 'UNMANAGED' WHERE name = 'lab'")
    await conn.close()
    async with a_cloud_world(database_url, Cloud()) as made:
        yield made


@pytest.fixture
def joining(world: CloudWorld) -> Joining:
    return Joining(world.pool, tls_directory())


class Machine:
    """A machine with a key of its own."""

    def __init__(self, joining: Joining) -> None:
        self._joining = joining
        self.request = signing_request(new_key())

    async def join(self, token: str, instance_id: str = "") -> Joined:
        return await self._joining.join(token, self.request, instance_id)

    async def renew(self, instance_id: str) -> tuple[bytes, bytes]:
        return await self._joining.renew(instance_id, self.request)


async def _ordered(world: CloudWorld) -> str:
    answer = await world.provisioning.provision(an_order(1))
    await world.reconciler.tick()
    ((instance_id, _, _),) = answer.instances
    return instance_id


async def test_a_token_is_used_up_once_for_each_machine(joining: Joining) -> None:
    token, record = await joining.create("lab", 3, HOUR)
    machines = [Machine(joining) for _ in range(8)]
    answers = await asyncio.gather(*(m.join(token) for m in machines), return_exceptions=True)
    assert sum(isinstance(answer, Unauthenticated) for answer in answers) == 5
    ids = {answer.instance_id for answer in answers if isinstance(answer, Joined)}
    assert len(ids) == 3
    assert await joining.tokens("lab") == []
    assert record.uses_left == 3


async def test_a_lost_answer_uses_nothing_up(joining: Joining) -> None:
    token, _ = await joining.create("lab", 1, HOUR)
    machine = Machine(joining)
    first = await machine.join(token)
    assert (await machine.join(token)).instance_id == first.instance_id
    with pytest.raises(Unauthenticated):
        await Machine(joining).join(token)


async def test_a_machine_that_comes_back_is_who_it_was(joining: Joining) -> None:
    """With its key and a new token; without its key it is somebody else, whatever it says."""
    machine = Machine(joining)
    first = (await machine.join((await joining.create("lab", 1, HOUR))[0])).instance_id
    again = await machine.join((await joining.create("lab", 1, HOUR))[0], first)
    assert again.instance_id == first
    thief = await Machine(joining).join((await joining.create("lab", 1, HOUR))[0], first)
    assert thief.instance_id != first
    with pytest.raises(PermissionDenied):
        await Machine(joining).renew(first)
    assert await machine.renew(first)


async def test_a_users_token_makes_nobody_an_ordered_instance(
    world: CloudWorld, joining: Joining
) -> None:
    instance_id = await _ordered(world)
    token, _ = await joining.create("lab", 1, HOUR)
    joined = await Machine(joining).join(token, instance_id)
    assert joined.instance_id != instance_id
    assert joined.compute_environment == "lab"


async def test_an_instances_token_is_its_own(world: CloudWorld, joining: Joining) -> None:
    instance_id = await _ordered(world)
    token = await joining.provide("default", instance_id)
    machine = Machine(joining)
    assert (await machine.join(token, OTHER)).instance_id == instance_id
    # Its agent was started anew without what the one before had kept.
    again = Machine(joining)
    assert (await again.join(await joining.provide("default", instance_id))).instance_id
    with pytest.raises(PermissionDenied):
        await machine.renew(instance_id)
    assert await again.renew(instance_id)


async def test_an_instance_that_is_over_is_nobody(world: CloudWorld, joining: Joining) -> None:
    instance_id = await _ordered(world)
    machine = Machine(joining)
    await machine.join(await joining.provide("default", instance_id))
    assert await machine.renew(instance_id)
    async with connection(world.pool) as conn:
        await conn.execute("UPDATE instances SET status = 'TERMINATED', ended_at = now()")
    with pytest.raises(PermissionDenied, match="is over"):
        await machine.renew(instance_id)


async def test_an_orders_token_is_for_what_was_ordered(world: CloudWorld, joining: Joining) -> None:
    """For instances on record, each once; the same token however often it is asked for."""
    order = uuid.uuid4()
    token = await joining.provide_for(order, "default", 2)
    assert await joining.provide_for(order, "default", 2) == token
    assert await joining.tokens("") == [], "users do not see it"
    with pytest.raises(Unavailable, match="not on record yet"):
        await Machine(joining).join(token, OTHER)
    with pytest.raises(InvalidRequest, match="instanceId"):
        await Machine(joining).join(token, "i-1")
    instance_id = await _ordered(world)
    assert (await Machine(joining).join(token, instance_id)).instance_id == instance_id
    with pytest.raises(PermissionDenied, match="Another machine has joined"):
        await Machine(joining).join(token, instance_id)


async def test_tokens_end(joining: Joining, world: CloudWorld) -> None:
    token, record = await joining.create("lab", 5, timedelta(minutes=1))
    read = JoinToken.read(token)
    assert read is not None
    for wrong in (
        JoinToken(read.token_id, "0" * 64, read.fingerprint),
        JoinToken("0" * 16, read.secret, read.fingerprint),
    ):
        with pytest.raises(Unauthenticated):
            await Machine(joining).join(wrong.text)
    async with connection(world.pool) as conn:
        await conn.execute("UPDATE join_tokens SET expires_at = now()")
        kept = await conn.fetchval("SELECT join_tokens::text FROM join_tokens")
    assert read.secret not in kept, "a digest is kept, and no more"
    with pytest.raises(Unauthenticated):
        await Machine(joining).join(token)
    with pytest.raises(Unauthenticated):
        await Machine(joining).join("no token")
    async with connection(world.pool) as conn:
        assert await records.prune_tokens(conn, datetime.now(UTC) + HOUR, 10) == 1
    with pytest.raises(NotFound):
        await joining.delete(record.token_id)


@pytest.mark.parametrize(
    ("environment", "uses", "life", "error"),
    [
        ("nowhere", 1, HOUR, NotFound),
        ("default", 1, HOUR, PreconditionFailed),
        ("lab", 0, HOUR, InvalidRequest),
        ("lab", 1_001, HOUR, InvalidRequest),
        ("lab", 1, timedelta(seconds=59), InvalidRequest),
        ("lab", 1, timedelta(days=31), InvalidRequest),
    ],
)
async def test_what_no_token_is_made_for(
    joining: Joining, environment: str, uses: int, life: timedelta, error: type[Exception]
) -> None:
    with pytest.raises(error):
        await joining.create(environment, uses, life)


async def test_without_an_authority_nobody_joins(world: CloudWorld, tmp_path: Path) -> None:
    with pytest.raises(PreconditionFailed, match="longshore ca init"):
        await Joining(world.pool, tmp_path).create("lab", 1, HOUR)
