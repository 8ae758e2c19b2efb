"""The spool keeps lines in CRI form and knows by itself what is finished."""

import os
from pathlib import Path

import pytest
from support.disk import a_full_disk

from longshore.agent.logs.spool import CUT, STDERR, STDOUT, TEXT_BYTES, LogLine, Spool, parse_line
from longshore.agent.process.output import ProcessOutput

NAME = "definition/default/0123456789abcdef"
KEPT = 1024 * 1024
TIME = b"2026-11-22T11:47:16.123456789Z"


def test_lines_come_back_as_they_were_written(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    file = spool.open(NAME)
    file.write(TIME, STDOUT, b"a  b ", partial=False)
    file.write(TIME, STDERR, b"", partial=False)
    file.write(TIME, STDOUT, b"\xff\x00", partial=True)
    file.flush()
    assert list(file.lines()) == [
        LogLine(TIME, STDOUT, False, b"a  b "),
        LogLine(TIME, STDERR, False, b""),
        LogLine(TIME, STDOUT, True, b"\xff\x00"),
    ]
    file.close()
    assert spool.read(NAME, 0, 1000)[0].startswith(TIME + b" stdout F a  b \n")


def test_long_lines_are_split(tmp_path: Path) -> None:
    file = Spool(tmp_path).open(NAME)
    text = bytes(range(65, 91)) * 2000
    file.write(TIME, STDOUT, text, partial=False)
    file.flush()
    lines = list(file.lines())
    file.close()
    assert b"".join(line.text for line in lines) == text
    assert max(len(line.text) for line in lines) == TEXT_BYTES
    assert [line.partial for line in lines] == [True] * (len(lines) - 1) + [False]


@pytest.mark.parametrize("size", [10, 40_000])
def test_torn_line_is_cut_at_the_next_opening(tmp_path: Path, size: int) -> None:
    spool = Spool(tmp_path)
    file = spool.open(NAME)
    file.write(TIME, STDOUT, b"whole", partial=False)
    file.close()
    (path,) = tmp_path.iterdir()
    with path.open("ab") as raw:
        raw.write(b"x" * size)
    again = spool.open(NAME)
    assert [line.text for line in again.lines()] == [b"whole"]
    again.close()


def test_end_is_told_with_the_last_bytes(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    file = spool.open(NAME)
    file.write(TIME, STDOUT, b"one", partial=False)
    file.close()
    data, complete = spool.read(NAME, 0, 1000)
    assert not complete
    spool.finish(NAME)
    assert spool.read(NAME, 0, 1000) == (data, True)
    assert spool.read(NAME, len(data), 1000) == (b"", True)
    spool.delete(NAME)
    assert spool.empty


async def test_a_name_too_long_for_a_file_is_kept(tmp_path: Path) -> None:
    """As a log configuration may give one: 471 characters before the attempt's id."""
    long = {f"{'ä' * 470}{n}/default/0123456789abcdef" for n in range(3)}
    first = Spool(tmp_path)
    for name in long:
        file = first.open(name)
        file.write(TIME, STDOUT, name.encode(), partial=False)
        file.close()
    spool = Spool(tmp_path)
    assert set(spool.take_dirty()) == long
    one, *others = sorted(long)
    await spool.finish_others({one})
    assert not spool.finished(one)
    for name in others:
        assert spool.finished(name)
        assert name.encode() in spool.read(name, 0, 10_000)[0]
    for name in long:
        spool.finish(name)
        spool.delete(name)
    assert spool.empty
    assert not os.listdir(tmp_path)  # noqa: PTH208 - no loop waits


def test_chunks_hold_whole_lines(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    file = spool.open(NAME)
    for index in range(100):
        file.write(TIME, STDOUT, b"%d" % index, partial=False)
    file.close()
    spool.finish(NAME)
    offset, texts, complete = 0, [], False
    while not complete:
        data, complete = spool.read(NAME, offset, 333)
        texts += [parse_line(line).text for line in data.splitlines()]
        offset += len(data)
    assert texts == [b"%d" % index for index in range(100)]


async def test_logs_of_forgotten_attempts_are_finished(tmp_path: Path) -> None:
    """Nobody knows whether all of their output is there."""
    spool = Spool(tmp_path)
    spool.open("known").close()
    spool.open("forgotten/x").close()
    await spool.finish_others({"known"})
    again = Spool(tmp_path)
    assert sorted(again.take_dirty()) == ["forgotten/x", "known"]
    data, complete = again.read("forgotten/x", 0, 1000)
    assert complete
    assert parse_line(data[:-1]).text == CUT
    assert again.read("known", 0, 10) == (b"", False)


def test_a_log_that_was_cut_ends_in_a_mark(tmp_path: Path) -> None:
    """It is read piece by piece as if the mark were there, without a torn line before it."""
    spool = Spool(tmp_path)
    file = spool.open(NAME)
    file.write(TIME, STDOUT, b"one", partial=False)
    file.close()
    (path,) = tmp_path.iterdir()
    with path.open("ab") as raw:
        raw.write(b"torn")
    spool.finish(NAME, whole=False)
    first, complete = spool.read(NAME, 0, 45)
    assert not complete or first.endswith(CUT + b"\n")
    rest, complete = spool.read(NAME, len(first), 1000)
    assert complete
    lines = [parse_line(line) for line in (first + rest).splitlines()]
    assert [(line.text, line.mark) for line in lines] == [(b"one", False), (CUT, True)]
    assert spool.finished(NAME)
    spool.delete(NAME)
    assert spool.empty
    assert list(tmp_path.iterdir()) == []


def test_a_note_is_true_only_of_what_is_there(tmp_path: Path) -> None:
    file = Spool(tmp_path).open(NAME)
    assert file.note() == b""
    file.write(TIME, STDOUT, b"one", partial=False)
    file.flush()
    end = file.size
    file.put_note(b"%d" % end)
    assert file.note() == b"%d" % end
    assert file.begins_line(0, TIME)
    assert file.begins_line(end)
    assert not file.begins_line(end, TIME)
    assert not file.begins_line(3)
    assert not file.begins_line(end + 1)
    file.close()


def test_a_process_that_prints_too_much_keeps_beginning_and_end(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool")
    (tmp_path / "err").write_bytes(b"the error\n")
    with (tmp_path / "out").open("wb") as out:
        for number in range(100_000):
            out.write(b"line %d\n" % number)
    output = ProcessOutput(spool, NAME, tmp_path, 100_000)
    while not output.full:
        assert output.take()
    output.close()
    assert output.left_out > 0
    file = spool.open(NAME)
    lines = list(file.lines())
    assert file.size < 100_000 + 500
    file.close()
    (mark,) = [index for index, line in enumerate(lines) if line.mark]
    assert [line.text for line in lines[:mark]] == [b"line %d" % number for number in range(mark)]
    assert lines[-1].text == b"the error"
    assert lines[-2].text == b"line 99999"
    first = 100_000 - len(lines[mark + 1 : -1])
    assert lines[mark + 1].text == b"line %d" % first


def test_what_a_process_prints_needs_no_more_room_than_its_log(tmp_path: Path) -> None:
    """However much it is, and whether the log keeps up with it or not."""
    spool = Spool(tmp_path / "spool")
    (tmp_path / "err").write_bytes(b"the error\n")
    kept, printed = 8 * KEPT, 0
    output = ProcessOutput(spool, NAME, tmp_path, kept)
    with (tmp_path / "out").open("wb", buffering=0) as out:
        for size in (1, 1, 1, 64, 64, 64):
            block = b"".join(b"line %d\n" % number for number in range(printed, printed + 120_000))
            for _ in range(size):
                printed += out.write(block)
            output.take()
            on_disk = (tmp_path / "out").stat().st_blocks * 512
            assert on_disk <= 2 * kept
            output.suspend()
            output = ProcessOutput(spool, NAME, tmp_path, kept)
        out.write(b"the end\n")
    assert printed > 20 * kept
    output.close()
    file = spool.open(NAME)
    lines = [line.text for line in file.lines()]
    file.close()
    assert lines[0] == b"line 0"
    assert b"the error" in lines
    assert lines[-1] == b"the end"
    assert not any(b"\0" in line for line in lines)


def test_process_output_goes_on_where_it_was_noted(tmp_path: Path) -> None:
    """Lines before the note are not looked at again."""
    spool = Spool(tmp_path / "spool")
    written = b"".join(b"line %d\n" % number for number in range(50_000))
    (tmp_path / "out").write_bytes(written)
    (tmp_path / "err").write_bytes(b"")
    first = ProcessOutput(spool, NAME, tmp_path, 100 * KEPT)
    first.take()
    first.suspend()
    file = spool.open(NAME)
    assert file.note() == b"%d %d 0\n" % (file.size, len(written))
    file.close()
    with (tmp_path / "out").open("ab") as out:
        out.write(b"more\n")
    second = ProcessOutput(spool, NAME, tmp_path, 100 * KEPT)
    second.close()
    file = spool.open(NAME)
    texts = [line.text for line in file.lines()]
    file.close()
    assert texts == [*written.splitlines(), b"more"]


def test_process_output_goes_on_where_the_spool_ends(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool")
    (tmp_path / "out").write_bytes(b"one\ntwo\nthr")
    (tmp_path / "err").write_bytes(b"")
    first = ProcessOutput(spool, NAME, tmp_path, KEPT)
    first.take()
    first.suspend()
    with (tmp_path / "out").open("ab") as out:
        out.write(b"ee\n" + b"x" * (TEXT_BYTES + 5) + b"\nend")
    second = ProcessOutput(spool, NAME, tmp_path, KEPT)
    second.take()
    second.close()
    file = spool.open(NAME)
    texts = [(line.text[:6], line.partial) for line in file.lines()]
    file.close()
    assert texts == [
        (b"one", False),
        (b"two", False),
        (b"three", False),
        (b"xxxxxx", True),
        (b"xxxxx", False),
        (b"end", True),
    ]


def test_a_full_disk_tears_no_line_and_loses_none(tmp_path: Path) -> None:
    """What does not get onto the disk is kept, and nothing more is taken meanwhile."""
    spool = Spool(tmp_path / "spool")
    (tmp_path / "out").write_bytes(b"".join(b"line %d\n" % number for number in range(100)))
    output = ProcessOutput(spool, NAME, tmp_path, KEPT)
    with a_full_disk(100):
        for _ in range(3):
            with pytest.raises(OSError, match="too large"):
                output.take()
    output.take()
    output.close()
    file = spool.open(NAME)
    assert [line.text for line in file.lines()] == [b"line %d" % number for number in range(100)]
    file.close()


def test_a_log_on_a_full_disk_is_closed_in_any_case(tmp_path: Path) -> None:
    """Its file is let go although the rest could not be written."""
    before = len(list(Path("/proc/self/fd").iterdir()))
    file = Spool(tmp_path / "spool").open(NAME)
    file.write(TIME, STDOUT, b"x" * 200, partial=False)
    with a_full_disk(100), pytest.raises(OSError, match="too large"):
        file.close()
    assert len(list(Path("/proc/self/fd").iterdir())) == before
