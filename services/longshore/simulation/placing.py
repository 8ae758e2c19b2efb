"""The scheduler's pass in virtual time: waiting jobs to instances, by the production plan.

As `longshore.scheduler.memory` and `longshore.scheduler.placing` do it: a shape that found no room
is parked, and tries again once an attempt has ended on an instance where it fits, once an instance
joins, or once no instance is held for others any more.

How this differs, for speed: instances on which no waiting shape fits are left out of the snapshot
as long as nobody has waited long enough for an instance to be held; the plan is the same.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from longshore.domain.capacity import InstanceState
from longshore.domain.opening import Room
from longshore.domain.placement import HOLD_AFTER, Placement, Queue, Snapshot, Waiting, plan
from longshore.domain.resources import Resources
from longshore.simulation.backlog import Backlog
from longshore.simulation.clock import Clock
from longshore.simulation.fleet import Attempt, Fleet, Member, as_room


class Placer:
    """What the scheduler keeps from pass to pass."""

    def __init__(self, clock: Clock, backlog: Backlog, fleet: Fleet) -> None:
        self._clock = clock
        self._backlog = backlog
        self._fleet = fleet
        self._seed = 0
        #: Shapes that found no room, with the time since when their first job waits.
        self._parked: dict[int, datetime] = {}
        self._held: set[int] = set()
        #: Shapes that the scaler has heard of since they began to wait.
        self._told: set[int] = set()
        self._freed: dict[str, Member] = {}

    def freed(self, member: Member) -> None:
        """An attempt has ended on an instance."""
        self._freed[member.instance_id] = member

    def unpark(self, queues: Sequence[Queue], environment: str) -> None:
        """Lets the shapes of all queues that use an environment try again."""
        names = {q.name for q in queues if environment in q.compute_environments}
        for shape_id in list(self._parked):
            if self._backlog.shapes[shape_id].job_queue in names:
                del self._parked[shape_id]

    def place(self, queues: Sequence[Queue]) -> tuple[list[Attempt], bool]:
        """Passes until nothing more can be placed.

        Returns:
            The attempts that were started, and whether the scaler is to be woken.
        """
        backlog = self._backlog
        risen = backlog.take_risen()
        short = bool(risen & self._parked.keys())
        self._unpark()
        placed: list[Attempt] = []
        while hungry := self._hungry():
            rooms = self._rooms()
            fits = _fits(rooms, {s: backlog.shapes[s].need for ids in hungry.values() for s in ids})
            proposal = plan(
                Snapshot(
                    queues=tuple(queues),
                    shapes=backlog.shapes,
                    rooms=rooms,
                    heads={name: backlog.heads(ids, fits) for name, ids in hungry.items()},
                    parked=tuple(Waiting(s, since) for s, since in self._parked.items()),
                ),
                self._clock.now,
                self._seed,
            )
            self._seed += 1
            self._held = proposal.held
            placed += [self._start(placement) for placement in proposal.placements]
            backlog.take(proposal.placements)
            self._parked.update(proposal.unplaced)
            news = proposal.unplaced.keys() - self._told
            self._told |= news
            short |= bool(news)
            self._forget_gone()
            if not proposal.placements and not proposal.unplaced:
                break
        return placed, short

    def _start(self, placement: Placement) -> Attempt:
        member = self._fleet.members[placement.instance_id]
        job, number = self._backlog.start(placement)
        need = self._backlog.shapes[job.shape_id].need
        return self._fleet.place(job, placement.array_index, number, need, member)

    def _hungry(self) -> dict[str, list[int]]:
        """Shapes with RUNNABLE jobs that may find room, by queue."""
        found: dict[str, list[int]] = {}
        for shape_id in self._backlog.runnable:
            if shape_id not in self._parked:
                found.setdefault(self._backlog.shapes[shape_id].job_queue, []).append(shape_id)
        return found

    def _rooms(self) -> tuple[Room, ...]:
        """Instances as placement sees them; see the module for those that are left out."""
        first = self._backlog.first_waiting()
        long_since = self._clock.now - HOLD_AFTER
        if len(first) > 1 and min(first.values()) <= long_since:
            return tuple(as_room(member) for member in self._fleet.ready())
        least = _least(self._backlog.shapes[shape_id].need for shape_id in first)
        return tuple(as_room(m) for m in self._fleet.ready() if m.free.holds(least))

    def _unpark(self) -> None:
        rooms = [m.free for m in self._freed.values() if m.state is InstanceState.READY]
        self._freed.clear()
        for shape_id in list(self._parked):
            need = self._backlog.shapes[shape_id].need
            if any(free.holds(need) for free in rooms):
                del self._parked[shape_id]
        if any(s not in self._parked or s not in self._backlog.runnable for s in self._held):
            self._parked.clear()
            self._held.clear()

    def _forget_gone(self) -> None:
        """Forgets what is known of shapes of which no job waits any more."""
        for shape_id in [s for s in self._parked if s not in self._backlog.runnable]:
            del self._parked[shape_id]
        self._told &= self._backlog.runnable.keys()


def _fits(rooms: Sequence[Room], needs: Mapping[int, Resources]) -> dict[int, int]:
    """How many jobs of each shape there is room for, each alone."""
    least = _least(needs.values())
    free = [room.free for room in rooms if room.free.holds(least)]
    return {shape_id: sum(f.count(need) for f in free) for shape_id, need in needs.items()}


def _least(needs: Iterable[Resources]) -> Resources:
    """What any of the needs takes at least."""
    found = list(needs)
    return Resources(min(n.vcpu_milli for n in found), min(n.memory_mib for n in found))
