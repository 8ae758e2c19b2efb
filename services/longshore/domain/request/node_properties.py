"""Checks of `nodeProperties` of job definitions, and of what `nodeOverrides` makes of them."""

import re
from collections.abc import Sequence

from longshore.domain.checks import Json, require
from longshore.domain.environment import EC2
from longshore.domain.job.nodes import NODES_MAX, NodeRange, range_of_each, ranges_of
from longshore.domain.limits import LONGSHORE, Limits
from longshore.domain.request.consumable import PROPERTIES, properties_of
from longshore.domain.request.container import check_container
from longshore.domain.request.ecs import check_ecs

RANGES_MAX = 5
_PATH = "nodeProperties"
#: What a range runs: exactly one of these.
_KINDS = ("container", "ecsProperties")
_INSTANCE_TYPE = re.compile(r"[a-z0-9][a-z0-9.-]{0,63}")


def check_nodes(properties: Json, platform: str, limits: Limits = LONGSHORE) -> None:
    """Checks the nodes of a job definition.

    Raises:
        InvalidRequest: a member is wrong.
    """
    require(platform == EC2, f"{_PATH} is not applicable for Fargate.", _PATH)
    num_nodes, main_node = properties["numNodes"], properties["mainNode"]
    _check_count(num_nodes, f"{_PATH}.numNodes")
    require(
        0 <= main_node < num_nodes,
        f"{_PATH}.mainNode is {main_node}; it must be from 0 to {num_nodes - 1}.",
        f"{_PATH}.mainNode",
    )
    entries = properties.get("nodeRangeProperties", [])
    member = f"{_PATH}.nodeRangeProperties"
    require(
        1 <= len(entries) <= RANGES_MAX, f"{member} must have 1 to {RANGES_MAX} ranges.", member
    )
    for position, entry in enumerate(entries):
        _check_entry(entry, f"{member}[{position}]", limits)
    ranges = ranges_of([entry["targetNodes"] for entry in entries])
    _check_cover(ranges, num_nodes, member)
    check_one_type([types_of(entry) for entry in entries], member)


def with_consumables(properties: Json) -> Json:
    """The nodes of a job definition, with what each needs of consumable resources checked.

    Raises:
        InvalidRequest: a list of needs is wrong.
    """
    entries = []
    for position, entry in enumerate(properties.get("nodeRangeProperties", ())):
        member = f"{_PATH}.nodeRangeProperties[{position}].{PROPERTIES}"
        entries.append(with_needs(entry, properties_of(entry.get(PROPERTIES, {}), member)))
    return {**properties, "nodeRangeProperties": entries}


def with_needs(entry: Json, needed: Json | None) -> Json:
    """A range whose nodes need this of consumable resources and nothing else."""
    other = {name: value for name, value in entry.items() if name != PROPERTIES}
    return {**other, PROPERTIES: needed} if needed else other


def _check_count(num_nodes: int, member: str) -> None:
    require(
        1 <= num_nodes <= NODES_MAX,
        f"{member} is {num_nodes}; it must be from 1 to {NODES_MAX}.",
        member,
    )


def _check_entry(entry: Json, member: str, limits: Limits) -> None:
    given = [name for name in _KINDS if name in entry]
    require(given, f"{member} needs a container or ecsProperties.", f"{member}.container")
    require(
        len(given) == 1,
        f"{member}: {' and '.join(given)} must not both be given.",
        f"{member}.{given[-1]}",
    )
    if "ecsProperties" in entry:
        check_ecs(entry["ecsProperties"], EC2, f"{member}.ecsProperties", limits=limits)
    else:
        check_container(entry["container"], f"{member}.container", of_node=True, limits=limits)
    check_types(entry, f"{member}.instanceTypes")


def types_of(entry: Json) -> list[str]:
    """The instance types that a range names, by either member."""
    own = entry.get("container", {}).get("instanceType")
    return [*entry.get("instanceTypes", []), *([own] if own else [])]


def check_types(entry: Json, member: str) -> None:
    """Checks the instance types that one range names: one at most, however it is said."""
    names = types_of(entry)
    for name in names:
        require(
            _INSTANCE_TYPE.fullmatch(name),
            f"{member} has {name[:64]!r}, which is no instance type.",
            member,
        )
    require(
        len(entry.get("instanceTypes", ())) <= 1 and len(set(names)) <= 1,
        f"{member} names more than one instance type.",
        member,
    )


def check_one_type(names: Sequence[Sequence[str]], member: str) -> str:
    """Checks that ranges name one instance type at most, and returns it; '' for any."""
    kinds = sorted({name for each in names for name in each})
    require(
        len(kinds) <= 1,
        f"{member}: all node ranges must use the same instance type, not {' and '.join(kinds)}.",
        member,
    )
    return kinds[0] if kinds else ""


def _check_cover(ranges: Sequence[NodeRange], num_nodes: int, member: str) -> None:
    for position, given in enumerate(ranges):
        name = f"{member}[{position}].targetNodes"
        end = given.first if given.last is None else given.last
        require(end < num_nodes, f"{name} has node {end}; the last one is {num_nodes - 1}.", name)
    missing = [node for node, held in enumerate(range_of_each(ranges, num_nodes)) if held < 0]
    require(
        not missing,
        f"{member} must account for all nodes (0:{num_nodes - 1}); node {(missing or [0])[0]} is "
        "in no range.",
        member,
    )
    _check_nested(ranges, num_nodes, [f"{member}[{n}].targetNodes" for n in range(len(ranges))])
    spans = [given.nodes(num_nodes) for given in ranges]
    for position, span in enumerate(spans):
        name = f"{member}[{position}].targetNodes"
        require(span not in spans[:position], f"{name} has the same nodes as another range.", name)


def _check_nested(ranges: Sequence[NodeRange], num_nodes: int, members: Sequence[str]) -> None:
    """Checks that of two ranges with nodes in common one lies within the other."""
    spans = [given.nodes(num_nodes) for given in ranges]
    for position, span in enumerate(spans):
        for other in spans[:position]:
            low, high = max(span.start, other.start), min(span.stop, other.stop)
            require(
                low >= high or range(low, high) in (span, other),
                f"{members[position]}: with {num_nodes} nodes, two node ranges overlap in part; "
                "they must lie apart or one within the other.",
                members[position],
            )


def check_changed_count(num_nodes: int, properties: Json) -> None:
    """Checks `nodeOverrides.numNodes` against the nodes of the definition."""
    member = "nodeOverrides.numNodes"
    _check_count(num_nodes, member)
    ranges = ranges_of([entry["targetNodes"] for entry in properties["nodeRangeProperties"]])
    require(
        any(given.is_open for given in ranges),
        f"{member} needs a job definition with a node range that is open at its end, such as : or "
        "n:.",
        member,
    )
    highest = max(given.first for given in ranges)
    require(
        highest < num_nodes,
        f"{member} is {num_nodes}, but a node range of the job definition begins at {highest}.",
        member,
    )
    main_node = properties["mainNode"]
    require(
        main_node < num_nodes,
        f"{member} is {num_nodes}, but the main node is {main_node}.",
        member,
    )
    _check_nested(ranges, num_nodes, [member] * len(ranges))
