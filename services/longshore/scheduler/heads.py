"""Which entries a plan is made from: the first of each queue, in turn where it has a policy."""

import uuid
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

from longshore.domain.placing.round import Ground, turns
from longshore.domain.placing.shapes import QueueEntry, QueueSharing
from longshore.scheduler.memory import Memory
from longshore.state.pool import Connection
from longshore.state.scheduler import ready

#: Entries read of one queue for one plan.
HEADS_LIMIT = 500
#: As what entries are set aside.
PLACEMENT = "placement"


def name_of(entry: QueueEntry) -> tuple[int, uuid.UUID, int]:
    """What an entry is known by while it is set aside; its shape is counted by it too."""
    return (entry.shape_id, entry.job_id, entry.next_index)


async def read_heads(
    conn: Connection,
    memory: Memory,
    ground: Ground,
    trying: Mapping[str, Sequence[int]],
    now: datetime,
) -> tuple[dict[str, tuple[QueueEntry, ...]], dict[str, QueueSharing]]:
    """The first entries of each queue, without those that were set aside.

    Args:
        conn: of the transaction.
        memory: the mirror.
        ground: of the round.
        trying: shapes that may find room, by queue.
        now: the time of the plan.

    Returns:
        Entries by queue, and what decides between the shares of those that have some.
    """
    paused = memory.aside.paused(PLACEMENT)
    heads: dict[str, tuple[QueueEntry, ...]] = {}
    sharing: dict[str, QueueSharing] = {}
    shared = turns(ground, memory.parking, trying, now)
    for queue, shapes in trying.items():
        if queue not in shared:
            heads[queue] = _without(
                await ready.heads(conn, shapes, HEADS_LIMIT, len(paused)), paused
            )
    for queue, turn in shared.items():
        entries, cut = await ready.first(conn, turn.shape_ids, HEADS_LIMIT, len(paused))
        heads[queue] = _without(entries, paused)
        sharing[queue] = turn.sharing(cut)
    return heads, sharing


def _without(
    entries: Sequence[QueueEntry], paused: Collection[tuple[int, uuid.UUID, int]]
) -> tuple[QueueEntry, ...]:
    if not paused:
        return tuple(entries)
    return tuple(entry for entry in entries if name_of(entry) not in paused)
