"""The summary as text and JSON, the picture, and the program that makes them."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from unit.simulation.building import a_queue, a_workload, an_environment, jobs, simulate

from longshore.domain.errors import InvalidRequest
from longshore.simulation.__main__ import main
from longshore.simulation.report import span, to_json, to_text
from longshore.simulation.summary import Summary, summarise
from longshore.simulation.timeline import POINTS_MAX

LONGSHORE = Path(sys.executable).parent / "longshore"
WORKLOAD = """
name: small
computeEnvironments:
  - {name: A, maxvCpus: 4, instanceTypes: [c6i.large]}
queues:
  - {name: q, computeEnvironmentOrder: [A]}
jobs:
  - {name: six, queue: q, count: 6, duration: 5m}
"""


@pytest.fixture
def workload(tmp_path: Path) -> Path:
    path = tmp_path / "workload.yaml"
    path.write_text(WORKLOAD)
    return path


@pytest.fixture(scope="module")
def draw() -> Callable[..., None]:
    """What draws the picture; it loads matplotlib, which workers without these tests do without."""
    from longshore.simulation import picture  # noqa: PLC0415 - slow to load

    return picture.draw


def longshore(*arguments: str | Path, code: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [LONGSHORE, "simulate", *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done


def test_spans_read_well() -> None:
    assert span(4.21) == "4.2 s"
    assert span(59.99) == "60.0 s"
    assert span(750) == "12 min 30 s"
    assert span(3 * 3600 + 290) == "3 h 05 min"
    assert span(75 * 3600) == "3 d 03 h"


def a_summary() -> Summary:
    return summarise(simulate(a_workload(jobs(count=6), jobs("big", vcpus=64), name="small")))


def test_the_text_tells_everything_a_user_compares() -> None:
    text = to_text(a_summary())
    assert "makespan        11 min 00 s" in text
    assert "jobs            7: 6 SUCCEEDED, 0 FAILED, 1 unfinished" in text
    assert "cost            $0.0269, of it $0.0057 (21%) idle" in text
    assert "vCPUs           78.9% used, 4 at the peak" in text
    assert "c6i.large" in text
    assert "1 job of q: MISCONFIGURATION:COMPUTE_ENVIRONMENT_MAX_RESOURCE" in text


def test_the_json_has_names_as_in_aws_and_every_decision() -> None:
    found = json.loads(to_json(a_summary()))
    assert found["makespanSeconds"] == 660
    assert found["computeEnvironments"][0]["peakVcpus"] == 4
    assert [a["ordered"] for a in found["activities"]] == [2, 0, 0]
    assert sum(a["terminated"] for a in found["activities"]) == 2


def test_the_command_prints_and_draws(workload: Path, tmp_path: Path) -> None:
    done = longshore(workload, "--picture", tmp_path / "timeline.png", "--seed", "3")
    assert done.stdout.startswith("small, seed 3\n")
    assert (tmp_path / "timeline.png").read_bytes().startswith(b"\x89PNG")


def test_the_command_leaves_with_the_simulations_code(workload: Path) -> None:
    workload.write_text(WORKLOAD.replace("[A]", "[B]"))
    assert longshore(workload, code=2).stderr == (
        "longshore: $.queues[0].computeEnvironmentOrder[0]: there is no compute environment 'B'.\n"
    )


def test_options_override_the_workload(workload: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--json", "--strategy=BEST_FIT_PROGRESSIVE", "--until=5m"]
    assert main([*options, str(workload)]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["strategies"] == {"A": "BEST_FIT_PROGRESSIVE"}
    assert found["simulatedSeconds"] == 300


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--picture=a.jpg", "The picture a.jpg must end in .png or .svg."),
        ("--until=soon", "--until is 'soon', which is no duration such as 90, 90s, 5m, 2h or 1d."),
        ("--until=0", "--until must be above 0."),
        ("--seed=-1", "--seed must be from 0 to 2^53."),
        (
            "--strategy=SPOT_CAPACITY_OPTIMIZED",
            "No compute environment of type EC2 may have SPOT_CAPACITY_OPTIMIZED.",
        ),
    ],
)
def test_options_that_are_wrong_are_told(
    option: str, message: str, workload: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([option, str(workload)]) == 2
    assert capsys.readouterr().err == f"longshore: {message}\n"


def test_an_svg_shows_names_and_is_the_same_for_the_same_run(
    tmp_path: Path, draw: Callable[..., None]
) -> None:
    simulation = simulate(
        a_workload(
            jobs(count=6),
            jobs("other", queue="f", vcpus=1, memory=2048),
            computeEnvironments=[
                an_environment("large"),
                {"name": "slots", "type": "FARGATE", "maxvCpus": 4},
            ],
            queues=[a_queue("q", "large"), a_queue("f", "slots")],
            name="[bold]$x_{$ of $y$",
        )
    )
    summary = summarise(simulation)
    assert to_text(summary).startswith("[bold]$x_{$ of $y$, seed 1\n")
    first, second = tmp_path / "first.svg", tmp_path / "second.SVG"
    for path in (first, second):
        draw(simulation.timeline, summary, path)
    assert first.read_bytes() == second.read_bytes()
    assert ET.parse(first).getroot().tag.endswith("svg")  # noqa: S314 - our own file


def test_a_picture_that_cannot_be_written_is_told(
    tmp_path: Path, draw: Callable[..., None]
) -> None:
    simulation = simulate(a_workload(jobs()))
    with pytest.raises(InvalidRequest, match="cannot be written: No such file"):
        draw(simulation.timeline, summarise(simulation), tmp_path / "missing" / "a.png")


def test_more_environments_than_colours_are_drawn(
    tmp_path: Path, draw: Callable[..., None]
) -> None:
    names = [f"env{number}" for number in range(12)]
    simulation = simulate(
        a_workload(
            *(jobs(f"on-{name}", queue=name) for name in names),
            computeEnvironments=[an_environment(name) for name in names],
            queues=[a_queue(name, name) for name in names],
        )
    )
    draw(simulation.timeline, summarise(simulation), tmp_path / "many.png")
    assert (tmp_path / "many.png").stat().st_size > 10_000


def test_the_timeline_stays_bounded_and_keeps_its_ends() -> None:
    simulation = simulate(
        a_workload(
            jobs(count=6_000, duration={"distribution": "exponential", "mean": 600}),
            computeEnvironments=[an_environment(maxvCpus=256, instanceTypes=["c6i.16xlarge"])],
        )
    )
    points = simulation.timeline.points
    assert POINTS_MAX / 4 < len(points) <= POINTS_MAX
    times = [point.at_us for point in points]
    assert times == sorted(set(times))
    assert times[0] == 0
    assert times[-1] == simulation.clock.us
    assert points[-1].instances == 0
    assert max(point.running for point in points) == 256
