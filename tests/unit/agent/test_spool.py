"""The spool keeps lines in CRI form and knows by itself what is finished."""

from pathlib import Path

import pytest
from support.disk import a_full_disk

from longshore.agent.docker.output import resume_point
from longshore.agent.process_output import ProcessOutput
from longshore.agent.spool import STDERR, STDOUT, TEXT_BYTES, Line, Spool, parse_line

NAME = "definition/default/0123456789abcdef"
TIME = b"2026-11-22T11:47:16.123456789Z"


def test_lines_come_back_as_they_were_written(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    file = spool.open(NAME)
    file.write(TIME, STDOUT, b"a  b ", partial=False)
    file.write(TIME, STDERR, b"", partial=False)
    file.write(TIME, STDOUT, b"\xff\x00", partial=True)
    file.flush()
    assert list(file.lines()) == [
        Line(TIME, STDOUT, False, b"a  b "),
        Line(TIME, STDERR, False, b""),
        Line(TIME, STDOUT, True, b"\xff\x00"),
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


def test_logs_of_forgotten_attempts_are_finished(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    spool.open("known").close()
    spool.open("forgotten/x").close()
    spool.finish_others({"known"})
    again = Spool(tmp_path)
    assert sorted(again.take_dirty()) == ["forgotten/x", "known"]
    assert again.read("forgotten/x", 0, 10) == (b"", True)
    assert again.read("known", 0, 10) == (b"", False)


def test_resume_point_is_the_last_time(tmp_path: Path) -> None:
    file = Spool(tmp_path).open(NAME)
    assert resume_point(file) == (b"", 0)
    file.write(b"1", STDOUT, b"", partial=False)
    file.write(b"2", STDERR, b"", partial=False)
    file.write(b"2", STDOUT, b"", partial=False)
    file.flush()
    assert resume_point(file) == (b"2", 2)
    file.close()


def test_resume_point_goes_back_to_a_line_that_is_not_whole(tmp_path: Path) -> None:
    """The rest of it will carry its first time, which the engine would otherwise leave out."""
    file = Spool(tmp_path).open(NAME)
    file.write(b"1", STDERR, b"", partial=False)
    file.write(b"2", STDOUT, b"", partial=True)
    file.write(b"3", STDERR, b"", partial=False)
    file.write(b"2", STDOUT, b"", partial=True)
    file.flush()
    assert resume_point(file) == (b"2", 3)
    file.close()


def test_process_output_goes_on_where_the_spool_ends(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool")
    (tmp_path / "out").write_bytes(b"one\ntwo\nthr")
    (tmp_path / "err").write_bytes(b"")
    first = ProcessOutput(spool, NAME, tmp_path)
    first.take()
    first.suspend()
    with (tmp_path / "out").open("ab") as out:
        out.write(b"ee\n" + b"x" * (TEXT_BYTES + 5) + b"\nend")
    second = ProcessOutput(spool, NAME, tmp_path)
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
    output = ProcessOutput(spool, NAME, tmp_path)
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
