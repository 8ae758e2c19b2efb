"""Other event buses: an event is put in there, once, however often it is delivered."""

import json

from longshore.domain.events.hops import HOPS_MAXIMUM, HOPS_MEMBER, hops_of
from longshore.domain.events.reference import bus_name
from longshore.domain.events.retrying import DeliveryFailed
from longshore.state.events import outbox
from longshore.state.events.delivery import Delivery, Lane, TargetRecord
from longshore.state.pool import Pool, transaction


class Buses:
    """Puts events into other buses of this installation."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def send(self, lane: Lane, target: TargetRecord, one: Delivery) -> None:  # noqa: ARG002 - see `Sender`
        """Puts an event in; see `Sender`."""
        event = json.loads(one.event)
        hops = hops_of(event) + 1
        if hops > HOPS_MAXIMUM:
            message = "Buses send the event round in a ring; narrow a rule's pattern."
            raise DeliveryFailed("LOOP", message, again=False)
        body = {**event, "bus": bus_name(target.arn, "Arn"), HOPS_MEMBER: hops}
        async with transaction(self._pool) as conn:
            await outbox.forward(conn, one.delivery_id, body)
