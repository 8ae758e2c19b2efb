"""The embedded server: started, adopted, stopped, its data kept."""

from pathlib import Path

import asyncpg

from longshore.state.embedded import EmbeddedPostgres, ensure_database


async def test_data_survives_a_stop_and_a_second_handle_adopts_the_running_server(
    tmp_path: Path,
) -> None:
    first = EmbeddedPostgres(tmp_path / "data", durable=False)
    assert not first.is_running()
    assert first.start()
    try:
        assert await ensure_database(first.url(), "longshore")
        assert not await ensure_database(first.url(), "longshore")
        second = EmbeddedPostgres(tmp_path / "data", durable=False)
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


async def test_a_path_too_long_for_a_socket_still_works(tmp_path: Path) -> None:
    server = EmbeddedPostgres(tmp_path / ("d" * 60) / ("e" * 60), durable=False)
    server.start()
    try:
        connection = await asyncpg.connect(server.url())
        assert await connection.fetchval("SELECT 1") == 1
        await connection.close()
    finally:
        server.stop()
