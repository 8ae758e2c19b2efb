"""Which range each node belongs to, which ranges may be said, and what overrides make of them."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longshore.domain.errors import InvalidRequest
from longshore.domain.job.job import JobStatus
from longshore.domain.job.nodes import NodeRange, node_status, range_of_each, ranges_of
from longshore.domain.request.definition import new_definition
from longshore.domain.request.ecs import ContainerOverrides, EcsOverrides
from longshore.domain.request.merge import Overrides
from longshore.domain.request.node_overrides import (
    NodeOverrides,
    RangeOverrides,
    check_node_overrides,
    resolve_nodes,
)
from longshore.domain.resources import Resources

CONTAINER: dict[str, Any] = {
    "image": "busybox",
    "resourceRequirements": [{"type": "VCPU", "value": "1"}, {"type": "MEMORY", "value": "4"}],
}


def a_range(targets: str = ":", container: dict[str, Any] | None = None, **members: Any) -> Any:
    return {"targetNodes": targets, "container": CONTAINER | (container or {}), **members}


def nodes(*ranges: Any, num_nodes: int = 4, main_node: int = 0) -> dict[str, Any]:
    return {
        "numNodes": num_nodes,
        "mainNode": main_node,
        "nodeRangeProperties": [a_range(r) if isinstance(r, str) else r for r in ranges],
    }


def register(properties: dict[str, Any], **members: Any) -> dict[str, Any]:
    return new_definition(
        {
            "jobDefinitionName": "d",
            "type": "multinode",
            "nodeProperties": properties,
            **members,
        }
    )


def test_the_grammar_of_ranges() -> None:
    for text, first, last in (
        (":", 0, None),
        ("2:", 2, None),
        (":3", 0, 3),
        ("1:2", 1, 2),
        ("0", 0, 0),
        ("12", 12, 12),
    ):
        assert NodeRange.parse(text, "m") == NodeRange(first, last)
    for text in (
        "",
        "a",
        "00",
        "-1",
        "10000",
        "a:b",
        "1:2:3",
        "-1:2",
        "01:2",
        "1 :2",
        "2:1",
        "10000:",
        "\u0661:2",
    ):
        with pytest.raises(InvalidRequest) as caught:
            NodeRange.parse(text, "m.targetNodes")
        assert caught.value.member == "m.targetNodes"


def test_the_narrower_of_nested_ranges_holds() -> None:
    def held(*targets: str, num_nodes: int = 6) -> list[int]:
        return range_of_each(ranges_of(targets), num_nodes)

    assert held(":") == [0] * 6
    assert held(":", "2:3") == [0, 0, 1, 1, 0, 0]
    assert held("2:3", ":", "3:3") == [1, 1, 0, 2, 1, 1]
    assert held("0:1", "3:") == [0, 0, -1, 1, 1, 1]
    # With fewer nodes than it was written for, a range does not lose to the one around it.
    assert held(":", "0:5", num_nodes=4) == [1] * 4
    assert held("0:5", ":", num_nodes=4) == [0] * 4


@st.composite
def _nested(draw: st.DrawFn) -> tuple[int, list[tuple[int, int]]]:
    """A number of nodes, and up to five ranges that lie apart or within one another."""
    count = draw(st.integers(1, 12))
    chosen = [(0, count - 1)]
    for _ in range(draw(st.integers(0, 4))):
        first = draw(st.integers(0, count - 1))
        last = draw(st.integers(first, count - 1))
        apart = all(
            (last < a or first > b) or (a <= first and last <= b) or (first <= a and b <= last)
            for a, b in chosen
        )
        if apart and (first, last) not in chosen:
            chosen.append((first, last))
    return count, draw(st.permutations(chosen))


def _written(first: int, last: int, count: int, *, short: bool) -> str:
    begin = "" if short and first == 0 else str(first)
    end = "" if short and last == count - 1 else str(last)
    return f"{begin}:{end}"


@given(_nested(), st.booleans())
def test_every_node_has_the_narrowest_range_that_has_it(
    drawn: tuple[int, list[tuple[int, int]]], short: bool
) -> None:
    count, spans = drawn
    targets = [_written(*span, count, short=short) for span in spans]
    register(nodes(*targets, num_nodes=count))
    held = range_of_each(ranges_of(targets), count)
    for node, position in enumerate(held):
        around = [(b - a, n) for n, (a, b) in enumerate(spans) if a <= node <= b]
        assert position == min(around)[1]


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=5))
def test_what_is_registered_accounts_for_every_node(pairs: list[tuple[int, int]]) -> None:
    spans = [(min(pair), max(pair)) for pair in pairs]
    missing = {n for n in range(10) if not any(a <= n <= b for a, b in spans)}
    partly = any(a < c <= b < d or c < a <= d < b for a, b in spans for c, d in spans)
    is_right = not missing and not partly and len(set(spans)) == len(spans)
    properties = nodes(*(f"{a}:{b}" for a, b in spans), num_nodes=10)
    if is_right:
        register(properties)
        return
    with pytest.raises(InvalidRequest) as caught:
        register(properties)
    assert caught.value.member.startswith("nodeProperties.nodeRangeProperties")


@given(_nested(), st.integers(1, 20), st.integers(0, 11))
def test_another_number_of_nodes_leaves_none_without_a_range(
    drawn: tuple[int, list[tuple[int, int]]], wanted: int, main: int
) -> None:
    count, spans = drawn
    main_node = min(main, count - 1)
    targets = [_written(*span, count, short=True) for span in spans]
    properties = nodes(*targets, num_nodes=count, main_node=main_node)
    register(properties)
    overrides = NodeOverrides(num_nodes=wanted)
    if main_node < wanted and all(first < wanted for first, _ in spans):
        resolved = resolve_nodes(properties, overrides, {})
        assert resolved.num_nodes == resolved.properties["numNodes"] == wanted
        assert -1 not in range_of_each(ranges_of(targets), wanted)
        return
    with pytest.raises(InvalidRequest) as caught:
        resolve_nodes(properties, overrides, {})
    assert caught.value.member == "nodeOverrides.numNodes"


def test_more_nodes_must_not_make_ranges_overlap() -> None:
    properties = nodes("0:3", "2:")
    register(properties)
    with pytest.raises(InvalidRequest, match="overlap"):
        resolve_nodes(properties, NodeOverrides(num_nodes=5), {})
    with pytest.raises(InvalidRequest, match="open at its end"):
        resolve_nodes(nodes("0:3"), NodeOverrides(num_nodes=4), {})


REFUSED: list[tuple[dict[str, Any], str, str]] = [
    (nodes(":", num_nodes=0), "numNodes", "from 1 to 1000"),
    (nodes(":", num_nodes=1001), "numNodes", "from 1 to 1000"),
    (nodes(":", main_node=4), "mainNode", "from 0 to 3"),
    (nodes(":", main_node=-1), "mainNode", "from 0 to 3"),
    (nodes(), "nodeRangeProperties", "1 to 5 ranges"),
    (nodes(*(f"{n}:{n}" for n in range(6)), num_nodes=6), "nodeRangeProperties", "1 to 5"),
    (nodes("0:0", "2:"), "nodeRangeProperties", "node 1 is in no range"),
    (nodes(":", "x"), "nodeRangeProperties[1].targetNodes", "'x'"),
    (nodes(":", "3:4"), "nodeRangeProperties[1].targetNodes", "the last one is 3"),
    (nodes(":", "4:"), "nodeRangeProperties[1].targetNodes", "the last one is 3"),
    (nodes(":", "0:3"), "nodeRangeProperties[1].targetNodes", "same nodes"),
    (nodes("0:2", "1:3"), "nodeRangeProperties[1].targetNodes", "in part"),
    (nodes({"targetNodes": ":"}), "nodeRangeProperties[0].container", "needs a container"),
    (
        nodes(a_range(container={"image": "a b"})),
        "nodeRangeProperties[0].container.image",
        "letters",
    ),
    (
        nodes(":", a_range("1:1", {"resourceRequirements": []})),
        "nodeRangeProperties[1].container.vcpus",
        "vCPU is not provided.",
    ),
    (
        nodes(a_range(container={"networkConfiguration": {}})),
        "nodeRangeProperties[0].container.networkConfiguration",
        "not applicable for EC2",
    ),
    (
        nodes(a_range(instanceTypes=["a.b", "a.c"])),
        "nodeRangeProperties[0].instanceTypes",
        "more than one",
    ),
    (
        nodes(a_range(instanceTypes=["a.b"], container={"instanceType": "a.c"})),
        "nodeRangeProperties[0].instanceTypes",
        "more than one",
    ),
    (
        nodes(a_range("0:1", instanceTypes=["a.b"]), a_range("2:", {"instanceType": "a.c"})),
        "nodeRangeProperties",
        "must use the same instance type, not a.b and a.c",
    ),
    (nodes(a_range(instanceTypes=["a b"])), "nodeRangeProperties[0].instanceTypes", "'a b'"),
]


@pytest.mark.parametrize(("properties", "member", "text"), REFUSED)
def test_wrong_nodes_are_refused_by_member(
    properties: dict[str, Any], member: str, text: str
) -> None:
    with pytest.raises(InvalidRequest) as caught:
        register(properties)
    assert caught.value.member == f"nodeProperties.{member}"
    assert text in caught.value.message


def several(targets: str, **members: Any) -> Any:
    containers = [{"name": name, **CONTAINER} for name in ("a", "b")]
    containers[1] |= members
    ecs = {"taskProperties": [{"containers": containers}]}
    return {"targetNodes": targets, "ecsProperties": ecs}


def test_nodes_of_several_containers() -> None:
    """What a node needs is what its containers need together; overrides find them by name."""
    memory = ({"type": "MEMORY", "value": "100"},)
    stored = register(nodes("0:1", several("2:", command=["Ref::x"])))["nodeProperties"]
    changes = EcsOverrides((ContainerOverrides("b", Overrides(resource_requirements=memory)),))
    given = NodeOverrides(ranges=(RangeOverrides("2:", ecs=changes),))
    check_node_overrides(given)
    found = resolve_nodes(stored, given, {"x": "y"})
    assert found.needs == Resources(2000, 104, 0)
    [task] = found.properties["nodeRangeProperties"][1]["ecsProperties"]["taskProperties"]
    assert task["containers"][1]["command"] == ["y"]
    wrong = NodeOverrides(ranges=(RangeOverrides("0:1", ecs=changes),))
    with pytest.raises(InvalidRequest, match="node ranges with ecsProperties"):
        resolve_nodes(stored, wrong, {"x": "y"})
    wrong = NodeOverrides(ranges=(RangeOverrides("2:", Overrides(command=("x",))),))
    with pytest.raises(InvalidRequest, match="node ranges with container"):
        resolve_nodes(stored, wrong, {"x": "y"})
    with pytest.raises(InvalidRequest) as caught:
        register(nodes("0:1", several("2:", image="")))
    assert str(caught.value.member).endswith(
        "[1].ecsProperties.taskProperties[0].containers[1].image"
    )
    with pytest.raises(InvalidRequest, match="must not both be given"):
        register(nodes("0:1", several("2:") | {"container": CONTAINER}))


@pytest.mark.parametrize(
    ("members", "member"),
    [
        ({"containerProperties": CONTAINER}, "containerProperties"),
        ({"ecsProperties": {}}, "ecsProperties"),
        ({"platformCapabilities": ["FARGATE"]}, "nodeProperties"),
        ({"type": "container"}, "nodeProperties"),
    ],
)
def test_a_definition_is_of_one_kind(members: dict[str, Any], member: str) -> None:
    register(nodes(":"))
    with pytest.raises(InvalidRequest) as caught:
        register(nodes(":"), **members)
    assert caught.value.member == member


def test_each_type_needs_its_properties() -> None:
    for kind, member in (("container", "containerProperties"), ("multinode", "nodeProperties")):
        with pytest.raises(InvalidRequest) as caught:
            new_definition({"jobDefinitionName": "d", "type": kind})
        assert caught.value.member == member


def test_variables_without_a_value_are_dropped_in_every_range() -> None:
    empty = {"environment": [{"name": "A", "value": "1"}, {"name": "B"}]}
    kept = register(nodes(a_range("0:1", empty), a_range("2:")))["nodeProperties"]
    first, second = kept["nodeRangeProperties"]
    assert first["container"]["environment"] == [{"name": "A", "value": "1"}]
    assert "environment" not in second["container"]


def _needs(vcpus: int, memory_mib: int) -> dict[str, Any]:
    return {
        "resourceRequirements": [
            {"type": "VCPU", "value": str(vcpus)},
            {"type": "MEMORY", "value": str(memory_mib)},
        ]
    }


def test_what_fits_every_node_is_the_largest_of_each() -> None:
    properties = nodes(
        a_range("0:0", _needs(8, 64)), a_range("1:", _needs(2, 512)), a_range(":", _needs(99, 9999))
    )
    resolved = resolve_nodes(properties, None, {})
    # No node is left to the widest range.
    assert resolved.needs == Resources(8000, 512, 0)
    assert (resolved.num_nodes, resolved.main_node, resolved.instance_type) == (4, 0, "")


def test_overrides_reach_their_range_alone() -> None:
    properties = nodes(a_range("0:0", {"command": ["lead"]}), a_range("1:", {"command": ["x"]}))
    change = RangeOverrides("1:", Overrides(command=("y", "Ref::z")))
    resolved = resolve_nodes(properties, NodeOverrides(ranges=(change,)), {"z": "1"})
    commands = [e["container"]["command"] for e in resolved.properties["nodeRangeProperties"]]
    assert commands == [["lead"], ["y", "1"]]
    assert properties["nodeRangeProperties"][1]["container"]["command"] == ["x"]
    # However it is written, it is the same range.
    assert resolve_nodes(nodes(":"), NodeOverrides(ranges=(RangeOverrides("0:"),)), {})


@pytest.mark.parametrize(
    "entry",
    [
        a_range(instanceTypes=["a.b"]),
        a_range(container={"instanceType": "a.b"}),
        a_range(instanceTypes=["a.b"], container={"instanceType": "a.b"}),
        a_range(),
    ],
)
@pytest.mark.parametrize(
    "change",
    [
        RangeOverrides(":", instance_types=("c.d",)),
        RangeOverrides(":", Overrides(instance_type="c.d")),
    ],
)
def test_an_overridden_instance_type_holds_however_it_was_said(
    entry: dict[str, Any], change: RangeOverrides
) -> None:
    resolved = resolve_nodes(nodes(entry), NodeOverrides(ranges=(change,)), {})
    assert resolved.instance_type == "c.d"
    register(resolved.properties)
    assert "a.b" not in str(resolved.properties)


def test_an_instance_type_is_overridden_for_all_ranges_or_none() -> None:
    properties = nodes(a_range("0:0", instanceTypes=["a.b"]), a_range("1:", instanceTypes=["a.b"]))
    one = RangeOverrides("0:0", instance_types=("c.d",))
    other = RangeOverrides("1:", instance_types=("c.d",))
    assert resolve_nodes(properties, NodeOverrides(ranges=(one, other)), {}).instance_type == "c.d"
    with pytest.raises(InvalidRequest, match="must use the same instance type"):
        resolve_nodes(properties, NodeOverrides(ranges=(one,)), {})


def test_a_range_is_overridden_once() -> None:
    twice = NodeOverrides(ranges=(RangeOverrides(":"), RangeOverrides("0:")))
    with pytest.raises(InvalidRequest, match="has overrides already") as caught:
        resolve_nodes(nodes(":"), twice, {})
    assert caught.value.member == "nodeOverrides.nodePropertyOverrides[1].targetNodes"
    many = NodeOverrides(ranges=tuple(RangeOverrides(f"{n}:{n}") for n in range(6)))
    with pytest.raises(InvalidRequest, match="more than 5 entries"):
        check_node_overrides(many)


def test_where_a_node_is() -> None:
    for waiting in (JobStatus.SUBMITTED, JobStatus.PENDING, JobStatus.RUNNABLE):
        assert node_status(waiting, "ENDED", 0) is waiting
    for final in (JobStatus.SUCCEEDED, JobStatus.FAILED):
        assert node_status(final, None, None) is final
    for tried in ("STARTING", "RUNNING"):
        assert node_status(JobStatus.RUNNING, tried, None) == tried
    assert node_status(JobStatus.RUNNING, "ENDED", 0) is JobStatus.SUCCEEDED
    assert node_status(JobStatus.SUCCEEDED, "ENDED", 137) is JobStatus.FAILED
    assert node_status(JobStatus.SUCCEEDED, "ENDED", None) is JobStatus.FAILED
