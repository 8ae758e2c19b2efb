"""The agent's memory on disk: what it accepted, what it reported and what is not acknowledged yet.

How the last attempts ended stays in it, although they are acknowledged and forgotten: one may be
live on record all the same, as its end could not be stored, and is not to run again.

An append-only file of records, each `length, crc32, kind, payload`. A record reaches the page cache
when it is appended, so it survives the agent's death; `flush` makes all records appended so far
survive the machine's. A torn tail is cut at the next start. The file is written anew when it has
grown well past what is live.

What a full disk has no room for waits in memory and is written before anything that follows it, so
no record is torn by the next one; until then `flush` fails, and nothing is told that depends on it.

A journal that begins empty counts its reports from the present epoch milliseconds instead of from
1: a scheduler that remembers an instance's last sequence number takes the reports of an agent whose
data directory was lost, as long as it sends fewer than 1,000 batches a second.
"""

import asyncio
import contextlib
import enum
import os
import struct
import time
import zlib
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from longshore.agent.attempts.attempt import AttemptKey
from longshore.v1 import agent_service_pb2 as pb

_HEADER = struct.Struct("<IIB")
#: The file is written anew past this size, in bytes, and past four times what is live.
COMPACT_BYTES = 1024 * 1024
#: Attempts remembered after they are forgotten.
REMEMBERED = 10_000


class _Kind(enum.IntEnum):
    ASSIGNED = 1
    STOP = 2
    REPORT = 3
    ACKNOWLEDGED = 4
    FORGOTTEN = 5
    LAST_CHANGE = 6
    PAST = 7
    PROGRESS = 8


@dataclass(slots=True)
class JournalEntry:
    """What the journal knows of one attempt."""

    assignment: pb.Assignment
    stop: pb.AttemptStop | None = None
    change: pb.AttemptChange | None = None
    #: How far its several containers are, told or not.
    progress: pb.AttemptChange | None = None


