"""Lines of the engine reach the spool once each, however often it breaks off, and in order."""

import random
import struct
from pathlib import Path

import pytest

from longshore.agent.docker.intake import Bounds, Intake, Missing
from longshore.agent.logs.spool import STDERR, STDOUT, Spool, SpoolFile, format_time

NAME = "definition/default/0123456789abcdef"
PLENTY = Bounds(100 * 1024 * 1024)
Entry = tuple[bytes, bytes, bytes]


def entry(milliseconds: float, text: bytes, source: bytes = STDOUT) -> Entry:
    return format_time(round(milliseconds * 1_000_000)), source, text


def frames(entries: list[Entry], since: bytes = b"") -> bytearray:
    """What the engine answers: the lines from a time on, however they are ordered."""
    data = bytearray()
    for time, source, text in entries:
        if time >= since:
            frame = time + b" " + text
            data += struct.pack(">BxxxI", 1 + (source == STDERR), len(frame)) + frame
    return data


class Log:
    """A spool whose agent may die at any time."""

    def __init__(self, directory: Path, bounds: Bounds = PLENTY) -> None:
        self.spool = Spool(directory)
        self.bounds = bounds
        self.missing = Missing()
        self.asked: list[bytes] = []
        self.reopen()

    def reopen(self) -> None:
        self.file: SpoolFile = self.spool.open(NAME)
        self.intake = Intake(self.file, self.bounds, self.missing)

    def read(self, entries: list[Entry], *, end: bool = True) -> None:
        """One answer of the engine, which tells all that it has."""
        since = self.intake.begin()
        self.asked.append(since)
        self.intake.take(frames(entries, since))
        if end:
            self.intake.end()
        self.file.flush()

    def texts(self) -> list[bytes]:
        return [line.text for line in self.file.lines()]

    def kept(self) -> list[Entry]:
        return [
            (line.time, line.source, line.text + (b"" if line.partial else b"\n"))
            for line in self.file.lines()
            if not line.mark
        ]


@pytest.mark.parametrize("seed", range(30))
def test_any_output_broken_off_anywhere(tmp_path: Path, seed: int) -> None:
    """Equal times, outputs that overtake each other, pieces of lines, and agents that die."""
    rng = random.Random(seed)
    entries: list[Entry] = []
    clock = 0.0
    open_since: dict[bytes, float] = {}
    for number in range(400):
        clock += rng.choice([0, 0, 0.5, 20, 400])
        source = rng.choice([STDOUT, STDERR])
        # The pieces of a line carry its first time; else a line may be late by a little.
        moment = open_since.pop(source, max(0, clock - rng.choice([0, 0, 5, 40])))
        whole = rng.random() < 0.8
        if not whole:
            open_since[source] = moment
        text = rng.choice([b"", b"same", b"%d" % number])
        entries.append(entry(moment, text + (b"\n" if whole else b""), source))
    log = Log(tmp_path)
    there = 0
    while there < len(entries):
        there += rng.randint(0, 60)
        log.read(entries[:there], end=False)
        if rng.random() < 0.3:
            log.file.close()
            log.reopen()
    log.read(entries)
    assert log.kept() == entries
    assert not log.missing
    log.file.close()


def test_reading_goes_on_near_the_end(tmp_path: Path) -> None:
    """Neither the engine nor the spool is read from the beginning again, nor by the next agent."""
    entries = [entry(10 * number, b"%d\n" % number) for number in range(2000)]
    log = Log(tmp_path)
    for there in range(100, 2000, 100):
        log.read(entries[:there], end=False)
    log.file.close()
    log.reopen()
    log.read(entries)
    assert log.kept() == entries
    assert log.asked[0] == b""
    assert log.asked[-1] >= entries[1700][0]
    log.file.close()


