"""Scaling: which instances to add and which to give back, as a pure function of what is there.

Simple meaning, for each queue in descending priority and each of its shapes in dispatch order:

1. What fits on instances that are there or booting is left to them, compute environment by compute
   environment.
2. The rest is packed onto new instances of the first environment that may still grow, at the lowest
   price; what is left over goes on to the next environment. What later shapes can use of a new
   instance, they use.

Then each environment is filled up to `minvCpus`, or to what a client raised `desiredvCpus` to; and
instances that nothing needed, that are idle and have been for long enough, are given back, the
dearest first, never below `minvCpus`. Instances that were lost or never registered are given back
whatever else holds.

An environment passes `maxvCpus` by at most one instance, and never for on-demand BEST_FIT.
Instances count from their order to their end on record, so an order whose answer was lost counts as
well.
"""

import uuid
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from longshore.domain.capacity import (
    BEST_FIT,
    ORDERED,
    Environment,
    Instance,
    InstanceState,
    QueueDemand,
    ShapeDemand,
    Snapshot,
)
from longshore.domain.catalogue import InstanceType
from longshore.domain.order import ON_DEMAND, SPOT, CapacityOrder, OrderEntry
from longshore.domain.packing import choose
from longshore.domain.resources import Resources

HEALTHY = "ComputeEnvironment Healthy"
NO_TYPES = "CLIENT_ERROR - None of the instance types of the compute environment is known."
NONE_JOINED = (
    "CLIENT_ERROR - Your compute environment has been INVALIDATED and scaled down because "
    "none of the instances joined the underlying ECS Cluster."
)
#: Begins the reason of the decision that turns an environment INVALID.
INVALID_MARK = "INVALID: "
#: Instances that fail one after the other before their environment turns INVALID.
FAILURES_LIMIT = 3
#: What a vCPU of minvCpus asks of an instance type: no memory to speak of.
_ONE_VCPU = Resources(1000, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScalingSettings:
    """How patient scaling is."""

    #: How long an instance is idle before it is given back.
    idle: timedelta = timedelta(seconds=60)
    #: How long an instance may take from its order to its registration.
    boot: timedelta = timedelta(seconds=300)


@dataclass(frozen=True, slots=True)
class Launch:
    """Instances of one type to order."""

    instance_type: InstanceType
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What to do about one compute environment.

    `desiredv_cpus` is what it has once that is done.
    """

    compute_environment: str
    desiredv_cpus: int
    launches: tuple[Launch, ...]
    purchase_option: str
    terminate: tuple[str, ...]
    status: str
    status_reason: str
    reason: str
    #: It is being deleted, and none of its instances is left.
    is_gone: bool = False


def decide(snapshot: Snapshot, now: datetime, settings: ScalingSettings) -> list[Decision]:
    """Decides for every managed compute environment, in the snapshot's order."""
    needs = [shape.need for queue in snapshot.queues for shape in queue.shapes] or [_ONE_VCPU]
    least = Resources(min(n.vcpu_milli for n in needs), min(n.memory_mib for n in needs))
    pools = {env.name: _Pool(env, _assess(env), least) for env in snapshot.environments}
    for instance in snapshot.instances:
        if pool := pools.get(instance.compute_environment):
            pool.add(instance, now, settings)
    for queue in sorted(snapshot.queues, key=lambda queue: (-queue.priority, queue.name)):
        _serve(queue, pools)
    for pool in pools.values():
        pool.fill()
    return [
        pool.decision(pool.idle(now, settings)) for pool in pools.values() if pool.env.is_managed
    ]


def order_for(decision: Decision, order_id: uuid.UUID) -> CapacityOrder:
    """The order that a decision with launches asks for."""
    return CapacityOrder(
        order_id=order_id,
        compute_environment=decision.compute_environment,
        target_vcpus=sum(launch.count * launch.instance_type.vcpus for launch in decision.launches),
        entries=tuple(
            OrderEntry(
                instance_type=launch.instance_type.name,
                purchase_option=decision.purchase_option,
                weight=launch.instance_type.vcpus,
                max_count=launch.count,
                price_per_hour=launch.instance_type.price_per_hour,
                rank=rank,
            )
            for rank, launch in enumerate(decision.launches)
        ),
        reason=decision.reason,
    )


def _assess(env: Environment) -> Environment:
    """The environment with the status that it deserves.

    A client's update is what heals an INVALID one.
    """
    if env.status in ("CREATING", "UPDATING", "VALID") and env.is_managed:
        if not env.instance_types:
            return replace(env, status="INVALID", status_reason=NO_TYPES)
        if env.failures >= FAILURES_LIMIT:
            return replace(env, status="INVALID", status_reason=NONE_JOINED)
    if env.status in ("CREATING", "UPDATING"):
        return replace(env, status="VALID", status_reason=HEALTHY)
    return env


def _serve(queue: QueueDemand, pools: dict[str, "_Pool"]) -> None:
    """Covers a queue's demand by what is there, then by new instances."""
    usable = [pools[name] for name in queue.environments if name in pools]
    usable = [pool for pool in usable if pool.env.is_usable]
    for shape in queue.shapes:
        left = shape.runnable
        for pool in usable:
            left = pool.place(shape.need, left)
        for pool in usable:
            left = pool.grow(shape, left)


class _Room:
    """What is free on an instance that is there, or on each of `count` alike that are to come."""

    __slots__ = ("count", "free", "instance", "is_needed")

    def __init__(self, free: Resources, instance: Instance | None = None, count: int = 1) -> None:
        self.free = free
        self.instance = instance
        self.count = count
        self.is_needed = False

    def take(self, need: Resources, jobs: int) -> tuple[int, list["_Room"]]:
        """Gives room to as many jobs as fit.

        Returns:
            How many, and the rooms that this one has become: filled, partly filled, untouched.
        """
        each = self.free.count(need)
        if not each:
            return 0, [self]
        filled = min(jobs // each, self.count)
        rest = jobs - filled * each if filled < self.count else 0
        if self.instance:
            self.is_needed = True
            self.free -= _times(need, filled * each + rest)
            return filled * each + rest, [self]
        untouched = self.count - filled - bool(rest)
        parts = ((filled, each), (1 if rest else 0, rest), (untouched, 0))
        return filled * each + rest, [
            _Room(self.free - _times(need, held), count=count) for count, held in parts if count
        ]


class _Pool:
    """A compute environment while a decision is made."""

    def __init__(self, before: Environment, env: Environment, least: Resources) -> None:
        self.env = env
        self._before = before
        self._least = least  # that any job needs
        self._rooms: list[_Room] = []  # with room for a job, maybe
        self._full: list[_Room] = []  # of instances that are there
        self._launches: dict[InstanceType, int] = {}
        self._terminate: list[str] = []
        self._reasons: list[str] = []
        self._total = 0  # vCPUs that count towards maxvCpus
        self._staying = 0  # of these, vCPUs that are not on their way out
        self._jobs = 0  # that new instances were ordered for
        self._floor = 0 if env.status == "INVALID" else env.minv_cpus

    def add(self, instance: Instance, now: datetime, settings: ScalingSettings) -> None:
        """Counts an instance; one that was lost or never came is given back at once."""
        self._total += instance.vcpus
        if instance.state is InstanceState.LEAVING:
            return
        late = instance.state is InstanceState.BOOTING and now - instance.ordered_at > settings.boot
        if instance.is_ours and (instance.state is InstanceState.LOST or late):
            text = "did not register in time" if late else "was lost"
            self._terminate.append(instance.instance_id)
            self._reasons.append(f"Instance {instance.instance_id} {text}.")
        elif instance.state is not InstanceState.LOST:
            self._staying += instance.vcpus
            room = _Room(instance.free, instance)
            (self._rooms if room.free.holds(self._least) else self._full).append(room)

    def place(self, need: Resources, count: int) -> int:
        """Leaves jobs to the room that there is; returns how many are left over."""
        rooms: list[_Room] = []
        for room in self._rooms:
            if not count:
                rooms.append(room)
                continue
            taken, parts = room.take(need, count)
            count -= taken
            for part in parts:
                if part.free.holds(self._least):
                    rooms.append(part)
                elif part.instance:
                    self._full.append(part)
        self._rooms = rooms
        return count

    def grow(self, shape: ShapeDemand, count: int) -> int:
        """Orders instances for jobs; returns how many are left over."""
        if not count or not self.env.is_managed:
            return count
        left = count
        while left and (choice := self._choose(shape.need, left)):
            kind, instances = choice
            taken, rooms = _Room(kind.offer, count=instances).take(shape.need, left)
            left -= taken
            self._rooms += [room for room in rooms if room.free.holds(self._least)]
        self._jobs += count - left
        if left:
            self._reasons.append(self._why_not(shape, left))
        return left

    def fill(self) -> None:
        """Orders instances up to minvCpus, or up to the desiredvCpus that a client raised."""
        env = self.env
        if not (env.is_managed and env.is_usable):
            return
        is_raised = env.desiredv_cpus > env.settledv_cpus
        floor = self._floor = max(env.minv_cpus, env.desiredv_cpus if is_raised else 0)
        before = self._staying
        while self._staying < floor and (choice := self._choose(_ONE_VCPU, floor - self._staying)):
            kind, instances = choice
            self._rooms.append(_Room(kind.offer, count=instances))
        if self._staying > before:
            member = "desiredvCpus" if floor > env.minv_cpus else "minvCpus"
            self._reasons.append(f"{member} asks for {_count(floor, 'vCPU')}, {before} were there.")

    def _choose(self, need: Resources, count: int) -> tuple[InstanceType, int] | None:
        """Picks instances for jobs within what the environment may have, and books them."""
        env = self.env
        waits = env.allocation_strategy == BEST_FIT  # rather than taking another type (spec 6.2)
        choice = choose(
            need,
            count,
            [kind for kind in env.instance_types if waits or kind.name not in env.short_types],
            headroom=env.maxv_cpus - self._total,
            may_overshoot=not env.is_strict,
            in_order=env.allocation_strategy == ORDERED,
        )
        if choice is None or choice[0].name in env.short_types:
            return None
        kind, instances = choice
        self._launches[kind] = self._launches.get(kind, 0) + instances
        self._total += kind.vcpus * instances
        self._staying += kind.vcpus * instances
        return choice

    def _why_not(self, shape: ShapeDemand, left: int) -> str:
        """Why jobs of a shape get no instances here."""
        env = self.env
        fitting = [kind for kind in env.instance_types if kind.offer.holds(shape.need)]
        if not fitting:
            return f"No instance type is large enough for {_count(left, 'job')}."
        if all(kind.name in env.short_types for kind in fitting):
            return f"The provider is short of what {_count(left, 'job')} would need."
        return f"maxvCpus of {env.maxv_cpus} leaves {_count(left, 'job')} waiting."

    def idle(self, now: datetime, settings: ScalingSettings) -> list[str]:
        """Instances to give back because nothing needs them, the dearest first."""
        env = self.env
        if not env.is_managed:
            return []
        if env.status == "DELETING":
            return [room.instance.instance_id for room in self._there() if room.instance]
        idle = [
            room.instance
            for room in self._there()
            if room.instance and not room.is_needed and _is_idle(room.instance, env, now, settings)
        ]
        chosen = []
        for instance in sorted(idle, key=_dearest_first):
            if self._staying - instance.vcpus >= self._floor:
                self._staying -= instance.vcpus
                chosen.append(instance.instance_id)
        return chosen

    def _there(self) -> list[_Room]:
        return [*self._rooms, *self._full]

    def decision(self, idle: list[str]) -> Decision:
        """Sums up."""
        env = self.env
        reasons = list(self._reasons)
        if self._jobs:
            names = _join(f"{n} x {kind.name}" for kind, n in self._launches.items())
            reasons.insert(
                0, f"{_count(self._jobs, 'RUNNABLE job')} did not fit: ordering {names}."
            )
        if idle:
            reasons.append(f"Giving back {_count(len(idle), 'idle instance')}.")
        if env.status == "INVALID" != self._before.status:
            reasons.insert(0, f"{INVALID_MARK}{env.status_reason}")
        if not reasons and self._staying < env.desiredv_cpus:
            reasons.append(f"Instances ended, {_count(self._staying, 'vCPU')} left.")
        return Decision(
            compute_environment=env.name,
            desiredv_cpus=0 if env.status == "DELETING" else self._staying,
            launches=tuple(Launch(kind, count) for kind, count in self._launches.items()),
            purchase_option=SPOT if env.is_spot else ON_DEMAND,
            terminate=(*self._terminate, *idle),
            status=env.status,
            status_reason=env.status_reason,
            reason=" ".join(reasons) or "What is there is enough.",
            is_gone=env.status == "DELETING" and not self._total,
        )


def _is_idle(
    instance: Instance, env: Environment, now: datetime, settings: ScalingSettings
) -> bool:
    """Whether an instance of ours has been idle for long enough."""
    if not instance.is_ours or instance.state is not InstanceState.READY or instance.live_attempts:
        return False
    delay = env.scale_down_delay if instance.has_run and env.scale_down_delay else settings.idle
    return instance.idle_since is not None and now - instance.idle_since >= delay


def _dearest_first(instance: Instance) -> tuple[float, datetime, str]:
    return (
        -instance.price_per_hour,
        instance.idle_since or instance.ordered_at,
        instance.instance_id,
    )


def _times(need: Resources, number: int) -> Resources:
    return Resources(need.vcpu_milli * number, need.memory_mib * number, need.gpus * number)


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def _join(names: Iterable[str]) -> str:
    return ", ".join(names)
