"""Loads named queries: `sql/<table>.sql` of the owner of each table, or of none."""

import functools
import re
from collections.abc import Iterator
from importlib import resources
from importlib.resources.abc import Traversable

_LIVE = r"(jobs|job_specs|array_jobs|attempts|job_events)"
_TABLE = re.compile(rf"\b(FROM|JOIN|UPDATE) {_LIVE}\b")
_QUALIFIED = re.compile(rf"\b{_LIVE}\.")
_NAME = re.compile(r"^-- name: (\w+)\s*$", re.MULTILINE)


@functools.cache
def load_queries(table: str) -> dict[str, str]:
    """The queries of `<table>.sql` by name."""
    parts = _NAME.split(_files()[table].read_text("utf-8"))
    return {name: body.strip() for name, body in zip(parts[1::2], parts[2::2], strict=True)}


def load_history_queries(table: str) -> dict[str, str]:
    """The queries of `sql/<table>.sql` by name, over live jobs and those that are history.

    They read every week of history: whoever looks for a job first looks among the live ones.
    """
    return {
        name: _QUALIFIED.sub(r"all_\1.", _TABLE.sub(r"\1 all_\2", query))
        for name, query in load_queries(table).items()
    }


def all_queries() -> dict[str, str]:
    """Every query of every file, as `table.name`."""
    return {
        f"{table}.{name}": query
        for table in sorted(_files())
        for name, query in load_queries(table).items()
    }


@functools.cache
def _files() -> dict[str, Traversable]:
    root = resources.files("longshore.state")
    return {
        file.name.removesuffix(".sql"): file
        for folder in (root, *(f for f in root.iterdir() if f.is_dir() and f.name != "migrations"))
        for file in _sql(folder)
    }


def _sql(folder: Traversable) -> Iterator[Traversable]:
    sql = folder.joinpath("sql")
    if sql.is_dir():
        yield from (file for file in sql.iterdir() if file.name.endswith(".sql"))
