"""The scheduler's pass in virtual time: waiting jobs to instances, by production's own rounds.

These are `longshore.domain.placing.round`'s, as in `longshore.scheduler.placing`; here their heads
are read from the backlog, and what they propose is started at once.

How this differs, for speed: instances on which no waiting shape fits are left out of the snapshot
as long as nobody has waited long enough for an instance to be held; the plan is the same.
"""

import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from longshore.domain.catalogue import Catalogue
from longshore.domain.consumable import ConsumableShortage
from longshore.domain.placing.capping import Capped
from longshore.domain.placing.parking import Parking
from longshore.domain.placing.plan import HOLD_AFTER
from longshore.domain.placing.room import Room
from longshore.domain.placing.round import Ground, begin, capped, hungry, propose, see_supply, turns
from longshore.domain.placing.shapes import Placement, Queue, QueueEntry, QueueSharing, Shape
from longshore.domain.placing.waiting import EnvironmentFacts, Supply
from longshore.domain.resources import Resources
from longshore.domain.scaling.capacity import InstanceState
from longshore.simulation.backlog import Backlog
from longshore.simulation.clock import Clock
from longshore.simulation.consuming import SimulatedConsuming
from longshore.simulation.environment import EnvironmentState, facts
from longshore.simulation.fleet import SimulatedAttempt, SimulatedFleet, SimulatedInstance, as_room
from longshore.simulation.sharing import SimulatedShares


