from typing import Any

import pytest

from longshore.domain.arn import DefinitionName
from longshore.domain.errors import InvalidRequest
from longshore.domain.limits import AWS
from longshore.domain.request.ecs import ContainerOverrides, EcsOverrides
from longshore.domain.request.merge import Overrides, merge_container
from longshore.domain.request.node_overrides import NodeOverrides, RangeOverrides
from longshore.domain.request.submission import Submission, check_submission

BASE = {
    "image": "busybox",
    "command": ["a"],
    "environment": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}],
    "resourceRequirements": [{"type": "VCPU", "value": "1"}, {"type": "MEMORY", "value": "64"}],
}


def test_without_overrides_the_definition_stands() -> None:
    assert merge_container(BASE, None, {}) == BASE


def test_a_command_replaces_the_whole_command() -> None:
    merged = merge_container(BASE, Overrides(command=("x", "Ref::y")), {"y": "z"})
    assert merged["command"] == ["x", "z"]
    assert BASE["command"] == ["a"]


def test_environment_is_merged_by_name_and_the_submission_wins() -> None:
    overrides = Overrides(
        environment=({"name": "B", "value": "3"}, {"name": "C", "value": "4"}),
    )
    merged = merge_container(BASE, overrides, {})["environment"]
    assert {v["name"]: v["value"] for v in merged} == {"A": "1", "B": "3", "C": "4"}


def test_variables_of_aws_batch_are_dropped() -> None:
    overrides = Overrides(environment=({"name": "AWS_BATCH_JOB_ID", "value": "x"},))
    names = [v["name"] for v in merge_container(BASE, overrides, {})["environment"]]
    assert names == ["A", "B"]


def test_requirements_are_merged_by_type() -> None:
    overrides = Overrides(
        resource_requirements=(
            {"type": "MEMORY", "value": "128"},
            {"type": "GPU", "value": "1"},
        )
    )
    merged = merge_container(BASE, overrides, {})["resourceRequirements"]
    assert {r["type"]: r["value"] for r in merged} == {"VCPU": "1", "MEMORY": "128", "GPU": "1"}


def test_deprecated_members_override_only_their_like() -> None:
    overrides = Overrides(vcpus=8, memory=512)
    assert merge_container(BASE, overrides, {}) == BASE
    old = {"image": "i", "vcpus": 1, "memory": 64}
    assert merge_container(old, overrides, {}) == {"image": "i", "vcpus": 8, "memory": 512}


def _submission(text: str, kind: str) -> Submission:
    """One whose overrides have a variable with such a value, in each of two containers."""
    changes = Overrides(environment=({"name": "V", "value": text},))
    several = EcsOverrides((ContainerOverrides("a", changes), ContainerOverrides("b", changes)))
    given: dict[str, Any] = {
        "single": {"overrides": changes},
        "several": {"ecs_overrides": several},
        "nodes": {"node_overrides": NodeOverrides(ranges=(RangeOverrides("0:1", changes),))},
        "nodes of several": {
            "node_overrides": NodeOverrides(ranges=(RangeOverrides(":", ecs=several),))
        },
    }
    return Submission("a", "q", DefinitionName("d", None, "d"), **given[kind])


@pytest.mark.parametrize(
    ("kind", "most"),
    [("single", 8191), ("several", 4095), ("nodes", 8191), ("nodes of several", 4095)],
)
def test_aws_runs_no_task_whose_overrides_are_long(kind: str, most: int) -> None:
    check_submission(_submission("x" * most, kind), AWS)
    longer = _submission("x" * (most + 1), kind)
    check_submission(longer)
    with pytest.raises(InvalidRequest, match=r"^Container Overrides length must be at most 8192$"):
        check_submission(longer, AWS)
