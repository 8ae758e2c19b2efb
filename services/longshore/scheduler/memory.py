"""What the scheduler keeps in memory: a mirror of the tables it alone writes.

Instances with what they have free, live attempts, RUNNABLE jobs counted by shape, queues and
environments. It is loaded whole when the lease is taken and changed along with each transaction;
when a transaction is lost with its connection or the lease, it is thrown away and loaded again. All
that may fail by itself is tried in a savepoint: where that is undone, `Saved` undoes what it meant
for the attempts in question. Its size goes with capacity and shapes, never with the backlog.
"""

from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from longshore.domain.catalogue import Catalogue
from longshore.domain.job.attempts import Attempts
from longshore.domain.job.happening import Following
from longshore.domain.job.record import AttemptRef, LiveAttempt
from longshore.domain.placing.capping import Caps, Running
from longshore.domain.placing.lacking import Lacking
from longshore.domain.placing.parking import Parking
from longshore.domain.placing.room import Room, is_slot
from longshore.domain.placing.round import Ground, see_supply
from longshore.domain.placing.shapes import Shape
from longshore.domain.placing.time_limit import Blockage
from longshore.domain.placing.waiting import Supply
from longshore.domain.resources import Resources
from longshore.scheduler import unstored
from longshore.scheduler.apart import Aside
from longshore.scheduler.consuming import Consuming
from longshore.scheduler.sharing import Shares
from longshore.scheduler.unstored import Unstored
from longshore.state.pool import Connection
from longshore.state.scheduler import (
    agent,
    attempt,
    consumable,
    demand,
    queue_blockage,
    share_usage,
    topology,
)
from longshore.state.scheduler.agent import Health
from longshore.state.scheduler.demand import Reason
from longshore.state.scheduler.topology import Topology

#: Shapes remembered of which no job waits: most come back.
SHAPES_KEPT = 1_000


@dataclass(slots=True)
class LiveInstance:
    """An instance whose agent is not lost."""

    instance_id: str
    compute_environment: str
    runtime: str
    total: Resources
    free: Resources
    draining: bool
    #: When the agent last gave a sign of life, by the scheduler's own monotonic clock.
    seen: float
    instance_type: str = ""
    health: Health = field(default_factory=Health)
    attempts: dict[AttemptRef, LiveAttempt] = field(default_factory=dict)


