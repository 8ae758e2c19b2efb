"""The shares of queues that jobs were submitted for."""

from collections.abc import Collection

from longshore.domain.fair_share import ACTIVE_GRACE_SECONDS, WINDOW_LEAST_SECONDS, Share
from longshore.state.pool import Connection
from longshore.state.queries import load_queries

_SQL = load_queries("share")


async def enter(conn: Connection, wanted: Collection[Share], most: int) -> set[Share]:
    """Makes shares known, and keeps them so until the transaction ends.

    Returns:
        Those that were not made known because their queues have so many active ones already.
    """
    new = sorted(set(wanted) - await _known(conn, sorted(wanted)))
    if not new:
        return set()
    await conn.execute(_SQL["lock_shares"])
    queues = sorted({queue for queue, _ in new})
    counts = await _counts(conn, queues)
    if any(counts[queue] + sum(q == queue for q, _ in new) > most for queue in queues):
        await conn.execute(
            _SQL["forget_inactive"], queues, WINDOW_LEAST_SECONDS, ACTIVE_GRACE_SECONDS
        )
        counts = await _counts(conn, queues)
        # Others may have added some of them while this transaction waited.
        new = sorted(set(new) - await _known(conn, new))
    room = {queue: max(most - counts[queue], 0) for queue in queues}
    added: list[Share] = []
    for queue, share in new:
        if room[queue]:
            room[queue] -= 1
            added.append((queue, share))
    await conn.execute(_SQL["add_shares"], [q for q, _ in added], [s for _, s in added])
    return set(new) - set(added)


async def _known(conn: Connection, shares: Collection[Share]) -> set[Share]:
    rows = await conn.fetch(_SQL["find_shares"], [q for q, _ in shares], [s for _, s in shares])
    return {(row["job_queue"], row["share_identifier"]) for row in rows}


async def _counts(conn: Connection, queues: Collection[str]) -> dict[str, int]:
    rows = await conn.fetch(_SQL["count_shares"], queues)
    return dict.fromkeys(queues, 0) | {row["job_queue"]: row["shares"] for row in rows}
