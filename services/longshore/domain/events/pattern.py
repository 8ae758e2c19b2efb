"""EventBridge's pattern language: which events a rule is for.

A pattern is an object like the event: its leaves are lists of alternatives, of which a value must
fit one; all of its fields must fit. A list in an event fits if one of its elements does, and what
is looked for in the objects of a list must be in one and the same of them. Names with dots are the
same as nesting, in patterns and in events.

A pattern is compiled once, into a tree like itself. Matching an event walks what the tree names.
Time is bounded by the sizes of both: wildcards need no backtracking, and `$or` is multiplied out
only where it speaks of the fields of its neighbours.

See "Creating event patterns" in the EventBridge User Guide.
"""

import ipaddress
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any, Final

from longshore.domain import strict_json
from longshore.domain.checks import Json
from longshore.domain.errors import InvalidRequest

Test = Callable[[Any], bool]

PATTERN_MAX = 4096
#: Names below one another in a pattern; events nest no deeper.
_DEPTH_MAX = 100
#: What `$or` makes where it speaks of its neighbours' fields: combinations, and fields of all.
_CHOICES_MAX = 1000
_FIELDS_MAX = 10_000
#: Wildcards before one and the same character: with more, texts can fit in very many ways.
_WILDCARDS_MAX = 4
#: Characters of an address, with a scope.
_ADDRESS_MAX = 64
_TOO_COMPLEX = (
    "Rule is too complex - try using fewer wildcard characters or fewer repeating character "
    "sequences after a wildcard character"
)
_TOO_MANY = "Rule is too complex - $or and its neighbours make too many combinations"
_MIXED = (
    "Inside anything but list, either all values are number or string, mixed type is not supported"
)
#: Names that make an object in a list a test rather than a part of `$or`.
_RESERVED: Final = frozenset({
    *("exactly", "equals-ignore-case", "prefix", "suffix", "anything-but", "exists", "wildcard"),
    *("numeric", "cidr", "regex", "=", "<", "<=", ">", ">=", "not-wildcard"),
    *("not-equals-ignore-case", "date-after", "date-on-or-after", "date-before"),
    *("date-on-or-before", "in-date-range", "ip-address-in-range", "ip-address-not-in-range"),
})  # fmt: skip
_MISSING: Final = object()


def refusal(reason: str) -> InvalidRequest:
    """The refusal of a pattern."""
    return InvalidRequest(
        f"Event pattern is not valid. Reason: {reason}",
        member="EventPattern",
        code="InvalidEventPatternException",
    )


#: How an event fits a part of a pattern: not at all; by what is not there alone; by what is there.
#: The difference matters in lists: what is there binds an element, and what is asked of its
#: neighbours is asked of that element; what is not there must be nowhere.
_NOT, _ABSENT, _PRESENT = 0, 1, 2


@dataclass(slots=True)
class _Node:
    """What is asked of a field: of its value, and of the fields beneath it."""

    #: Of each list of tests one must hold for one of the field's values, or, where that is said,
    #: there must be none.
    tests: list[tuple[tuple[Test, ...], bool]] = field(default_factory=list)
    beneath: "_Object | None" = None
    #: How a field that is not there fits.
    when_missing: int = _NOT

    def finish(self) -> None:
        """Fills in what follows from the rest, bottom up."""
        allowed = all(may_be_absent for _, may_be_absent in self.tests)
        if self.beneath is not None:
            self.beneath.finish()
            allowed = allowed and self.beneath.when_missing == _ABSENT
        self.when_missing = _ABSENT if allowed else _NOT

    def fits(self, value: Any) -> int:
        """How a field with this value, `_MISSING` without one, is as asked."""
        if value is _MISSING:
            return self.when_missing
        kind = type(value)
        how = _ABSENT
        if self.tests:
            how = self._fits_values(value, kind)
            if how == _NOT:
                return _NOT
        if self.beneath is None:
            return how
        if kind is dict:
            found = self.beneath.fits(value)
        elif kind is list:
            found = self.beneath.fits_one(value)
        else:
            found = self.beneath.when_missing
        return found and max(how, found)

    def _fits_values(self, value: Any, kind: type) -> int:
        """How its own values are as asked: a list has many, an object none."""
        if kind is list:
            values: Sequence[Any] = _scalars(value)
        else:
            values = () if kind is dict else (value,)
        how = _ABSENT
        for tests, may_be_absent in self.tests:
            if _one_holds(tests, values):
                how = _PRESENT
            elif values or not may_be_absent:
                return _NOT
        return how