class Journal:
    """The journal; kept in memory alone when there is no path."""

    def __init__(self, path: Path | None) -> None:
        self.entries: dict[AttemptKey, JournalEntry] = {}
        #: How attempts ended that were forgotten last.
        self.past: OrderedDict[AttemptKey, pb.AttemptChange] = OrderedDict()
        #: Reports without an acknowledgement, by sequence number, in order.
        self.reports: dict[int, pb.AgentReport] = {}
        self.sequence = time.time_ns() // 1_000_000
        self._path = path
        self._file: int | None = None
        #: Records, or the rest of one, that the disk had no room for.
        self._unwritten = bytearray()
        #: Records that a new file, which is being written, does not have yet.
        self._behind: bytearray | None = None
        self._size = 0
        self._compacted_size = 0
        self._flushing = asyncio.Lock()
        if path is not None:
            self._load(path)

    def assigned(self, assignment: pb.Assignment) -> None:
        """Keeps an accepted assignment."""
        self._apply_assigned(assignment)
        self._append(_Kind.ASSIGNED, assignment)

    def stop_wanted(self, stop: pb.AttemptStop) -> None:
        """Keeps the wish for an attempt's end."""
        entry = self.entries.get(AttemptKey.of(stop.key))
        if entry is not None:
            entry.stop = stop
            self._append(_Kind.STOP, stop)

    def progress(self, change: pb.AttemptChange) -> None:
        """Keeps how far the several containers of an attempt are."""
        entry = self.entries.get(AttemptKey.of(change.key))
        if entry is not None:
            entry.progress = change
            self._append(_Kind.PROGRESS, change)

    def report(self, report: pb.AgentReport) -> None:
        """Keeps a report until it is acknowledged. Durable after the next `flush`."""
        self._apply_report(report)
        self._append(_Kind.REPORT, report)

    def acknowledged(self, sequence: int) -> list[pb.AgentReport]:
        """Lets reports up to a sequence number go and returns them."""
        done = [report for number, report in self.reports.items() if number <= sequence]
        for report in done:
            del self.reports[report.sequence]
        if done:
            self._append(_Kind.ACKNOWLEDGED, pb.AgentAcknowledge(sequence=sequence))
        return done

    def forgotten(self, key: AttemptKey) -> None:
        """Lets an attempt go, but for how it ended. One that was given back may come again."""
        if key in self.entries:
            self._apply_forgotten(key)
            self._append(_Kind.FORGOTTEN, key.message())

    async def flush(self) -> None:
        """Makes everything appended so far durable.

        Raises:
            OSError: it is not; the disk is full, most likely.
        """
        if self._file is None or self._path is None:
            return
        async with self._flushing:
            self._write(self._file)
            if self._size > COMPACT_BYTES and self._size > 4 * self._compacted_size:
                # Without room for a new file the old one goes on.
                with contextlib.suppress(OSError):
                    await self._compact(self._path, self._file)
                    return
            await asyncio.to_thread(os.fdatasync, self._file)

    def close(self) -> None:
        """Closes the file."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _apply_assigned(self, assignment: pb.Assignment) -> None:
        key = AttemptKey.of(assignment.key)
        # Of one that has ended the end is said once more: it does not run, whatever happens.
        self.entries[key] = JournalEntry(assignment, change=self.past.get(key))

    def _apply_forgotten(self, key: AttemptKey) -> None:
        entry = self.entries.pop(key, None)
        if entry is not None and entry.change is not None:
            self._apply_past(entry.change)

    def _apply_past(self, change: pb.AttemptChange) -> None:
        if change.status == pb.ATTEMPT_STATUS_ENDED:
            self.past[AttemptKey.of(change.key)] = change
        if len(self.past) > REMEMBERED:
            self.past.popitem(last=False)

    def _apply_report(self, report: pb.AgentReport) -> None:
        self.sequence = report.sequence
        self.reports[report.sequence] = report
        for change in report.changes:
            entry = self.entries.get(AttemptKey.of(change.key))
            if entry is not None:
                entry.change = change

    def _apply_acknowledged(self, sequence: int) -> None:
        self.sequence = max(self.sequence, sequence)
        for number in [number for number in self.reports if number <= sequence]:
            del self.reports[number]

    def _append(self, kind: _Kind, message: "_Message") -> None:
        if self._file is not None:
            record = _record(kind, message.SerializeToString())
            self._unwritten += record
            if self._behind is not None:
                self._behind += record
            # The next flush tells.
            with contextlib.suppress(OSError):
                self._write(self._file)

    def _write(self, file: int) -> None:
        while self._unwritten:
            written = os.write(file, self._unwritten)
            self._size += written
            del self._unwritten[:written]

    def _load(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        data = path.read_bytes() if path.exists() else b""
        good = 0
        for end, kind, payload in _records(data):
            good = end
            self._replay(kind, payload)
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        os.ftruncate(self._file, good)
        # What an earlier life wrote and did not flush may be sent from now on.
        os.fsync(self._file)
        _make_name_durable(path)
        self._size = good

    def _replay(self, kind: int, payload: bytes) -> None:
        match kind:
            case _Kind.ASSIGNED:
                self._apply_assigned(pb.Assignment.FromString(payload))
            case _Kind.STOP:
                stop = pb.AttemptStop.FromString(payload)
                if (entry := self.entries.get(AttemptKey.of(stop.key))) is not None:
                    entry.stop = stop
            case _Kind.REPORT:
                self._apply_report(pb.AgentReport.FromString(payload))
            case _Kind.ACKNOWLEDGED:
                self._apply_acknowledged(pb.AgentAcknowledge.FromString(payload).sequence)
            case _Kind.FORGOTTEN:
                self._apply_forgotten(AttemptKey.of(pb.AttemptKey.FromString(payload)))
            case _Kind.PAST:
                self._apply_past(pb.AttemptChange.FromString(payload))
            case _Kind.LAST_CHANGE | _Kind.PROGRESS:
                self._replay_change(pb.AttemptChange.FromString(payload), kind)
            case _:
                raise ValueError(f"the journal holds a record of unknown kind {kind}")

    def _replay_change(self, change: pb.AttemptChange, kind: int) -> None:
        entry = self.entries.get(AttemptKey.of(change.key))
        if entry is not None and kind == _Kind.PROGRESS:
            entry.progress = change
        elif entry is not None:
            entry.change = change

    def _live(self) -> Iterator[bytes]:
        acknowledged = min(self.reports, default=self.sequence + 1) - 1
        yield _record(
            _Kind.ACKNOWLEDGED, pb.AgentAcknowledge(sequence=acknowledged).SerializeToString()
        )
        for change in self.past.values():
            yield _record(_Kind.PAST, change.SerializeToString())
        for entry in self.entries.values():
            yield _record(_Kind.ASSIGNED, entry.assignment.SerializeToString())
            if entry.stop is not None:
                yield _record(_Kind.STOP, entry.stop.SerializeToString())
            if entry.change is not None:
                yield _record(_Kind.LAST_CHANGE, entry.change.SerializeToString())
            if entry.progress is not None:
                yield _record(_Kind.PROGRESS, entry.progress.SerializeToString())
        for report in self.reports.values():
            yield _record(_Kind.REPORT, report.SerializeToString())

    async def _compact(self, path: Path, old: int) -> None:
        """Writes what is live to a new file, which takes the place of the old one.

        The loop goes on meanwhile: what is appended goes to the old file, which counts until the
        new one has that, too.

        Raises:
            OSError: there is no room for a new file; the old one goes on.
        """
        fresh = path.with_suffix(".new")
        data = b"".join(self._live())
        behind = self._behind = bytearray()
        try:
            file = await asyncio.to_thread(_write_anew, fresh, data)
            try:
                _write_all(file, behind)
                fresh.replace(path)
            except OSError:
                os.close(file)
                fresh.unlink(missing_ok=True)
                raise
        finally:
            self._behind = None
        os.close(old)
        self._unwritten.clear()  # it is in the new file
        self._file, self._size, self._compacted_size = file, len(data) + len(behind), len(data)
        await asyncio.to_thread(os.fdatasync, file)
        await asyncio.to_thread(_make_name_durable, path)


def _write_anew(path: Path, data: bytes) -> int:
    """Makes a file that holds something for good; returns it open, to be appended to."""
    path.unlink(missing_ok=True)
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        _write_all(file, data)
        os.fsync(file)
    except OSError:
        os.close(file)
        path.unlink(missing_ok=True)
        raise
    return file


def _write_all(file: int, data: bytes | bytearray) -> None:
    with memoryview(data) as view:
        written = 0
        while written < len(view):
            written += os.write(file, view[written:])


def _make_name_durable(path: Path) -> None:
    """A file that was made or replaced is there after the machine's death only with this."""
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


_Message = (
    pb.Assignment
    | pb.AttemptStop
    | pb.AgentReport
    | pb.AgentAcknowledge
    | pb.AttemptKey
    | pb.AttemptChange
)


def _record(kind: _Kind, payload: bytes) -> bytes:
    return _HEADER.pack(len(payload), zlib.crc32(payload), kind) + payload


def _records(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """The whole records of a file: where each ends, its kind, its payload."""
    position = 0
    while position + _HEADER.size <= len(data):
        length, crc, kind = _HEADER.unpack_from(data, position)
        begin, end = position + _HEADER.size, position + _HEADER.size + length
        payload = data[begin:end]
        if len(payload) < length or zlib.crc32(payload) != crc:
            return
        position = end
        yield end, kind, payload
