r"""CloudWatch's filter patterns: which log messages somebody looks for.

Three forms, told apart by how they begin:

- terms: `ERROR "two words" -DEBUG ?WARN %[0-9]{3}%`. A plain term must occur, one behind `-` must
  not, and of those behind `?` one must, unless there are plain ones: then these alone count. Case
  matters. What has other characters than letters, digits and `_` stands in quotes. Between percent
  signs there is a regular expression, without groups, at most two in a pattern;
- `{ $.status = "FAILED" && ($.n > 3 || $.user.name = a*) }`: messages that are JSON, by their
  members. `!=` is the opposite of `=`, and so holds where the member is not there;
- `[ip, user, code = 5*]`: fields that spaces delimit. Refused by name.

Nothing here takes longer than a few passes over the message, whatever the pattern: regular
expressions are given to whoever compiles them in linear time, and depth is bounded.

See CloudWatch Logs' user guide, filter and pattern syntax.
"""

import json
import re
from collections.abc import Callable, Sequence
from typing import Any, Final

from longshore.domain.errors import InvalidRequest, Unimplemented

#: Characters of a pattern.
PATTERN_MAX = 1024
#: Regular expressions in one pattern.
REGEX_MAX = 2
#: Parentheses within each other.
DEPTH_MAX = 50

#: Whether something holds of a message.
Matcher = Callable[[str], bool]
#: Compiles a regular expression to be searched for in linear time; ValueError if it is none.
Compiler = Callable[[str], Matcher]
#: Whether something holds of a JSON value.
_Holds = Callable[[Any], bool]

_TERM = re.compile(r"""([-?]?)(?:"((?:[^"\\]|\\.)*)"|%([^%]*)%|(\w+))(?=\s|\Z)\s*""", re.DOTALL)
_REGEX = re.compile(r"[A-Za-z0-9:_#=@/;,\-^$?\[\]{}|\\*+. ]+")
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)

_SELECTOR = re.compile(r"\$((?:\.[^\s.\[\]=!<>&|(){}\"%,*]+|\[[0-9]{1,6}\])+)")
_STEP = re.compile(r"\.([^.\[]+)|\[([0-9]+)\]")
_STATE = re.compile(r"IS\s+(TRUE|FALSE|NULL)\b|(NOT\s+EXISTS)\b", re.IGNORECASE)
_OPERATOR = re.compile(r"!=|<=|>=|=|<|>")
_VALUE = re.compile(r'"((?:[^"\\]|\\.)*)"|%([^%]*)%|([^\s()&|{}"%]+)', re.DOTALL)
_NUMBER = re.compile(r"[-+]?[0-9]+(?:\.[0-9]+)?(?:[eE][-+]?[0-9]{1,3})?", re.ASCII)

_MISSING: Final = object()
_WORDS: Final = {"TRUE": True, "FALSE": False, "NULL": None}
_ORDERS: dict[str, Callable[[float, float], bool]] = {
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
}


def parse_pattern(pattern: str, compiler: Compiler, *, member: str = "filterPattern") -> Matcher:
    """What a pattern means; one that is empty matches everything.

    Args:
        pattern: as the caller gives it.
        compiler: of regular expressions.
        member: the member that has it.

    Raises:
        InvalidRequest: it is no pattern.
        Unimplemented: it is of the form that longshore does not do.
    """
    if len(pattern) > PATTERN_MAX:
        raise InvalidRequest(
            f"{member} has {len(pattern)} characters; it may have {PATTERN_MAX}.", member=member
        )
    text = pattern.strip()
    if text.startswith("["):
        raise Unimplemented(
            f"{member} is a pattern of fields that spaces delimit, which longshore does not do; "
            "look for terms, or for members of JSON.",
            member=member,
        )
    try:
        regexes = _Regexes(compiler)
        return _Json(text, regexes).matcher() if text.startswith("{") else _terms(text, regexes)
    except ValueError:
        raise InvalidRequest("Invalid filter pattern", member=member) from None


class _Regexes:
    """Compiles the regular expressions of one pattern."""

    def __init__(self, compiler: Compiler) -> None:
        self._compiler = compiler
        self._left = REGEX_MAX

    def compile(self, text: str) -> Matcher:
        """A regular expression of the kind that CloudWatch has; ValueError if it is none."""
        self._left -= 1
        if self._left < 0 or not _REGEX.fullmatch(text):
            raise ValueError(text)
        return self._compiler(text)


def _terms(text: str, regexes: _Regexes) -> Matcher:
    terms: dict[str, list[Matcher]] = {"": [], "-": [], "?": []}
    position = 0
    while position < len(text):
        match = _TERM.match(text, position)
        if match is None:
            raise ValueError(text)
        sign, quoted, regex, word = match.groups()
        if regex is not None:
            matcher = regexes.compile(regex)
        else:
            matcher = _occurs(word if quoted is None else _ESCAPED.sub(r"\1", quoted))
        terms[sign].append(matcher)
        position = match.end()
    must, must_not, some = terms[""], terms["-"], terms["?"]
    if must or not some:
        some = [lambda _: True]
    return lambda message: (
        all(matches(message) for matches in must)
        and any(matches(message) for matches in some)
        and not any(matches(message) for matches in must_not)
    )