@dataclass(slots=True)
class _Object:
    """What is asked of an object: of its fields, and of each choice that one of its parts fits."""

    fields: dict[str, _Node] = field(default_factory=dict)
    choices: list[list["_Object"]] = field(default_factory=list)
    #: As `fields`, for those who walk.
    children: tuple[tuple[str, _Node], ...] = ()
    #: How what is no object fits.
    when_missing: int = _ABSENT

    def finish(self) -> None:
        """Fills in what follows from the rest, bottom up."""
        for child in self.fields.values():
            child.finish()
        for choice in self.choices:
            for part in choice:
                part.finish()
        # What is cheap and often fails comes first.
        self.children = tuple(
            sorted(self.fields.items(), key=lambda entry: entry[1].beneath is not None)
        )
        each = [child.when_missing for child in self.fields.values()]
        each += [max(part.when_missing for part in choice) for choice in self.choices]
        self.when_missing = min(each, default=_ABSENT)

    def fits(self, value: Json) -> int:
        """How an object is as asked."""
        if "." in "".join(value):
            value = _nested(value)
        how = _ABSENT
        for name, child in self.children:
            found = child.fits(value.get(name, _MISSING))
            if found != _PRESENT:
                if found == _NOT:
                    return _NOT
            else:
                how = _PRESENT
        for choice in self.choices:
            found = max(part.fits(value) for part in choice)
            if found == _NOT:
                return _NOT
            how = max(how, found)
        return how

    def fits_one(self, values: list[Any]) -> int:
        """How the objects in a list are: one by what is there, or all by what is not."""
        how = self.when_missing
        is_first = True
        for value in _objects(values):
            found = self.fits(value)
            if found == _PRESENT:
                return _PRESENT
            how = found if is_first else min(how, found)
            is_first = False
        return how


def _one_holds(tests: tuple[Test, ...], values: Sequence[Any]) -> bool:
    for value in values:
        for test in tests:
            if test(value):
                return True
    return False


def _scalars(values: list[Any]) -> list[Any]:
    """What a list holds, through lists in it, less objects."""
    found = []
    waiting = [values]
    while waiting:
        for value in waiting.pop():
            if type(value) is list:
                waiting.append(value)
            elif type(value) is not dict:
                found.append(value)
    return found


def _objects(values: list[Any]) -> Iterator[Json]:
    """The objects in a list, through lists in it."""
    waiting = [values]
    while waiting:
        for value in waiting.pop():
            if type(value) is dict:
                yield value
            elif type(value) is list:
                waiting.append(value)


def _nested(value: Json) -> Json:
    """An object whose names with dots are nested objects."""
    made: Json = {}
    own: set[int] = set()
    for name, inner in value.items():
        at, (*steps, last) = made, name.split(".")
        for step in steps:
            within = at.get(step)
            if type(within) is not dict:
                within = {}
            elif id(within) not in own:
                within = dict(within)
            own.add(id(within))
            at[step] = within
            at = within
        known = at.get(last)
        both = isinstance(known, dict) and type(inner) is dict
        at[last] = known | inner if both else inner
    return made


class Pattern:
    """A compiled pattern."""

    __slots__ = ("_root",)

    def __init__(self, root: _Object) -> None:
        self._root = root

    def matches(self, event: Json) -> bool:
        """Whether a rule with the pattern gets the event, as decoded JSON."""
        return self._root.fits(event) != _NOT


def compile_pattern(text: str) -> Pattern:
    """Reads a pattern.

    Raises:
        InvalidRequest: it is none; in AWS's words, with AWS's code.
    """
    try:
        decoded = strict_json.decode(text)
    except (ValueError, RecursionError) as error:
        raise refusal(f"it is not valid JSON ({error})") from None
    if type(decoded) is not dict:
        raise refusal("Filter is not an object")
    try:
        root = _object(decoded, 0)
        root.finish()
    except RecursionError:
        raise refusal(f"it nests deeper than {_DEPTH_MAX}") from None
    return Pattern(root)


