"""What comes from outside is done together, and one that fails is set aside by itself.

All items share a savepoint. Where it fails it is undone, and each half of the items tried by
itself, until the fault stands alone. So one bad item costs a few savepoints, and no other item its
turn. How often is bounded: where many are bad, the rest waits for the next tick.

What was set aside is tried again, after pauses that double. Until then it is passed over: a tick
neither begins with it again nor is due because of it.

That the database or the lease is away is nobody's fault: that ends the transaction.
"""

import time
from collections import OrderedDict, defaultdict
from collections.abc import Awaitable, Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import structlog
from prometheus_client import Counter

from longshore.domain.errors import StaleLease, Unavailable
from longshore.state.pool import Connection, savepoint

log = structlog.get_logger()

T = TypeVar("T")

#: Most tries of one part in one tick.
TRIES = 64
#: How long what failed is passed over at first, and at most.
PAUSE_SECONDS = 2.0
PAUSE_MOST_SECONDS = 600.0
#: As what a part of the tick is set aside: others wait for it, so it is tried again sooner.
PART = "part"
PART_PAUSE_MOST_SECONDS = 30.0
#: Doublings after which a pause is the longest in any case: a float bears no thousand of them.
_DOUBLINGS_MOST = 32
#: Most items of a kind that are passed over; beyond, those that were set aside first are tried.
PAUSED_MOST = 1_000

SET_ASIDE = Counter(
    "longshore_scheduler_set_aside_total",
    "What failed by itself and was set aside, by what it is.",
    ["kind"],
)


@dataclass(frozen=True, slots=True)
class Apart(Generic[T]):
    """What was not applied: with what failed, and what is to be tried in the next tick."""

    failed: list[tuple[T, Exception]] = field(default_factory=list)
    left: list[T] = field(default_factory=list)


async def apart(
    conn: Connection,
    items: Sequence[T],
    apply: Callable[[Sequence[T]], Awaitable[None]],
    save: Callable[[Sequence[T]], Callable[[], None]],
) -> Apart[T]:
    """Applies items in their order; returns those that fail by themselves, with what failed.

    Args:
        conn: in a transaction.
        items: what to apply; what is left of them are the last ones.
        apply: applies some of them; called again with fewer where it fails.
        save: called before; returns what undoes in memory that some were applied.

    Raises:
        Unavailable: the database is away.
        StaleLease: the lease is over.
    """
    result: Apart[T] = Apart()
    parts = [items] if items else []
    tries = TRIES
    while parts and tries > 0:
        part = parts.pop()
        tries -= 1
        undo = save(part)
        try:
            async with savepoint(conn):
                await apply(part)
        except (Unavailable, StaleLease):
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, it belongs to one of the items
            undo()
            if len(part) == 1:
                result.failed.append((part[0], error))
            else:
                half = len(part) // 2
                parts += [part[half:], part[:half]]
    for part in reversed(parts):
        result.left.extend(part)
    return result


class Aside:
    """What failed by itself, and until when it is passed over.

    One that is tried again and goes well is forgotten after a while.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        #: By kind and key: how often it failed, and the end of its pause.
        self._items: dict[str, OrderedDict[Hashable, tuple[int, float]]] = defaultdict(OrderedDict)

    def add(self, kind: str, key: Hashable, error: Exception, **what: object) -> None:
        """Sets an item aside and says so."""
        items, now = self._items[kind], self._clock()
        failures, _ = items.pop(key, (0, 0.0))
        most = PART_PAUSE_MOST_SECONDS if kind == PART else PAUSE_MOST_SECONDS
        pause = min(PAUSE_SECONDS * 2.0 ** min(failures, _DOUBLINGS_MOST), most)
        items[key] = failures + 1, now + pause
        if len(items) > PAUSED_MOST:
            items.popitem(last=False)
        note(kind, error, pause_seconds=pause, **what)

    def paused(self, kind: str) -> set[Any]:
        """The keys of those that are passed over."""
        if not (items := self._items.get(kind)):
            return set()
        now = self._clock()
        for key, (_, until) in list(items.items()):
            if until + PAUSE_MOST_SECONDS < now:
                del items[key]
        return {key for key, (_, until) in items.items() if until > now}

    def keys(self, kind: str) -> list[Any]:
        """The keys of all that was set aside, be it due or not."""
        return list(self._items.get(kind, ()))

    def due(self, kind: str) -> list[Any]:
        """The keys of those whose pause is over."""
        now = self._clock()
        return [key for key, (_, until) in self._items.get(kind, {}).items() if until <= now]

    def forget(self, kind: str, key: Hashable) -> None:
        """It went well, or there is nothing more to do."""
        if items := self._items.get(kind):
            items.pop(key, None)


def nothing(_: Sequence[Any]) -> Callable[[], None]:
    """Where nothing in memory is to be undone."""
    return lambda: None


def note(kind: str, error: Exception, **what: object) -> None:
    """Counts and logs that something was set aside."""
    SET_ASIDE.labels(kind).inc()
    log.error("item.set_aside", kind=kind, exc_info=error, **what)
