"""The demand of a queue with a fair-share policy, in the order in which its jobs will be placed.

Simple meaning: the vCPUs that the queue may have and does not use are given out share by share as
their turns come; the jobs that get some come first, so that what is ordered fits them, and all
others after them. What is reserved for shares to come is no reason for instances.

How the code differs: to instances jobs are alike that need the same, whosever they are, so the
shapes of all shares become one for each need, once for those that come first and once for the rest.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from longshore.domain.fair_share import Claim, Ledger, SharePolicy, Standing, in_turn
from longshore.domain.scaling.capacity import ShapeDemand

#: After all that comes in order of submission.
_LAST = 1, 0


@dataclass(frozen=True, slots=True)
class DemandSharing:
    """What decides between the shares of a queue."""

    policy: SharePolicy
    #: Of all shares with jobs that wait.
    standings: Mapping[str, Standing]
    #: How many are active.
    active: int
    #: vCPUs in use, in thousandths.
    used_milli: int
    #: vCPUs that the queue may have, in thousandths; None: nobody knows.
    most_milli: int | None


def sharing(
    queue: str,
    policy: SharePolicy,
    shapes: Sequence[ShapeDemand],
    ledger: Ledger,
    most_milli: int | None,
    now: datetime,
) -> DemandSharing:
    """What decides between the shares of a queue at a moment."""
    waiting = {shape.share for shape in shapes}
    used, active = ledger.in_use(queue, policy, waiting, now)
    return DemandSharing(
        policy, ledger.standings(queue, policy, waiting, now), active, used, most_milli
    )


def in_order(shapes: Sequence[ShapeDemand], between: DemandSharing) -> tuple[ShapeDemand, ...]:
    """The demand of a queue, those first whose turn comes first."""
    if not shapes:
        return ()
    reserves = between.policy.compute_reservation > 0 and between.most_milli is not None
    by_share = sorted(shapes, key=lambda shape: (-shape.priority, shape.order))
    claims = [
        Claim(index, shape.share, shape.milli, shape.runnable)
        for index, shape in enumerate(by_share)
    ]
    first = in_turn(claims, between.standings, _room(claims, between, reserves=reserves))
    order = min(shape.order for shape in shapes)
    found = _merge([(by_share[index], count) for index, count in first.items()], order)
    if not reserves:
        left = [
            (shape, shape.runnable - first.get(index, 0)) for index, shape in enumerate(by_share)
        ]
        found += _merge([(shape, count) for shape, count in left if count], _LAST)
    return tuple(found)


def _room(claims: Sequence[Claim[int]], between: DemandSharing, *, reserves: bool) -> int:
    """VCPUs, in thousandths, that may be given out."""
    if between.most_milli is None:
        return sum(claim.milli * claim.count for claim in claims)
    most = between.most_milli
    if reserves:
        most = between.policy.usable(most, between.active)
    return most - between.used_milli


def _merge(counts: Sequence[tuple[ShapeDemand, int]], order: tuple[int, int]) -> list[ShapeDemand]:
    """One shape for all that need the same, in the order in which the first of them came."""
    merged: dict[tuple[object, ...], ShapeDemand] = {}
    for shape, count in counts:
        kind = shape.need, shape.nodes, shape.instance_type, shape.units
        known = merged.get(kind)
        before = known.runnable if known is not None else 0
        merged[kind] = replace(known or shape, runnable=before + count, order=order)
    return list(merged.values())
