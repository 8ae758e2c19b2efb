"""What comes from outside is done together, and one that fails is set aside by itself.

All items share a savepoint. Where it fails it is undone, and each half of the items tried by
itself, until the fault stands alone. So one bad item costs a few savepoints, and no other item its
turn. That the database or the lease is away is nobody's fault: that ends the transaction.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from prometheus_client import Counter

from longshore.domain.errors import StaleLease, Unavailable
from longshore.state.pool import Connection, savepoint

T = TypeVar("T")

SET_ASIDE = Counter(
    "longshore_scheduler_set_aside_total",
    "What failed by itself and was set aside: reports, ends of attempts, notices, assignments.",
    ["kind"],
)


async def apart(
    conn: Connection,
    items: Sequence[T],
    apply: Callable[[Sequence[T]], Awaitable[None]],
    save: Callable[[Sequence[T]], Callable[[], None]],
) -> list[tuple[T, Exception]]:
    """Applies items in their order; returns those that fail by themselves, with what failed.

    Args:
        conn: in a transaction.
        items: what to apply.
        apply: applies some of them; called again with fewer where it fails.
        save: called before; returns what undoes in memory that some were applied.

    Raises:
        Unavailable: the database is away.
        StaleLease: the lease is over.
    """
    if not items:
        return []
    undo = save(items)
    try:
        async with savepoint(conn):
            await apply(items)
    except (Unavailable, StaleLease):
        raise
    except Exception as error:  # noqa: BLE001 - whatever it is, it belongs to one of the items
        undo()
        if len(items) == 1:
            return [(items[0], error)]
        half = len(items) // 2
        return [
            *await apart(conn, items[:half], apply, save),
            *await apart(conn, items[half:], apply, save),
        ]
    return []
