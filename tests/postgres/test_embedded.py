"""The embedded server: started, adopted, stopped, its data kept."""

import os
from pathlib import Path

import asyncpg
import pytest

from longshore.state.embedded import EmbeddedPostgres, ensure_database


async def test_data_survives_a_stop_and_a_second_handle_adopts_the_running_server(
    postgres_directory: Path,
) -> None:
    first = EmbeddedPostgres(postgres_directory / "data", durable=False)
    assert not first.is_running()
    assert first.start()
    try:
        assert await ensure_database(first.url(), "longshore")
        assert not await ensure_database(first.url(), "longshore")
        second = EmbeddedPostgres(postgres_directory / "data", durable=False)
        assert not second.start()
        connection = await asyncpg.connect(second.url("longshore"))
        await connection.execute("CREATE TABLE kept AS SELECT 7 AS number")
        await connection.close()
        second.stop()
        assert not first.is_running()
        assert first.start()
        connection = await asyncpg.connect(first.url("longshore"))
        assert await connection.fetchval("SELECT number FROM kept") == 7
        await connection.close()
    finally:
        first.stop()


def test_a_file_left_by_a_crash_is_not_taken_for_a_server(postgres_directory: Path) -> None:
    server = EmbeddedPostgres(postgres_directory / "data", durable=False)
    server.start()
    server.stop()
    # After a crash the number in the file may be that of any process, for instance this one.
    (postgres_directory / "data" / "postmaster.pid").write_text(
        f"{os.getpid()}\n{postgres_directory / 'data'}\n1\n"
    )
    assert not server.is_running()
    assert server.start()
    server.stop()


@pytest.mark.parametrize("name", ["a b+c&d=%41#e?", "it's$(touch x)`touch x`\\dä🙂", 'a"b', "a,b"])
async def test_any_name_of_a_directory_will_do(postgres_directory: Path, name: str) -> None:
    server = EmbeddedPostgres(postgres_directory / name / "data", durable=False)
    assert server.start()
    try:
        assert server.is_running()
        connection = await asyncpg.connect(server.url())
        assert await connection.fetchval("SELECT 1") == 1
        await connection.close()
    finally:
        server.stop()
    assert not server.is_running()
    assert "x" not in os.listdir(postgres_directory / name / "data")  # noqa: PTH208 - no loop waits


async def test_a_path_too_long_for_a_socket_still_works(postgres_directory: Path) -> None:
    """The socket's directory stands elsewhere, as long as the server runs."""
    server = EmbeddedPostgres(postgres_directory / ("d" * 60) / ("e" * 60), durable=False)
    elsewhere = server.url().rpartition("host=")[2]
    assert not os.path.exists(elsewhere)  # noqa: ASYNC240, PTH110 - no loop waits
    server.start()
    try:
        connection = await asyncpg.connect(server.url())
        assert await connection.fetchval("SELECT 1") == 1
        await connection.close()
    finally:
        server.stop()
    assert not os.path.exists(elsewhere)  # noqa: ASYNC240, PTH110 - no loop waits
