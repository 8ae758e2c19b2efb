"""What others write and the mirror has, read again."""

from longshore.scheduler.isolating import Pass
from longshore.state.scheduler import consumable, topology


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


async def read_consumables(this: Pass) -> bool:
    """Reads how much there is of what jobs wait for; False if that cannot be read now."""
    memory = this.memory
    names = memory.waited_for(memory.runnable)
    found = await this.part("consumables", lambda: consumable.read(this.conn, names), None)
    if found is None:
        return False
    memory.consuming.stock.resources = found
    memory.parking.unpark_starved()
    return True
