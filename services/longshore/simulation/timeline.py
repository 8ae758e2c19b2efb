"""What was there and what waited, over time: for the picture."""

from collections.abc import Mapping
from dataclasses import dataclass

from longshore.simulation.fleet import Gauge

#: Points that are kept; beyond them every other one goes, and the next ones come half as often.
POINTS_MAX = 4_096


@dataclass(frozen=True, slots=True)
class Point:
    """From its time on, until the next point; vCPUs by environment: booting, idle, busy."""

    at_us: int
    vcpus: tuple[tuple[float, float, float], ...]
    instances: int
    waiting: int
    running: int


class Timeline:
    """A bounded record of a step function of time; between points nothing is interpolated."""

    def __init__(self, environments: list[str]) -> None:
        self.environments = environments
        self.points: list[Point] = []
        self._least_step_us = 0

    def note(self, at_us: int, gauges: Mapping[str, Gauge], waiting: int, running: int) -> None:
        """Notes the state at a time; later notes of the same time replace earlier ones."""
        points = self.points
        is_close = len(points) > 1 and at_us - points[-2].at_us < self._least_step_us
        if is_close or (points and points[-1].at_us == at_us):
            points.pop()
        points.append(
            Point(
                at_us,
                tuple(
                    (g.booting / 1000, (g.ready - g.busy) / 1000, g.busy / 1000)
                    for g in map(gauges.__getitem__, self.environments)
                ),
                sum(g.instances for g in gauges.values()),
                waiting,
                running,
            )
        )
        if len(points) > POINTS_MAX:
            self.points = points[::2]
            if self.points[-1] is not points[-1]:
                self.points.append(points[-1])
            span = points[-1].at_us - points[0].at_us
            self._least_step_us = max(self._least_step_us * 2, span * 2 // POINTS_MAX)
