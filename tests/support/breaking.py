"""Requests that are wrong in one place, in each way that a caller may get one wrong.

A good request is changed at a place that AWS's model gives it: at a member that it has, or at one
that it could have. Some changes leave no doubt that the request is wrong; others may happen to
leave it right.
"""

import base64
import copy
import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

from botocore.model import ListShape, MapShape, Shape, StructureShape
from hypothesis import strategies as st

from longshore.domain.page import encode_token

Json = dict[str, Any]
Step = str | int
ABSENT = object()

#: Of nothing, of other alphabets, directions and digits, of half a character, of other languages.
SHORT = st.one_of(
    st.sampled_from(
        [
            *("", " ", "\t\n", "a\0b", "\ud800", "\udfff!", "\u202eright to left", "\u0663\u0664"),
            *("-1", "0", "1e9", "9" * 30, "0x10", "NaN", "null", "Ref::", "Ref::x", "${x}"),
            *("../../etc", "'; DROP TABLE jobs; --", "%s%n"),
            *("arn:aws:batch:::", "arn:aws:batch:us-east-1:123456789012:job-queue/", "*", "a*"),
            *("arn:aws:batch:us-east-1:123456789012:job/" + "0" * 40, "q:1", "d:0"),
            *("00000000-0000-0000-0000-000000000001:" + end for end in ("0", "9" * 20, "-1")),
            "00000000-0000-0000-0000-000000000001#1",
        ]
    ),
    st.text(max_size=40),
)
# Made when drawn: hypothesis shows what it draws from.
_LONG = st.tuples(st.sampled_from("x\U0001f4a3"), st.sampled_from([300, 2_000, 300_000]))
TEXTS = SHORT | _LONG.map(lambda drawn: drawn[0] * drawn[1])
NUMBERS = st.one_of(
    st.sampled_from([-1, 0, 1, 2**31 - 1, -(2**31), 2**31, 2**63 - 1, 2**63, 10**40, -(10**40)]),
    st.integers(-100, 100_000),
)


def _anything(texts: st.SearchStrategy[str]) -> st.SearchStrategy[Any]:
    """Any JSON with such texts."""
    scalars = st.none() | st.booleans() | NUMBERS | st.floats(allow_nan=False) | texts
    return st.recursive(
        scalars,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    )


ANYTHING = _anything(TEXTS)
#: Scopes and positions of all listings, in each other's places.
TOKENS = st.one_of(
    SHORT,
    st.builds(
        encode_token,
        st.sampled_from(
            ["jobs", "children", "nodes", "queues", "environments", "definitions", "policies"]
        ),
        st.lists(NUMBERS | SHORT, max_size=3),
    ),
    _anything(SHORT).map(
        lambda value: base64.urlsafe_b64encode(json.dumps(value).encode()).decode()
    ),
)
_WRONG_TYPES: dict[str, tuple[Any, ...]] = {
    "structure": ([], "x", 1, True),
    "list": ({}, "x", 1, True),
    "map": ([], "x", 1, True),
    "string": (1, 1.5, True, [], {}),
    "boolean": ("yes", 1, [], {}),
    "integer": ("x", 1.5, True, [], {}),
    "long": ("x", 1.5, True, [], {}),
    "float": ("x", True, [], {}),
    "double": ("x", True, [], {}),
}
#: The first numbers that no message can hold.
_BEYOND = {"integer": (2**31, -(2**31) - 1), "long": (2**63, -(2**63) - 1)}


@dataclass(frozen=True)
class Place:
    """Where a request can be changed."""

    operation: str
    good: Json
    path: tuple[Step, ...]
    shape: Shape
    #: Whether the model says that it must be there.
    is_required: bool

    def __repr__(self) -> str:
        """What a failing test is to show."""
        return f"{self.operation}{list(self.path)}"

    @property
    def names(self) -> list[str]:
        """The members on the way there."""
        return [step for step in self.path if isinstance(step, str)]


@dataclass(frozen=True)
class Broken:
    """A request that was changed at a place."""

    place: Place
    request: Json
    value: Any
    #: Whether it cannot be right whatever else is so: over JSON, and in a message.
    is_wrong: bool
    is_wrong_message: bool

    def _repr_pretty_(self, printer: Any, _cycle: bool) -> None:
        """How hypothesis shows it, and not member by member."""
        printer.text(repr(self))

    def __repr__(self) -> str:
        """As of its place."""
        shown = "absent" if self.value is ABSENT else ascii(self.value)[:200]
        return f"{self.place!r} = {shown}"


class Places(list[Place]):
    """All places of some requests, members that they could have among them."""

    def __repr__(self) -> str:
        """Hypothesis shows what it draws from; these are many."""
        return f"{len(self)} places"

    def add(self, operation: str, good: Json, shape: StructureShape) -> None:
        """Adds those of a request."""
        for path, inner, required in _within(shape, good, ()):
            self.append(Place(operation, good, path, inner, required))


def _within(
    shape: Shape, value: Any, path: tuple[Step, ...]
) -> Iterator[tuple[tuple[Step, ...], Shape, bool]]:
    if isinstance(shape, StructureShape):
        for name, member in shape.members.items():
            yield (*path, name), member, name in shape.required_members
            if name in value:
                yield from _within(member, value[name], (*path, name))
    elif isinstance(shape, ListShape):
        for index, item in enumerate(value[:2]):
            yield (*path, index), shape.member, False
            yield from _within(shape.member, item, (*path, index))
    elif isinstance(shape, MapShape):
        for key in value:
            yield (*path, key), shape.value, False


