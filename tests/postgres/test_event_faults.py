"""Nothing is lost, and nothing told that did not happen, whatever dies in the middle."""

import asyncio
import contextlib
import json
import os
import random
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import psutil
import pytest
from structlog.testing import capture_logs
from support.identity import tls_settings
from support.patience import PATIENCE_SECONDS
from support.ports import free_port_base
from support.receiver import Receiver, receiving
from support.targets import destination, rule

from longshore.domain.arn import Arns
from longshore.domain.errors import Unavailable
from longshore.domain.events.envelope import Sketch, Writer
from longshore.events.matching import Matching
from longshore.events.sealing import Sealer
from longshore.state.embedded import EmbeddedPostgres
from longshore.state.events import outbox
from longshore.state.migrate import migrate
from longshore.state.pool import Pool, connection, open_pool, transaction

#: LONGSHORE_TEST_EVENTS=10000 takes a minute.
EVENTS = int(os.environ.get("LONGSHORE_TEST_EVENTS", "1000"))
IN_ONE, WRITERS = 50, 4


@pytest.fixture
async def pool(database_url: str) -> AsyncIterator[Pool]:
    pool = await open_pool(database_url)
    yield pool
    await pool.close()


async def write(pool: Pool, first: int, *, undone: bool = False) -> None:
    """Changes of one transaction, which takes its time; some of them are undone."""
    events = [
        {
            "bus": "default",
            "source": "test",
            "detail-type": "t",
            "time": "2026-11-28T18:01:03Z",
            "resources": [],
            "detail": {"number": number, "undone": undone},
        }
        for number in range(first, first + IN_ONE)
    ]
    with contextlib.suppress(ZeroDivisionError):
        async with transaction(pool) as conn:
            for half in (events[: IN_ONE // 2], events[IN_ONE // 2 :]):
                await outbox.put(conn, half)
                await conn.execute("SELECT pg_sleep($1)", random.uniform(0, 0.01))
            if undone:
                raise ZeroDivisionError


async def committed(pool: Pool, first: int) -> None:
    """Writes until it is known to be there; a connection that broke may have committed."""
    while True:
        try:
            async with connection(pool) as conn:
                pattern = f'%"number": {first},%'
                if await conn.fetchval("SELECT count(*) FROM outbox WHERE body LIKE $1", pattern):
                    return
            await write(pool, first)
        except Unavailable:
            continue


class Service:
    """The event service as a process of its own, which dies and comes again."""

    def __init__(self, database_url: str, place: Path) -> None:
        self._environ = {
            **os.environ,
            "LONGSHORE_DATABASE_URL": database_url,
            "LONGSHORE_PORT_BASE": str(free_port_base()),
            "LONGSHORE_DATA_DIR": str(place),
            "LONGSHORE_EVENTS_PRIVATE_TARGETS": "allow",
            **tls_settings(),
        }
        self._log = place / "log"
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "longshore.events"),
                env=self._environ,
                stdout=log,
                stderr=log,
            )

    async def kill(self) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()


class Seen:
    """What came so far: the ids of each change."""

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self._read = 0
        self.ids: dict[int, set[str]] = {}

    def look(self) -> int:
        """How many changes there are by now."""
        for headers, body, _ in self._receiver.calls[self._read :]:
            self._read += 1
            number = json.loads(body)["detail"]["number"]
            self.ids.setdefault(number, set()).add(headers["webhook-id"])
        return len(self.ids)


def lose_power(directory: Path) -> None:
    """Kills a server with all its processes at once; nothing of it is asked before."""
    first = psutil.Process(int((directory / "postmaster.pid").read_text().split("\n", 1)[0]))
    first.suspend()
    processes = [*first.children(recursive=True), first]
    for process in processes:
        process.kill()
    # A new one does not start while there is the old one's number, be it that of a dead process.
    _, left = psutil.wait_procs(processes, timeout=PATIENCE_SECONDS)
    assert not left


