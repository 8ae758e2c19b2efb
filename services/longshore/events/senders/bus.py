"""Other event buses: an event is put in there, once, however often it is delivered."""

import json
from collections.abc import Sequence

from longshore.domain.checks import Json
from longshore.domain.events.hops import BUSES_MEMBER, HOPS_MAXIMUM, HOPS_MEMBER, hops_of
from longshore.domain.events.reference import bus_name
from longshore.domain.events.retrying import DeliveryFailed
from longshore.state.events import outbox
from longshore.state.events.delivery import Delivery, Lane, TargetRecord
from longshore.state.pool import Pool, transaction


class Buses:
    """Puts events into other buses of this installation."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def send_all(
        self, lane: Lane, target: TargetRecord, taken: Sequence[Delivery]
    ) -> Sequence[DeliveryFailed | None]:
        """Puts events in, all in one transaction; see `JointSender`."""
        outcomes: list[DeliveryFailed | None] = []
        bus = bus_name(target.arn, "Arn")
        async with transaction(self._pool) as conn:
            for one in taken:
                body = _sent_on(json.loads(one.event), lane.bus, bus)
                if body is None:
                    message = "Buses send the event round in a ring; narrow a rule's pattern."
                    outcomes.append(DeliveryFailed("LOOP", message, again=False))
                else:
                    await outbox.forward(conn, one.delivery_id, body)
                    outcomes.append(None)
        return outcomes


def _sent_on(event: Json, source: str, bus: str) -> Json | None:
    """An event as it is put into another bus; None if it has been there, or come too far.

    That it has been there ends a ring at once: each further turn would be as many events as the
    buses have rules that lead round, times as many.
    """
    been = [*event.get(BUSES_MEMBER, ()), source]
    hops = hops_of(event) + 1
    if hops > HOPS_MAXIMUM or bus in been:
        return None
    return {**event, "bus": bus, HOPS_MEMBER: hops, BUSES_MEMBER: been}