@dataclass(slots=True)
class Memory(Attempts):
    """The mirror.

    `loads` collects the instances whose number of attempts changed since it was last stored.
    """

    topology: Topology
    shapes: dict[int, Shape]
    runnable: dict[int, int]
    reasons: dict[int, Reason]
    instances: dict[str, LiveInstance] = field(default_factory=dict)
    parking: Parking = field(default_factory=Parking)
    #: Instances that are taken away, with the time from which attempts on them are stopped.
    drains: dict[str, datetime] = field(default_factory=dict)
    supply: Supply = field(default_factory=Supply)
    #: What instances lacked for parked shapes when they were last looked at.
    told: dict[int, Lacking] = field(default_factory=dict)
    #: Whether the reasons of parked shapes are to be told anew.
    reasons_stale: bool = False
    loads: set[str] = field(default_factory=set)
    #: Whether earlier ticks left something to follow.
    has_happenings: bool = True
    #: Live attempts on instances that are no longer there: to be ended, so many a tick.
    orphans: list[LiveAttempt] = field(default_factory=list)
    #: Changes of the counts of RUNNABLE jobs that could not be stored yet, by shape.
    uncounted: dict[int, int] = field(default_factory=dict)
    #: What is to be followed and could not be kept for a later tick yet.
    unkept: list[Following] = field(default_factory=list)
    #: What is on record of these two.
    unstored: Unstored = field(default_factory=Unstored)
    #: Nodes that may start, of whose jobs nothing could be read yet to tell their agents.
    untold: list[LiveAttempt] = field(default_factory=list)
    #: Instances on which an attempt ended since the last placement.
    freed: set[str] = field(default_factory=set)
    #: What of the tables is passed over for a while.
    aside: Aside = field(default_factory=Aside)
    #: What shares use, of queues that have a policy.
    shares: Shares = field(default_factory=Shares)
    #: What there is of consumable resources, and what is held of them.
    consuming: Consuming = field(default_factory=Consuming)
    #: Who blocks the queues that have time limits, as far as these are watched.
    blockages: dict[str, Blockage] = field(default_factory=dict)
    #: When that is looked at next, by the monotonic clock.
    fronts_due_at: float = 0.0
    #: Jobs that are placed, for caps: counted as attempts come and go.
    running: Running = field(default_factory=Running)

    @classmethod
    async def load(cls, conn: Connection, seen: float) -> "Memory":
        """Reads the mirror from the tables; every agent counts as seen at the given time."""
        demands = await demand.load(conn)
        memory = cls(
            topology=await topology.load(conn),
            shapes={shape_id: d.shape for shape_id, d in demands.items()},
            runnable={shape_id: d.runnable for shape_id, d in demands.items()},
            reasons={shape_id: d.reason for shape_id, d in demands.items()},
            shares=Shares.recorded(await share_usage.load(conn)),
            consuming=Consuming.recorded(await consumable.usages(conn)),
            blockages=await queue_blockage.load(conn),
        )
        await memory.take_unstored(conn)
        for row in await agent.present(conn):
            memory.add_instance(
                row.instance_id,
                row.compute_environment,
                row.runtime,
                row.resources,
                draining=row.draining,
                seen=seen,
                instance_type=row.instance_type,
                health=row.health,
            )
        lives = await attempt.live(conn)
        mains = {live.key.job_id: live for live in lives if live.is_main}
        for live in lives:
            main = mains.get(live.key.job_id)
            if main is not None and live is not main:
                live.held_back = not main.running
                live.main_address = main.address or ""
            memory.hold(live)
            memory.watch_deadline(live)
        memory.main_ends = await attempt.ended_main_nodes(conn)
        memory.loads.clear()
        return memory

    async def take_unstored(self, conn: Connection) -> None:
        """Takes over what an earlier leader could not store where it belongs."""
        self.unstored = await unstored.load(conn)
        self.unkept = list(self.unstored.happenings)
        self.uncounted = dict(self.unstored.differences)
        await self.learn_shapes(conn, self.uncounted)
        self.count_demand(self.uncounted)

    def add_instance(
        self,
        instance_id: str,
        compute_environment: str,
        runtime: str,
        total: Resources,
        *,
        draining: bool,
        seen: float,
        instance_type: str,
        health: Health,
    ) -> LiveInstance:
        """Adds an instance, or takes over what it newly says of itself; its attempts stay.

        So do those of one that was lost and is there again, as far as they were not ended yet.
        """
        known = self.instances.get(instance_id)
        if known is not None:
            attempts = known.attempts
        else:
            attempts = {(live.key, live.attempt): live for live in self._adrift(instance_id)}
            self.orphans = [live for live in self.orphans if live.instance_id != instance_id]
            self.loads.add(instance_id)
        free = total
        for live in attempts.values():
            free = free - live.held
        instance = LiveInstance(
            instance_id,
            compute_environment,
            runtime,
            total,
            free,
            draining,
            seen,
            instance_type,
            health,
            attempts,
        )
        self.instances[instance_id] = instance
        self.unpark_environment(compute_environment)
        return instance

    def hold(self, live: LiveAttempt) -> None:
        """Counts a live attempt.

        One on an instance that is no longer there counts too, until it is ended.
        """
        Attempts.hold(self, live)
        if live.instance_id not in self.instances:
            self.orphans.append(live)

    def take_up(self, live: LiveAttempt) -> None:
        """Counts a live attempt, on its instance if that is there."""
        Attempts.take_up(self, live)
        self.shares.hold(live)
        # A multi-node job holds once what all its nodes need.
        if live.units and len(self.live_of(live.key.job)) == 1:
            self.consuming.hold(live)
        if len(self.by_job[live.key.job_id]) == 1 or not live.key.is_node:
            # The nodes of a job are one.
            self.running.count(live.key.job_id, live.job_queue, 1)
        instance = self.instances.get(live.instance_id)
        if instance is not None:
            instance.attempts[live.key, live.attempt] = live
            instance.free = instance.free - live.held
            self.loads.add(live.instance_id)

    def release(self, live: LiveAttempt) -> None:
        """Gives back what an ended attempt held."""
        Attempts.release(self, live)
        ref = (live.key, live.attempt)
        self.shares.release(live)
        if live.units and not self.live_of(live.key.job):
            self.consuming.release(live)
        if live.key.job_id not in self.by_job or not live.key.is_node:
            self.running.count(live.key.job_id, live.job_queue, -1)
        instance = self.instances.get(live.instance_id)
        if instance is not None and instance.attempts.pop(ref, None) is not None:
            instance.free = instance.free + live.held
            self.loads.add(live.instance_id)
            self.freed.add(live.instance_id)

    async def learn_shapes(self, conn: Connection, shape_ids: Iterable[int]) -> None:
        """Reads shapes that the mirror does not know: no job of theirs waited lately."""
        new = set(shape_ids) - self.shapes.keys()
        if new:
            self.shapes.update(await demand.shapes(conn, new))

    def count_demand(self, differences: Mapping[int, int]) -> bool:
        """Adds to the counts of RUNNABLE jobs, of shapes that the mirror knows.

        True if more wait of a shape that has no room.
        """
        for shape_id, difference in differences.items():
            count = self.runnable.get(shape_id, 0) + difference
            if count:
                self.runnable[shape_id] = count
            else:
                self.parking.forget(shape_id)
                for known in (self.runnable, self.reasons, self.told):
                    known.pop(shape_id, None)
        self._forget_shapes()
        parked = self.parking.parked
        return any(diff > 0 and shape_id in parked for shape_id, diff in differences.items())

    def _forget_shapes(self) -> None:
        """Keeps the shapes that decisions look at, and not many more."""
        needed = self.runnable.keys() | self.parking.held
        if len(self.shapes) > len(needed) + SHAPES_KEPT:
            self.shapes = {shape_id: self.shapes[shape_id] for shape_id in needed}

    def told_of(self, instance_id: str) -> list[LiveAttempt]:
        """The attempts on an instance of which its agent is told."""
        instance = self.instances.get(instance_id)
        if instance is None:
            return [live for live in self._adrift(instance_id) if not live.held_back]
        return [live for live in instance.attempts.values() if not live.held_back]

    def _adrift(self, instance_id: str) -> list[LiveAttempt]:
        """Live attempts on an instance that is not there: still to be ended, or could not be."""
        refs = [(live.key, live.attempt) for live in self.orphans] + self.aside.keys("end")
        found = {ref: self.live[ref] for ref in refs if ref in self.live}
        return [live for live in found.values() if live.instance_id == instance_id]

    def maybe_untold(self) -> set[str]:
        """The instances whose agents may not know of something that is on record."""
        return {
            instance.instance_id
            for instance in self.instances.values()
            if instance.draining
            or any(
                live.stop is not None or not (live.running or live.held_back)
                for live in instance.attempts.values()
            )
        }

    def holds_back(self, instance_id: str) -> bool:
        """Whether a node is placed on an instance of which its agent does not know yet."""
        instance = self.instances.get(instance_id)
        return instance is not None and any(a.held_back for a in instance.attempts.values())

    def on_gone_instances(self, now: datetime) -> Iterator[LiveAttempt]:
        """Attempts on instances whose time is over."""
        for instance_id, until in self.drains.items():
            if until <= now and instance_id in self.instances:
                yield from list(self.instances[instance_id].attempts.values())

    def see_supply(self, supply: Supply) -> None:
        """Takes in what became of orders; if that changed, waiting shapes are explained anew."""
        if see_supply(self.parking, self.shapes, self.supply, supply):
            self.supply = supply
            self.reasons_stale = True

    def forget_shortages(self, now: datetime) -> None:
        """Drops shortages that are over: the provider is asked again."""
        if any(s.until <= now for s in self.supply.shortages):
            left = tuple(s for s in self.supply.shortages if s.until > now)
            self.see_supply(replace(self.supply, shortages=left))

    def waited_for(self, shape_ids: Iterable[int]) -> set[str]:
        """The consumable resources that jobs of some shapes need."""
        return {name for shape_id in shape_ids for name, _ in self.shapes[shape_id].units}

    def unpark_environment(self, name: str) -> None:
        """Lets the shapes of all queues that use an environment try again."""
        queues = {q.name for q in self.topology.queues.values() if name in q.compute_environments}
        self.parking.unpark_queues(queues, self.shapes)

    def take_freed(self) -> list[tuple[Resources, bool]]:
        """What instances have free on which an attempt ended, and whether they run nothing else."""
        freed = [
            (instance.free, not instance.attempts)
            for i in self.freed
            if (instance := self.instances.get(i)) is not None
            and not instance.draining
            and instance.health.fit
        ]
        self.freed.clear()
        return freed

    def ground(self, catalogue: Catalogue) -> Ground:
        """What a round of placement stands on."""
        environments = self.topology.environments
        return Ground(
            self.shapes,
            self.runnable,
            {
                queue.name: (
                    queue.priority,
                    tuple(environments[name] for name in queue.compute_environments),
                )
                for queue in self.topology.queues.values()
            },
            catalogue,
            self.supply,
            {
                queue.name: queue.policy
                for queue in self.topology.queues.values()
                if queue.policy is not None
            },
            self.shares.ledger,
            self.caps(),
            self.consuming.stock,
        )

    def caps(self) -> Caps:
        """The caps of queues, and what runs now."""
        queues = self.topology.queues.values()
        return Caps(
            {queue.name: queue.max_running for queue in queues if queue.max_running}, self.running
        )

    def rooms(self, connected: Container[str]) -> tuple[Room, ...]:
        """Instances with what they have free; those not connected are away."""
        return tuple(
            Room(
                i.instance_id,
                i.compute_environment,
                i.free,
                i.total,
                i.draining or i.instance_id in self.topology.outdated,
                i.instance_id not in connected,
                is_slot(i.instance_type),
                i.instance_type,
                i.health.condition,
            )
            for i in self.instances.values()
        )
