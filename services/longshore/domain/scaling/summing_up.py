"""What a compute environment's decision is, once everything is placed and packed."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

import numpy as np

from longshore.domain.packing.worth import Vector, worths
from longshore.domain.resources import Resources
from longshore.domain.scaling.capacity import Offer
from longshore.domain.scaling.decision import Decision, GiveBack, Launch, Leave, ScalingSettings
from longshore.domain.scaling.fleet_nodes import offers_for_nodes
from longshore.domain.scaling.giving_back import consolidated, idle
from longshore.domain.scaling.making_room import Headroom, Swap, make_room
from longshore.domain.scaling.pool import Pool
from longshore.domain.scaling.refusal import Refusal, Refused
from longshore.domain.scaling.strategy import words
from longshore.domain.scaling.words import (
    count_of,
    given_back,
    gone,
    names_of,
    refused,
    turned_invalid,
)

#: What a vCPU of minvCpus asks of an instance type: no memory to speak of.
ONE_VCPU = Resources(1000, 1)


def sum_up(pool: Pool, unmet: Sequence[int], now: datetime, settings: ScalingSettings) -> Decision:
    """Fills up to the floor, gives back what is idle, and sums up.

    Args:
        pool: the environment, everything placed and packed.
        unmet: by rank, the jobs that find no room anywhere.
        now: the time.
        settings: how patient scaling is.
    """
    env, estate, fleet = pool.env, pool.estate, pool.fleet
    used = pool.is_used()
    fleet.stock.clear()
    ordered = dict(fleet.launches)
    floor, filled = _fill_up(pool)
    staying = estate.staying_vcpus + fleet.vcpus
    given = list(estate.given)
    is_quiet = not (fleet.launches or pool.turned_away or used.any())
    if env.status == "DELETING":
        given += [GiveBack(one.instance_id, Leave.DELETED) for one in estate.staying if one.is_ours]
        staying = 0.0
    else:
        vcpus = {one.instance_id: one.vcpus for one in estate.staying}
        swap = _make_room(pool, unmet, now, settings, staying - floor)
        back = list(swap.given)
        known = swap.staying.union(give.instance_id for give in back)
        unused = [
            one
            for one, is_used in zip(estate.staying, used, strict=True)
            if not is_used and one.instance_id not in known
        ]
        spare = staying - floor - sum(vcpus[give.instance_id] for give in back)
        back += idle(unused, env, now, settings, spare=max(spare, 0.0))
        if settings.consolidate and is_quiet and not back:
            drained = consolidated(estate.staying, spare=staying - floor)
            back += [drained] if drained else []
        staying -= sum(vcpus[give.instance_id] for give in back)
        given += back
    return Decision(
        compute_environment=env.name,
        desiredv_cpus=math.ceil(round(staying, 6)),
        launches=tuple(Launch(offer, count) for offer, count in fleet.launches.items()),
        alternatives=_alternatives(pool, ordered),
        headroom=max(env.maxv_cpus - estate.total, 0.0),
        terminate=tuple(given),
        status=env.status,
        status_reason=env.status_reason,
        reason=_reason(pool, ordered, filled, unmet, given, staying),
        is_invalidated=_is_invalidated(pool),
        is_gone=env.status == "DELETING" and not estate.total,
    )


def _is_invalidated(pool: Pool) -> bool:
    return pool.env.status == "INVALID" != pool.estate.before.status


def _make_room(
    pool: Pool, unmet: Sequence[int], now: datetime, settings: ScalingSettings, spare: float
) -> Swap:
    """Gives the first multi-node job that waits here for maxvCpus the room of what is idle."""
    for rank in sorted(pool.nodes_away):
        shape = pool.nodes_away[rank]
        offers = offers_for_nodes(pool.fleet, shape)
        at_maximum = pool.turned_away[rank][1].why is Refusal.AT_MAXIMUM
        if offers and unmet[rank] and at_maximum:
            break
    else:
        return Swap()
    kept = pool.for_nodes & (pool.claimed < rank)
    kept[[number for number, earlier in pool.fleet.completed.items() if earlier < rank]] = True
    for kind, numbers in pool.empty.items():
        kept[numbers[: pool.fleet.stock_for_nodes[kind]]] = True
    there = [
        one
        for one, is_kept in zip(pool.estate.staying, kept, strict=True)
        if not is_kept and not one.live_attempts
    ]
    may_go = idle(there, pool.env, now, settings, spare=math.inf)
    room = pool.env.maxv_cpus - pool.estate.staying_vcpus - pool.fleet.vcpus
    return make_room(shape.nodes, offers, there, may_go, Headroom(room, spare))


def _fill_up(pool: Pool) -> tuple[float, str]:
    """New instances up to minvCpus, or up to the desiredvCpus that a client raised.

    Returns:
        The vCPUs that must not be given back, and why instances were added.
    """
    env = pool.env
    floor = 0 if env.status == "INVALID" else env.minv_cpus
    if not (env.is_managed and env.is_usable) or env.is_fargate:
        return floor, ""
    member = "minvCpus"
    if env.desiredv_cpus > max(env.settledv_cpus, floor):
        floor, member = env.desiredv_cpus, "desiredvCpus"
    before = pool.estate.staying_vcpus + pool.fleet.vcpus
    if floor <= before or not pool.fleet.fill(floor - before):
        return floor, ""
    return floor, f"{member} asks for {count_of(floor, 'vCPU')}, {before:g} were there."


def _alternatives(pool: Pool, ordered: Mapping[Offer, int]) -> tuple[Offer, ...]:
    """What the provider may fall back on, or choose from."""
    env = pool.env
    launched = pool.fleet.launches
    has_gpus = {offer.kind.gpus > 0 for offer in launched}
    if pool.fleet.has_nodes or env.is_fargate or len(has_gpus) != 1:
        # Nothing is ordered; or nothing could stand in for both of what is.
        return ()
    needs = [want.shape.need for want in pool.wanted.values() if want.count] if ordered else []
    most = _most(needs) if needs else ONE_VCPU
    choice = pool.estate.choice
    demand = sum(_vector(want.shape.need) * want.count for want in pool.wanted.values())
    worth = worths(choice.sizes, choice.prices, np.asarray(demand + _vector(ONE_VCPU)))
    return choice.alternatives(launched, most, worth)


def _lacks(pool: Pool, unmet: Sequence[int]) -> list[str]:
    """Why jobs got no instances here, and what becomes of them."""
    counts: Counter[tuple[Refused, bool]] = Counter()
    for rank, (count, why) in pool.turned_away.items():
        waiting = min(count, unmet[rank])
        # Only maxvCpus leaves jobs to others with a word of its own.
        went_on = why.why is Refusal.AT_MAXIMUM
        counts[why, False] += waiting
        counts[why, went_on] += count - waiting
    return [
        refused(why, count, pool.env.maxv_cpus, went_on=went_on)
        for (why, went_on), count in counts.most_common()
        if count
    ]


def _reason(
    pool: Pool,
    ordered: Mapping[Offer, int],
    filled: str,
    unmet: Sequence[int],
    given: list[GiveBack],
    staying: float,
) -> str:
    """Everything that was decided, in plain words."""
    env, fleet = pool.env, pool.fleet
    parts = [turned_invalid(env.status_reason)] if _is_invalidated(pool) else []
    parts += gone(given)
    if ordered:
        jobs = count_of(fleet.covered, "RUNNABLE job")
        why = "slots of their size" if env.is_fargate else words(env.allocation_strategy)
        parts.append(f"{jobs} did not fit: ordering {names_of(ordered)} ({why}).")
    if filled:
        added = Counter(fleet.launches)
        added.subtract(ordered)
        parts.append(f"{filled} Ordering {names_of(+added)}.")
    parts += _lacks(pool, unmet)
    parts += given_back(given)
    if not parts and staying < env.desiredv_cpus:
        parts.append(f"Instances ended, {staying:g} vCPUs left.")
    return " ".join(parts) or "What is there is enough."


def _most(needs: Iterable[Resources]) -> Resources:
    """The most of each dimension."""
    rows = [(need.vcpu_milli, need.memory_mib, need.gpus) for need in needs]
    return Resources(*(max(column) for column in zip(*rows, strict=True)))


def _vector(need: Resources) -> Vector:
    return np.array([need.vcpu_milli, need.memory_mib, need.gpus], dtype=np.float64)
