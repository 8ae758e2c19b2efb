"""The timeline as a picture, PNG or SVG by the file's suffix.

Three charts with one axis of time: vCPUs stacked by compute environment, for each what is busy,
idle and booting, in one colour of decreasing strength; jobs that wait and that run; instances.
"""

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from longshore.domain.errors import InvalidRequest
from longshore.simulation.duration import SECOND
from longshore.simulation.report import span
from longshore.simulation.summary import Summary
from longshore.simulation.timeline import Timeline

SUFFIXES = (".png", ".svg")
#: One hue for each environment, told apart by colour-blind people too (Okabe and Ito, 2008).
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#999999")
#: What an environment's vCPUs do, and how strong its colour is then; from the bottom up.
LAYERS = (("busy", 1.0, 2), ("idle", 0.45, 1), ("booting", 0.2, 0))
#: Environments that are told apart; the others are drawn as one.
ENVIRONMENTS_MAX = len(COLOURS)
#: Of the axis of time, empty after the last change.
MARGIN = 0.02
#: Above a chart, where it hides nothing.
LEGEND: dict[str, Any] = {
    "loc": "lower left",
    "bbox_to_anchor": (0, 1),
    "fontsize": 8,
    "frameon": False,
    "borderaxespad": 0.2,
}
#: From which axis of time on a larger unit reads better.
_UNITS = ((2 * 86_400.0, 86_400.0, "days"), (2 * 3600.0, 3600.0, "hours"), (180.0, 60.0, "minutes"))


def check_suffix(path: Path) -> None:
    """Refuses what cannot be drawn.

    Raises:
        InvalidRequest: the file's name ends otherwise.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise InvalidRequest(f"The picture {path.name} must end in .png or .svg.")


def draw(timeline: Timeline, summary: Summary, path: Path) -> None:
    """Draws a timeline.

    Raises:
        InvalidRequest: the file cannot be written.
    """
    check_suffix(path)
    # The same run gives the same file: no date in it, and names from the content.
    with mpl.rc_context({"svg.hashsalt": "longshore", "font.size": 9}):
        figure = Figure(figsize=(10, 7.5), layout="constrained")
        vcpus, jobs, instances = figure.subplots(
            3, 1, sharex=True, gridspec_kw={"height_ratios": (3, 2, 1)}
        )
        end = max(_last_change_us(timeline) / SECOND, 1.0) * (1 + MARGIN)
        scale, unit = next(((s, u) for least, s, u in _UNITS if end >= least), (1.0, "seconds"))
        times = [point.at_us / SECOND / scale for point in timeline.points]
        _draw_vcpus(vcpus, timeline, times, summary)
        _draw_jobs(jobs, timeline, times)
        _draw_instances(instances, timeline, times)
        for axes in (vcpus, jobs, instances):
            axes.set_ylim(bottom=0)
            axes.set_xlim(0, end / scale)
            axes.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
            axes.grid(axis="both", color="#dddddd", linewidth=0.5)
            axes.set_axisbelow(True)
            axes.spines[["top", "right"]].set_visible(False)
        instances.set_xlabel(f"time in {unit}")
        name = summary.workload.replace("$", r"\$")  # or it would begin a formula
        title = f"{name}: makespan {span(summary.makespan_seconds)}"
        figure.suptitle(rf"{title}, cost \${summary.cost:,.2f}", fontweight="bold")
        metadata = {"Date": None} if path.suffix.lower() == ".svg" else {}
        try:
            figure.savefig(path, dpi=120, metadata=metadata)
        except OSError as error:
            raise InvalidRequest(f"{path} cannot be written: {error.strerror}.") from None


def _last_change_us(timeline: Timeline) -> int:
    """When something last changed: a wait for what never comes is not drawn."""
    points = timeline.points
    changes = [0] + [
        after.at_us
        for before, after in itertools.pairwise(points)
        if (before.vcpus, before.waiting, before.running)
        != (after.vcpus, after.waiting, after.running)
    ]
    return changes[-1]


def _draw_vcpus(axes: Axes, timeline: Timeline, times: Sequence[float], summary: Summary) -> None:
    names = timeline.environments
    series: list[list[float]] = []
    colours: list[tuple[str, float]] = []
    handles: list[Patch] = []
    for number, name in enumerate(names[:ENVIRONMENTS_MAX]):
        rest = number == ENVIRONMENTS_MAX - 1 and len(names) > ENVIRONMENTS_MAX
        group = range(number, len(names) if rest else number + 1)
        colour = COLOURS[number]
        for _, strength, layer in LAYERS:
            series.append([sum(p.vcpus[e][layer] for e in group) for p in timeline.points])
            colours.append((colour, strength))
        strategy = (summary.strategies[name] or "Fargate").replace("_", " ").lower()
        label = f"{len(group)} others" if rest else f"{name} ({strategy})"
        handles.append(Patch(color=colour, label=label))
    axes.stackplot(times, series, colors=colours, step="post", linewidth=0)
    handles += [
        Patch(color="#555555", alpha=strength, label=label) for label, strength, _ in LAYERS
    ]
    columns = min(len(handles), 6)
    axes.legend(handles=handles, ncols=columns, **LEGEND)
    axes.set_ylabel("vCPUs")


def _draw_jobs(axes: Axes, timeline: Timeline, times: Sequence[float]) -> None:
    waiting = [point.waiting for point in timeline.points]
    running = [point.running for point in timeline.points]
    axes.step(times, waiting, where="post", color="#D55E00", label="waiting", linewidth=1.2)
    axes.step(times, running, where="post", color="#0072B2", label="running", linewidth=1.2)
    axes.legend(ncols=2, **LEGEND)
    axes.set_ylabel("jobs")


def _draw_instances(axes: Axes, timeline: Timeline, times: Sequence[float]) -> None:
    counts = [point.instances for point in timeline.points]
    axes.step(times, counts, where="post", color="#333333", linewidth=1.2)
    axes.set_ylabel("instances")
