"""One round of scaling: what is decided, when that could next differ, and what came of it.

A pass is a round, and again at once where the provider was short of what was ordered. Whoever
carries it out reads the snapshot, orders and gives back, and writes down what was settled.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from longshore.domain.scaling.capacity import CapacitySnapshot, Environment
from longshore.domain.scaling.decision import Decision, ScalingSettings
from longshore.domain.scaling.scaling import decide, next_due

#: Rounds of a pass: after the first one only where the provider was short of what was ordered.
ROUNDS_MOST = 3
#: How soon to look at the earliest whether busy instances have become idle.
LOOK_LEAST = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Round:
    """What a round decided, of each managed environment."""

    decisions: tuple[Decision, ...]
    environments: Mapping[str, Environment]
    #: When a decision may come out differently though nothing happens.
    due: datetime | None
    #: When an instance that is busy could have been idle for long enough; nobody tells.
    idle_at: datetime | None


def make(snapshot: CapacitySnapshot, now: datetime, settings: ScalingSettings) -> Round:
    """Decides for all managed environments."""
    is_busy = any(one.live_attempts and one.is_ours for one in snapshot.instances)
    return Round(
        tuple(decide(snapshot, now, settings)),
        {env.name: env for env in snapshot.environments},
        next_due(snapshot, now, settings),
        now + max(settings.idle, LOOK_LEAST) if is_busy else None,
    )


def goes_on(rounds: int, *, was_short: bool) -> bool:
    """Whether a pass makes another round after so many."""
    return was_short and rounds < ROUNDS_MOST


def settled(decision: Decision, vcpus_missed: float) -> int:
    """The vCPUs that an environment has once a decision is carried out, but for what was missed."""
    return max(math.ceil(decision.desiredv_cpus - vcpus_missed), 0)
