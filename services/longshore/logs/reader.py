"""Reads stored logs: lines into entries, and where the last lines begin."""

from collections.abc import Callable, Iterator
from datetime import datetime

from longshore.logs.scan import BROKEN, plain
from longshore.v1 import log_service_pb2 as pb

#: Entries in one answer.
BATCH_ENTRIES = 1000
#: Bytes read at one time. The longest line is 16 KiB and its head, so whole lines always fit.
BLOCK_BYTES = 256 * 1024
#: Bytes of a log from a position to another.
Read = Callable[[int, int], bytes]
_SOURCES = {b"stdout": pb.LOG_SOURCE_STDOUT, b"stderr": pb.LOG_SOURCE_STDERR}


def read_entries(read: Read, offset: int, end: int) -> tuple[list[pb.LogEntry], int]:
    """Up to a batch of entries from a position on, and the position after them.

    Bytes that are not a line of the format are handed out as text rather than lost.
    """
    data = read(offset, min(offset + BLOCK_BYTES, end))
    entries: list[pb.LogEntry] = []
    begin = 0
    while len(entries) < BATCH_ENTRIES:
        newline = data.find(b"\n", begin)
        if newline < 0:
            if len(data) < BLOCK_BYTES or begin:
                break
            newline = len(data) - 1
        entries.append(_entry(data[begin:newline]))
        begin = newline + 1
    return entries, offset + begin


def tail_offset(read: Read, end: int, lines: int) -> int:
    """The position at which the last so many lines before `end` begin."""
    wanted = lines + 1  # the last line's own end is the first that is met
    position = end
    for begin, block in _blocks_backwards(read, end):
        at = len(block)
        while (at := block.rfind(b"\n", 0, at)) >= 0:
            wanted -= 1
            if wanted == 0:
                return begin + at + 1
        position = begin
    return position


def _blocks_backwards(read: Read, end: int) -> Iterator[tuple[int, bytes]]:
    while end > 0:
        begin = max(0, end - BLOCK_BYTES)
        yield begin, read(begin, end)
        end = begin


def _entry(line: bytes) -> pb.LogEntry:
    parts = line.split(b" ", 3)
    try:
        time, source, tag, text = parts
        is_partial = tag == b"P" or tag == b"P" + BROKEN
        entry = pb.LogEntry(source=_SOURCES[source], text=plain(tag, text), partial=is_partial)
        seconds, _, fraction = time.decode().rstrip("Z").partition(".")
        entry.time.seconds = int(datetime.fromisoformat(seconds + "+00:00").timestamp())
        entry.time.nanos = int(fraction.ljust(9, "0")[:9])
    except (ValueError, KeyError):
        return pb.LogEntry(source=pb.LOG_SOURCE_STDOUT, text=line)
    return entry
