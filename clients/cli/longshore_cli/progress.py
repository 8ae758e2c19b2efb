"""How far jobs are, state by state: a live bar on a terminal, plain lines elsewhere."""

import sys
import time
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Self

from longshore.v1 import job_pb2
from longshore_cli import console
from longshore_client.jobs import STATUSES

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.text import Text

_COLOURS = {
    "SUBMITTED": "grey50",
    "PENDING": "grey50",
    "RUNNABLE": "yellow",
    "STARTING": "cyan",
    "RUNNING": "blue",
    "SUCCEEDED": "green",
    "FAILED": "red",
}
#: Finished work on the left, so that the bar fills as one expects.
_BAR_ORDER = ("SUCCEEDED", "FAILED", "RUNNING", "STARTING", "RUNNABLE", "PENDING", "SUBMITTED")
BAR_CELLS = 40
#: Columns of a terminal that counts and statuses take beside a bar.
BESIDE_BAR = 56
#: Jobs that are shown one by one; of more there is no line, and no terminal, that has room.
NAMED_MAX = 10
#: Plain lines come no faster, but for the last.
LINE_SECONDS = 2.0


def counts(job: job_pb2.JobDetail) -> dict[str, int]:
    """Jobs by status: an array job's children, or the single job itself."""
    children = job.array_properties.status_summary
    if any(children.values()):
        return {status: children.get(status, 0) for status in STATUSES}
    # A single job, or an array job whose children have not been made yet.
    return {
        status: (job.array_properties.size or 1) * (job.status == status) for status in STATUSES
    }


def together(each: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """Several jobs by status, as if they were one."""
    total = dict.fromkeys(STATUSES, 0)
    for by_status in each:
        for status, number in by_status.items():
            total[status] += number
    return total


def bar(by_status: Mapping[str, int], cells: int = BAR_CELLS) -> "Text":
    """A bar whose parts are as long as each status has jobs."""
    from rich.text import Text  # noqa: PLC0415 - for terminals alone, and slow to load

    total = sum(by_status.values())
    text = Text()
    done, drawn = 0, 0
    for status in _BAR_ORDER:
        done += by_status.get(status, 0)
        end = cells * done // total if total else 0
        text.append("━" * (end - drawn), style=_COLOURS[status])
        drawn = end
    return text


def summary(by_status: Mapping[str, int | str]) -> str:
    """The statuses that have jobs, in the order of a job's life."""
    return ", ".join(
        f"{by_status[status]} {status}" for status in STATUSES if by_status.get(status)
    )


class Progress:
    """Shows jobs while its context is open; `show` is called with each new description."""

    def __init__(self, names: Iterable[str], on: "Console | None" = None) -> None:
        """Makes a display.

        Args:
            names: what to call the jobs, in the order in which they are shown.
            on: where; standard output if None.
        """
        from rich.console import Console  # noqa: PLC0415 - see above
        from rich.live import Live  # noqa: PLC0415

        self._names = list(names)
        self._console = on or Console(file=sys.stdout, highlight=False)
        self._live = (
            Live(console=self._console, refresh_per_second=10)
            if self._console.is_terminal
            else None
        )
        self._began = time.monotonic()
        self._last_line = ""
        self._last_at = -LINE_SECONDS

    def show(self, jobs: Iterable[job_pb2.JobDetail], *, final: bool = False) -> None:
        """Shows the jobs as they are now."""
        rows = list(zip(self._names, map(counts, jobs), strict=True))
        if len(rows) > NAMED_MAX:
            rows = [(f"{len(rows)} jobs", together(by_status for _, by_status in rows))]
        if self._live is not None:
            self._live.update(self._render(rows))
            return
        line = "; ".join(f"{name}: {summary(by_status)}" for name, by_status in rows)
        now = time.monotonic()
        if line != self._last_line and (final or now - self._last_at >= LINE_SECONDS):
            self._last_line, self._last_at = line, now
            elapsed = now - self._began
            self._console.print(f"{elapsed:6.1f} s  {line}", soft_wrap=True)

    def say(self, text: str) -> None:
        """A remark, above the display where there is one."""
        if self._live is None:
            console.say(text)
        else:
            self._console.print(text, style="dim", markup=False, emoji=False)

    def _render(self, rows: list[tuple[str, dict[str, int]]]) -> "RenderableType":
        from rich.table import Table  # noqa: PLC0415 - see above
        from rich.text import Text  # noqa: PLC0415

        grid = Table.grid(padding=(0, 1))
        longest = max(map(len, self._names), default=0)
        cells = max(8, min(BAR_CELLS, self._console.width - BESIDE_BAR - longest))
        for name, by_status in rows:
            total = sum(by_status.values())
            ended = by_status["SUCCEEDED"] + by_status["FAILED"]
            legend = Text()
            for status in STATUSES:
                if by_status[status]:
                    legend.append(f"{by_status[status]} {status} ", style=_COLOURS[status])
            grid.add_row(
                Text(name, style="bold"), bar(by_status, cells), f"{ended}/{total}", legend
            )
        return grid

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.stop()
