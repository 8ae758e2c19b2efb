"""What a target gets of an event: all of it, a part, or a text made of parts.

A path is `$`, then members by name, `.name` or `['name']`, and elements of lists, `[0]`, or all of
them, `[*]`. A template is any text, mostly JSON, in which `<name>` stands for a part: within quotes
the text of it, so that the whole stays JSON, elsewhere its JSON. What is not there is an empty
text.

See "Amazon EventBridge input transformation" in the EventBridge User Guide.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from longshore.domain import strict_json
from longshore.domain.checks import Json
from longshore.domain.errors import LimitExceeded
from longshore.domain.events.members import invalid

_STEP = re.compile(
    r"\.(?P<name>[^.\[\]'\"\s]+)|\[(?P<index>[0-9]{1,9})\]|\[(?P<all>\*)\]"
    r"|\[(?P<quote>['\"])(?P<quoted>[^'\"\[\]]+)(?P=quote)\]"
)
_PLACE = re.compile(r"<([A-Za-z0-9_.-]+)>")
_NAME = re.compile(r"[A-Za-z0-9_-]{1,256}")
_SURROGATE = re.compile("[\ud800-\udfff]")
#: Characters of what is made of an event.
TEXT_MAX = 256 * 1024
#: What is there without being named.
_OWN_PREFIX = "aws.events."
_OWN: Final = frozenset({
    *("aws.events.rule-arn", "aws.events.rule-name", "aws.events.event.ingestion-time"),
    *("aws.events.event", "aws.events.event.json"),
})  # fmt: skip

MISSING: Final = object()
#: A step of a path: a member's name, an element's number, or None for all elements.
_Step = str | int | None


@dataclass(frozen=True, slots=True)
class Occasion:
    """What a template may name besides the event."""

    rule_arn: str
    rule_name: str
    ingested_at: datetime


@dataclass(frozen=True, slots=True)
class Path:
    """A place in an event."""

    steps: tuple[_Step, ...]

    def of(self, event: Any) -> Any:
        """What is there; `MISSING` if nothing is."""
        return _at(event, self.steps)


def _at(value: Any, steps: tuple[_Step, ...]) -> Any:
    for number, step in enumerate(steps):
        if step is None:
            if type(value) is not list:
                return MISSING
            found = [_at(element, steps[number + 1 :]) for element in value]
            return [element for element in found if element is not MISSING]
        if type(step) is str:
            if type(value) is not dict or step not in value:
                return MISSING
            value = value[step]
        else:
            assert type(step) is int  # noqa: S101 - neither a name nor all
            if type(value) is not list or step >= len(value):
                return MISSING
            value = value[step]
    return value


def parse_path(text: str, member: str) -> Path:
    """Reads a path.

    Raises:
        InvalidRequest: it is none; names the member.
    """
    steps: list[_Step] = []
    at = 1
    while text[:1] == "$" and at < len(text):
        match = _STEP.match(text, at)
        if match is None:
            break
        if match["all"]:
            steps.append(None)
        elif match["index"]:
            steps.append(int(match["index"]))
        else:
            steps.append(match["name"] or match["quoted"])
        at = match.end()
    if text[:1] != "$" or at != len(text) or steps.count(None) > 1:
        raise invalid(
            f"{member} is not valid: {text[:256]!r} is no path like $.detail.attempts[0].", member
        )
    return Path(tuple(steps))


@dataclass(frozen=True, slots=True)
class _Piece:
    """A text that stands there as it is, or a name and whether it stands within quotes."""

    text: str = ""
    name: str = ""
    is_quoted: bool = False


@dataclass(frozen=True, slots=True)
class Transform:
    """What a target gets; all of an event where nothing is set."""

    #: The same for every event.
    constant: str | None = None
    path: Path | None = None
    paths: Mapping[str, Path] | None = None
    pieces: tuple[_Piece, ...] = ()

    def apply(self, event: Json, occasion: Occasion) -> str:
        """The text that is sent for an event."""
        if self.constant is not None:
            return self.constant
        if self.path is not None:
            found = self.path.of(event)
            return _json(None if found is MISSING else found)
        if self.paths is None:
            return _json(event)
        filled: dict[_Piece, str] = {}
        found, size = [], 0
        for piece in self.pieces:
            if piece not in filled:
                filled[piece] = piece.text or self._filled(piece, event, occasion, self.paths)
            size += len(filled[piece])
            # A short template may name a large part very often.
            if size > TEXT_MAX:
                raise LimitExceeded(
                    f"What the input template makes of the event has more than {TEXT_MAX} "
                    "characters; name smaller parts, or fewer."
                )
            found.append(filled[piece])
        return "".join(found)

    def _filled(
        self, piece: "_Piece", event: Json, occasion: Occasion, paths: Mapping[str, Path]
    ) -> str:
        path = paths.get(piece.name)
        value = path.of(event) if path is not None else _own(piece.name, event, occasion)
        value = "" if value is MISSING else value
        if not piece.is_quoted:
            return _json(value)
        return _json(value if type(value) is str else _json(value))[1:-1]


def _own(name: str, event: Json, occasion: Occasion) -> Any:
    match name.removeprefix(_OWN_PREFIX):
        case "rule-arn":
            return occasion.rule_arn
        case "rule-name":
            return occasion.rule_name
        case "event.ingestion-time":
            return occasion.ingested_at.strftime("%Y-%m-%dT%H:%M:%SZ")
        case "event":
            return {key: value for key, value in event.items() if key != "detail"}
        case _:
            return event


def _json(value: Any) -> str:
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    if _SURROGATE.search(text):
        # No UTF-8 has it: it stays as it was written.
        text = json.dumps(value, separators=(",", ":"))
    return text


def transform_of(target: Json, member: str) -> Transform:
    """The transform of a target, AWS-shaped.

    Args:
        target: as it was given; its members have their lengths.
        member: its path in the request.

    Raises:
        InvalidRequest: more than one is asked for, or what is asked for is malformed.
    """
    asked = [name for name in _KINDS if target.get(name) is not None]
    if len(asked) > 1:
        raise invalid(
            f"Only one of Input, InputPath, or InputTransformer must be provided for target "
            f"{target.get('Id')}.",
            f"{member}.{asked[1]}",
        )
    if not asked:
        return Transform()
    return _KINDS[asked[0]](target, f"{member}.{asked[0]}")


def _constant(target: Json, member: str) -> Transform:
    try:
        strict_json.decode(target["Input"])
    except (ValueError, RecursionError) as error:
        raise invalid(
            f"JSON syntax error in input for target {target.get('Id')}: {error}.", member
        ) from None
    return Transform(constant=target["Input"])


def _part(target: Json, member: str) -> Transform:
    return Transform(path=parse_path(target["InputPath"], member))


def _template(target: Json, member: str) -> Transform:
    given: Mapping[str, str] = target["InputTransformer"].get("InputPathsMap", {})
    paths: dict[str, Path] = {}
    for name, text in given.items():
        where = f"{member}.InputPathsMap"
        if _NAME.fullmatch(name) is None or name.lower().startswith("aws"):
            raise invalid(
                f"{where} has the key {name[:256]!r}; keys have letters, digits, _ and -, and do "
                "not begin with AWS.",
                where,
            )
        paths[name] = parse_path(text, f"{where}.{name}")
    pieces = tuple(_pieces(target["InputTransformer"]["InputTemplate"]))
    for piece in pieces:
        if piece.name and piece.name not in paths and piece.name not in _OWN:
            raise invalid(
                f"InputTemplate for target {target.get('Id')} contains invalid placeholder "
                f"{piece.name}.",
                f"{member}.InputTemplate",
            )
    return Transform(paths=paths, pieces=pieces)


def _pieces(template: str) -> list[_Piece]:
    """A template's texts and names, in order."""
    pieces: list[_Piece] = []
    at, quoted = 0, False
    for match in _PLACE.finditer(template):
        text = template[at : match.start()]
        quoted ^= _quotes(text) % 2 == 1
        pieces += [_Piece(text), _Piece(name=match[1], is_quoted=quoted)]
        at = match.end()
    return [piece for piece in (*pieces, _Piece(template[at:])) if piece.text or piece.name]


def _quotes(text: str) -> int:
    """How many quotes there are that no backslash stands before."""
    return re.sub(r"\\.", "", text, flags=re.DOTALL).count('"')


_KINDS: dict[str, Callable[[Json, str], Transform]] = {
    "Input": _constant,
    "InputPath": _part,
    "InputTransformer": _template,
}
