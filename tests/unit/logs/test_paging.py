"""Every line of a log is handed out exactly once, from wherever reading begins."""

from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from longshore.logs import marks, paging, scan
from longshore.logs.marks import Marks
from longshore.logs.paging import EventPage, View, page_backward, page_forward

SOURCES = [b"stdout", b"stderr"]


@dataclass
class Written:
    """A log that grows by chunks, and the events that should come of it."""

    path: Path
    data: bytearray = field(default_factory=bytearray)
    events: list[tuple[int, bytes]] = field(default_factory=list)
    #: Where a line of a stream that goes on began, its time, and its text so far.
    open: dict[bytes, tuple[int, int, bytes]] = field(default_factory=dict)
    latest: int = -1

    def __post_init__(self) -> None:
        self.path.unlink(missing_ok=True)
        self.path.with_suffix(".marks").unlink(missing_ok=True)
        self.marks = Marks(self.path)

    def line(self, ms: int, source: bytes, tag: bytes, text: bytes) -> None:
        stamp = b"1970-01-01T00:00:%02d.%03dZ" % divmod(ms, 1000)
        begin, first, before = self.open.pop(source, (len(self.data), ms, b""))
        self.data += b"%s %s %s %s\n" % (stamp, source, tag, text)
        if tag == b"P":
            self.open[source] = begin, first, before + text
        else:
            self._event(first, before + text)

    def _event(self, ms: int, text: bytes) -> None:
        if not text:
            return
        self.latest = max(self.latest, ms)
        self.events.append((self.latest, text))

    def store(self, now: int) -> None:
        self.path.write_bytes(self.data)
        self.marks.take(self.read, len(self.data), now)

    def finish(self) -> None:
        """As far as lines are open, they end here; those that began first end first."""
        for _, first, text in sorted(self.open.values()):
            self._event(first, text)
        self.open.clear()

    def read(self, begin: int, end: int) -> bytes:
        return bytes(self.data[begin:end])

    def view(self, *, complete: bool) -> View:
        return View(self.read, self.marks, len(self.data), complete)


def told(page: EventPage) -> list[tuple[int, bytes]]:
    return [(stored.event.timestamp, stored.event.text) for stored in page.events]


def walk_forward(view: View, limit: int) -> list[tuple[int, bytes]]:
    found, position = [], 0
    while (page := page_forward(view, position, limit, None, None)).forward != position:
        assert page.events, "empty while there is more"
        found += told(page)
        position = page.forward
    assert not page.events
    return found


def walk_backward(view: View, limit: int) -> list[tuple[int, bytes]]:
    page = page_backward(view, None, limit, None, None)
    found = told(page)
    while (earlier := page_backward(view, page.backward, limit, None, None)).events:
        found = told(earlier) + found
        page = earlier
    assert earlier.backward == page.backward
    return found


LINES = st.lists(
    st.tuples(
        st.integers(0, 59_999),
        st.sampled_from(SOURCES),
        st.sampled_from([b"F", b"F", b"P"]),
        st.sampled_from([b"", b"x", b"two words ", b"\xff", b"y" * 40]),
    ),
    max_size=40,
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    chunks=st.lists(LINES, max_size=6),
    limit=st.integers(1, 7),
    complete=st.booleans(),
    every=st.sampled_from([60, 500]),
    window=st.tuples(st.integers(0, 60_000), st.integers(0, 60_000)),
)
def test_walks_meet_every_event_once(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    chunks: list[list[tuple[int, bytes, bytes, bytes]]],
    limit: int,
    complete: bool,
    every: int,
    window: tuple[int, int],
) -> None:
    """Whatever is written, however it is cut into chunks, wherever marks are, by any page size."""
    monkeypatch.setattr(marks, "EVERY_BYTES", every)
    monkeypatch.setattr(paging, "_STEP_BYTES", every)
    log = Written(tmp_path / "a.log")
    for now, chunk in enumerate(chunks):
        for line in chunk:
            log.line(*line)
        log.store(now * 60)
    if complete:
        log.finish()
    view = log.view(complete=complete)
    assert walk_forward(view, limit) == log.events
    assert walk_backward(view, limit) == log.events
    since, until = window
    within = [event for event in log.events if since <= event[0] < until]
    assert told(page_forward(view, 0, 10_000, since, until)) == within
    assert told(page_backward(view, None, 10_000, since, until)) == within
    again = Marks(log.path)
    again.open(log.read, len(log.data), 0)
    assert walk_forward(View(log.read, again, len(log.data), complete), limit) == log.events