def _object(value: Json, depth: int) -> _Object:
    """An object of a pattern.

    Fields that say something of one field, beside each other or in `$or`, must fit in one and the
    same element where it is a list, so they are laid out together; all others stand alone.
    """
    if not value:
        raise refusal("Empty objects are not allowed")
    made = _Object()
    for together in _groups(value):
        [(name, inner), *others] = together
        if not others and name == "$or" and _is_or(inner):
            made.choices.append([_object(part, depth) for part in inner])
        elif not others and type(inner) is dict and "." not in name:
            _check_depth(depth + 1)
            made.fields[name] = _Node(beneath=_object(inner, depth + 1))
        else:
            laid_out = _laid_out(dict(together), (), depth)
            if len(laid_out) == 1:
                _plant(made, laid_out[0])
            else:
                made.choices.append([_plant(_Object(), fields) for fields in laid_out])
    return made


def _groups(value: Json) -> list[list[tuple[str, Any]]]:
    """The members of an object, those together that say something of one field."""
    groups: list[tuple[set[str], list[tuple[str, Any]]]] = []
    for name, inner in value.items():
        names = _first_names({name: inner})
        joined = [(name, inner)]
        others = []
        for group in groups:
            if group[0] & names:
                names |= group[0]
                joined = group[1] + joined
            else:
                others.append(group)
        groups = [*others, (names, joined)]
    return [members for _, members in groups]


def _first_names(value: Json) -> set[str]:
    """The fields of an object that its members say something of."""
    found: set[str] = set()
    for name, inner in value.items():
        if name == "$or" and _is_or(inner):
            for part in inner:
                found |= _first_names(part)
        else:
            found.add(name.partition(".")[0])
    return found


def _check_depth(depth: int) -> None:
    if depth > _DEPTH_MAX:
        raise refusal(f"it nests deeper than {_DEPTH_MAX}")


#: Where, the tests of what is there, and whether there may be nothing.
_Field = tuple[tuple[str, ...], tuple[Test, ...], bool]


def _plant(root: _Object, fields: list[_Field]) -> _Object:
    """Adds fields to an object, each below those that its path names."""
    for path, tests, may_be_absent in fields:
        at, (*steps, last) = root, path
        for step in steps:
            node = at.fields.setdefault(step, _Node())
            if node.beneath is None:
                node.beneath = _Object()
            at = node.beneath
        at.fields.setdefault(last, _Node()).tests.append((tests, may_be_absent))
    return root


def _laid_out(value: Json, path: tuple[str, ...], depth: int) -> list[list[_Field]]:
    """The sets of fields of an object in a pattern of which one must fit."""
    if not value:
        raise refusal("Empty objects are not allowed")
    #: By the place of each field, so that of two that say it in different ways the last holds.
    places: dict[tuple[str, ...], list[list[_Field]]] = {}
    for name, inner in value.items():
        if name == "$or" and _is_or(inner):
            places[*path, name] = [one for part in inner for one in _laid_out(part, path, depth)]
            continue
        place = (*path, *name.split("."))
        _check_depth(depth + len(place))
        if type(inner) is dict:
            # Of fields that stand in two such objects both hold.
            places[*path, name, ""] = _laid_out(inner, place, depth)
        elif type(inner) is list:
            places[place] = [[(place, *_tests(inner))]]
        else:
            raise refusal(f'"{name}" must be an object or an array')
    return _combined(list(places.values()))


def _combined(parts: list[list[list[_Field]]]) -> list[list[_Field]]:
    number = 1
    for part in parts:
        number *= len(part)
        if number > _CHOICES_MAX:
            raise refusal(_TOO_MANY)
    if number * sum(max(map(len, part)) for part in parts) > _FIELDS_MAX:
        raise refusal(_TOO_MANY)
    return [[entry for one in chosen for entry in one] for chosen in product(*parts)]


def _is_or(value: Any) -> bool:
    """Whether the value of a field `$or` joins patterns rather than being a list of tests."""
    return (
        type(value) is list
        and len(value) > 1
        and all(type(part) is dict and not part.keys() & _RESERVED for part in value)
    )


def _tests(values: list[Any]) -> tuple[tuple[Test, ...], bool]:
    """The tests of a field, of which one must hold, and whether it may be absent as well."""
    if not values:
        raise refusal("Empty arrays are not allowed")
    tests: list[Test] = []
    constants: list[Any] = []
    may_be_absent = False
    for value in values:
        if type(value) is list:
            raise refusal("Match value must be String, number, true, false, or null")
        if type(value) is not dict:
            constants.append(value)
        elif (test := _expression(value)) is None:
            may_be_absent = True
        else:
            tests.append(test)
    return (*_among(constants), *tests), may_be_absent


