"""Every metric of every service keeps to the rules, and what names metrics names those that are."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml
from prometheus_client import CollectorRegistry, generate_latest

from longshore.runtime.config import PORT_OFFSETS, Settings
from longshore.runtime.metrics import Departures, Durations

ROOT = Path(__file__).parents[3]
#: What labels may be: names of what is few, and words of fixed lists.
LABELS = {
    *("queue", "environment", "type", "zone", "option", "status", "state", "reason", "by"),
    *("method", "code", "operation", "kind", "result", "version", "target"),
}
#: Of which each scrape has one more than the code.
TARGET = {"job", "instance"}
#: What is counted in no unit, by the last word of its name.
NUMBERS = {
    *("attempts", "connected", "live", "instances", "jobs", "blocked", "vcpus", "leader"),
    *("connections", "hand", "steps", "calls", "info", "waiting"),
}
UNITS = {"seconds", "bytes", "usd", "ratio"}
SUFFIXES = {"histogram": ("_bucket", "_sum", "_count")}


@pytest.fixture(scope="module")
def told() -> dict[str, Any]:
    """What the code has, and the page of it."""
    script = [sys.executable, ROOT / "scripts/metrics", "--json"]
    run = subprocess.run(script, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(run.stdout)
    return found


@pytest.fixture(scope="module")
def metrics(told: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {metric["name"]: metric for metric in told["metrics"]}


def test_every_metric_keeps_to_the_rules(metrics: dict[str, dict[str, Any]]) -> None:
    assert len(metrics) > 40
    for name, metric in metrics.items():
        assert re.fullmatch(r"longshore(_[a-z]+)+", name), name
        assert metric["documentation"].endswith("."), f"{name} says what it is"
        assert set(metric["labels"]) <= LABELS, name
        is_counter = metric["kind"] == "counter"
        assert name.endswith("_total") is is_counter, f"{name} is a {metric['kind']}"
        last = name.removesuffix("_total").rsplit("_", 1)[-1]
        if not is_counter:
            assert last in UNITS | NUMBERS, f"{name} ends in its unit"
        assert not re.search("_(ms|millis|minutes|hours|kb|mib|gib|percent)(_|$)", name), name


def test_the_page_of_metrics_is_what_the_code_has(told: dict[str, Any]) -> None:
    """If not: `make metrics`."""
    assert told["page"] == (ROOT / "docs/metrics.md").read_text()


def expressions() -> Iterator[tuple[str, str]]:
    """Whatever is asked of Prometheus, by where it stands."""
    board = json.loads((ROOT / "deploy/grafana/longshore.json").read_text())
    for panel in board["panels"]:
        for target in panel.get("targets", ()):
            yield panel["title"], target["expr"]
    for variable in board["templating"]["list"]:
        if variable["type"] == "query":
            found = re.fullmatch(r"label_values\((\w+), (\w+)\)", variable["definition"])
            assert found is not None, variable["definition"]
            yield variable["name"], f"sum by ({found[2]}) ({found[1]})"
    for rule in alerts():
        yield rule["alert"], rule["expr"]


def alerts() -> list[dict[str, Any]]:
    rules = yaml.safe_load((ROOT / "deploy/prometheus/alerts.yml").read_text())
    return [rule for group in rules["groups"] for rule in group["rules"]]


@pytest.mark.parametrize(("where", "expression"), list(expressions()))
def test_what_is_asked_of_prometheus_is_there(
    where: str, expression: str, metrics: dict[str, dict[str, Any]]
) -> None:
    for variable, instead in (("$__rate_interval", "5m"), ("$queue", ".*"), ("$environment", ".*")):
        expression = expression.replace(variable, instead)
    tree = promql_parser.parse(expression)
    labels = TARGET.copy()
    for selector in _selectors(tree):
        name, wanted = _metric(selector.name, metrics)
        known = {*metrics[name]["labels"], *wanted, *TARGET}
        used = {matcher.name for matcher in selector.matchers.matchers}
        assert used <= known, f"{where}: {name} has no label {used - known}"
        labels |= known
    grouped = set(re.findall(r"\w+", " ".join(re.findall(r"by \(([^)]*)\)", expression))))
    assert grouped <= labels, f"{where} groups by what is nowhere: {grouped - labels}"


def _selectors(node: Any) -> Iterator[Any]:
    if isinstance(node, promql_parser.VectorSelector):
        yield node
    elif isinstance(node, promql_parser.MatrixSelector):
        yield node.vector_selector
    for part in ("lhs", "rhs", "expr", "param"):
        child = getattr(node, part, None)
        if isinstance(child, promql_parser.Expr):
            yield from _selectors(child)
    for child in getattr(node, "args", None) or ():
        yield from _selectors(child)


def _metric(series: str, metrics: dict[str, dict[str, Any]]) -> tuple[str, set[str]]:
    """The metric that a series is of, and the labels that it has besides."""
    if series in metrics:
        assert metrics[series]["kind"] != "histogram", f"{series} is a histogram"
        return series, set()
    name, _, part = series.rpartition("_")
    assert name in metrics, f"there is no {series}"
    assert f"_{part}" in SUFFIXES[metrics[name]["kind"]], series
    return name, {"le"} if part == "bucket" else set()


def test_alerts_say_when_what_and_what_to_do() -> None:
    rules = alerts()
    assert len({rule["alert"] for rule in rules}) == len(rules)
    for rule in rules:
        assert re.fullmatch(r"\d+[sm]", rule["for"]), rule["alert"]
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert rule["annotations"].keys() == {"summary", "runbook"}
        for text in rule["annotations"].values():
            assert text.endswith("."), rule["alert"]


def test_prometheus_is_told_of_every_service() -> None:
    told = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text())
    jobs = {
        job["job_name"]: job["static_configs"][0]["targets"]
        for job in told["scrape_configs"]
        if "static_configs" in job
    }
    settings = Settings({})
    addresses = {
        name: settings.address(name) if name == "gateway" else settings.metrics_address(name)
        for name in PORT_OFFSETS
    }
    assert jobs == {name: [address] for name, address in addresses.items()}
    assert told["rule_files"] == ["alerts.yml"]


def test_many_alike_durations_are_one_addition() -> None:
    registry = CollectorRegistry()
    durations = Durations("t_seconds", "T.", ["queue"], (1.0, 2.5), registry)
    durations.observe(("a",), 0.5, 10_000)
    durations.observe(("a",), 1.0)
    durations.observe(("a",), 99.0)
    durations.observe(('b"\n',), 2.0)
    text = generate_latest(registry).decode()
    assert 't_seconds_bucket{le="1.0",queue="a"} 10001.0' in text
    assert 't_seconds_bucket{le="2.5",queue="a"} 10001.0' in text
    assert 't_seconds_bucket{le="+Inf",queue="a"} 10002.0' in text
    assert 't_seconds_sum{queue="a"} 5100.0' in text
    durations.forget("queue", "a")
    text = generate_latest(registry).decode()
    assert 'queue="a"' not in text
    assert r'queue="b\"\n"' in text


def test_what_is_missing_once_may_have_come_since() -> None:
    departures = Departures()
    assert departures.gone({"a", "b"}, {"b"}) == set()
    assert departures.gone({"a", "b"}, {"a", "b"}) == set()
    assert departures.gone({"a", "b"}, {"b"}) == set()
    assert departures.gone({"a", "b"}, {"b"}) == {"a"}
