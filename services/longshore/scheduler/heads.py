"""Which entries a plan is made from: the first of each queue, in turn where it has a policy."""

import uuid
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

from longshore.domain.fair_share import SharePolicy
from longshore.domain.placing.shapes import Entry, Sharing
from longshore.domain.placing.sharing import first_in_turn
from longshore.scheduler.memory import Memory
from longshore.state.pool import Connection
from longshore.state.scheduler import ready

#: Entries read of one queue for one plan.
HEADS_LIMIT = 500
#: As what entries are set aside.
PLACEMENT = "placement"


def name_of(entry: Entry) -> tuple[int, uuid.UUID, int]:
    """What an entry is known by while it is set aside; its shape is counted by it too."""
    return (entry.shape_id, entry.job_id, entry.next_index)


def waiting_shares(memory: Memory) -> dict[str, list[str]]:
    """Queues with a policy in which something waits, with the shares of which it does."""
    shares: dict[str, set[str]] = {}
    for shape_id in memory.runnable:
        shape = memory.shapes[shape_id]
        queue = memory.topology.queues.get(shape.job_queue)
        if queue is not None and queue.policy is not None:
            shares.setdefault(shape.job_queue, set()).add(shape.share)
    return {queue: sorted(names) for queue, names in shares.items()}


def unpark_reserved(memory: Memory, shared: Mapping[str, Sequence[str]], now: datetime) -> None:
    """Lets shapes try again for which enough is no longer reserved."""
    if memory.parking.reserved:
        for queue, waiting in shared.items():
            usable = _usable(memory, queue, waiting, now)
            memory.parking.unpark_reserved(queue, usable, memory.shapes)


async def read_heads(
    conn: Connection,
    memory: Memory,
    hungry: Mapping[str, Sequence[int]],
    shared: Mapping[str, Sequence[str]],
    now: datetime,
) -> tuple[dict[str, tuple[Entry, ...]], dict[str, Sharing]]:
    """The first entries of each queue, without those that were set aside.

    Args:
        conn: of the transaction.
        memory: the mirror.
        hungry: shapes that may find room, by queue.
        shared: queues with a policy, and the shares of which something waits there.
        now: the time of the plan.

    Returns:
        Entries by queue, and what decides between the shares of those that have some.
    """
    paused = memory.aside.paused(PLACEMENT)
    heads: dict[str, tuple[Entry, ...]] = {}
    sharing: dict[str, Sharing] = {}
    for queue, shapes in hungry.items():
        if queue not in shared:
            heads[queue] = _without(
                await ready.heads(conn, shapes, HEADS_LIMIT, len(paused)), paused
            )
    for queue, waiting in shared.items():
        policy = memory.topology.queues[queue].policy or SharePolicy()
        standings = memory.shares.ledger.standings(queue, policy, waiting, now)
        wanted = hungry.get(queue, ())
        chosen = first_in_turn(memory.shapes, wanted, standings)
        entries, cut = await ready.first(conn, chosen, HEADS_LIMIT, len(paused))
        heads[queue] = _without(entries, paused)
        unread = {s: memory.parking.known.get(s) for s in set(wanted) - set(chosen)}
        sharing[queue] = Sharing(standings, cut, unread, _usable(memory, queue, waiting, now))
    return heads, sharing


def _without(
    entries: Sequence[Entry], paused: Collection[tuple[int, uuid.UUID, int]]
) -> tuple[Entry, ...]:
    if not paused:
        return tuple(entries)
    return tuple(entry for entry in entries if name_of(entry) not in paused)


def _usable(memory: Memory, queue: str, waiting: Sequence[str], now: datetime) -> int | None:
    """vCPUs, in thousandths, that a queue may still take; None if nothing is reserved.

    Nor is it where nobody knows how many the queue may have.
    """
    row = memory.topology.queues[queue]
    most = [memory.topology.environments[name].most_vcpus for name in row.compute_environments]
    if row.policy is None or not row.policy.compute_reservation or None in most:
        return None
    most_milli = sum(vcpus * 1000 for vcpus in most if vcpus is not None)
    return memory.shares.ledger.usable(queue, row.policy, most_milli, waiting, now)
