"""Which idle instances are given back so that a multi-node job has room under maxvCpus.

Simple meaning: nodes need instances of one type, and what is idle is of others, or is too small.
Later jobs may be left to such an instance; that it is idle for long shows that nothing is placed
there before the nodes are. So it goes, but only once all that must go may go: the nodes then have
their room at once, and nothing is given back in vain. Of several types, that one is taken for which
the least has to go.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from longshore.domain.scaling.capacity import Instance, Offer
from longshore.domain.scaling.decision import GiveBack

_SLACK = 1e-6


@dataclass(frozen=True, slots=True)
class Headroom:
    """vCPUs that may be added as it is, and that may go for nothing."""

    free: float
    spare: float


@dataclass(frozen=True, slots=True)
class Swap:
    """What goes, and what stays for the nodes to be completed with."""

    given: tuple[GiveBack, ...] = ()
    staying: frozenset[str] = frozenset()


def make_room(
    nodes: int,
    offers: Sequence[Offer],
    idle: Sequence[Instance],
    may_go: Sequence[GiveBack],
    room: Headroom,
) -> Swap:
    """What a multi-node job that waits is to have for its nodes; nothing if it must wait on.

    Args:
        nodes: how many it has.
        offers: those that its nodes may be on.
        idle: instances that are not for earlier jobs, with nothing on them.
        may_go: those of them that have been idle for long enough, the first to go first.
        room: what maxvCpus and minvCpus leave.
    """
    vcpus = {one.instance_id: one.vcpus for one in idle}
    best: tuple[tuple[float, float, str], Swap] | None = None
    for offer in offers:
        kind = offer.kind
        there = [one.instance_id for one in idle if one.instance_type == kind.name][:nodes]
        size = (nodes - len(there)) * kind.vcpus
        missing = size - room.free
        given = []
        for give in may_go:
            if missing <= _SLACK:
                break
            if give.instance_id not in there:
                given.append(give)
                missing -= vcpus[give.instance_id]
        lost = sum(vcpus[give.instance_id] for give in given)
        # What comes in their place counts towards minvCpus as well.
        if missing <= _SLACK and (not lost or lost <= room.spare + size):
            key = lost, offer.price_per_hour, kind.name
            if best is None or key < best[0]:
                best = key, Swap(tuple(given), frozenset(there))
    return best[1] if best else Swap()