class Placer:
    """What the scheduler keeps from pass to pass."""

    def __init__(
        self,
        clock: Clock,
        backlog: Backlog,
        fleet: SimulatedFleet,
        environments: Mapping[str, EnvironmentState],
        supply: Callable[[], Supply],
        shares: SimulatedShares,
        consuming: SimulatedConsuming,
    ) -> None:
        self._clock = clock
        self._backlog = backlog
        self._fleet = fleet
        self._environments = environments
        self._supply = supply
        self._shares = shares
        self._consuming = consuming
        self._catalogue = Catalogue()
        self._facts: dict[str, EnvironmentFacts] = {}
        self._seed = 0
        self._parking = Parking()
        self._seen = Supply()
        #: Shapes that the scaler has heard of since they began to wait.
        self._told: set[int] = set()
        self._freed: dict[str, SimulatedInstance] = {}

    def freed(self, member: SimulatedInstance) -> None:
        """An attempt has ended on an instance."""
        self._freed[member.instance_id] = member

    def unpark(self, queues: Sequence[Queue], environment: str) -> None:
        """Lets the shapes of all queues that use an environment try again."""
        names = {q.name for q in queues if environment in q.compute_environments}
        self._parking.unpark_queues(names, self._backlog.shapes)

    def place(self, queues: Sequence[Queue]) -> tuple[list[SimulatedAttempt], bool]:
        """Passes until nothing more can be placed.

        Returns:
            The attempts that were started, of multi-node jobs their main nodes', and whether the
            scaler is to be woken.
        """
        backlog = self._backlog
        risen = backlog.take_risen()
        short = bool(risen & self._parking.parked.keys())
        ground = self._ground(queues)
        trying = begin(ground, self._parking, self._clock.now, self._take_freed())
        placed: list[SimulatedAttempt] = []
        while trying:
            rooms = self._rooms()
            fits = _fits(rooms, [backlog.shapes[s] for ids in trying.values() for s in ids])
            heads, sharing = self._heads(ground, trying, fits)
            proposal = propose(
                ground, self._parking, heads, sharing, rooms, self._clock.now, self._seed
            )
            self._seed += 1
            self._parking.take_in(proposal, backlog.runnable)
            placed += self._start(proposal.placements)
            backlog.take(proposal.placements)
            news = proposal.unplaced.keys() - proposal.starved - self._told
            # Those that lack units are no reason for instances: they are when they lack room.
            self._told = (self._told | news) - proposal.starved
            short |= bool(news)
            self._forget_gone()
            # Where there is no room once the cap leaves something, it is told again.
            self._told -= capped(ground, self._parking).keys()
            if not proposal.placements and not proposal.unplaced:
                break
            trying = hungry(ground, self._parking)
        return placed, short

    def _heads(
        self, ground: Ground, trying: Mapping[str, Sequence[int]], fits: Mapping[int, int]
    ) -> tuple[dict[str, tuple[QueueEntry, ...]], dict[str, QueueSharing]]:
        """The first entries of each queue, and what decides between the shares of some."""
        backlog, heads, sharing = self._backlog, {}, {}
        shared = turns(ground, self._parking, trying, self._clock.now)
        for name, ids in trying.items():
            if name not in shared:
                heads[name] = backlog.heads(ids, fits)
        for name, turn in shared.items():
            heads[name], cut = backlog.first(turn.shape_ids, fits)
            sharing[name] = turn.sharing(cut)
        return heads, sharing

    def holds_for_nodes(self) -> bool:
        """Whether instances are held for multi-node jobs."""
        return self._parking.holds_for_nodes(self._backlog.shapes)

    def shortages(self, shape_id: int) -> tuple[ConsumableShortage, ...] | None:
        """Which units a shape waits for; None if it does not wait for any."""
        if shape_id not in self._parking.starved:
            return None
        return self._consuming.stock.short_of(self._backlog.shapes[shape_id].units)

    def capped(self, queues: Sequence[Queue]) -> dict[int, Capped]:
        """Shapes with RUNNABLE jobs that a cap holds back, and which."""
        return capped(self._ground(queues), self._parking)

    def _start(self, placements: Iterable[Placement]) -> list[SimulatedAttempt]:
        started: list[SimulatedAttempt] = []
        mains: dict[uuid.UUID, SimulatedAttempt] = {}
        for placement in placements:
            member = self._fleet.members[placement.instance_id]
            main = mains.get(placement.entry.job_id) if placement.key.is_node else None
            if main is not None:
                other = self._fleet.place_other(main, member)
                self._shares.begin(self._backlog.shapes[other.job.shape_id], other)
                continue
            job, index, number = self._backlog.start(placement)
            self._consuming.begin(self._backlog.shapes[job.shape_id])
            need = self._backlog.shapes[job.shape_id].need
            if placement.key.is_node:
                need = member.kind.offer
            attempt = self._fleet.place(job, index, number, need, member)
            self._shares.begin(self._backlog.shapes[job.shape_id], attempt)
            if placement.key.is_node:
                # Nodes are alike, on instances that are alike: the first may be the main node.
                mains[job.job_id] = attempt
            started.append(attempt)
        return started

    def _ground(self, queues: Sequence[Queue]) -> Ground:
        """What rounds stand on now. What became of orders matters for multi-node jobs alone."""
        shapes, supply = self._backlog.shapes, Supply()
        if any(shapes[shape_id].nodes for shape_id in self._backlog.runnable):
            supply = self._supply()
            if see_supply(self._parking, shapes, self._seen, supply):
                self._seen = supply
        return Ground(
            shapes,
            self._backlog.runnable,
            {
                queue.name: (queue.priority, [self._known(n) for n in queue.compute_environments])
                for queue in queues
            },
            self._catalogue,
            supply,
            self._shares.policies,
            self._shares.ledger,
            self._backlog.caps,
            self._consuming.stock,
        )

    def _known(self, name: str) -> EnvironmentFacts:
        """An environment as placement sees it, made anew only when it changed."""
        state = self._environments[name]
        known = self._facts.get(name)
        if known is None or known.valid is not state.is_usable:
            known = self._facts[name] = facts(state)
        return known

    def _rooms(self) -> tuple[Room, ...]:
        """Instances as placement sees them; see the module for those that are left out."""
        first = self._backlog.first_waiting()
        long_since = self._clock.now - HOLD_AFTER
        if len(first) > 1 and min(first.values()) <= long_since:
            return tuple(as_room(member) for member in self._fleet.ready())
        least = _least(self._backlog.shapes[shape_id].need for shape_id in first)
        return tuple(as_room(m) for m in self._fleet.ready() if m.free.holds(least))

    def _take_freed(self) -> list[tuple[Resources, bool]]:
        """What instances have free on which an attempt ended, and whether they run nothing else."""
        freed = [m for m in self._freed.values() if m.state is InstanceState.READY]
        self._freed.clear()
        for shape_id, waiting in list(self._parking.parked.items()):
            # A retried job is the first of its shape now.
            if waiting.rank > self._backlog.first_rank(shape_id):
                del self._parking.parked[shape_id]
        return [(m.free, not m.attempts) for m in freed]

    def _forget_gone(self) -> None:
        """Forgets what is known of shapes of which no job waits any more."""
        parking, runnable = self._parking, self._backlog.runnable
        for shape_id in (parking.parked.keys() | parking.gathering.keys()) - runnable.keys():
            parking.forget(shape_id)
        self._told &= runnable.keys()


def _fits(rooms: Sequence[Room], shapes: Sequence[Shape]) -> dict[int, int]:
    """How many jobs of each shape there is room for at most, each alone."""
    least = _least(shape.need for shape in shapes)
    found = (room.free for room in rooms if room.free.holds(least))
    rows = [(free.vcpu_milli, free.memory_mib, free.gpus) for free in found]
    free = np.array(rows, dtype=np.int64).reshape(-1, 3)
    fits = {}
    for shape in shapes:
        need = shape.need
        counts = np.minimum(free[:, 0] // need.vcpu_milli, free[:, 1] // need.memory_mib)
        if need.gpus:
            counts = np.minimum(counts, free[:, 2] // need.gpus)
        # A node has an instance to itself.
        total = np.count_nonzero(counts) // shape.nodes if shape.nodes else counts.sum()
        fits[shape.shape_id] = int(total)
    return fits


def _least(needs: Iterable[Resources]) -> Resources:
    """What any of the needs takes at least."""
    found = list(needs)
    return Resources(min(n.vcpu_milli for n in found), min(n.memory_mib for n in found))
