"""How good and how fast scaling decisions are: the bill, how full instances get, time and memory.

The bill is that of the instances ordered for a mix of jobs, over the least that the mix could cost
if instances and jobs could be cut (see `mixes`). Fullness is the share of the vCPUs ordered that
the scheduler's own placement fills while more jobs wait than maxvCpus allows.
"""

import argparse
import random
import resource
import statistics
import subprocess
import sys
import time
import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from mixes import Mix, a_mix, an_environment, least_bill

from longshore.domain import placement
from longshore.domain.capacity import (
    Instance,
    InstanceState,
    QueueDemand,
    ShapeDemand,
    Snapshot,
)
from longshore.domain.decision import Decision, ScalingSettings
from longshore.domain.opening import Room
from longshore.domain.resources import Resources
from longshore.domain.scaling import decide

NOW = datetime(2026, 1, 1, tzinfo=UTC)
MIXES = 64
#: Of the decision that is timed.
SHAPES, JOBS, INSTANCES, TYPES = 1_000, 1_000_000, 10_000, 100
FAMILIES = (
    *("m6i", "c6i", "r6i", "c7i", "m5", "c5", "r5", "m6a", "c6a", "r6a", "m7i", "r7i"),
    *("x2iedn", "g4dn", "g5"),
)


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mixes", type=int, default=MIXES)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--decision", action="store_true", help="only time one large decision")
    options = parser.parse_args()
    if options.decision:
        time_decision(options.repeats)
        return
    mixes = [a_mix(seed) for seed in range(options.mixes)]
    ratios = [bill(decision(mix)) / least_bill(mix) for mix in mixes]
    print(f"mixes of 300 to 30,000 jobs in 1 to 40 shapes | {len(mixes)}")
    print(f"hourly bill over the lower bound, median | {statistics.median(ratios):.3f}")
    print(f"hourly bill over the lower bound, worst | {max(ratios):.3f}", flush=True)
    fullness = [packed(mix) for mix in mixes if mix.kind != "GPU-heavy"]
    shares = [held / offered for held, offered in fullness]
    together = sum(held for held, _ in fullness) / sum(offered for _, offered in fullness)
    print(f"share of vCPUs held once the queue is saturated, all mixes | {together:.3f}")
    print(
        f"share of vCPUs held once the queue is saturated, median | {statistics.median(shares):.3f}"
    )
    print(f"share of vCPUs held once the queue is saturated, worst | {min(shares):.3f}", flush=True)
    # In a process of its own, so that its memory is its own.
    command = [sys.executable, str(Path(__file__)), "--decision", f"--repeats={options.repeats}"]
    subprocess.run(command, check=True)


def decision(mix: Mix) -> Decision:
    """The decision about a mix of jobs with nothing there yet."""
    queue = QueueDemand("bench", 1, ("bench",), mix.shapes)
    [made] = decide(Snapshot([queue], [mix.environment]), NOW, ScalingSettings())
    return made


def bill(made: Decision) -> float:
    """US dollars per hour of what is ordered."""
    return sum(launch.count * launch.offer.price_per_hour for launch in made.launches)


def packed(mix: Mix) -> tuple[int, int]:
    """What jobs hold of the vCPUs ordered, in thousandths, with four times the jobs that fit."""
    wanted = sum(shape.need.vcpu_milli * shape.runnable for shape in mix.shapes) / 1000
    limited = replace(mix.environment, maxv_cpus=int(max(wanted / 4, 256)))
    made = decision(replace(mix, environment=limited))
    kinds = [launch.offer.kind for launch in made.launches for _ in range(launch.count)]
    rooms = tuple(
        Room(f"i-{number:017x}", "bench", kind.offer, kind.offer)
        for number, kind in enumerate(kinds)
    )
    shapes = {
        shape.shape_id: placement.Shape(shape.shape_id, "bench", shape.need) for shape in mix.shapes
    }
    heads = tuple(
        placement.Entry(
            uuid.UUID(int=shape.shape_id + 1), shape.shape_id, 0, number, 0, shape.runnable, NOW
        )
        for number, shape in enumerate(mix.shapes)
    )
    queue = placement.Queue("bench", 1, ("bench",))
    plan = placement.plan(
        placement.Snapshot((queue,), shapes, rooms, {"bench": heads}),
        NOW,
        seed=0,
        limit=10**9,
        hold_after=timedelta(days=1),
    )
    held = sum(shapes[placed.entry.shape_id].need.vcpu_milli for placed in plan.placements)
    return held, sum(kind.offer.vcpu_milli for kind in kinds)


def time_decision(repeats: int) -> None:
    """Prints time and memory of one large decision."""
    snapshot = a_large_snapshot()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        decide(snapshot, NOW, ScalingSettings())
        seconds.append(time.perf_counter() - started)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(
        f"one decision, {JOBS:,} RUNNABLE jobs in {SHAPES:,} shapes, {INSTANCES:,} instances of "
        f"{TYPES} types, median | {statistics.median(seconds):.2f} s "
        f"[{min(seconds):.2f}-{max(seconds):.2f}]"
    )
    print(f"its peak memory, with Python and the snapshot | {peak / 1024:.0f} MB")
    print(f"of these by deciding | {(peak - before) / 1024:.0f} MB")


def a_large_snapshot() -> Snapshot:
    """Instances that are partly full, one in ten of them empty, and far more jobs than fit."""
    rng = random.Random(1)
    environment = an_environment(FAMILIES)
    environment = replace(environment, offers=environment.offers[:TYPES])
    shapes = []
    for number in range(SHAPES):
        vcpus = rng.choice((0.25, 0.5, 1, 2, 4, 8, 16))
        need = Resources(round(vcpus * 1000), int(vcpus * rng.uniform(0.5, 8) * 1024))
        shapes.append(ShapeDemand(number, need, JOBS // SHAPES))
    instances = []
    for number in range(INSTANCES):
        kind = environment.offers[number % TYPES].kind
        free = 1.0 if rng.random() < 0.1 else rng.random()
        instances.append(
            Instance(
                instance_id=f"i-{number:017x}",
                compute_environment=environment.name,
                state=InstanceState.READY,
                instance_type=kind.name,
                free=Resources(int(kind.offer.vcpu_milli * free), int(kind.offer.memory_mib * free))
                if free < 1
                else kind.offer,
                ordered_at=NOW,
                vcpus=kind.vcpus,
                price_per_hour=kind.price_per_hour,
                live_attempts=0 if free == 1 else 1,
                idle_since=NOW if free == 1 else None,
            )
        )
    quarter = SHAPES // 4
    queues = [
        QueueDemand(f"queue-{n}", n, ("bench",), tuple(shapes[n * quarter : (n + 1) * quarter]))
        for n in range(4)
    ]
    return Snapshot(queues, [environment], instances)


if __name__ == "__main__":
    main()
