"""Walking the list of a capacity order."""

import uuid

from longshore.domain.order import CapacityError, CapacityOrder, OrderEntry, allot, instance_ids


def an_order(target: int, *entries: tuple[str, int, int, int]) -> CapacityOrder:
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
        return CapacityError(entry.instance_type, entry.zone, "SHORT", "")

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


def test_ids_of_an_order_are_always_the_same() -> None:
    """And have EC2's form."""
    ids = instance_ids(uuid.UUID(int=7), 3)
    assert ids == instance_ids(uuid.UUID(int=7), 3)
    assert len(set(ids)) == 3
    assert all(len(one) == 19 and one.startswith("i-") for one in ids)
