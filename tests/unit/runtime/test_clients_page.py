"""The page on clients names the versions that `make clients` runs."""

import re
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[3]
_LOCKS = _ROOT / "tests" / "clients" / "locks"
_ROWS = re.findall(
    r"^\| \[[^]]+\]\(#([a-z-]+)\) \| ([^|]+) \|",
    (_ROOT / "docs" / "clients.md").read_text("utf-8"),
    re.MULTILINE,
)


def test_each_client_has_a_lock_file_and_a_line() -> None:
    assert sorted(name for name, _ in _ROWS) == sorted(lock.stem for lock in _LOCKS.glob("*.txt"))


@pytest.mark.parametrize(("client", "versions"), _ROWS)
def test_the_versions_seen_are_those_that_are_pinned(client: str, versions: str) -> None:
    pinned = re.findall(
        r"^([a-z0-9-]+)==([^\s;]+)", (_LOCKS / f"{client}.txt").read_text(), re.MULTILINE
    )
    for said in versions.split(", "):
        assert tuple(said.split(" ")) in pinned
