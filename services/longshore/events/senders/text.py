"""What a target gets of an event."""

import functools
import json

from longshore.domain.arn import Arns
from longshore.domain.checks import Json
from longshore.domain.errors import InvalidRequest, LimitExceeded
from longshore.domain.events.retrying import DeliveryFailed
from longshore.domain.events.transform import Occasion, Transform, transform_of
from longshore.state.events.delivery import Delivery, Lane, TargetRecord

_MEMBERS = ("Id", "Input", "InputPath", "InputTransformer")


@functools.lru_cache(maxsize=1_000)
def _transform(given: str) -> Transform:
    return transform_of(json.loads(given), "Targets[0]")


def sent_text(arns: Arns, lane: Lane, target: TargetRecord, one: Delivery) -> str:
    """The text that is sent for an event.

    Raises:
        DeliveryFailed: the transformation cannot be read, or makes too much of the event.
    """
    given: Json = {name: target.target[name] for name in _MEMBERS if name in target.target}
    if given.keys() <= {"Id"}:
        return one.event
    try:
        transform = _transform(json.dumps(given))
    except InvalidRequest as error:
        raise DeliveryFailed("INVALID_TRANSFORM", error.message, again=False) from None
    occasion = Occasion(arns.event_rule(lane.bus, lane.rule), lane.rule, one.created_at)
    try:
        return transform.apply(json.loads(one.event), occasion)
    except LimitExceeded as error:
        raise DeliveryFailed("TEXT_TOO_LARGE", error.message, again=False) from None
