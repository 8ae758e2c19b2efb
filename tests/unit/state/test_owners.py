"""Each table is written by its owner's package of `state/` alone."""

import re
from importlib import resources

from longshore.state.queries import all_queries

#: Tables that submission fills and the scheduler takes over: a row is written by one of them before
#: the other knows of it, and by the other from then on. The row is the intent.
HANDED_OVER = {
    "jobs",  # submitted, then moved; tags stay submission's
    "job_specs",
    "job_dependencies",
    "job_requests",  # recorded, then acted on
    "job_updates",  # recorded, then decided; the outcome is taken away
    "shapes",  # made when one is first asked for, forgotten when no live job has it
}
#: What users say there is, and what placements use up of it is taken off under the same lock.
SHARED = {"consumable_resources"}
#: What happened, told in the transaction in which it did: whoever writes there only adds rows.
TOLD = {"outbox": {"events", "scheduler"}}
_COMMENT = re.compile(r"--.*")
#: `DO UPDATE SET`, `FOR UPDATE` and `FOR NO KEY UPDATE` name no table.
_WRITE = re.compile(r"\b(?:INSERT INTO|DELETE FROM|(?<!DO )(?<!FOR )(?<!KEY )UPDATE)\s+(\w+)")


def writers() -> dict[str, set[str]]:
    """By table, the packages of `state/` whose queries write it."""
    found: dict[str, set[str]] = {}
    queries = 0
    for package in resources.files("longshore.state").iterdir():
        sql = package.joinpath("sql")
        for file in sql.iterdir() if sql.is_dir() else ():
            text = _COMMENT.sub("", file.read_text("utf-8"))
            queries += file.read_text("utf-8").count("-- name: ")
            for table in _WRITE.findall(text):
                found.setdefault(table.removeprefix("all_"), set()).add(package.name)
    # Those at the root are of tables that have no owner: leases, the stack.
    root = sum(name.startswith(("lease.", "stack.")) for name in all_queries())
    assert queries == len(all_queries()) - root
    return found


def test_every_table_is_written_by_its_owner_alone() -> None:
    found = writers()
    assert len(found) > 15
    shared = {table: packages for table, packages in found.items() if len(packages) > 1}
    both = {table: {"submission", "scheduler"} for table in HANDED_OVER | SHARED}
    assert shared == both | TOLD


def test_views_write_nothing() -> None:
    assert all("views" not in packages for packages in writers().values())