@pytest.mark.slow
async def test_thousands_of_changes_come_whatever_dies(
    postgres_directory: Path, tmp_path: Path
) -> None:
    """The service is killed, its connections are cut, its target goes away, and then all dies.

    It is slow: processes start several times.
    """
    server = EmbeddedPostgres(postgres_directory / "data")
    server.start()
    await migrate(server.url())
    service = Service(server.url(), tmp_path)
    async with receiving() as receiver, contextlib.AsyncExitStack() as stack:
        stack.callback(server.stop)
        pool = await open_pool(server.url())
        stack.push_async_callback(pool.close)
        stack.push_async_callback(service.kill)
        sealer = Sealer(tmp_path / "events.key")
        await destination(pool, receiver.url, rate=100_000, seal=sealer.seal)
        async with transaction(pool) as conn:
            await conn.execute('UPDATE event_rules SET pattern = \'{"source":["test"]}\'')
        await service.start()
        turns = asyncio.Semaphore(WRITERS)

        async def one(first: int) -> None:
            async with turns:
                with contextlib.suppress(Unavailable):
                    await write(pool, first + EVENTS, undone=True)
                await committed(pool, first)

        async def faults() -> None:
            for number in range(2):
                await receiver.until(EVENTS // 8 * (number + 1))
                await service.kill()
                receiver.refuse(503)
                if number:
                    await asyncio.to_thread(lose_power, postgres_directory / "data")
                    await asyncio.to_thread(server.start)
                await service.start()
                await receiver.until(len(receiver.calls) + 5)
                receiver.refuse(None)
                with contextlib.suppress(Unavailable):
                    async with connection(pool) as conn:
                        await conn.execute(
                            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
                        )

        async with asyncio.TaskGroup() as group:
            group.create_task(faults())
            for first in range(0, EVENTS, IN_ONE):
                group.create_task(one(first))
        seen = Seen(receiver)
        async with asyncio.timeout(90):
            while seen.look() < EVENTS:
                # What the dead had in hand, and what failed, is due now.
                with contextlib.suppress(Unavailable):
                    async with connection(pool) as conn:
                        await conn.execute(
                            "UPDATE event_deliveries SET due_at = now() WHERE due_at > now()"
                        )
                        await conn.execute("NOTIFY longshore_deliveries")
                # The last may have come since they were looked at.
                with contextlib.suppress(TimeoutError):
                    await receiver.until(len(receiver.calls) + 1, 1)
        await service.kill()
        assert seen.ids.keys() == set(range(EVENTS))
        # A write whose commit was not answered may be there twice, each with its own id.
        assert sum(len(found) > 1 for found in seen.ids.values()) <= WRITERS * 2 * IN_ONE


async def test_a_full_disk_loses_nothing(pool: Pool) -> None:
    await rule(pool, {"source": ["test"]})
    await write(pool, 0)
    matching = Matching(pool, Arns("123456789012", "us-east-1"))
    async with transaction(pool) as conn:
        await conn.execute(
            "CREATE FUNCTION is_full() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN RAISE disk_full USING MESSAGE = 'No space left on device'; END $$;"
            "CREATE TRIGGER is_full BEFORE INSERT ON event_deliveries EXECUTE FUNCTION is_full()"
        )
    with pytest.raises(Unavailable, match="disk is full"):
        await matching.tick()
    async with transaction(pool) as conn:
        await conn.execute("DROP TRIGGER is_full ON event_deliveries")
    assert await matching.tick() is not None
    async with connection(pool) as conn:
        assert await conn.fetchval("SELECT count(*) FROM event_deliveries") == IN_ONE


async def test_a_database_that_is_away_is_waited_for(
    pool: Pool, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cursor stays where it was."""
    await rule(pool, {"source": ["test"]})
    await write(pool, 0)
    matching = Matching(pool, Arns("123456789012", "us-east-1"))
    breaking = await asyncpg.connect(database_url)
    real = outbox.move_cursor

    async def broken(conn: asyncpg.Connection, to: object) -> None:
        await breaking.execute("SELECT pg_terminate_backend($1)", conn.get_server_pid())
        await real(conn, to)

    with monkeypatch.context() as patched:
        patched.setattr(outbox, "move_cursor", broken)
        with pytest.raises(Unavailable):
            await matching.tick()
    await breaking.close()
    async with asyncio.timeout(PATIENCE_SECONDS), connection(pool) as conn:
        # The connection that was cut may keep the cursor locked for a moment.
        while await conn.fetchval("SELECT count(*) FROM event_deliveries") != IN_ONE:
            await matching.tick()


async def test_a_database_that_was_moved_to_another_cluster_begins_with_now(pool: Pool) -> None:
    """Numbers of transactions are smaller there; what had those of before never comes again."""
    await rule(pool, {"source": ["test"]})
    await write(pool, 0)
    async with transaction(pool) as conn:
        await conn.execute("UPDATE event_cursor SET xid = 2^40")
        await conn.execute("UPDATE outbox SET xid = xid + 20, at = now() - interval '1 day'")
    matching = Matching(pool, Arns("123456789012", "us-east-1"))
    assert await matching.tick() is not None
    await write(pool, 1_000)
    for _ in range(30):
        async with transaction(pool) as conn:
            await conn.execute("UPDATE event_rules_version SET version = version + 1")
    assert await matching.tick() is not None
    async with connection(pool) as conn:
        rows = await conn.fetch("SELECT event FROM event_deliveries")
    told = {json.loads(row["event"])["detail"]["number"] for row in rows}
    assert told == set(range(1_000, 1_000 + IN_ONE))


async def test_one_thing_that_cannot_be_told_holds_nothing_back(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    await rule(pool, {"source": ["test"]})
    await write(pool, 0)
    real = Writer.write

    def broken(self: Writer, sketch: Sketch, described: object) -> object:
        if sketch.happened.body["detail"]["number"] == 7:  # type: ignore[union-attr]
            raise KeyError("bad")
        return real(self, sketch, None)

    monkeypatch.setattr(Writer, "write", broken)
    with capture_logs() as logs:
        assert await Matching(pool, Arns("123456789012", "us-east-1")).tick() is not None
    assert [entry["event"] for entry in logs] == ["event.set_aside"]
    async with connection(pool) as conn:
        assert await conn.fetchval("SELECT count(*) FROM event_deliveries") == IN_ONE - 1
