"""The counts of RUNNABLE jobs by shape, stored once in a pass as the mirror has them."""

from collections import Counter
from collections.abc import Sequence

from longshore.scheduler import unstored
from longshore.scheduler.apart import apart, nothing
from longshore.scheduler.isolating import Pass
from longshore.scheduler.unstored import Unstored
from longshore.state.scheduler import demand


async def keep_unstored(this: Pass) -> None:
    """Puts on record what of the counts, and of what is to be followed, is in the mirror alone."""
    memory = this.memory
    now = Unstored(tuple(memory.unkept), dict(memory.uncounted))
    if now == memory.unstored:
        return

    async def store() -> bool:
        await unstored.store(this.conn, memory.unstored, now)
        return True

    if await this.part("unstored", store, otherwise=False):
        memory.unstored = now


async def store_demand(this: Pass) -> bool:
    """Stores how counts changed; True if more of it can be stored now.

    What cannot be stored is added to the next differences.
    """
    memory = this.memory
    differences = Counter(memory.uncounted)
    for shape_id, difference in this.changes.settled.items():
        differences[shape_id] += difference
    paused = memory.aside.paused("demand")

    async def change(part: Sequence[int]) -> None:
        await demand.change(this.conn, {shape_id: differences[shape_id] for shape_id in part})

    tried = await apart(this.conn, [s for s in differences if s not in paused], change, nothing)
    for shape_id, error in tried.failed:
        memory.aside.add("demand", shape_id, error, shape_id=shape_id)
    missing = {*paused, *tried.left, *(shape_id for shape_id, _ in tried.failed)}
    memory.uncounted = {s: count for s, count in differences.items() if s in missing}
    return bool(tried.left)
