"""Checks of consumable resources, and of what definitions and jobs say that they need of them."""

from collections.abc import Iterable, Sequence

from longshore.domain.arn import CONSUMABLE_RESOURCE, parse_name
from longshore.domain.checks import Json, check_count, require
from longshore.domain.consumable import (
    NON_REPLENISHABLE,
    QUANTITY_MAX,
    REPLENISHABLE,
    Units,
    units_of,
)
from longshore.domain.errors import InvalidRequest, NotFound

#: Resources in one list, and those that one job may need in all: ranges of nodes have lists too.
LIST_MAX = 5
RESOURCES_MAX = 10
TOKEN_MAX = 64

PROPERTIES = "consumableResourceProperties"
_LIST = "consumableResourceList"

SET = "SET"
ADD = "ADD"
REMOVE = "REMOVE"


def properties_of(given: Json, member: str) -> Json | None:
    """What a list of needs stores, in AWS's shape; None if nothing is needed.

    Args:
        given: consumableResourceProperties.
        member: its name in the request.

    Raises:
        InvalidRequest: an entry is wrong.
    """
    entries: Sequence[Json] = given.get(_LIST, ())
    path = f"{member}.{_LIST}"
    check_count(entries, LIST_MAX, path)
    kept, names = [], set[str]()
    for index, entry in enumerate(entries):
        where = f"{path}[{index}]"
        text = entry.get("consumableResource", "")
        name = parse_name(CONSUMABLE_RESOURCE, text, member=f"{where}.consumableResource")
        quantity = int(entry.get("quantity", 0))
        require(quantity >= 1, f"{where}.quantity must be at least 1.", f"{where}.quantity")
        require(
            name not in names,
            f"{where}.consumableResource is {name}, which another entry names already.",
            f"{where}.consumableResource",
        )
        names.add(name)
        kept.append({"consumableResource": text, "quantity": quantity})
    return {_LIST: kept} if kept else None


def amounts(properties: Json | None) -> list[tuple[str, int]]:
    """Names and quantities of what `properties_of` stored."""
    return [
        (
            parse_name(CONSUMABLE_RESOURCE, entry["consumableResource"], member=PROPERTIES),
            entry["quantity"],
        )
        for entry in (properties or {}).get(_LIST, ())
    ]


def sum_up(needs: Iterable[tuple[Json | None, int]]) -> Units:
    """What a job needs in all, of lists and how often each is needed.

    Raises:
        InvalidRequest: it is of too many resources, or more of one than there can be.
    """
    units = units_of(
        (name, quantity * count)
        for properties, count in needs
        for name, quantity in amounts(properties)
    )
    require(
        len(units) <= RESOURCES_MAX,
        f"The job needs {len(units)} consumable resources; {RESOURCES_MAX} are the most.",
        PROPERTIES,
    )
    for name, quantity in units:
        require(
            quantity <= QUANTITY_MAX,
            f"The nodes of the job need {quantity} of {name} together; {QUANTITY_MAX} is the most.",
            PROPERTIES,
        )
    return units


def missing(name: str) -> NotFound:
    """What is said where a job needs a resource that is not there."""
    return NotFound(
        f"ConsumableResource {name} not found; create it before jobs that need it.",
        member=PROPERTIES,
    )


def check_kind(kind: str) -> None:
    """The type of a resource."""
    require(
        kind in (REPLENISHABLE, NON_REPLENISHABLE),
        f"resourceType is {kind[:64]!r}; it must be {REPLENISHABLE} or {NON_REPLENISHABLE}.",
        "resourceType",
    )


def check_operation(operation: str) -> None:
    """What is done to the total quantity."""
    require(
        operation in (SET, ADD, REMOVE),
        f"operation is {operation[:64]!r}; it must be {SET}, {ADD} or {REMOVE}.",
        "operation",
    )


def check_token(token: str | None) -> None:
    """The token by which a change may be asked for twice."""
    require(
        token is None or 1 <= len(token) <= TOKEN_MAX,
        f"clientToken must have 1 to {TOKEN_MAX} characters.",
        "clientToken",
    )


def check_quantity(quantity: int, member: str) -> None:
    """A number of units."""
    require(quantity >= 0, f"{member} must not be below 0.", member)


def changed(name: str, total: int, operation: str, quantity: int) -> int:
    """How many units there are of a resource after a change.

    Raises:
        InvalidRequest: there would be less than none, or more than there can be.
    """
    after = {SET: quantity, ADD: total + quantity, REMOVE: total - quantity}[operation]
    if after < 0:
        raise InvalidRequest(
            f"quantity is {quantity}, but consumable resource {name} has {total} units in all.",
            member="quantity",
        )
    if after > QUANTITY_MAX:
        raise InvalidRequest(
            f"Consumable resource {name} would have {after} units; {QUANTITY_MAX} is the most.",
            member="quantity",
        )
    return after
