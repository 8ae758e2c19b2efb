"""A compute environment while a decision is made: its room, and what is added to it."""

from collections.abc import Iterable
from datetime import datetime

from longshore.domain.capacity import (
    BEST_FIT,
    ORDERED,
    Environment,
    Instance,
    InstanceState,
    ShapeDemand,
)
from longshore.domain.catalogue import InstanceType
from longshore.domain.decision import Decision, Launch, ScalingSettings
from longshore.domain.order import ON_DEMAND, SPOT
from longshore.domain.packing import choose
from longshore.domain.resources import Resources

#: Begins the reason of the decision that turns an environment INVALID.
INVALID_MARK = "INVALID: "
#: What a vCPU of minvCpus asks of an instance type: no memory to speak of.
ONE_VCPU = Resources(1000, 1)


class Room:
    """What is free on an instance that is there, or on each of `count` alike that are to come."""

    __slots__ = ("count", "free", "instance", "is_needed")

    def __init__(self, free: Resources, instance: Instance | None = None, count: int = 1) -> None:
        self.free = free
        self.instance = instance
        self.count = count
        self.is_needed = False

    def take(self, need: Resources, jobs: int) -> tuple[int, list["Room"]]:
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
            Room(self.free - _times(need, held), count=count) for count, held in parts if count
        ]


class Pool:
    """A compute environment while a decision is made."""

    def __init__(self, before: Environment, env: Environment, least: Resources) -> None:
        self.env = env
        self._before = before
        self._least = least  # that any job needs
        self._rooms: list[Room] = []  # with room for a job, maybe
        self._full: list[Room] = []  # of instances that are there
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
            room = Room(instance.free, instance)
            (self._rooms if room.free.holds(self._least) else self._full).append(room)

    def place(self, need: Resources, count: int) -> int:
        """Leaves jobs to the room that there is; returns how many are left over."""
        rooms: list[Room] = []
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
            taken, rooms = Room(kind.offer, count=instances).take(shape.need, left)
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
        while self._staying < floor and (choice := self._choose(ONE_VCPU, floor - self._staying)):
            kind, instances = choice
            self._rooms.append(Room(kind.offer, count=instances))
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

    def _there(self) -> list[Room]:
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
