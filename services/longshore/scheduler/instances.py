"""What the tables say of instances, checked and kept beside the agents' streams."""

from datetime import datetime

from longshore.domain.errors import NotFound, PreconditionFailed
from longshore.scheduler.memory import Memory
from longshore.state import agent
from longshore.state.agent import Registration
from longshore.state.pool import Connection


async def check_instance(conn: Connection, memory: Memory, registration: Registration) -> bool:
    """Whether the instance drains.

    Raises:
        NotFound: the compute environment does not exist.
        PreconditionFailed: the instance is over on record, or belongs elsewhere.
    """
    name = registration.compute_environment
    environment = memory.topology.environments.get(name)
    if environment is None:
        raise NotFound(
            f"Compute environment {name} does not exist; create it first, or name another one."
        )
    if registration.unmanaged:
        if environment.managed:
            raise PreconditionFailed(
                f"Compute environment {name} is MANAGED: its instances are ordered, "
                "machines join UNMANAGED ones."
            )
        return False
    record = await agent.instance(conn, registration.instance_id)
    if record is None or record[0] != name or record[1] in ("TERMINATED", "FAILED"):
        raise PreconditionFailed(
            f"Instance {registration.instance_id} of {name} is not on record as live."
        )
    return record[1] == "TERMINATING"


async def store_loads(conn: Connection, memory: Memory, now: datetime) -> None:
    """Stores how many attempts run on the instances where that changed."""
    loads = {
        instance_id: len(memory.instances[instance_id].attempts)
        for instance_id in memory.loads
        if instance_id in memory.instances
    }
    memory.loads.clear()
    await agent.set_load(conn, loads, now)
