"""The line of jobs in a queue with a fair-share policy, while a plan is made.

Simple meaning: the share with the lowest score comes first, and of its jobs the one of the highest
priority, the oldest of these. What it is given raises its score, so that it is another's turn
before long.

How the code differs: a share takes as many jobs of an array at one time as it may have until it is
another's turn. Of many shares the heads of those alone are read whose turn comes first, and the
line ends where it is not known who is next; another plan goes on from there. Room only shrinks
while a plan is made, so once a kind of jobs found none, it is not looked for again for other
shares, nor for those that were not read.
"""

import heapq
import math
from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence

from longshore.domain.consumable import Units
from longshore.domain.fair_share import Standing, Turns
from longshore.domain.placing.shapes import PlacingSnapshot, QueueEntry, Shape, Waiting
from longshore.domain.resources import Resources

#: Shapes of one queue whose heads are read for one plan. All of a share are read together.
SHAPES_READ = 50

#: What alone decides where a job of a queue fits.
Kind = tuple[Resources, int, str, Units]


def kind_of(shape: Shape) -> Kind:
    """What is alike of shapes of one queue, whosever their jobs are."""
    return shape.need, shape.nodes, shape.instance_type, shape.units


def first_in_turn(
    shapes: Mapping[int, Shape],
    hungry: Iterable[int],
    standings: Mapping[str, Standing],
    most: int = SHAPES_READ,
) -> list[int]:
    """Shapes of the shares whose turn comes first: whole shares, and no more once there are many.

    Args:
        shapes: all of them.
        hungry: of one queue, those that may find room.
        standings: of their shares.
        most: after how many there are enough.
    """
    by_share: dict[str, list[int]] = {}
    for shape_id in hungry:
        by_share.setdefault(shapes[shape_id].share, []).append(shape_id)
    found: list[int] = []
    # Each share has a shape at least, so that more shares are not needed.
    order = heapq.nsmallest(most, [(standings[share].score, share) for share in by_share])
    for _, share in order:
        if len(found) >= most:
            break
        found += by_share[share]
    return found


