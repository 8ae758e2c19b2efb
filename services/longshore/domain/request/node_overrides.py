"""`nodeOverrides` of a submission over the `nodeProperties` of its definition."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from longshore.domain.checks import Json, check_count, require
from longshore.domain.environment import EC2
from longshore.domain.errors import InvalidRequest
from longshore.domain.job.nodes import NodeRange, range_of_each, ranges_of
from longshore.domain.limits import LONGSHORE, Limits
from longshore.domain.request.consumable import PROPERTIES, properties_of
from longshore.domain.request.container import check_environment, check_resources, needs_of
from longshore.domain.request.ecs import (
    OVERRIDE_PATH,
    EcsOverrides,
    check_ecs_overrides,
    needs_of_task,
    resolve_ecs,
    task_of,
)
from longshore.domain.request.merge import Overrides, check_length, merge_container
from longshore.domain.request.node_properties import (
    RANGES_MAX,
    check_changed_count,
    check_one_type,
    check_types,
    types_of,
    with_needs,
)
from longshore.domain.resources import Resources

_PATH = "nodeOverrides.nodePropertyOverrides"


@dataclass(frozen=True, slots=True)
class RangeOverrides:
    """What a submission changes for one range of the definition."""

    target_nodes: str
    container: Overrides | None = None
    ecs: EcsOverrides | None = None
    instance_types: tuple[str, ...] = ()
    #: consumableResourceProperties in place of the range's; None: as the definition says.
    consumables: Json | None = None


@dataclass(frozen=True, slots=True)
class NodeOverrides:
    """`nodeOverrides`; a number of nodes that is None leaves the definition's."""

    num_nodes: int | None = None
    ranges: tuple[RangeOverrides, ...] = ()


@dataclass(frozen=True, slots=True)
class ResolvedNodes:
    """The nodes of a job as they are stored."""

    #: AWS-shaped nodeProperties: what each range runs, overrides merged, placeholders replaced.
    properties: Json
    #: Of vCPU, memory and GPUs, each, what the node takes that takes most of it.
    needs: Resources
    num_nodes: int
    main_node: int
    #: What all nodes need of consumable resources, each list with how many nodes need it.
    consumables: tuple[tuple[Json | None, int], ...]
    #: That every node runs on; '' for any.
    instance_type: str


def check_node_overrides(overrides: NodeOverrides, limits: Limits = LONGSHORE) -> None:
    """Checks what can be checked without the definition.

    Raises:
        InvalidRequest: the first member found wrong.
    """
    check_count(overrides.ranges, RANGES_MAX, _PATH)
    for position, given in enumerate(overrides.ranges):
        member = f"{_PATH}[{position}]"
        NodeRange.parse(given.target_nodes, f"{member}.targetNodes")
        container = given.container or Overrides()
        path = f"{member}.containerOverrides"
        check_resources(
            container.resource_requirements, f"{path}.resourceRequirements", limits=limits
        )
        check_environment(container.environment, f"{path}.environment")
        check_length([container], path, limits)
        if given.ecs:
            check_ecs_overrides(given.ecs, f"{member}.{OVERRIDE_PATH}", limits=limits)
        check_types(_entry(given), f"{member}.instanceTypes")
        _units(given, member)


def _entry(given: RangeOverrides) -> Json:
    """What a range's overrides say of instance types, as a range says it."""
    own = given.container.instance_type if given.container else None
    return {"instanceTypes": list(given.instance_types), "container": {"instanceType": own}}


def _units(given: RangeOverrides, member: str) -> Json | None:
    """What a range's overrides say of consumable resources."""
    return properties_of(given.consumables or {}, f"{member}.{PROPERTIES}Override")


