"""Walking the list of a capacity order."""

import uuid

from hypothesis import given
from hypothesis import strategies as st

from longshore.domain.order import CapacityError, CapacityOrder, OrderEntry, allot, instance_ids


def an_order(target: float, *entries: tuple[str, int, int, int]) -> CapacityOrder:
    """Entries as (type, weight, most, rank)."""
    return CapacityOrder(
        order_id=uuid.UUID(int=7),
        compute_environment="a",
        target_vcpus=target,
        entries=tuple(
            OrderEntry(
                instance_type=kind, weight=weight, max_count=most, price_per_hour=1, rank=rank
            )
            for kind, weight, most, rank in entries
        ),
        reason="",
    )


def taken(order: CapacityOrder, room: dict[str, int]) -> tuple[list[str], list[str]]:
    """Types taken and types short, where so many of each may be had."""
    counts: dict[str, int] = {}

    def refuse(entry: OrderEntry, _: int) -> CapacityError | None:
        counts[entry.instance_type] = counts.get(entry.instance_type, 0) + 1
        if counts[entry.instance_type] <= room.get(entry.instance_type, 99):
            return None
        return CapacityError(entry.instance_type, entry.zone, entry.purchase_option, "SHORT", "")

    entries, errors = allot(order, refuse)
    return [entry.instance_type for entry in entries], [error.instance_type for error in errors]


def test_the_list_is_walked_by_rank_until_the_target() -> None:
    """Just over the target at most."""
    order = an_order(10, ("late", 4, 9, 1), ("early", 4, 2, 0))
    assert taken(order, {}) == (["early", "early", "late"], [])


def test_what_is_short_is_made_up_by_the_next_entry() -> None:
    """And said once."""
    order = an_order(8, ("a", 2, 4, 0), ("b", 2, 4, 1))
    assert taken(order, {"a": 1}) == (["a", "b", "b", "b"], ["a"])


@given(
    st.integers(1, 200).map(lambda quarters: quarters / 4),
    st.lists(
        st.tuples(st.integers(1, 64).map(lambda q: q / 4), st.integers(1, 9), st.integers(0, 3)),
        min_size=1,
        max_size=6,
    ),
)
def test_the_target_is_passed_by_less_than_one_instance(
    target: float, kinds: list[tuple[float, int, int]]
) -> None:
    """And reached unless everything was taken; quarters of a vCPU add up exactly."""
    entries = [
        OrderEntry(
            instance_type=f"{number}", weight=weight, max_count=most, price_per_hour=1, rank=rank
        )
        for number, (weight, most, rank) in enumerate(kinds)
    ]
    order = CapacityOrder(
        order_id=uuid.UUID(int=7),
        compute_environment="a",
        target_vcpus=target,
        entries=tuple(entries),
        reason="",
    )
    took, errors = allot(order, lambda *_: None)
    assert not errors
    assert sum(entry.weight for entry in took[:-1]) < target
    is_all = len(took) == sum(entry.max_count for entry in entries)
    assert is_all or sum(entry.weight for entry in took) >= target
    assert [entry.rank for entry in took] == sorted(entry.rank for entry in took)


def test_ids_of_an_order_are_always_the_same() -> None:
    """And have EC2's form."""
    ids = instance_ids(uuid.UUID(int=7), 3)
    assert ids == instance_ids(uuid.UUID(int=7), 3)
    assert len(set(ids)) == 3
    assert all(len(one) == 19 and one.startswith("i-") for one in ids)