def test_a_walk_goes_on_with_what_comes_later(tmp_path: Path) -> None:
    log = Written(tmp_path / "a.log")
    log.line(1, b"stdout", b"P", b"one ")
    log.store(0)
    page = page_backward(log.view(complete=False), None, 10, None, None)
    assert (page.events, page.forward, page.backward) == ([], 0, 0)
    log.line(2, b"stderr", b"F", b"between")
    log.store(500)
    page = page_forward(log.view(complete=False), page.forward, 10, None, None)
    assert told(page) == [(2, b"between")]
    log.line(3, b"stdout", b"F", b"line")
    log.store(1000)
    page = page_forward(log.view(complete=False), page.forward, 10, None, None)
    assert told(page) == [(2, b"one line")]
    assert [stored.stored_at for stored in page.events] == [1000]


def test_a_page_has_as_much_as_fits(tmp_path: Path) -> None:
    log = Written(tmp_path / "a.log")
    for index in range(300):
        log.line(index, b"stdout", b"F", b"%d " % index + b"x" * 10_000)
    log.store(0)
    view = log.view(complete=True)
    sizes = [len(page_forward(view, 0, 10_000, None, None).events)]
    sizes.append(len(page_backward(view, None, 10_000, None, None).events))
    assert sizes == [104, 104]


def test_an_event_is_cut_where_it_is_too_large(tmp_path: Path) -> None:
    log = Written(tmp_path / "a.log")
    for _ in range(100):
        log.line(1, b"stdout", b"P", b"x" * 16_000)
        log.line(1, b"stderr", b"F", b"e" * 16_000)
    log.line(1, b"stdout", b"F", b"end")
    log.store(0)
    events = page_forward(log.view(complete=True), 0, 10_000, None, None).events
    blocks = log.view(complete=True).forward(0)
    texts = []
    while (block := blocks.block()) is not None:
        texts += [stored.event.text for stored in block]
    out = [text for text in texts if text[:1] == b"x" or text == b"end"]
    assert b"".join(out) == b"x" * 1_600_000 + b"end"
    assert max(map(len, texts)) <= scan.EVENT_BYTES
    assert events


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b" ",
        b"no line of ours",
        b"9999-99-99T00:00:00Z stdout F x",
        b"x" * 600_000,
        b"\0\0\xff",
    ],
)
def test_what_is_no_line_is_handed_out_as_it_is(tmp_path: Path, line: bytes) -> None:
    log = Written(tmp_path / "a.log")
    log.line(5, b"stdout", b"F", b"before")
    log.data += line + b"\n"
    log.line(7, b"stdout", b"F", b"after")
    log.store(0)
    view = log.view(complete=False)
    found = walk_forward(view, 2)
    assert found == walk_backward(view, 2)
    assert (found[0], found[-1]) == ((5, b"before"), (7, b"after"))
    assert b"".join(text for _, text in found[1:-1]) == line


def test_marks_of_another_log_are_made_anew(tmp_path: Path) -> None:
    log = Written(tmp_path / "a.log")
    for index in range(3000):
        log.line(index, b"stdout", b"F", b"x" * 100)
    log.store(0)
    del log.data[100_000:]
    log.data[:] = log.data[: log.data.rfind(b"\n") + 1]
    again = Marks(log.path)
    again.open(log.read, len(log.data), 0)
    found = page_backward(View(log.read, again, len(log.data), True), None, 10_000, None, None)
    assert len(found.events) == log.data.count(b"\n")


def test_without_marks_a_log_is_read_all_the_same(tmp_path: Path) -> None:
    """A full disk leaves none."""
    log = Written(tmp_path / "a.log")
    log.line(1, b"stdout", b"F", b"x")
    view = View(log.read, Marks(log.path), len(log.data), True)
    assert walk_forward(view, 1) == walk_backward(view, 1) == [(1, b"x")]


def test_the_first_event_is_found_behind_any_number_of_empty_lines(tmp_path: Path) -> None:
    """By the marks: a log may begin with gigabytes of them."""
    log = b"2026-11-22T11:47:16.001000000Z stdout F \n" * 20_000
    log += b"2026-11-22T11:47:16.002000000Z stdout F x\n"
    looked = Marks(tmp_path / "x.log")
    looked.take(lambda begin, end: log[begin:end], len(log), 0)
    read = 0

    def counted(begin: int, end: int) -> bytes:
        nonlocal read
        read += end - begin
        return log[begin:end]

    assert looked.times(counted, len(log), complete=False) == (1_795_348_036_002,) * 2
    assert read <= 4 * marks.EVERY_BYTES
