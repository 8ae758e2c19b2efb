"""What the scaler writes of compute environments, which are submission's otherwise.

Submission makes and changes them as clients ask; `desiredvCpus` and the status then follow from
what becomes of their instances, and the row goes once nothing is left in it. Each statement says
what it was decided on, so what a client changed meanwhile stays.
"""

from longshore.state.pool import Connection
from longshore.state.queries import load_queries

_SQL = load_queries("environment_scaling")


async def settle(conn: Connection, environment: str, expected: int, desiredv_cpus: int) -> None:
    """Sets `desiredvCpus`; what a client changed since it was read stays."""
    await conn.execute(_SQL["settle"], environment, expected, desiredv_cpus)


async def set_status(
    conn: Connection, environment: str, expected: str, status: str, reason: str
) -> None:
    """Changes the status of an environment that still has the one that was read."""
    await conn.execute(_SQL["set_status"], environment, expected, status, reason)


async def delete_unused(conn: Connection, name: str) -> bool:
    """Removes a compute environment if nothing is left in it; whether it did."""
    return await conn.fetchval(_SQL["delete_unused"], name) is not None