def test_a_note_that_is_not_true_costs_only_time(tmp_path: Path) -> None:
    entries = [entry(10 * number, b"%d\n" % number) for number in range(1000)]
    log = Log(tmp_path)
    log.read(entries[:900], end=False)
    log.file.put_note(b"17 2026-11-22T11:47:16.123456789Z 5\n")
    log.file.close()
    log.reopen()
    log.read(entries)
    assert log.kept() == entries
    log.file.close()


def test_an_engine_that_dropped_what_nobody_read(tmp_path: Path) -> None:
    """The place is marked, and what follows is there."""
    entries = [entry(10 * number, b"%d\n" % number) for number in range(1000)]
    log = Log(tmp_path)
    log.read(entries[:300], end=False)
    log.read(entries[500:])
    assert log.kept() == entries[:300] + entries[500:]
    (mark,) = [index for index, line in enumerate(log.file.lines()) if line.mark]
    assert mark == 300
    assert log.missing.dropped
    log.file.close()


def test_an_engine_that_dropped_only_what_was_read(tmp_path: Path) -> None:
    entries = [entry(10 * number, b"%d\n" % number) for number in range(1000)]
    log = Log(tmp_path)
    log.read(entries[:300], end=False)
    log.read(entries[295:])
    assert log.kept() == entries
    assert not log.missing
    log.file.close()


def test_a_long_log_keeps_beginning_and_end(tmp_path: Path) -> None:
    entries = [entry(number, b"%d\n" % number) for number in range(10_000)]
    log = Log(tmp_path, Bounds(100_000))
    log.read(entries[:5000], end=False)
    assert log.intake.satisfied
    log.read(entries)
    lines = list(log.file.lines())
    (mark,) = [index for index, line in enumerate(lines) if line.mark]
    assert [line.text for line in lines[:mark]] == [b"%d" % number for number in range(mark)]
    tail = [line.text for line in lines[mark + 1 :]]
    assert tail == [b"%d" % number for number in range(10_000 - len(tail), 10_000)]
    assert log.missing.left_out > 0
    assert 85_000 < log.file.size < 101_000
    log.file.close()


def test_an_error_is_not_driven_out_by_what_follows_on_the_other_output(tmp_path: Path) -> None:
    entries = [entry(number, b"%d\n" % number) for number in range(10_000)]
    entries[5000] = entry(5000, b"THE ERROR\n", STDERR)
    log = Log(tmp_path, Bounds(100_000))
    log.read(entries)
    mark = next(index for index, line in enumerate(log.file.lines()) if line.mark)
    assert log.texts()[mark + 1] == b"THE ERROR"
    assert log.texts()[-1] == b"9999"
    log.file.close()


def test_a_log_that_just_fits_is_whole(tmp_path: Path) -> None:
    entries = [entry(number, b"%d\n" % number) for number in range(1800)]
    log = Log(tmp_path, Bounds(100_000))
    log.read(entries[:1000], end=False)
    log.read(entries, end=False)
    assert log.intake.satisfied
    log.file.close()
    log.reopen()
    log.read(entries)
    assert log.kept() == entries
    assert not log.missing
    log.file.close()


def test_following_ends_with_the_first_of_the_engines_files(tmp_path: Path) -> None:
    """What JSON writes longer counts as long as it is in the engine's file."""
    log = Log(tmp_path, Bounds(100_000, file_bytes=50_000, files=3))
    log.read([entry(number, b"<" * 50 + b"\n") for number in range(100)], end=False)
    assert not log.intake.satisfied
    log.read([entry(number, b"<" * 50 + b"\n") for number in range(200)], end=False)
    assert log.intake.satisfied
    log.file.close()


def test_a_beginning_that_may_be_missing_is_marked(tmp_path: Path) -> None:
    """Nothing was read while the engine filled all the files that it keeps."""
    entries = [entry(number, b"%d\n" % number) for number in range(2000)]
    log = Log(tmp_path, Bounds(10**9, file_bytes=50_000, files=3))
    log.read(entries)
    assert log.missing.dropped
    assert log.kept() == entries
    log.file.close()
