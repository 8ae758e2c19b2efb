"""What transactions count, and what is taken back of it."""

from datetime import UTC, datetime, timedelta

from longshore.domain.job.changes import Changes
from longshore.domain.job.job import JobKey, JobStatus
from longshore.domain.job.tally import Moved, Stage, StoppedBy, Tally, span, stopped_by

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def test_many_alike_are_one_and_each_other_keeps_its_time() -> None:
    tally, later = Tally(), Tally()
    took = span(Stage.RUNNABLE_TO_STARTING, NOW, NOW + timedelta(seconds=3))
    tally.count(Moved("q", JobStatus.STARTING, spans=(took,)))
    later.count(Moved("q", JobStatus.STARTING, 10_000, (took,)))
    later.count(Moved("p", JobStatus.FAILED, by=StoppedBy.CANCEL))
    later.count(Moved("q", JobStatus.RUNNABLE, is_retry=True))
    tally.add(later)
    of = tally.queues["q"]
    assert of.moved == {JobStatus.STARTING: 10_001, JobStatus.RUNNABLE: 1}
    assert list(of.spans[Stage.RUNNABLE_TO_STARTING]) == [3.0]
    assert of.alike == [((Stage.RUNNABLE_TO_STARTING, 3.0), 10_000)]
    assert of.retried == 1
    assert tally.queues["p"].stopped == {StoppedBy.CANCEL: 1}
    assert later.queues["q"].moved[JobStatus.STARTING] == 10_000, "it is its own"


def test_what_is_undone_is_not_counted() -> None:
    changes = Changes(NOW)
    changes.tally.count(Moved("q", JobStatus.RUNNABLE))
    saved = changes.save()
    key = JobKey.parse("11111111-2222-3333-4444-555555555555")
    changes.fail(key, "no", 0, "q", stopped_by(cancelled=False, terminated=True))
    assert changes.ended == [key]
    assert changes.tally.queues["q"].stopped == {StoppedBy.TERMINATE: 1}
    changes.restore(saved)
    assert changes.tally.queues["q"].moved == {JobStatus.RUNNABLE: 1}
    assert not changes.tally.queues["q"].stopped
    assert not changes.ended