class _Change(NamedTuple):
    """What is put in a place; see `Broken`."""

    value: Any
    is_wrong: bool = False
    is_wrong_message: bool = False


@st.composite
def broken(draw: st.DrawFn, among: Places) -> Broken:
    """A request that is changed at one of the places."""
    place = among[draw(st.integers(0, len(among) - 1))]
    change = draw(st.one_of(_changes(place)))
    return Broken(place, _with(place.good, place.path, change.value), *change)


def _changes(place: Place) -> list[st.SearchStrategy[_Change]]:
    """All ways to change a place, those with most in them more than once."""
    shape, kind = place.shape, place.shape.type_name
    is_plural = kind in ("list", "map")
    missing = _Change(ABSENT, place.is_required, place.is_required and not is_plural)
    ways = [
        st.just(missing),
        st.sampled_from(_WRONG_TYPES[kind]).map(lambda value: _Change(value, is_wrong=True)),
        st.integers(3, 300).map(lambda depth: _Change(_deep(depth), is_wrong=True)),
        ANYTHING.map(_Change),
    ]
    if isinstance(shape, StructureShape):
        ways += [st.text(min_size=1).map(partial(_with_unknown, place)), made(shape).map(_Change)]
    elif is_plural:
        ways += [_many(place).map(_Change), made(shape).map(_Change)]
        ways += [st.just(_Change({} if kind == "map" else []))]
    elif kind == "string":
        ways += [TEXTS.map(partial(_text, shape))] * 3
    elif kind != "boolean":
        ways += [NUMBERS.map(partial(_number, kind))] * 2
    return ways


def _with_unknown(place: Place, name: str) -> _Change:
    """What is there, with a member that nobody knows."""
    present = _at(place.good, place.path)
    known = place.shape.members  # type: ignore[attr-defined]
    value = {**(present if isinstance(present, dict) else {}), name: 1}
    return _Change(value, is_wrong=name not in known)


def _text(shape: Shape, value: str) -> _Change:
    values = shape.enum  # type: ignore[attr-defined]
    # Of a member that longshore does not do the empty string asks for nothing.
    wrong = "\0" in value or (bool(values) and value != "" and value.upper() not in values)
    return _Change(value, wrong or any("\ud800" <= char <= "\udfff" for char in value), wrong)


def _number(kind: str, value: int) -> _Change:
    most, least = _BEYOND.get(kind, (math.inf, -math.inf))
    return _Change(value, is_wrong=not least < value < most)


def made(shape: Shape) -> st.SearchStrategy[Any]:
    """A value as the model has it, of any content."""
    if isinstance(shape, StructureShape):
        return st.fixed_dictionaries(
            {},
            optional={
                name: st.deferred(lambda member=member: made(member))
                for name, member in shape.members.items()
            },
        )
    if isinstance(shape, ListShape):
        return st.lists(st.deferred(lambda: made(shape.member)), max_size=2)
    if isinstance(shape, MapShape):
        return st.dictionaries(TEXTS, made(shape.value), max_size=2)
    if shape.type_name == "string":
        return st.sampled_from(shape.enum) if shape.enum else TEXTS  # type: ignore[attr-defined]
    if shape.type_name == "boolean":
        return st.booleans()
    return NUMBERS


def _many(place: Place) -> st.SearchStrategy[Any]:
    """Very many of what is there, or of what there could be."""
    shape, present = place.shape, _at(place.good, place.path)
    counts = st.sampled_from([6, 11, 21, 51, 101, 501, 2_000])
    if isinstance(shape, MapShape):
        return counts.map(lambda count: {f"k{n}": "v" for n in range(count)})
    item = st.just(present[0]) if present else made(shape.member)  # type: ignore[attr-defined]
    return st.tuples(item, counts).map(lambda pair: [pair[0]] * pair[1])


def _deep(depth: int) -> Any:
    value: Any = []
    for _ in range(depth):
        value = [value]
    return {"a": value} if depth % 2 else value


def _at(value: Any, path: tuple[Step, ...]) -> Any:
    for step in path:
        value = value.get(step) if isinstance(value, dict) else value[step]
        if value is None:
            return None
    return value


def _with(request: Json, path: tuple[Step, ...], value: Any) -> Json:
    """A copy with another value at a place."""
    changed = copy.deepcopy(request)
    *way, last = path
    inner: Any = changed
    for step in way:
        inner = inner[step]
    if value is not ABSENT:
        inner[last] = value
    elif isinstance(inner, list):
        del inner[last]  # type: ignore[arg-type]
    else:
        inner.pop(last, None)
    return changed


@st.composite
def cut_up(draw: st.DrawFn) -> Callable[[bytes], bytes]:
    """What becomes of a message's bytes on a bad way: some are others, missing, or too many."""
    edits = draw(
        st.lists(
            st.tuples(st.floats(0, 1), st.integers(0, 8), st.binary(max_size=8)),
            min_size=1,
            max_size=4,
        )
    )

    def apply(message: bytes) -> bytes:
        for where, length, instead in edits:
            at = round(where * len(message))
            message = message[:at] + instead + message[at + length :]
        return message

    return apply
