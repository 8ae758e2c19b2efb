"""What is sent to a target."""

import json
import uuid
from datetime import UTC, datetime

import pytest

from longshore.domain.arn import Arns
from longshore.domain.events.retrying import DeliveryFailed
from longshore.events.senders.text import sent_text
from longshore.state.events.delivery import Delivery, Lane, TargetRecord


def test_what_would_be_too_large_is_given_up_at_once() -> None:
    """A template of some kilobytes may name a large part very often."""
    template = {"InputTemplate": "<aws.events.event.json>" * 300}
    given = {"Id": "t", "InputTransformer": template}
    target = TargetRecord("sqs", "arn", given, None, None)
    event = json.dumps({"detail": "x" * 10_000})
    one = Delivery(1, uuid.uuid4(), event, datetime.now(UTC), 0, 0.0)
    with pytest.raises(DeliveryFailed) as raised:
        sent_text(Arns("123456789012", "us-east-1"), Lane("default", "r", "t"), target, one)
    assert (raised.value.code, raised.value.again) == ("TEXT_TOO_LARGE", False)
