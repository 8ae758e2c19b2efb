"""What `docs/capacity.md` says follows from its examples does follow.

An example is a workload file in YAML and, right behind it, the decisions at its beginning. The
shortages of the first moment are in force; nothing is there yet.
"""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from longshore.domain.catalogue import Catalogue
from longshore.domain.resources import Resources
from longshore.domain.scaling.capacity import (
    CapacitySnapshot,
    Environment,
    Offer,
    QueueDemand,
    ShapeDemand,
)
from longshore.domain.scaling.decision import Decision, ScalingSettings
from longshore.domain.scaling.scaling import decide
from longshore.simulation.workload import ComputeEnvironmentPart, JobPart, Workload, parse

DOCUMENT = Path(__file__).parents[3] / "docs" / "capacity.md"
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def _examples() -> Iterator[tuple[str, str]]:
    text = DOCUMENT.read_text("utf-8")
    for match in re.finditer(
        r"^```yaml\n(.*?)^```\n\n```text\n(.*?)^```", text, re.MULTILINE | re.DOTALL
    ):
        yield match[1], match[2]


def _environment(part: ComputeEnvironmentPart, workload: Workload) -> Environment:
    short = {
        name
        for shortage in workload.market.shortages
        if not shortage.begins
        for name in shortage.instance_types or ()
    }
    names = part.instance_types or ()
    places = Catalogue().places(names)
    return Environment(
        name=part.name,
        offers=tuple(
            Offer(
                kind=kind,
                price_per_hour=kind.price_per_hour,
                is_short=kind.name in short,
                place=places[kind.name],
            )
            for kind in Catalogue().resolve(names)
        ),
        allocation_strategy=part.allocation_strategy or "BEST_FIT",
        is_fargate=part.type.startswith("FARGATE"),
        minv_cpus=part.minv_cpus,
        maxv_cpus=part.maxv_cpus,
    )


def _shape(number: int, job: JobPart) -> ShapeDemand:
    return ShapeDemand(
        number, Resources(round(job.vcpus * 1000), job.memory, job.gpus), job.size * job.copies
    )


def _snapshot(workload: Workload) -> CapacitySnapshot:
    shapes = [(job.queue, _shape(number, job)) for number, job in enumerate(workload.jobs)]
    return CapacitySnapshot(
        [
            QueueDemand(
                queue.name,
                queue.priority,
                queue.compute_environment_order,
                tuple(shape for name, shape in shapes if name == queue.name),
            )
            for queue in workload.queues
        ],
        [_environment(part, workload) for part in workload.compute_environments],
    )


def _told(decision: Decision) -> str:
    bill = sum(launch.count * launch.offer.price_per_hour for launch in decision.launches)
    return f"{decision.compute_environment}: {decision.desiredv_cpus} vCPUs, {bill:.3f} USD an hour"


def decisions(example: str) -> str:
    """The decisions about an example, as the document has them."""
    lines = []
    for decision in decide(_snapshot(parse(example.encode())), NOW, ScalingSettings()):
        lines += [_told(decision), f"   {decision.reason}"]
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize(("example", "said"), list(_examples()))
def test_the_examples_are_right(example: str, said: str) -> None:
    assert said == decisions(example)


def test_every_example_has_its_decisions() -> None:
    text = DOCUMENT.read_text("utf-8")
    assert len(list(_examples())) == text.count("```yaml") >= 8
