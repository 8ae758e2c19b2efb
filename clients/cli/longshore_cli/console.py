"""What the command prints: tables, JSON, sentences; plain where there is no terminal.

Rich, which takes its time to load, is for terminals alone.
"""

import json
import os
import re
import sys
from base64 import b64encode
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TextIO, cast

from longshore_cli import streams

if TYPE_CHECKING:
    from google.protobuf.descriptor import FieldDescriptor
    from google.protobuf.message import Message
    from google.protobuf.timestamp_pb2 import Timestamp
    from rich.console import Console
    from rich.table import Table

STATUS_STYLES = {
    "SUBMITTED": "dim",
    "PENDING": "dim",
    "RUNNABLE": "yellow",
    "STARTING": "cyan",
    "RUNNING": "blue",
    "SUCCEEDED": "green",
    "FAILED": "red",
    "VALID": "green",
    "INVALID": "red",
    "SERVING": "green",
    "NOT_SERVING": "yellow",
    "UNREACHABLE": "red",
    "ENABLED": "green",
    "DISABLED": "yellow",
    "UPDATING": "yellow",
    "READY": "green",
    "DRAINING": "yellow",
    "LOST": "red",
}
#: On a terminal, a column that is no wider is not folded while there are others to go without.
WHOLE_CELLS = 20
#: No column but an only one is made narrower.
NARROW_CELLS = 8
#: Blanks between two columns.
GAP = 2
#: What moves a terminal's cursor, changes its colours or title, or shows text in another order than
#: it has: control characters, line and paragraph separators, marks of direction.
_HARMFUL = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def harmless(text: str) -> str:
    """A text that callers and containers may have given, each of its harmful characters named."""
    return _HARMFUL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def paragraph(text: str, indent: int = 0) -> str:
    """The same of more than one line, all but the first moved in."""
    return ("\n" + " " * indent).join(map(harmless, text.split("\n")))


def is_terminal(stream: TextIO) -> bool:
    """Whether a person looks at what is written there."""
    return stream.isatty() or bool(os.environ.get("FORCE_COLOR"))


def out() -> "Console":
    """The terminal of results, standard output."""
    from rich.console import Console  # noqa: PLC0415 - see the module's docstring

    return Console(highlight=False, soft_wrap=True)


def err() -> "Console":
    """The terminal of remarks and failures, standard error."""
    from rich.console import Console  # noqa: PLC0415 - see the module's docstring

    return Console(stderr=True, highlight=False, soft_wrap=True)


def line(text: str = "") -> None:
    """A result, or a line of one, as it is."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def say(text: str) -> None:
    """A remark, beside the results."""
    text = paragraph(text)
    with streams.by_the_way(sys.stderr):
        if is_terminal(sys.stderr):
            err().print(text, style="dim", markup=False, emoji=False)
        else:
            sys.stderr.write(text + "\n")


def fail(text: str) -> None:
    """Why the command failed."""
    text = paragraph(text)
    with streams.by_the_way(sys.stderr):
        if is_terminal(sys.stderr):
            console = err()
            console.print("longshore: ", style="bold red", end="")
            console.print(text, markup=False, emoji=False)
        else:
            sys.stderr.write(f"longshore: {text}\n")


def print_json(value: Any) -> None:
    """A result for programs."""
    line(json.dumps(value, indent=2))


def table(
    headers: Sequence[str], rows: Iterable[Sequence[str]], *, spare: Sequence[str] = ()
) -> None:
    """A listing: fitted into a terminal's width; elsewhere each row is one line.

    Args:
        headers: names of the columns.
        rows: a cell for each column.
        spare: columns that a narrow terminal may go without, the first of them first.
    """
    lines = [list(headers), *(list(row) for row in rows)]
    if is_terminal(sys.stdout):
        console = out()
        console.print(fitted(lines, console.width, spare), soft_wrap=False)
    else:
        line("\n".join(_aligned(lines)))


def _harmless(lines: Sequence[Sequence[str]]) -> list[list[str]]:
    return [[harmless(cell) for cell in row] for row in lines]


def _aligned(lines: list[list[str]]) -> Iterable[str]:
    lines = _harmless(lines)
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for row in lines:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        yield "  ".join(cells).rstrip()


def fitted(lines: Sequence[Sequence[str]], width: int, spare: Sequence[str] = ()) -> "Table":
    """A listing of so many columns of a terminal, its first line the headers.

    Cells are folded where they are long; the first column, which one copies, stays whole.
    """
    from rich.table import Table  # noqa: PLC0415 - see the module's docstring
    from rich.text import Text  # noqa: PLC0415

    columns = _kept(list(zip(*_harmless(lines), strict=True)), width, spare)
    grid = Table(box=None, pad_edge=False, header_style="bold", padding=(0, GAP, 0, 0))
    for (header, *_), cells in zip(columns, _widths(columns, width), strict=True):
        # Rich cuts where it has to choose; with a width of its own a column is folded.
        grid.add_column(header, overflow="fold", width=cells)
    for row in list(zip(*columns, strict=True))[1:]:
        grid.add_row(*(Text(cell, style=STATUS_STYLES.get(cell, "")) for cell in row))
    return grid


def _kept(
    columns: list[tuple[str, ...]], width: int, spare: Sequence[str]
) -> list[tuple[str, ...]]:
    """The columns that there is room for: without spare ones, then without the last."""
    for header in spare:
        # Folded, a long column needs this much at least to be read.
        if _needed(columns, WHOLE_CELLS) <= width:
            break
        columns = [column for column in columns if column[0] != header]
    while len(columns) > 1 and _needed(columns, NARROW_CELLS) > width:
        columns = columns[:-1]
    return columns


def _needed(columns: Sequence[tuple[str, ...]], most: int) -> int:
    """Cells of a terminal if columns other than the first have so many at most."""
    first, *others = (max(map(len, column)) for column in columns)
    return first + sum(min(other, most) + GAP for other in others)


def _widths(columns: Sequence[tuple[str, ...]], width: int) -> list[int]:
    """Of each column; the widest give way first, and the first column last."""
    first, *others = (max(map(len, column)) for column in columns)
    room = width - first - GAP * len(others)
    level = max(others, default=0)
    while sum(min(other, level) for other in others) > room and level > NARROW_CELLS:
        level -= 1
    return [min(first, width), *(min(other, level) for other in others)]


def fields(pairs: Iterable[tuple[str, str]]) -> None:
    """What is known of one thing, a line each; empty values are left out.

    A value of several lines is moved in, so that none of them looks like another field.
    """
    given = [(name, value) for name, value in pairs if value]
    width = max((len(name) for name, _ in given), default=0)
    kept = [(name, paragraph(value, width + GAP)) for name, value in given]
    if not is_terminal(sys.stdout):
        for name, value in kept:
            line(f"{name.ljust(width + GAP)}{value}")
        return
    from rich.text import Text  # noqa: PLC0415 - see the module's docstring

    console = out()
    for name, value in kept:
        style = STATUS_STYLES.get(value, "")
        console.print(Text.assemble((name.ljust(width + GAP), "bold"), (value, style)))


def plain(message: "Message") -> dict[str, Any]:
    """A message as AWS's JSON has it: JSON names, numbers as numbers, only what is set."""
    return {field.json_name: _value(field, value) for field, value in message.ListFields()}


