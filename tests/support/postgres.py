"""Data directories of PostgreSQL with a database in them, for what starts its own server.

Making one takes as long as everything else that a stack does at its first start. Tests that are not
about that begin with a copy of one that the test session has made once.
"""

import asyncio
import atexit
import contextlib
import functools
import subprocess
from pathlib import Path

from support.scratch import scratch_directory

from longshore.standalone.stack import DATABASE
from longshore.state.embedded import EmbeddedPostgres, ensure_database
from longshore.state.migrate import migrate


def seed(data_directory: Path) -> None:
    """Makes the data directory of a server that has run before, unless it is there already."""
    if not data_directory.exists():
        data_directory.parent.mkdir(parents=True, exist_ok=True)
        # With its owner: a server that root starts runs as somebody else.
        subprocess.run(["cp", "-a", _template(), data_directory], check=True)


@functools.cache
def _template() -> Path:
    kept = contextlib.ExitStack()
    atexit.register(kept.close)
    directory = kept.enter_context(scratch_directory()) / "postgres"
    server = EmbeddedPostgres(directory, durable=False)
    server.start()
    try:
        asyncio.run(_migrated(server))
    finally:
        server.stop()
    return directory


async def _migrated(server: EmbeddedPostgres) -> None:
    await ensure_database(server.url(), DATABASE)
    await migrate(server.url(DATABASE))