class QueueLine:
    """What waits in a queue, in turn."""

    def __init__(self, snapshot: PlacingSnapshot, queue: str) -> None:
        self._shapes = snapshot.shapes
        self._sharing = sharing = snapshot.sharing[queue]
        entries = snapshot.heads.get(queue, ())
        self._items = _by_share(snapshot, queue, entries)
        self._turns = Turns({share: sharing.standings[share] for share in self._items})
        self._left = Counter(entry.shape_id for entry in entries)
        self._usable = sharing.usable_milli
        self._bound = min(
            (sharing.standings[self._shapes[s].share].score for s in sharing.unread),
            default=math.inf,
        )
        #: Shares of which something waits that was not read and comes next.
        self._blocked: set[str] = set()
        #: Shapes of which all that was read is placed, and more waits.
        self._exhausted: set[int] = set()
        #: Jobs that the next entry has given away already.
        self._taken: dict[str, int] = {}
        self._failed: set[Kind] = set()
        self.unplaced: dict[int, Waiting] = {}
        self.reserved: set[int] = set()
        #: Shapes that a cap holds back, and whether it holds back all that is left.
        self._capped: set[int] = set()
        self._is_full = False
        self._settle()

    def __bool__(self) -> bool:
        """Whether it is known who is next."""
        return bool(self._turns) and not self._is_stopped and not self._is_full

    @property
    def item(self) -> QueueEntry | Waiting:
        """Who is next: some jobs, or a shape that found no room before."""
        return self._items[self._turns.share][0]

    @property
    def index(self) -> int:
        """The first job or child of the entry that is next."""
        item = self.item
        first = item.next_index if isinstance(item, QueueEntry) else 0
        return first + self._taken.get(self._turns.share, 0)

    def most(self, entry: QueueEntry) -> int:
        """How many jobs of the entry that is next may be placed before it is another's turn.

        0 if what is left is reserved.
        """
        shape = self._shapes[entry.shape_id]
        count = min(entry.end_index - self.index, self._turns.most(shape.milli, self._bound))
        return count if self._usable is None else max(min(count, self._usable // shape.milli), 0)

    def is_vain(self, entry: QueueEntry) -> bool:
        """Whether jobs like these found no room in this plan."""
        return kind_of(self._shapes[entry.shape_id]) in self._failed

    def skip(self) -> None:
        """Passes over what is next."""
        self._items[self._turns.share].popleft()
        self._settle()

    def pass_over(self, entry: QueueEntry) -> None:
        """Passes over all jobs of a shape: a cap holds them back."""
        self._capped.add(entry.shape_id)
        self._taken.pop(self._shapes[entry.shape_id].share, None)
        self._settle()

    def stop(self) -> None:
        """Passes over all that is left: the cap of the queue holds it back."""
        self._is_full = True

    def take(self, entry: QueueEntry, count: int) -> None:
        """Counts jobs of the entry that is next as placed."""
        share, shape = self._turns.share, self._shapes[entry.shape_id]
        self._taken[share] = self._taken.get(share, 0) + count
        if self._usable is not None:
            self._usable -= count * shape.milli
        if self.index == entry.end_index:
            del self._taken[share]
            self._items[share].popleft()
            self._left[entry.shape_id] -= 1
            if not self._left[entry.shape_id] and entry.shape_id in self._sharing.cut:
                self._exhausted.add(entry.shape_id)
                self._blocked.add(share)
        self._turns.give(count * shape.milli)
        self._settle()

    def fail(self, entry: QueueEntry, *, is_reserved: bool = False) -> Waiting:
        """Notes that an entry found no room, or that what is left is reserved."""
        shape = self._shapes[entry.shape_id]
        waiting = Waiting(shape.shape_id, entry.ready_at, entry.rank, entry.seq)
        if is_reserved:
            self.reserved.add(shape.shape_id)
        else:
            self._failed.add(kind_of(shape))
        self.unplaced[shape.shape_id] = waiting
        self._taken.pop(shape.share, None)
        self._settle()
        return waiting

    @property
    def kinds_left(self) -> set[Kind]:
        """What of single jobs was not looked at, as it is not known who is next."""
        left = {item.shape_id for items in self._items.values() for item in items}
        left |= self._sharing.unread.keys() | self._exhausted
        shapes = (self._shapes[shape_id] for shape_id in left)
        return {kind_of(shape) for shape in shapes if not shape.nodes} - self._failed

    def rule_out(self, kind: Kind) -> None:
        """Notes that no jobs of a kind would find room."""
        self._failed.add(kind)

    def close(self) -> bool:
        """Passes over what is left and would find no room; True if another plan is needed."""
        for items in self._items.values():
            for item in items:
                if isinstance(item, QueueEntry) and self._is_failed(item.shape_id):
                    waiting = Waiting(item.shape_id, item.ready_at, item.rank, item.seq)
                    self.unplaced.setdefault(item.shape_id, waiting)
        for shape_id, known in self._sharing.unread.items():
            is_reserved = self._is_reserved(shape_id)
            if known is not None and (is_reserved or self._is_failed(shape_id)):
                self.unplaced[shape_id] = known
                if is_reserved:
                    self.reserved.add(shape_id)
        left = {
            item.shape_id
            for items in self._items.values()
            for item in items
            if isinstance(item, QueueEntry)
        }
        left |= self._sharing.unread.keys() | self._exhausted
        return not self._is_full and any(
            not (s in self.unplaced or self._is_failed(s) or self._is_reserved(s)) for s in left
        )

    def _is_failed(self, shape_id: int) -> bool:
        return kind_of(self._shapes[shape_id]) in self._failed

    def _is_reserved(self, shape_id: int) -> bool:
        return self._usable is not None and self._usable < self._shapes[shape_id].milli

    @property
    def _is_stopped(self) -> bool:
        if self._turns.share in self._blocked:
            return True
        return self._turns.score > self._bound

    def _settle(self) -> None:
        """Passes over what found no room, and over shares that have nothing more waiting."""
        while self._turns:
            share = self._turns.share
            items = self._items[share]
            while items and self._is_passed_over(items[0]):
                items.popleft()
            if items or share in self._blocked:
                return
            self._turns.leave()

    def _is_passed_over(self, item: QueueEntry | Waiting) -> bool:
        """Whether it found no room in this plan, or a cap holds it back."""
        passed = item.shape_id in self.unplaced or item.shape_id in self._capped
        return passed and isinstance(item, QueueEntry)


def _by_share(
    snapshot: PlacingSnapshot, queue: str, entries: Sequence[QueueEntry]
) -> dict[str, deque[QueueEntry | Waiting]]:
    """What waits of each share, in its order; shapes that instances are gathered for come first."""
    shapes = snapshot.shapes
    waiting: list[QueueEntry | Waiting] = [
        parked for parked in snapshot.parked if shapes[parked.shape_id].job_queue == queue
    ]
    waiting += entries

    def order(item: QueueEntry | Waiting) -> tuple[int, int, int, int]:
        index = item.next_index if isinstance(item, QueueEntry) else -2
        return (-shapes[item.shape_id].priority, item.rank, item.seq, index)

    items: dict[str, deque[QueueEntry | Waiting]] = {}
    for item in sorted(waiting, key=order):
        items.setdefault(shapes[item.shape_id].share, deque()).append(item)
    return items
