"""Loads named queries from `sql/*.sql`."""

import functools
import re
from importlib import resources

_LIVE = r"(jobs|job_specs|array_jobs|attempts|job_events)"
_TABLE = re.compile(rf"\b(FROM|JOIN|UPDATE) {_LIVE}\b")
_QUALIFIED = re.compile(rf"\b{_LIVE}\.")
_NAME = re.compile(r"^-- name: (\w+)\s*$", re.MULTILINE)


@functools.cache
def load_queries(table: str) -> dict[str, str]:
    """The queries of `sql/<table>.sql` by name."""
    text = resources.files("longshore.state").joinpath("sql", f"{table}.sql").read_text("utf-8")
    parts = _NAME.split(text)
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
    folder = resources.files("longshore.state").joinpath("sql")
    tables = sorted(
        f.name.removesuffix(".sql") for f in folder.iterdir() if f.name.endswith(".sql")
    )
    return {
        f"{table}.{name}": query for table in tables for name, query in load_queries(table).items()
    }
