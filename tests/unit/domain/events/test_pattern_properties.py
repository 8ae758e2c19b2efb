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
PATTERNS = st.recursive(
    st.dictionaries(NAMES, LEAVES, min_size=1, max_size=3),
    lambda inner: st.dictionaries(NAMES, st.one_of(LEAVES, inner), min_size=1, max_size=3),
    max_leaves=6,
)
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


def laid_out(value: Any, place: Place, way: tuple[Any, ...], taken: Membership) -> list[Any]:
    """Each scalar of an event: its place, itself, and the elements that lead to it."""
    if isinstance(value, dict):
        return [
            field
            for name, inner in value.items()
            for field in laid_out(inner, (*place, name), (*way, name), taken)
        ]
    if isinstance(value, list):
        found = []
        for index, inner in enumerate(value):
            # Scalars in a list bind nothing, through lists in it.
            binds = {way: index} if isinstance(inner, dict | list) else {}
            found += laid_out(inner, place, (*way, index), {**taken, **binds})
        return found
    return [(place, value, taken)]


def spelled(pattern: Any, place: Place = ()) -> list[tuple[Place, list[Any]]]:
    """The fields of a pattern."""
    found = []
    for name, inner in pattern.items():
        at = (*place, *name.split("."))
        found += spelled(inner, at) if isinstance(inner, dict) else [(at, inner)]
    return found


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
    fields = laid_out(event, (), (), {})
    last = dict(spelled(pattern))
    choices = [[(place, test) for test in tests] for place, tests in last.items()]
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


def clashes(pattern: Any) -> bool:
    """Whether two parts of a pattern say something of one field."""
    places = [place for place, _ in spelled(pattern)]
    return len(set(places)) < len(places)


@given(PATTERNS, EVENTS)
@example({"a.b": [{"exists": False}], "a": [1]}, {"a": 1})
def test_as_the_naive_matcher_has_it(pattern: Any, event: Any) -> None:
    if not clashes(pattern):
        assert compile_pattern(json.dumps(pattern)).matches(event) == naive(pattern, event)
