"""Real clients of AWS Batch, each in an environment of its own, on real stacks.

`scripts/clients` makes the environments and says by LONGSHORE_TEST_CLIENTS which are there;
without it nothing here is collected.
"""

import os
from pathlib import Path

import pytest

_CLIENTS = os.environ.get("LONGSHORE_TEST_CLIENTS", "").split()
#: The largest of them take minutes to start on a machine that is busy.
_TIMEOUT_SECONDS = 1200

collect_ignore_glob = [] if _CLIENTS else ["test_*.py"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Gives each its time, and leaves out those that nobody asked for."""
    for item in items:
        if Path(__file__).parent not in item.path.parents:
            continue
        item.add_marker(pytest.mark.timeout(_TIMEOUT_SECONDS))
        if item.name.removeprefix("test_").replace("_", "-") not in _CLIENTS:
            item.add_marker(pytest.mark.skip(reason="nobody asked for it"))
