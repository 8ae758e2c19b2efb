"""Fixtures of tests that call both wires over one prepared database."""

import asyncio
from collections.abc import Iterator

import pytest
from support.operations import prepare
from support.wire import Tables, Wire, running_wire

from longshore.state.embedded import EmbeddedPostgres, ensure_database
from longshore.state.migrate import migrate


@pytest.fixture(scope="module")
def wire(postgres: EmbeddedPostgres, request: pytest.FixtureRequest) -> Iterator[Wire]:
    """The services over an empty database of the module's own."""
    name = request.node.path.stem
    asyncio.run(ensure_database(postgres.url(), name))
    asyncio.run(migrate(postgres.url(name)))
    with running_wire(postgres.url(name)) as running:
        yield running


@pytest.fixture(scope="module")
def tables(wire: Wire) -> Tables:
    """The tables, with what the operations' requests are about in them."""
    prepare(wire)
    return Tables(wire)
