"""Stacks for tests that speak to longshore from outside.

LONGSHORE_TEST_RUNTIME chooses how their containers run: docker (the default) or process.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
from acceptance.aws import Aws, Gate
from acceptance.stand import Stack


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything here starts processes and containers, so the usual limit is too short."""
    for item in items:
        if Path(__file__).parent in item.path.parents and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(120))


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """One longshore for all tests that only use it."""
    made = Stack(tmp_path_factory.mktemp("stack"))
    made.up()
    yield made
    made.down()


@pytest.fixture
def own_stack(tmp_path: Path) -> Iterator[Stack]:
    """A longshore that the test starts, breaks and stops itself; on the process runtime."""
    made = Stack(tmp_path / "stack", runtime="process")
    yield made
    made.down()


@pytest.fixture(scope="session")
def aws(stack: Stack) -> Iterator[Aws]:
    """AWS's tools on the stack that all share."""
    made = Aws(stack)
    yield made
    made.client.close()


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    """A place where jobs wait for the test."""
    return Gate(tmp_path)
