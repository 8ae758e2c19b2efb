"""Patterns against a naive matcher: all fields of an event laid out, each choice tried."""

import json
from itertools import product
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from longshore.domain.events.pattern import compile_pattern

NAMES = st.sampled_from(["a", "b", "c", "a.b", "b.c"])
VALUES = st.sampled_from([1, 1.0, 2, "x", "xy", "", True, None])
TESTS = st.one_of(
    VALUES,
    st.sampled_from(
        [
            {"prefix": "x"},
            {"suffix": "y"},
            {"anything-but": "x"},
            {"anything-but": [1, 2]},
            {"numeric": [">", 0, "<", 2]},
            {"wildcard": "*y"},
            {"exists": True},
            {"exists": False},
        ]
    ),
)
LEAVES = st.lists(TESTS, min_size=1, max_size=2)
FLAT = st.dictionaries(NAMES, LEAVES, min_size=1, max_size=3)


def joined(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Objects, some with `$or` beside their fields."""
    fields = st.dictionaries(NAMES, st.one_of(LEAVES, inner), min_size=1, max_size=3)
    choices = st.lists(inner, min_size=2, max_size=3).map(lambda parts: {"$or": parts})
    return st.one_of(fields, st.builds(lambda one, other: one | other, fields, choices))


PATTERNS = st.recursive(FLAT, joined, max_leaves=6)
EVENTS = st.dictionaries(
    st.sampled_from(["a", "b", "c"]),
    st.recursive(
        VALUES,
        lambda inner: st.one_of(
            st.lists(inner, max_size=3),
            st.dictionaries(st.sampled_from(["a", "b", "c"]), inner, max_size=3),
        ),
        max_leaves=8,
    ),
    max_size=3,
)
Place = tuple[str, ...]
#: Which element was taken of each list on the way.
Membership = dict[tuple[Any, ...], int]


def laid_out(
    value: Any, place: Place, way: tuple[Any, ...], taken: Membership, passed: Membership
) -> list[Any]:
    """Each scalar of an event: its place, itself, and the elements that lead to it.

    Objects in lists bind their elements, through lists in lists; scalars in them bind nothing.
    """
    if isinstance(value, dict):
        return [
            field
            for name, inner in value.items()
            for field in laid_out(inner, (*place, name), (*way, name), {**taken, **passed}, {})
        ]
    if isinstance(value, list):
        return [
            field
            for index, inner in enumerate(value)
            for field in laid_out(inner, place, (*way, index), taken, {**passed, way: index})
        ]
    return [(place, value, taken)]


Spelled = list[tuple[Place, list[Any]]]


def spelled(pattern: Any, place: Place = ()) -> list[Spelled]:
    """The sets of fields of a pattern, of which one must fit."""
    ways: list[Spelled] = [[]]
    for name, inner in pattern.items():
        at = (*place, *name.split("."))
        if name == "$or":
            more = [way for part in inner for way in spelled(part, place)]
        else:
            more = spelled(inner, at) if isinstance(inner, dict) else [[(at, inner)]]
        ways = [way + other for way in ways for other in more]
    return ways


def holds(test: Any, value: Any) -> bool:
    if not isinstance(test, dict):
        is_number = [type(one) in (int, float) for one in (test, value)]
        return test == value and (all(is_number) or type(test) is type(value))
    [(name, operand)] = test.items()
    is_text = isinstance(value, str)
    if name == "prefix":
        return is_text and value.startswith(operand)
    if name in {"suffix", "wildcard"}:
        return is_text and value.endswith(operand.lstrip("*"))
    if name == "numeric":
        return type(value) in (int, float) and operand[1] < value < operand[3]
    if name == "anything-but":
        others = operand if isinstance(operand, list) else [operand]
        return not any(holds(other, value) for other in others)
    return bool(operand)


def consistent(chosen: list[Membership]) -> Membership | None:
    merged: Membership = {}
    for taken in chosen:
        for way, index in taken.items():
            if merged.setdefault(way, index) != index:
                return None
    return merged


def naive(pattern: Any, event: Any) -> bool:
    """For each field one of its tests, for each test a value: all must be in the same elements."""
    fields = laid_out(event, (), (), {}, {})
    return any(naive_way(way, fields) for way in spelled(pattern))


def naive_way(way: Spelled, fields: list[Any]) -> bool:
    choices = [[(place, test) for test in tests] for place, tests in way]
    for choice in product(*choices):
        absent = [place for place, test in choice if test == {"exists": False}]
        wanted = [
            [taken for at, value, taken in fields if at == place and holds(test, value)]
            for place, test in choice
            if test != {"exists": False}
        ]
        for chosen in product(*wanted):
            bound = consistent(list(chosen))
            if bound is not None and not any(
                at in absent and consistent([bound, taken]) is not None for at, _, taken in fields
            ):
                return True
    return False


def is_small(pattern: Any) -> bool:
    """Whether the naive matcher is through with it soon."""
    return sum(2 ** len(way) for way in spelled(pattern)) < 1_000


def repeats(pattern: Any) -> bool:
    """Whether an object names one of its fields twice: the last holds, of leaves."""
    names = [tuple(name.split(".")) for name in pattern if name != "$or"]
    inner = [one for one in pattern.values() if isinstance(one, dict)] + list(
        pattern.get("$or", ())
    )
    return len(set(names)) < len(names) or any(map(repeats, inner))


@given(PATTERNS, EVENTS)
@example({"a.b": [{"exists": False}], "a": [1]}, {"a": 1})
@example({"a.b": [1], "a": [1]}, {"a": [[1], {"a": 1, "b": 1}]})
@example({"a": {"b": [1]}, "$or": [{"a": {"c": [2]}}, {"b": [3]}]}, {"a": [{"b": 1}, {"c": 2}]})
def test_as_the_naive_matcher_has_it(pattern: Any, event: Any) -> None:
    if is_small(pattern) and not repeats(pattern):
        assert compile_pattern(json.dumps(pattern)).matches(event) == naive(pattern, event)
