"""How good and how fast scaling decisions are: the bill, how full instances get, time and memory.

The bill is that of the instances ordered for a mix of jobs, over the least that the mix could cost
if instances and jobs could be cut (see `mixes`). Fullness is the share of the vCPUs ordered that
the scheduler's own placement fills while more jobs wait than maxvCpus allows. Where memory is what
runs out, vCPUs stay free on instances that are full all the same; so the share of what binds is
told beside it: of vCPUs or memory, whichever is held more, for the whole fleet and, since one
instance may be out of vCPUs and another out of memory, for each instance.
"""

import argparse
import resource
import statistics
import subprocess
import sys
import time
import uuid
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

from large import INSTANCES, JOBS, NOW, SHAPES, TYPES, a_large_snapshot, a_rolling_snapshot
from mixes import Mix, a_mix, least_bill

from longshore.domain.placing import plan
from longshore.domain.placing import shapes as placing
from longshore.domain.placing.room import Room
from longshore.domain.resources import Resources
from longshore.domain.scaling.capacity import CapacitySnapshot, QueueDemand
from longshore.domain.scaling.decision import Decision, ScalingSettings
from longshore.domain.scaling.scaling import decide

MIXES = 64


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mixes", type=int, default=MIXES)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--decision", action="store_true", help="only time large decisions")
    options = parser.parse_args()
    if options.decision:
        time_decision(options.repeats)
        time_rolling(options.repeats)
        return
    mixes = [a_mix(seed) for seed in range(options.mixes)]
    ratios = [bill(decision(mix)) / least_bill(mix) for mix in mixes]
    print(f"mixes of 300 to 30,000 jobs in 1 to 40 shapes | {len(mixes)}")
    print(f"hourly bill over the lower bound, median | {statistics.median(ratios):.3f}")
    print(f"hourly bill over the lower bound, worst | {max(ratios):.3f}", flush=True)
    fullness = [packed(mix) for mix in mixes if mix.kind != "GPU-heavy"]
    vcpus = [share.vcpus / share.vcpus_offered for share in fullness]
    together = sum(share.vcpus for share in fullness) / sum(
        share.vcpus_offered for share in fullness
    )
    print(f"share of vCPUs held once the queue is saturated, all mixes | {together:.3f}")
    print(
        f"share of vCPUs held once the queue is saturated, median | {statistics.median(vcpus):.3f}"
    )
    print(f"share of vCPUs held once the queue is saturated, worst | {min(vcpus):.3f}")
    for name, shares in (
        ("of the fleet's vCPUs or memory, whichever binds", [one.binding for one in fullness]),
        ("of what binds on each instance", [one.binding_each for one in fullness]),
    ):
        print(f"share {name}, held then, median | {statistics.median(shares):.3f}")
        print(f"share {name}, held then, worst | {min(shares):.3f}", flush=True)
    # In a process of its own, so that its memory is its own.
    command = [sys.executable, str(Path(__file__)), "--decision", f"--repeats={options.repeats}"]
    subprocess.run(command, check=True)


def decision(mix: Mix) -> Decision:
    """The decision about a mix of jobs with nothing there yet."""
    queue = QueueDemand("bench", 1, ("bench",), mix.shapes)
    [made] = decide(CapacitySnapshot([queue], [mix.environment]), NOW, ScalingSettings())
    return made


def bill(made: Decision) -> float:
    """US dollars per hour of what is ordered."""
    return sum(launch.count * launch.offer.price_per_hour for launch in made.launches)


@dataclass(frozen=True, slots=True)
class Fullness:
    """What jobs hold of what was ordered."""

    #: In thousandths.
    vcpus: int
    vcpus_offered: int
    #: The share of vCPUs or of memory that is held, whichever is more.
    binding: float
    #: The same of each instance by itself, the mean by its vCPUs.
    binding_each: float


def packed(mix: Mix) -> Fullness:
    """How full placement makes what is ordered, with four times the jobs that fit."""
    wanted = sum(shape.need.vcpu_milli * shape.runnable for shape in mix.shapes) / 1000
    limited = replace(mix.environment, maxv_cpus=int(max(wanted / 4, 256)))
    made = decision(replace(mix, environment=limited))
    kinds = [launch.offer.kind for launch in made.launches for _ in range(launch.count)]
    rooms = tuple(
        Room(f"i-{number:017x}", "bench", kind.offer, kind.offer)
        for number, kind in enumerate(kinds)
    )
    by_id = {
        shape.shape_id: placing.Shape(shape.shape_id, "bench", shape.need) for shape in mix.shapes
    }
    heads = tuple(
        placing.QueueEntry(
            uuid.UUID(int=shape.shape_id + 1), shape.shape_id, 0, number, 0, shape.runnable, NOW
        )
        for number, shape in enumerate(mix.shapes)
    )
    queue = placing.Queue("bench", 1, ("bench",))
    planned = plan.plan(
        placing.PlacingSnapshot((queue,), by_id, rooms, {"bench": heads}),
        NOW,
        seed=0,
        limit=10**9,
        hold_after=timedelta(days=1),
    )
    held = dict.fromkeys((room.instance_id for room in rooms), Resources(0, 0))
    for placed in planned.placements:
        held[placed.instance_id] += by_id[placed.entry.shape_id].need
    rows = [(*_shares(held[room.instance_id], room.total), room.total) for room in rooms]
    vcpus = sum(total.vcpu_milli for *_, total in rows)
    memory = sum(total.memory_mib for *_, total in rows)
    of_vcpus = sum(share * total.vcpu_milli for share, _, total in rows) / vcpus
    of_memory = sum(share * total.memory_mib for _, share, total in rows) / memory
    return Fullness(
        vcpus=sum(one.vcpu_milli for one in held.values()),
        vcpus_offered=vcpus,
        binding=max(of_vcpus, of_memory),
        binding_each=sum(max(v, m) * total.vcpu_milli for v, m, total in rows) / vcpus,
    )


def _shares(held: Resources, total: Resources) -> tuple[float, float]:
    return held.vcpu_milli / total.vcpu_milli, held.memory_mib / total.memory_mib


def time_decision(repeats: int) -> None:
    """Prints time and memory of one large decision."""
    snapshot = a_large_snapshot()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seconds = timed(snapshot, repeats)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(
        f"one decision, {JOBS:,} RUNNABLE jobs in {SHAPES:,} shapes, {INSTANCES:,} instances of "
        f"{TYPES} types, median | {statistics.median(seconds):.2f} s "
        f"[{min(seconds):.2f}-{max(seconds):.2f}]"
    )
    print(f"its peak memory, with Python and the snapshot | {peak / 1024:.0f} MB")
    print(f"of these by deciding | {(peak - before) / 1024:.0f} MB")


def time_rolling(repeats: int) -> None:
    """Prints the time of a decision where environments of several queues are full."""
    seconds = timed(a_rolling_snapshot(), repeats)
    print(
        f"one decision, {JOBS:,} RUNNABLE jobs in {SHAPES:,} shapes, three environments in rolling "
        f"order, maxvCpus at half of what is wanted, median | {statistics.median(seconds):.2f} s "
        f"[{min(seconds):.2f}-{max(seconds):.2f}]"
    )


def timed(snapshot: CapacitySnapshot, repeats: int) -> list[float]:
    """Seconds of each of so many decisions."""
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        decide(snapshot, NOW, ScalingSettings())
        seconds.append(time.perf_counter() - started)
    return seconds


if __name__ == "__main__":
    main()