def _among(constants: list[Any]) -> Iterator[Test]:
    """Tests of values that are given as such; `1` is not `true`, though Python has it so."""
    if strings := frozenset(value for value in constants if type(value) is str):
        yield _among_strings(strings)
    if numbers := frozenset(value for value in constants if _is_number(value)):
        yield _among_numbers(numbers)
    if others := tuple(value for value in constants if value is None or type(value) is bool):
        yield _among_others(others)


def _among_strings(values: frozenset[str]) -> Test:
    return lambda value: type(value) is str and value in values


def _among_numbers(values: frozenset[float]) -> Test:
    return lambda value: _is_number(value) and value in values


def _among_others(values: tuple[bool | None, ...]) -> Test:
    return lambda value: any(value is one for one in values)


def _is_number(value: Any) -> bool:
    return type(value) is int or type(value) is float


def _expression(value: Json) -> Test | None:
    """What an object among alternatives asks for; None if it asks for absence."""
    if not value:
        raise refusal("Match expression name not found")
    if len(value) > 1:
        raise refusal("Only one key allowed in match expression")
    [(name, operand)] = value.items()
    if name == "exists":
        if type(operand) is not bool:
            raise refusal("exists match pattern must be either true or false.")
        return _always if operand else None
    read = _EXPRESSIONS.get(name)
    if read is None:
        raise refusal(f"Unrecognized match type {name}")
    return read(operand)


def _always(_value: Any) -> bool:
    return True


def _text(operand: Any, name: str) -> str:
    if type(operand) is not str:
        raise refusal(f"{name} match pattern must be a string")
    return operand


def _prefix(operand: Any) -> Test:
    if type(operand) is dict:
        begin = _ignoring_case(operand, "prefix")
        return lambda value: type(value) is str and value.lower().startswith(begin)
    begin = _text(operand, "prefix")
    return lambda value: type(value) is str and value.startswith(begin)


def _suffix(operand: Any) -> Test:
    if type(operand) is dict:
        end = _ignoring_case(operand, "suffix")
        return lambda value: type(value) is str and value.lower().endswith(end)
    end = _text(operand, "suffix")
    return lambda value: type(value) is str and value.endswith(end)


def _ignoring_case(operand: Json, name: str) -> str:
    if len(operand) != 1:
        raise refusal("Only one key allowed in match expression")
    [(kind, text)] = operand.items()
    if kind != "equals-ignore-case":
        raise refusal(f"Unsupported {name} pattern: {kind}")
    return _text(text, kind).lower()


def _equals_ignoring_case(operand: Any) -> Test:
    wanted = _text(operand, "equals-ignore-case").lower()
    return lambda value: type(value) is str and value.lower() == wanted


def _wildcard(operand: Any) -> Test:
    first, *others = _parts(_text(operand, "wildcard"))
    if not others:
        return lambda value: value == first and type(value) is str
    *inner, last = others

    def holds(value: Any) -> bool:
        if type(value) is not str or not value.startswith(first):
            return False
        at, end = len(first), len(value) - len(last)
        for part in inner:
            # The first place that fits leaves the most to what follows.
            found = value.find(part, at, max(at, end))
            if found < 0:
                return False
            at = found + len(part)
        return at <= end and value.endswith(last)

    return holds


def _parts(text: str) -> list[str]:
    """What stands between the wildcards of a text."""
    parts = [""]
    before: dict[str, int] = {}
    index = 0
    while index < len(text):
        char = text[index]
        if char == "*":
            if text[index + 1 : index + 2] == "*":
                raise refusal(f"Consecutive wildcard characters at pos {index}")
            following = text[index + 1 : index + 2]
            before[following] = before.get(following, 0) + 1
            parts.append("")
        elif char == "\\":
            index += 1
            if text[index : index + 1] not in ("*", "\\"):
                raise refusal(f"Invalid escape character at pos {index - 1}")
            parts[-1] += text[index]
        else:
            parts[-1] += char
        index += 1
    if max(before.values(), default=0) > _WILDCARDS_MAX:
        raise refusal(_TOO_COMPLEX)
    return parts