def whole(message: "Message") -> dict[str, Any]:
    """A message of our own for programs: zeros and empty texts too, times as ISO 8601."""
    return {
        field.json_name: _value(field, getattr(message, field.name), whole)
        for field in cast("list[FieldDescriptor]", message.DESCRIPTOR.fields)
        if not field.has_presence or message.HasField(field.name)
    }


def _value(
    field: "FieldDescriptor", value: Any, inside: Callable[["Message"], dict[str, Any]] = plain
) -> Any:
    entry = field.message_type
    if entry is not None and entry.GetOptions().map_entry:
        inner = entry.fields_by_name["value"]
        return {str(key): _single(inner, item, inside) for key, item in sorted(value.items())}
    if field.is_repeated:
        return [_single(field, item, inside) for item in value]
    return _single(field, value, inside)


def _single(
    field: "FieldDescriptor", value: Any, inside: Callable[["Message"], dict[str, Any]]
) -> Any:
    if field.message_type is not None:
        is_time = field.message_type.full_name == "google.protobuf.Timestamp"
        return value.ToJsonString() if is_time else inside(value)
    if field.enum_type is not None:
        return field.enum_type.values_by_number[value].name
    return b64encode(value).decode() if isinstance(value, bytes) else value


def when(epoch_milliseconds: int) -> str:
    """A time for people, in the local zone; empty for none, and for one beyond all calendars."""
    if not epoch_milliseconds:
        return ""
    try:
        at = datetime.fromtimestamp(epoch_milliseconds / 1000, UTC).astimezone()
    except (ValueError, OverflowError, OSError):
        return ""
    return at.strftime("%Y-%m-%d %H:%M:%S")


def moment(at: "Timestamp") -> str:
    """A time of our own messages for people; empty for none."""
    return when(at.ToMilliseconds())


def number(value: float) -> str:
    """A quantity for people: no more digits than it takes."""
    return f"{value:.2f}".rstrip("0").rstrip(".")


def dollars(value: float) -> str:
    """US dollars for people: cents of a sum, more digits the less it is."""
    if not value:
        return "0"
    return f"{value:,.{2 if value >= 1 else 4 if value >= 0.01 else 6}f}"


def duration(start_milliseconds: int, stop_milliseconds: int) -> str:
    """Time between two moments for people; empty unless both are known."""
    if not start_milliseconds or not stop_milliseconds:
        return ""
    seconds = max(0.0, (stop_milliseconds - start_milliseconds) / 1000)
    if seconds < 60:
        return f"{seconds:.1f}s"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02}m{rest:02}s" if hours else f"{minutes}m{rest:02}s"


def told(*parts: str) -> str:
    """All that is said of one thing in a line, each part once."""
    return "; ".join(dict.fromkeys(filter(None, parts)))


def short(arn: str) -> str:
    """The name in an ARN, or the text itself."""
    return arn.rpartition("/")[2]


def print_json_line(value: Any) -> None:
    """One of many results for programs, on a line of its own as soon as it is there."""
    line(json.dumps(value))
