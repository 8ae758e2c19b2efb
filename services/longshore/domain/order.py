"""The capacity order: the contract between who decides about instances and who gets them."""

import hashlib
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass

ON_DEMAND = "ON_DEMAND"
SPOT = "SPOT"
#: Entries of an order, instances of an entry, and instances given back in one call, at most.
ENTRIES_LIMIT = 300
COUNT_LIMIT = 10_000
GIVE_BACK_LIMIT = 1_000

#: Reasons of capacity errors. The provider has none left of that pool.
INSUFFICIENT_INSTANCE_CAPACITY = "INSUFFICIENT_INSTANCE_CAPACITY"
#: The provider's own bound is reached: lifted as soon as an instance of it ends.
INSTANCE_LIMIT = "INSTANCE_LIMIT"
UNSUPPORTED_ARCHITECTURE = "UNSUPPORTED_ARCHITECTURE"
#: The provider does not offer that type, or not there.
UNSUPPORTED = "UNSUPPORTED"
THROTTLED = "THROTTLED"
#: Spot: nothing is to be had at the highest price that may be paid.
PRICE_TOO_LOW = "PRICE_TOO_LOW"
#: The provider does not let us: what we act as there lacks a permission.
NOT_PERMITTED = "NOT_PERMITTED"
PROVIDER_ERROR = "PROVIDER_ERROR"


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderEntry:
    """One kind of instance in an order.

    `weight` is what one counts towards the target, in vCPUs. Entries of equal rank are alternatives
    that the provider chooses from, by the order's allocation strategy.
    """

    instance_type: str
    weight: float
    max_count: int
    price_per_hour: float
    #: Spot only: not to be had above this price. None: up to the on-demand price.
    max_price_per_hour: float | None = None
    purchase_option: str = ON_DEMAND
    zone: str = ""
    rank: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class CapacityOrder:
    """An ordered list of instances to try, until the weights of those had reach the target."""

    order_id: uuid.UUID
    compute_environment: str
    generation: int = 1
    allocation_strategy: str = "BEST_FIT"
    target_vcpus: float
    entries: tuple[OrderEntry, ...]
    reason: str


@dataclass(frozen=True, slots=True)
class CapacityError:
    """Why an entry could not be fulfilled; `reason` is constant, `message` for a person."""

    instance_type: str
    zone: str
    purchase_option: str
    reason: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Ordered:
    """An instance that an order got; without a `provider_id` it is yet to be launched."""

    instance_id: str
    entry: OrderEntry
    zone: str = ""
    provider_id: str | None = None


def allot(
    order: CapacityOrder, refuse: Callable[[OrderEntry, int], CapacityError | None]
) -> tuple[list[OrderEntry], list[CapacityError]]:
    """Walks an order's list by rank and takes what may be had.

    Args:
        order: what is ordered.
        refuse: says why one more instance of an entry cannot be had, given how many the order took
            so far.

    Returns:
        An entry for each instance to launch, and an error for each entry that was cut short.
    """
    taken: list[OrderEntry] = []
    errors: list[CapacityError] = []
    left = order.target_vcpus
    for entry in sorted(order.entries, key=lambda entry: entry.rank):
        for _ in range(entry.max_count):
            if left <= 0:
                return taken, errors
            if error := refuse(entry, len(taken)):
                errors.append(error)
                break
            taken.append(entry)
            left -= entry.weight
    return taken, errors


def instance_ids(order_id: uuid.UUID, count: int) -> Sequence[str]:
    """The ids of an order's instances, the same each time it is answered."""
    return [
        "i-" + hashlib.sha256(f"{order_id}/{number}".encode()).hexdigest()[:17]
        for number in range(count)
    ]
