"""The two sets of limits, and the page that has them side by side."""

import dataclasses
from pathlib import Path

import pytest

from longshore.domain.limits import AWS, LONGSHORE, Limits

PAGE = Path(__file__).parents[3] / "docs" / "limits.md"


def _rows(limits: Limits) -> dict[str, str]:
    """What the page says of a set, by what it says it of."""
    step = limits.vcpu_step_milli
    both = limits.takes_state_time_limit_terminate
    return {
        "children of an array": f"{limits.array_min} to {limits.array_max:,}",
        "entries of `dependsOn`": f"up to {limits.dependencies_max:,}",
        "`attemptDurationSeconds`": f"from {limits.timeout_min_seconds} s",
        "`maxTimeSeconds` of `jobStateTimeLimitActions`": (
            f"{limits.state_time_limit_min_seconds} to 86,400 s"
        ),
        "`action` of `jobStateTimeLimitActions`": "`CANCEL`, `TERMINATE`" if both else "`CANCEL`",
        "vCPUs on EC2": "whole ones" if step == 1000 else f"multiples of {step / 1000:g}",
        "bytes of commands and variables in a submission's overrides": (
            f"up to {limits.overrides_bytes_max:,}"
        ),
        "bytes of SubmitJob": f"{limits.submission_bytes_max:,}",
        "bytes of RegisterJobDefinition": f"{limits.definition_bytes_max:,}",
    }


def test_the_page_has_every_limit_side_by_side() -> None:
    ours, theirs = _rows(LONGSHORE), _rows(AWS)
    wanted = [f"| {what} | {ours[what]} | {theirs[what]} |" for what in ours]
    lines = PAGE.read_text("utf-8").splitlines()
    assert [line for line in lines if line.startswith("|")][2:] == wanted


@pytest.mark.parametrize("name", [field.name for field in dataclasses.fields(Limits)])
def test_whatever_the_sets_differ_in_is_there_since_they_do(name: str) -> None:
    assert getattr(LONGSHORE, name) != getattr(AWS, name)
