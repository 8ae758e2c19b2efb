"""Fixtures of tests that call both wires over one prepared database."""

from collections.abc import Iterator

import pytest
from support.operations import prepare
from support.wire import Tables, Wire, running_wire


@pytest.fixture(scope="module")
def wire(module_database_url: str) -> Iterator[Wire]:
    """The services over an empty database of the module's own."""
    with running_wire(module_database_url) as running:
        yield running


@pytest.fixture(scope="module")
def tables(wire: Wire) -> Tables:
    """The tables, with what the operations' requests are about in them."""
    prepare(wire)
    return Tables(wire)
