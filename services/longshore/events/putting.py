"""Events from outside: put in line with everything that happens."""

from dataclasses import dataclass
from datetime import UTC, datetime

from longshore.domain.arn import Arns
from longshore.domain.checks import Json
from longshore.domain.events.envelope import Writer, time_text
from longshore.domain.events.putting import Entry, Refused, entries_of
from longshore.state.events import outbox, rule
from longshore.state.pool import Connection, Pool, transaction


@dataclass(frozen=True, slots=True)
class Taken:
    """An event that was taken in."""

    event_id: str


class Putting:
    """The use case of PutEvents."""

    def __init__(self, pool: Pool, arns: Arns) -> None:
        self._pool = pool
        self._arns = arns

    async def put(self, request: Json) -> list[Taken | Refused]:
        """Takes events in; what became of each, in their order.

        Raises:
            InvalidRequest: there are too many, they are too large, or one has a malformed member.
        """
        entries = entries_of(request.get("Entries", ()), datetime.now(UTC))
        async with transaction(self._pool) as conn:
            known = await _known(conn, entries)
            checked = [
                Refused("ResourceNotFoundException", f"Event bus {entry.bus} does not exist.")
                if isinstance(entry, Entry) and entry.bus not in known
                else entry
                for entry in entries
            ]
            taken = [entry for entry in checked if isinstance(entry, Entry)]
            numbers = iter(await outbox.put(conn, [_body(entry) for entry in taken]))
            _, namespace = await outbox.cursor(conn)
        writer = Writer(self._arns, namespace)
        return [
            entry if isinstance(entry, Refused) else Taken(str(writer.event_id(str(next(numbers)))))
            for entry in checked
        ]


async def _known(conn: Connection, entries: list[Entry | Refused]) -> set[str]:
    """Those of the entries' buses that there are."""
    buses = {entry.bus for entry in entries if isinstance(entry, Entry)}
    return {bus for bus in buses if await rule.bus_exists(conn, bus)}


def _body(entry: Entry) -> Json:
    """An event as it stands in line."""
    return {
        "bus": entry.bus,
        "source": entry.source,
        "detail-type": entry.detail_type,
        "time": time_text(entry.at),
        "resources": list(entry.resources),
        "detail": entry.detail,
    }
