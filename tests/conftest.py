"""Fixtures of all tests: a real PostgreSQL, and a database of its own for each test that asks."""

import asyncio
import contextlib
import gc
import itertools
import os
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import pytest
from hypothesis import HealthCheck, settings
from support.patience import PATIENCE_SECONDS
from support.scratch import scratch_directory

from longshore.state import pool
from longshore.state.embedded import EmbeddedPostgres, ensure_database
from longshore.state.migrate import migrate

# Shells start background commands with SIGINT ignored, and what these start inherits that: the
# services that tests interrupt would not hear of it.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Thousands of tests that are collected stay: not to be looked through for garbage all the time.
gc.set_threshold(50_000, 20, 20)

# How long an example takes says nothing on a machine that has other work.
settings.register_profile("longshore", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("longshore")

# Nor does how long a connection takes; who may not wait for one says so.
pool.ACQUIRE_SECONDS = PATIENCE_SECONDS

_HERE = Path(__file__).parent
_TEMPLATE = "longshore_template"
_numbers = itertools.count(1)


@pytest.hookimpl(tryfirst=True)  # xdist's own reads the groups.
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that share what is made for their module are one worker's: others would make it anew.

    Directories whose tests share more have said so before this is called.
    """
    for item in items:
        info = getattr(item, "_fixtureinfo", None)
        if info is None or item.get_closest_marker("xdist_group"):
            continue
        scopes = {one[-1].scope for one in info.name2fixturedefs.values()}
        if "module" in scopes:
            item.add_marker(pytest.mark.xdist_group(str(item.path.relative_to(_HERE))))


def pytest_collection_finish() -> None:
    """What was collected, and loaded for it, is there to the end."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def postgres() -> Iterator[EmbeddedPostgres]:
    """A server for the session, in a directory of its own, with a migrated template database."""
    with scratch_directory() as directory:
        server = EmbeddedPostgres(directory / "postgres", durable=False)
        server.start()
        try:
            asyncio.run(_make_template(server))
            yield server
        finally:
            server.stop()


async def _make_template(server: EmbeddedPostgres) -> None:
    await ensure_database(server.url(), _TEMPLATE)
    await migrate(server.url(_TEMPLATE))


@pytest.fixture
def postgres_directory() -> Iterator[Path]:
    """A directory for a server of the test's own."""
    with scratch_directory() as directory:
        yield directory


@pytest.fixture
async def database_url(postgres: EmbeddedPostgres) -> AsyncIterator[str]:
    """An empty, migrated database, dropped after the test."""
    async with _a_database(postgres) as url:
        yield url


@pytest.fixture(scope="module")
def module_database_url(postgres: EmbeddedPostgres) -> Iterator[str]:
    """As `database_url`, for all tests of a module."""
    with asyncio.Runner() as runner:
        database = _a_database(postgres)
        url = runner.run(database.__aenter__())
        yield url
        runner.run(database.__aexit__(None, None, None))


@contextlib.asynccontextmanager
async def _a_database(postgres: EmbeddedPostgres) -> AsyncIterator[str]:
    name = f"test_{os.getpid()}_{next(_numbers)}"
    admin = await asyncpg.connect(postgres.url())
    try:
        await admin.execute(f"CREATE DATABASE {name} TEMPLATE {_TEMPLATE} STRATEGY FILE_COPY")
        yield postgres.url(name)
        await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
    finally:
        await admin.close()
