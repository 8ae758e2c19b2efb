"""What others write and the mirror has, read again."""

from longshore.scheduler.isolating import Pass
from longshore.state.scheduler import topology


async def read_topology(this: Pass) -> bool:
    """Reads queues and environments again; False if they cannot be read now."""
    memory = this.memory
    known = await this.part("topology", lambda: topology.load(this.conn), None)
    if known is None:
        return False
    memory.shares.advance(memory.topology, this.changes.now)
    memory.topology = known
    memory.parking.parked.clear()
    return True
