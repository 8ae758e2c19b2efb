"""Runs a simulation: `python -m longshore.simulation WORKLOAD.yaml`; see `longshore simulate`."""

import argparse
import asyncio
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from longshore.domain.errors import InvalidRequest, LongshoreError
from longshore.simulation.driver import Simulation
from longshore.simulation.duration import microseconds
from longshore.simulation.prepare import prepare
from longshore.simulation.report import to_json, to_text
from longshore.simulation.summary import summarise
from longshore.simulation.workload import Workload, read

_ANY = ("BEST_FIT", "BEST_FIT_PROGRESSIVE")
#: Allocation strategies by type of compute environment.
STRATEGIES_OF = {
    "EC2": (*_ANY, "BEST_FIT_PROGRESSIVE_ORDERED"),
    "SPOT": (
        *_ANY,
        "SPOT_CAPACITY_OPTIMIZED",
        "SPOT_PRICE_CAPACITY_OPTIMIZED",
        "SPOT_CAPACITY_OPTIMIZED_PRIORITIZED",
    ),
    "FARGATE": (),
    "FARGATE_SPOT": (),
}
EXIT_INCOMPLETE = EXIT_UNTOLD = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="longshore simulate", description=__doc__)
    parser.add_argument("workload", type=Path)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--picture", type=Path)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--until")
    parser.add_argument("--strategy")
    return parser.parse_args(argv)


def _changed(workload: Workload, arguments: argparse.Namespace) -> Workload:
    """The workload with what the command line overrides."""
    if arguments.seed is not None:
        if not 0 <= arguments.seed <= 2**53:
            raise InvalidRequest("--seed must be from 0 to 2^53.")
        workload = msgspec.structs.replace(workload, seed=arguments.seed)
    if arguments.until is not None:
        try:
            if microseconds(arguments.until, "--until") <= 0:
                raise InvalidRequest("--until must be above 0.")
        except ValueError as error:
            raise InvalidRequest(f"{error}.") from None
        workload = msgspec.structs.replace(workload, until=arguments.until)
    if arguments.strategy is not None:
        workload = _with_strategy(workload, arguments.strategy)
    return workload


def _with_strategy(workload: Workload, strategy: str) -> Workload:
    """The workload with a strategy for all environments whose type may have it."""
    changed = tuple(
        msgspec.structs.replace(part, allocation_strategy=strategy)
        if strategy in STRATEGIES_OF[part.type]
        else part
        for part in workload.compute_environments
    )
    if changed == workload.compute_environments and not any(
        strategy == part.allocation_strategy for part in changed
    ):
        kinds = ", ".join(sorted({part.type for part in changed}))
        raise InvalidRequest(f"No compute environment of type {kinds} may have {strategy}.")
    return msgspec.structs.replace(workload, compute_environments=changed)


def run(arguments: argparse.Namespace) -> int:
    """Reads, simulates, reports.

    Raises:
        LongshoreError: the workload cannot be simulated, or the picture not be drawn.
    """
    picture: Path | None = arguments.picture
    if picture is not None:
        from longshore.simulation.picture import check_suffix, draw  # noqa: PLC0415 - slow to load

        check_suffix(picture)
    workload = _changed(read(arguments.workload), arguments)
    until_us = microseconds(workload.until, "until")
    simulation = Simulation(prepare(workload), seed=workload.seed, until_us=until_us)
    asyncio.run(simulation.run())
    summary = summarise(simulation)
    if picture is not None:
        draw(simulation.timeline, summary, picture)
    if arguments.json:
        text = to_json(summary)
    else:
        text = to_text(summary, shutil.get_terminal_size((100, 24)).columns)
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
    return 0 if summary.is_complete else EXIT_INCOMPLETE


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code: 0 when every job ended, 1 when some did not, 2 for a wrong workload.

    1 also when the result could not be written.
    """
    try:
        return run(_arguments(argv))
    except LongshoreError as error:
        sys.stderr.write(f"longshore: {error.message}\n")
        return EXIT_USAGE
    except BrokenPipeError:
        # The reader of a pipe has seen enough.
        sys.stdout = None
        return 0
    except OSError as error:
        # Files are told by name where they are read and written: this one is standard output.
        sys.stderr.write(f"longshore: Standard output cannot be written: {error.strerror}.\n")
        sys.stdout = None
        return EXIT_UNTOLD
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
