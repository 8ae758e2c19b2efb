"""What the database refuses where it belongs is put elsewhere, so that the next leader knows of it.

What follows from something and cannot be kept, and how counts of RUNNABLE jobs changed that cannot
be stored, are in the mirror until they can. The mirror ends with the lease: tables of their own
have the same, written in the transaction that found out.
"""

from dataclasses import dataclass, field

from longshore.domain.job.happening import Following
from longshore.state.pool import Connection
from longshore.state.scheduler import demand, happening


@dataclass(frozen=True, slots=True)
class Unstored:
    """What is in the mirror alone."""

    happenings: tuple[Following, ...] = ()
    #: Of counts of RUNNABLE jobs, by shape.
    differences: dict[int, int] = field(default_factory=dict)


async def load(conn: Connection) -> Unstored:
    """What an earlier leader could not store."""
    return Unstored(tuple(await happening.unkept(conn)), await demand.uncounted(conn))


async def store(conn: Connection, known: Unstored, now: Unstored) -> None:
    """Stores what of it is news."""
    if now.happenings != known.happenings:
        await happening.replace_unkept(conn, now.happenings)
    if now.differences != known.differences:
        await demand.replace_uncounted(conn, now.differences)
