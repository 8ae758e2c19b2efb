"""What is asked for often, on a database that has seen much.

A million jobs wait, ten million attempts are on record.

Prints the time of an explanation of the last job of the queue, of what everything cost, of the
costs of a hundred jobs, of loading the scheduler's mirror, and of what the scaler reads for a pass.
"""

import argparse
import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from harness import summary

from longshore.domain.catalogue import Catalogue
from longshore.domain.job.job import JobKey
from longshore.scheduler.explaining import explain_job
from longshore.scheduler.memory import Memory
from longshore.state.embedded import EmbeddedPostgres
from longshore.state.migrate import migrate
from longshore.state.pool import Connection, open_pool
from longshore.state.scaler import scaling
from longshore.state.views import instance_report

ROUNDS = 20
INSTANCES = 10_000
QUEUES = 10
SHAPES = 1_000

FILL = Path(__file__).with_suffix(".sql")


async def fill(conn: Connection, attempts: int, waiting: int) -> None:
    """Fills the tables as they are after a long time; prints how long each takes."""
    names = {
        "queues": QUEUES,
        "shapes": SHAPES,
        "instances": INSTANCES,
        "attempts": attempts,
        "waiting": waiting,
    }
    text = FILL.read_text()
    for name, value in names.items():
        text = text.replace(f"{{{name}}}", str(value))
    started = time.perf_counter()
    await conn.execute("SET statement_timeout = 0")
    for statement in text.split(";\n"):
        if statement.strip():
            await conn.execute(statement, timeout=3600)
    await conn.execute("VACUUM ANALYZE", timeout=3600)
    print(f"filled in {time.perf_counter() - started:.0f} s", flush=True)


async def timed(what: str, call: Callable[[], Awaitable[object]]) -> None:
    """Times a read; the first one is not counted."""
    await call()
    times = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        await call()
        times.append((time.perf_counter() - started) * 1000)
    print(f"{what:<44} {summary(times, 'ms')}", flush=True)


async def measure(conn: Connection, attempts: int, waiting: int) -> None:
    """Times each of the reads."""
    last = JobKey(await conn.fetchval("SELECT job_id FROM ready ORDER BY seq DESC LIMIT 1"))
    explained = await explain_job(conn, last)
    if explained.jobs_ahead != waiting - 1:
        raise RuntimeError(f"{explained.jobs_ahead} jobs ahead of the last of {waiting}")
    rows = await conn.fetch("SELECT job_id FROM jobs WHERE seq % ($1 / 200) = 1", attempts)
    some = [JobKey(row["job_id"]) for row in rows[:100]]

    async def costs() -> None:
        await instance_report.environment_costs(conn, [])
        await instance_report.queue_costs(conn, [])

    async def scaler() -> None:
        async with conn.transaction():
            await scaling.load_snapshot(
                conn, Catalogue(), now=datetime.now(UTC), cool_down=timedelta(seconds=60)
            )

    await timed("explain the last job of the queue", lambda: explain_job(conn, last))
    await timed("costs of all environments and queues", costs)
    await timed("costs of 100 jobs", lambda: instance_report.job_costs(conn, some))
    await timed("load the scheduler's mirror", lambda: Memory.load(conn, 0.0))
    await timed("read what a scaler pass sees", scaler)


async def main() -> None:
    """Fills a database of its own and measures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--attempts", type=int, default=10_000_000)
    parser.add_argument("--waiting", type=int, default=1_000_000)
    options = parser.parse_args()
    print(f"{options.waiting:,} jobs wait, {options.attempts:,} attempts are on record", flush=True)
    with tempfile.TemporaryDirectory(prefix="longshore-bench-") as directory:
        database = EmbeddedPostgres(Path(directory) / "postgres", durable=False)
        try:
            await asyncio.to_thread(database.start)
            await migrate(database.url())
            pool = await open_pool(database.url())
            async with pool, pool.acquire() as conn:
                await fill(conn, options.attempts, options.waiting)
                await measure(conn, options.attempts, options.waiting)
        finally:
            await asyncio.to_thread(database.stop)


if __name__ == "__main__":
    asyncio.run(main())
