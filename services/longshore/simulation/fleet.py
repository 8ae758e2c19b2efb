"""Instances in virtual time: what runs on them, what they cost, how busy they were."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime

from longshore.domain.catalogue import InstanceType
from longshore.domain.placing.room import Room
from longshore.domain.resources import Resources
from longshore.domain.scaling.capacity import Instance, InstanceState
from longshore.simulation.backlog import Job
from longshore.simulation.clock import Clock

HOUR = 3_600_000_000


@dataclass(slots=True, eq=False)
class SimulatedAttempt:
    """One try of a job, child or node on an instance."""

    job: Job
    index: int
    number: int
    #: What it holds: of a node the whole instance.
    need: Resources
    member: "SimulatedInstance"
    started_us: int
    is_live: bool = True
    #: Of a node that is not the main node: the main node.
    main: "SimulatedAttempt | None" = None
    #: Of the main node: the other nodes.
    others: list["SimulatedAttempt"] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class SimulatedInstance:
    """An instance of the fleet, from its order to its end."""

    instance_id: str
    compute_environment: str
    kind: InstanceType
    zone: str
    purchase_option: str
    price_per_hour: float
    generation: int
    ordered_at: datetime
    ordered_us: int
    state: InstanceState = InstanceState.BOOTING
    free: Resources = field(default_factory=lambda: Resources(0, 0))
    attempts: set[SimulatedAttempt] = field(default_factory=set)
    idle_since: datetime | None = None
    has_run: bool = False
    #: When what is live on it is stopped, once it drains for a reason.
    drain_us: int | None = None
    #: From when on it is not paid for any more.
    billed_until_us: int | None = None
    busy_since_us: int = 0
    busy_us: int = 0
    used_milli_us: int = 0
    registered: bool = False
    #: What decisions see of it, until it changes.
    seen: Instance | None = None
    room: Room | None = None


@dataclass(slots=True)
class Gauge:
    """What an environment has at one moment, in thousandths of a vCPU."""

    booting: int = 0
    ready: int = 0
    busy: int = 0
    instances: int = 0
    #: Most vCPUs that ever counted towards maxvCpus, those that were ending included.
    counted: int = 0
    peak: int = 0


@dataclass(slots=True)
class Bill:
    """What was paid for in an environment, in dollars, and what it was good for."""

    cost: float = 0.0
    idle_cost: float = 0.0
    instances: int = 0
    #: Thousandths of a vCPU times microseconds: there, and held by attempts.
    there: int = 0
    used: int = 0
    interruptions: int = 0
    failures: int = 0
    by_type: dict[tuple[str, str], int] = field(default_factory=dict)


class SimulatedFleet:
    """All instances that are there, by id, in order of their launch."""

    def __init__(self, clock: Clock, environments: list[str], minimum_billed_us: int) -> None:
        self._clock = clock
        self._minimum_us = minimum_billed_us
        self.members: dict[str, SimulatedInstance] = {}
        self.gauges = {name: Gauge() for name in environments}
        self.bills = {name: Bill() for name in environments}
        #: Jobs and children; a multi-node job is one, by its main node.
        self.running = 0
        self.counted_milli = 0
        self.peak_milli = 0

    def add(self, member: SimulatedInstance) -> None:
        """Adds an instance that was just launched."""
        member.free = member.kind.offer
        self.members[member.instance_id] = member
        gauge, bill = self._of(member)
        milli = _milli(member)
        gauge.booting += milli
        gauge.instances += 1
        gauge.counted += milli
        gauge.peak = max(gauge.peak, gauge.counted)
        self.counted_milli += milli
        self.peak_milli = max(self.peak_milli, self.counted_milli)
        bill.instances += 1
        key = (member.kind.name, member.purchase_option)
        bill.by_type[key] = bill.by_type.get(key, 0) + 1

    def register(self, member: SimulatedInstance) -> None:
        """Its agent is there."""
        gauge, _ = self._of(member)
        gauge.booting -= _milli(member)
        gauge.ready += _milli(member)
        member.registered = True
        member.state = InstanceState.READY
        member.idle_since = self._clock.now
        _changed(member)

    def drain(self, member: SimulatedInstance) -> None:
        """It takes nothing more."""
        member.state = InstanceState.LEAVING
        _changed(member)

    def give_up(self, member: SimulatedInstance) -> None:
        """It will be ended, and is not paid for from now on."""
        if member.billed_until_us is None:
            member.billed_until_us = self._clock.us
            _, bill = self._of(member)
            life = max(self._clock.us - member.ordered_us, self._minimum_us)
            cost = member.price_per_hour * life / HOUR
            bill.cost += cost
            bill.idle_cost += max(cost - member.price_per_hour * member.busy_us / HOUR, 0.0)
            bill.there += _milli(member) * (self._clock.us - member.ordered_us)
            bill.used += member.used_milli_us

    def remove(self, member: SimulatedInstance) -> None:
        """It is gone."""
        self.give_up(member)
        del self.members[member.instance_id]
        gauge, _ = self._of(member)
        milli = _milli(member)
        gauge.counted -= milli
        self.counted_milli -= milli
        gauge.instances -= 1
        if member.registered:
            gauge.ready -= milli
        else:
            gauge.booting -= milli

    def place(
        self, job: Job, index: int, number: int, need: Resources, member: SimulatedInstance
    ) -> SimulatedAttempt:
        """Starts an attempt; a slot takes nothing more from then on."""
        self.running += 1
        return self._hold(SimulatedAttempt(job, index, number, need, member, self._clock.us))

    def place_other(self, main: SimulatedAttempt, member: SimulatedInstance) -> SimulatedAttempt:
        """Starts another node of a multi-node job, on an instance of its own."""
        need = member.kind.offer
        attempt = SimulatedAttempt(
            main.job, main.index, main.number, need, member, self._clock.us, main=main
        )
        main.others.append(attempt)
        return self._hold(attempt)

    def _hold(self, attempt: SimulatedAttempt) -> SimulatedAttempt:
        """Takes what an attempt needs of its instance."""
        member, need = attempt.member, attempt.need
        if not member.attempts:
            member.busy_since_us = self._clock.us
        member.attempts.add(attempt)
        member.free -= need
        member.idle_since = None
        if member.kind.is_slot:
            member.state = InstanceState.LEAVING
        _changed(member)
        self._of(member)[0].busy += need.vcpu_milli
        return attempt

    def release(self, attempt: SimulatedAttempt) -> None:
        """Ends an attempt."""
        member = attempt.member
        now = self._clock.us
        attempt.is_live = False
        member.attempts.remove(attempt)
        member.free += attempt.need
        member.used_milli_us += attempt.need.vcpu_milli * (now - attempt.started_us)
        if not member.attempts:
            member.busy_us += now - member.busy_since_us
            member.idle_since = self._clock.now
            member.has_run = True
        _changed(member)
        self._of(member)[0].busy -= attempt.need.vcpu_milli
        if attempt.main is None:
            self.running -= 1

    def ready(self) -> Iterator[SimulatedInstance]:
        """Instances that take attempts."""
        return (m for m in self.members.values() if m.state is InstanceState.READY)

    def _of(self, member: SimulatedInstance) -> tuple[Gauge, Bill]:
        return self.gauges[member.compute_environment], self.bills[member.compute_environment]


def as_room(member: SimulatedInstance) -> Room:
    """An instance as placement sees it."""
    if member.room is None:
        member.room = Room(
            member.instance_id,
            member.compute_environment,
            member.free,
            member.kind.offer,
            draining=member.state is not InstanceState.READY,
            slot=member.kind.is_slot,
            instance_type=member.kind.name,
        )
    return member.room


def as_instance(member: SimulatedInstance) -> Instance:
    """An instance as scaling sees it."""
    if member.seen is None:
        member.seen = Instance(
            instance_id=member.instance_id,
            compute_environment=member.compute_environment,
            state=member.state,
            free=member.free,
            ordered_at=member.ordered_at,
            instance_type=member.kind.name,
            held=tuple(attempt.need for attempt in member.attempts),
            vcpus=member.kind.vcpus,
            generation=member.generation,
            is_slot=member.kind.is_slot,
            price_per_hour=member.price_per_hour,
            live_attempts=len(member.attempts),
            idle_since=member.idle_since,
            has_run=member.has_run,
        )
    return member.seen


def _milli(member: SimulatedInstance) -> int:
    return round(member.kind.vcpus * 1000)


def _changed(member: SimulatedInstance) -> None:
    member.seen = None
    member.room = None