def resolve_nodes(
    properties: Json,
    overrides: NodeOverrides | None,
    parameters: Mapping[str, str],
    limits: Limits = LONGSHORE,
) -> ResolvedNodes:
    """The nodes that run.

    Args:
        properties: nodeProperties of the definition; not changed.
        overrides: of the submission.
        parameters: of the definition and the submission, merged already.
        limits: what a submission may ask for.

    Raises:
        InvalidRequest: overrides do not go with the definition, a placeholder has no parameter, or
            resources are too small.
    """
    overrides = overrides or NodeOverrides()
    num_nodes = properties["numNodes"]
    if overrides.num_nodes is not None:
        check_changed_count(overrides.num_nodes, properties)
        num_nodes = overrides.num_nodes
    entries = properties["nodeRangeProperties"]
    ranges = ranges_of([entry["targetNodes"] for entry in entries])
    changes = _by_range(overrides.ranges, ranges)
    merged = [
        _merge_entry(entry, *changes.get(position, (RangeOverrides(""), _PATH)), parameters, limits)
        for position, entry in enumerate(entries)
    ]
    kind = check_one_type([types_of(entry) for entry in merged], _PATH)
    return ResolvedNodes(
        properties={**properties, "numNodes": num_nodes, "nodeRangeProperties": merged},
        needs=_largest(merged, ranges, num_nodes),
        num_nodes=num_nodes,
        main_node=properties["mainNode"],
        consumables=tuple(
            (merged[position].get(PROPERTIES), count)
            for position, count in Counter(range_of_each(ranges, num_nodes)).items()
        ),
        instance_type=kind,
    )


def _by_range(
    given: Sequence[RangeOverrides], ranges: Sequence[NodeRange]
) -> dict[int, tuple[RangeOverrides, str]]:
    """Overrides, with their member, by the position of the range that they are for."""
    positions = {span: position for position, span in enumerate(ranges)}
    found: dict[int, tuple[RangeOverrides, str]] = {}
    unknown: list[str] = []
    for number, change in enumerate(given):
        member = f"{_PATH}[{number}]"
        position = positions.get(NodeRange.parse(change.target_nodes, f"{member}.targetNodes"))
        if position is None:
            unknown.append(change.target_nodes)
            continue
        require(
            position not in found,
            f"{member}.targetNodes is {change.target_nodes}, which has overrides already.",
            f"{member}.targetNodes",
        )
        found[position] = change, member
    if unknown:
        raise InvalidRequest(
            "NodeOverride targets should match job definition. Non matching targets - "
            + ",".join(unknown),
            member=_PATH,
        )
    return found


def _merge_entry(
    entry: Json,
    change: RangeOverrides,
    member: str,
    parameters: Mapping[str, str],
    limits: Limits,
) -> Json:
    for kind, name, given in (
        ("container", "containerOverrides", change.container not in (None, Overrides())),
        ("ecsProperties", OVERRIDE_PATH, change.ecs not in (None, EcsOverrides())),
    ):
        require(
            kind in entry or not given,
            f"{member}.{name} is for node ranges with {kind}, which this one does not have.",
            f"{member}.{name}",
        )
    merged = dict(entry)
    if "ecsProperties" in entry:
        merged["ecsProperties"], _ = resolve_ecs(
            entry["ecsProperties"],
            change.ecs,
            parameters,
            EC2,
            f"{member}.{OVERRIDE_PATH}",
            limits=limits,
        )
    else:
        merged["container"] = merge_container(
            entry["container"], change.container, parameters, f"{member}.containerOverrides"
        )
    if change.consumables is not None:
        merged = with_needs(merged, _units(change, member))
    if new := types_of(_entry(change)):
        # Said in one way, the type holds for both: the definition may have used the other one.
        single = merged.get("container", {})
        if change.instance_types or "instanceTypes" in entry:
            merged["instanceTypes"] = new[:1]
        if "instanceType" in single:
            single["instanceType"] = new[0]
    return merged


def _largest(entries: Sequence[Json], ranges: Sequence[NodeRange], num_nodes: int) -> Resources:
    """What fits every node; ranges that have none left do not count."""
    needs = [
        _needs(entries[position]) for position in sorted(set(range_of_each(ranges, num_nodes)))
    ]
    return Resources(
        max(need.vcpu_milli for need in needs),
        max(need.memory_mib for need in needs),
        max(need.gpus for need in needs),
    )


def _needs(entry: Json) -> Resources:
    if "ecsProperties" in entry:
        return needs_of_task(task_of(entry["ecsProperties"]), f"{_PATH}.{OVERRIDE_PATH}")
    return needs_of(entry["container"], f"{_PATH}.containerOverrides")
