"""A capacity order crosses the wire whole: what provisioning reads is what the scaler decided."""

import uuid

from hypothesis import given
from hypothesis import strategies as st

from longshore.domain.order import (
    COUNT_LIMIT,
    ENTRIES_LIMIT,
    ON_DEMAND,
    SPOT,
    CapacityOrder,
    OrderEntry,
)
from longshore.provisioning import convert as provisioning
from longshore.scaler import convert as scaler
from longshore.v1 import provisioning_service_pb2 as pb

NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=40)
AMOUNTS = st.floats(0.25, 1e6)
PRICES = st.floats(0, 1e4)
ENTRIES = st.builds(
    OrderEntry,
    instance_type=NAMES,
    weight=AMOUNTS,
    max_count=st.integers(1, COUNT_LIMIT),
    price_per_hour=PRICES,
    max_price_per_hour=st.none() | PRICES,
    purchase_option=st.sampled_from([ON_DEMAND, SPOT]),
    zone=st.just("") | NAMES,
    rank=st.integers(0, ENTRIES_LIMIT),
)
ORDERS = st.builds(
    CapacityOrder,
    order_id=st.uuids(),
    compute_environment=NAMES,
    generation=st.integers(1, 2**31 - 1),
    allocation_strategy=NAMES,
    target_vcpus=AMOUNTS,
    entries=st.lists(ENTRIES, min_size=1, max_size=5).map(tuple),
    reason=st.text(max_size=100),
)


@given(ORDERS, st.none() | st.integers(1, 2**63 - 1))
def test_an_order_is_the_same_on_both_sides(order: CapacityOrder, token: int | None) -> None:
    """Every member, and the list in its order."""
    sent = scaler.order_to_request(order, token).SerializeToString()
    request = pb.ProvisionRequest.FromString(sent)
    assert provisioning.order_from_request(request) == order
    assert request.decision_token == (token or 0)


def test_every_member_of_the_contract_is_filled() -> None:
    """A member that is added to the messages is not forgotten in between."""
    order = CapacityOrder(
        order_id=uuid.uuid4(),
        compute_environment="e",
        generation=2,
        target_vcpus=1,
        entries=(
            OrderEntry(
                instance_type="t",
                weight=1,
                max_count=1,
                price_per_hour=1,
                max_price_per_hour=2,
                zone="z",
                rank=1,
            ),
        ),
        reason="why",
    )
    sent = scaler.order_to_request(order, 7)
    for message in (sent, sent.order, sent.order.entries[0]):
        filled = {field.name for field, _ in message.ListFields()}
        assert filled == {field.name for field in message.DESCRIPTOR.fields}
