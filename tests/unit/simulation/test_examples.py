"""The workloads that come along as examples: they run, and show what they are there to show."""

import asyncio
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import pytest
from unit.simulation.building import Watched, summary

from longshore.simulation.duration import microseconds
from longshore.simulation.prepare import prepare
from longshore.simulation.report import to_text
from longshore.simulation.workload import SettingsPart, parse, read

EXAMPLES = Path(__file__).parents[3] / "examples"
DOCS = (EXAMPLES.parent / "docs" / "simulate.md").read_text()
ROLLING = EXAMPLES / "rolling_order" / "workload.yaml"
#: Those whose output the docs show, in the order of the docs.
SHOWN = ("spot_or_on_demand", "multi_node")
WORKLOADS = sorted([ROLLING, *(EXAMPLES / "simulate").glob("*.yaml")])


def rolling() -> tuple[Watched, Counter[tuple[str, str]]]:
    """The rolling order, with how many jobs ran where."""
    workload = read(ROLLING)
    simulation = Watched(prepare(workload), seed=1, until_us=microseconds(workload.until, "until"))
    where: Counter[tuple[str, str]] = Counter()
    place = simulation.fleet.place

    def spy(job: Any, *arguments: Any) -> Any:
        where[job.part.name, arguments[-1].compute_environment] += 1
        return place(job, *arguments)

    simulation.fleet.place = spy  # type: ignore[method-assign]
    asyncio.run(simulation.run())
    return simulation, where


def test_rolling_order_grows_all_environments_at_once_and_spills_to_the_next() -> None:
    simulation, where = rolling()
    first = {a.compute_environment: a for a in simulation.scaler.activities if a.at_us == 0}
    assert {name: a.desiredv_cpus for name, a in first.items()} == {"A": 32, "B": 32, "C": 16}
    assert where["first", "A"] == 32
    assert where["first", "B"] == 16
    assert where["second", "B"] == 16
    assert where["third", "C"] == 16
    assert where["later", "C"] == 32
    assert where["later", "A"] == 32
    assert where["later", "B"] == 16
    assert simulation.is_complete


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", DOCS, re.DOTALL)


@pytest.mark.parametrize("path", WORKLOADS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_examples_end_with_every_job_and_print_what_the_docs_show(path: Path) -> None:
    """If decisions have changed: run the command of the docs again and paste what it prints."""
    found = summary(read(path))
    assert found.is_complete
    assert found.cost > 0
    if path.parent.name == "simulate" and path.stem in SHOWN:
        shown = blocks("text")[SHOWN.index(path.stem)]
        assert shown.rstrip() == to_text(found)


def test_the_file_of_the_docs_is_a_workload_and_its_defaults_are_the_defaults() -> None:
    whole, market = blocks("yaml")
    prepare(parse(whole.encode()))
    again = parse((whole + market).encode())
    assert again.market == parse(whole.encode()).market


def test_every_setting_is_in_the_docs_with_its_default() -> None:
    defaults = json.loads(msgspec.json.encode(SettingsPart()))
    rows = dict(re.findall(r"^\| `(\w+)` \| (\S+) \|", DOCS, re.MULTILINE))
    assert {name: json.loads(rows[name]) for name in defaults} == defaults