def _anything_but(operand: Any) -> Test:
    if type(operand) is dict:
        return _anything_but_like(operand)
    values = operand if type(operand) is list else [operand]
    if type(operand) is not list and type(operand) is not str and not _is_number(operand):
        raise refusal("Value of anything-but must be an array or single string/number value.")
    for value in values:
        if type(value) is not str and not _is_number(value):
            raise refusal("Inside anything but list, start|null|boolean is not supported.")
    if len({type(value) is str for value in values}) != 1:
        raise refusal(_MIXED)
    among = (_among_strings if type(values[0]) is str else _among_numbers)(frozenset(values))
    return lambda value: not among(value)


def _anything_but_like(operand: Json) -> Test:
    if len(operand) != 1:
        raise refusal("Only one key allowed in match expression")
    [(name, given)] = operand.items()
    if name not in ("prefix", "suffix", "equals-ignore-case", "wildcard"):
        raise refusal(f"Unsupported anything-but pattern: {name}")
    values = given if type(given) is list else [given]
    if not values:
        raise refusal("Empty arrays are not allowed")
    for value in values:
        _text(value, name)
    if name in ("prefix", "suffix") and "" in values:
        raise refusal("Null prefix/suffix not allowed")
    tests = tuple(_EXPRESSIONS[name](value) for value in values)
    return lambda value: not any(test(value) for test in tests)


_COMPARISONS: dict[str, Callable[[float], Test]] = {
    "=": lambda bound: lambda value: _is_number(value) and value == bound,
    "<": lambda bound: lambda value: _is_number(value) and value < bound,
    "<=": lambda bound: lambda value: _is_number(value) and value <= bound,
    ">": lambda bound: lambda value: _is_number(value) and value > bound,
    ">=": lambda bound: lambda value: _is_number(value) and value >= bound,
}


def _numeric(operand: Any) -> Test:
    if type(operand) is not list:
        raise refusal("Value of numeric must be an array.")
    first, lower = _comparison(operand, 0)
    if len(operand) <= 2:
        return first
    if operand[0] not in (">", ">="):
        raise refusal("Too many elements in numeric expression")
    second, upper = _comparison(operand, 2)
    if operand[2] not in ("<", "<="):
        raise refusal(f"Bad numeric range operator: {operand[2]}")
    if len(operand) > 4:
        raise refusal("Too many elements in numeric expression")
    if lower >= upper:
        raise refusal("Bottom must be less than top")
    return lambda value: first(value) and second(value)


def _comparison(operand: list[Any], at: int) -> tuple[Test, float]:
    sign = operand[at] if at < len(operand) else "]"
    if type(sign) is not str or at >= len(operand):
        raise refusal(f"Invalid member in numeric match: {_shown(sign)}")
    if sign not in _COMPARISONS:
        raise refusal(f"Unrecognized numeric range operator: {sign}")
    bound = operand[at + 1] if at + 1 < len(operand) else None
    if not _is_number(bound):
        raise refusal(f"Value of {'equals' if sign == '=' else sign} must be numeric")
    assert bound is not None  # noqa: S101 - it is a number
    return _COMPARISONS[sign](bound), bound


def _shown(value: Any) -> str:
    return value if type(value) is str else json.dumps(value)


def _cidr(operand: Any) -> Test:
    text = _text(operand, "cidr")
    if text.count("/") != 1:
        raise refusal("Malformed CIDR, one '/' required")
    address, _, bits = text.partition("/")
    if not (bits.isascii() and bits.isdigit()):
        raise refusal("Malformed CIDR, mask bits must be an integer")
    try:
        network = ipaddress.ip_network(f"{address}/{bits}", strict=False)
    except ValueError:
        raise refusal(f"Nonstandard IP address: {address}") from None
    version, first, last = network.version, int(network[0]), int(network[-1])

    def holds(value: Any) -> bool:
        if type(value) is not str or len(value) > _ADDRESS_MAX:
            return False
        try:
            found = ipaddress.ip_address(value)
        except ValueError:
            return False
        return found.version == version and first <= int(found) <= last

    return holds


_EXPRESSIONS: dict[str, Callable[[Any], Test]] = {
    "prefix": _prefix,
    "suffix": _suffix,
    "equals-ignore-case": _equals_ignoring_case,
    "wildcard": _wildcard,
    "anything-but": _anything_but,
    "numeric": _numeric,
    "cidr": _cidr,
}