def _occurs(term: str) -> Matcher:
    return lambda message: term in message


class _Json:
    """Reads the form in braces, from left to right; ValueError where it is not right."""

    def __init__(self, text: str, regexes: _Regexes) -> None:
        if not text.endswith("}"):
            raise ValueError(text)
        self._text = text[1:-1]
        self._regexes = regexes
        self._at = 0
        self._depth = 0

    def matcher(self) -> Matcher:
        """What it means for messages."""
        holds = self._any()
        self._skip()
        if self._at < len(self._text):
            raise ValueError(self._text)

        def matches(message: str) -> bool:
            if message.lstrip()[:1] not in ("{", "["):
                return False
            try:
                value = json.loads(message)
            except (ValueError, RecursionError):
                return False
            return holds(value)

        return matches

    def _skip(self) -> None:
        rest = self._text[self._at :]
        self._at += len(rest) - len(rest.lstrip())

    def _takes(self, text: str) -> bool:
        self._skip()
        found = self._text.startswith(text, self._at)
        self._at += len(text) if found else 0
        return found

    def _match(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        self._skip()
        match = pattern.match(self._text, self._at)
        self._at = match.end() if match else self._at
        return match

    def _any(self) -> _Holds:
        parts = [self._all()]
        while self._takes("||"):
            parts.append(self._all())
        return parts[0] if len(parts) == 1 else lambda value: any(part(value) for part in parts)

    def _all(self) -> _Holds:
        parts = [self._one()]
        while self._takes("&&"):
            parts.append(self._one())
        return parts[0] if len(parts) == 1 else lambda value: all(part(value) for part in parts)

    def _one(self) -> _Holds:
        if not self._takes("("):
            return self._condition()
        self._depth += 1
        if self._depth > DEPTH_MAX:
            raise ValueError(self._text)
        holds = self._any()
        self._depth -= 1
        if not self._takes(")"):
            raise ValueError(self._text)
        return holds

    def _condition(self) -> _Holds:
        selector = self._match(_SELECTOR)
        if selector is None:
            raise ValueError(self._text)
        steps = [name or int(index) for name, index in _STEP.findall(selector[1])]
        state = self._match(_STATE)
        if state is not None:
            wanted = _MISSING if state[2] else _WORDS[state[1].upper()]
            return lambda value: _at(value, steps) is wanted
        operator = self._match(_OPERATOR)
        value = self._match(_VALUE)
        if operator is None or value is None:
            raise ValueError(self._text)
        holds = self._comparison(operator[0], *value.groups())
        return lambda whole: holds(_at(whole, steps))

    def _comparison(
        self, operator: str, quoted: str | None, regex: str | None, bare: str | None
    ) -> _Holds:
        if operator in _ORDERS:
            if bare is None or not _NUMBER.fullmatch(bare):
                raise ValueError(self._text)
            limit, order = float(bare), _ORDERS[operator]
            return lambda value: _is_number(value) and order(value, limit)
        if regex is not None:
            matches = self._regexes.compile(regex)
            equals: _Holds = lambda value: matches(_text(value))  # noqa: E731 - as its neighbours
        elif bare is not None and _NUMBER.fullmatch(bare):
            equals = _equals_number(bare)
        else:
            equals = _like(bare or quoted or "")
        return equals if operator == "=" else lambda value: not equals(value)


def _at(value: Any, steps: Sequence[str | int]) -> Any:
    """The value that a selector is of; `_MISSING` if there is none."""
    for step in steps:
        if isinstance(step, int):
            if not isinstance(value, list) or step >= len(value):
                return _MISSING
            value = value[step]
        else:
            value = value.get(step, _MISSING) if isinstance(value, dict) else _MISSING
    return value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _text(value: Any) -> str:
    """A value as a text to compare with; nothing looks like what is no text, number or truth."""
    if isinstance(value, str):
        return value
    return json.dumps(value) if isinstance(value, int | float) else "\0"


def _equals_number(bare: str) -> _Holds:
    number = float(bare)
    return lambda value: value == number if _is_number(value) else _text(value) == bare


def _like(pattern: str) -> _Holds:
    """Equal to a text in which each `*` stands for anything."""
    first, *others = pattern.split("*")
    first, others = _ESCAPED.sub(r"\1", first), [_ESCAPED.sub(r"\1", each) for each in others]

    def like(value: Any) -> bool:
        text = _text(value)
        if not others or text == "\0":
            return text == first
        if not text.startswith(first):
            return False
        at = len(first)
        for piece in others[:-1]:
            found = text.find(piece, at)
            if found < 0:
                return False
            at = found + len(piece)
        return len(text) - at >= len(others[-1]) and text.endswith(others[-1])

    return like
