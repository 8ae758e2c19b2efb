"""Jobs in virtual time: order of dispatch, edges between children, retries."""

from collections.abc import Sequence
from typing import Any

from unit.simulation.building import a_workload, jobs

from longshore.domain.placing.shapes import Placement, QueueEntry
from longshore.simulation.backlog import AttemptOutcome, Backlog, Job
from longshore.simulation.clock import Clock
from longshore.simulation.prepare import prepare


class Stand:
    """A backlog with everything submitted."""

    def __init__(self, *parts: dict[str, Any]) -> None:
        prepared = prepare(a_workload(*parts))
        self.backlog = Backlog(Clock())
        self.backlog.shapes = prepared.shapes
        for job in prepared.jobs:
            self.backlog.expect(job)
        for job in prepared.jobs:
            self.backlog.submit(job)
        self.jobs = {job.part.name: job for job in prepared.jobs}

    def heads(self, fits: int = 100) -> tuple[QueueEntry, ...]:
        shapes = list(self.backlog.runnable)
        return self.backlog.heads(shapes, dict.fromkeys(shapes, fits)) if shapes else ()

    def waiting(self) -> list[tuple[str, list[int]]]:
        names = {job.job_id: name for name, job in self.jobs.items()}
        return [(names[e.job_id], list(range(e.next_index, e.end_index))) for e in self.heads()]

    def start(self, name: str, *indexes: int) -> list[tuple[Job, int, int]]:
        """Takes children off the queue; they are the first of their entries."""
        started = []
        for index in indexes:
            entry = next(
                e
                for e in self.heads()
                if e.job_id == self.jobs[name].job_id and e.next_index == index
            )
            placement = Placement(entry, index, "i-1", "A")
            job, _, number = self.backlog.start(placement)
            self.backlog.take([placement])
            started.append((job, index, number))
        return started

    def end(
        self,
        started: Sequence[tuple[Job, int, int]],
        outcome: AttemptOutcome = AttemptOutcome.SUCCEEDED,
    ) -> None:
        for job, index, number in started:
            self.backlog.end(job, index, number, outcome, "i-1")


def test_jobs_wait_as_ranges_in_order_of_submission() -> None:
    stand = Stand(jobs("b", count=3), jobs("a", count=2))
    assert stand.waiting() == [("b", [0, 1, 2]), ("a", [0, 1])]
    stand.start("b", 0, 1)
    assert stand.waiting() == [("b", [2]), ("a", [0, 1])]
    assert stand.backlog.waiting == 3


def test_a_retried_child_goes_to_the_front_with_its_next_number() -> None:
    stand = Stand(jobs("a", count=3, attempts=2))
    (first, _, second) = stand.start("a", 0), stand.start("a", 1), stand.start("a", 2)
    stand.end(second, AttemptOutcome.HOST_TERMINATED)
    assert stand.waiting() == [("a", [2])]
    again = stand.start("a", 2)
    assert again[0][2] == 2
    stand.end(again, AttemptOutcome.FAILED)
    stand.end(first)
    backlog = stand.backlog
    assert (backlog.succeeded, backlog.failed, backlog.retries) == (1, 1, 1)
    assert stand.waiting() == []


def test_a_sequence_goes_on_child_by_child_and_ends_with_the_first_failed() -> None:
    stand = Stand(jobs("chain", arraySize=4, dependsOn=[{"type": "SEQUENTIAL"}]))
    assert stand.waiting() == [("chain", [0])]
    stand.end(stand.start("chain", 0))
    assert stand.waiting() == [("chain", [1])]
    stand.end(stand.start("chain", 1), AttemptOutcome.FAILED)
    assert stand.waiting() == []
    assert (stand.backlog.succeeded, stand.backlog.failed, stand.backlog.unfinished) == (1, 3, 0)


def test_what_waits_goes_on_by_how_the_other_has_to_end() -> None:
    sequence = {"type": "SEQUENTIAL", "condition": "COMPLETE"}
    pair = {"job": "chain", "type": "N_TO_N", "condition": "FAILURE"}
    stand = Stand(
        jobs("chain", arraySize=3, dependsOn=[sequence]),
        jobs("mend", arraySize=3, dependsOn=[pair]),
        jobs("after", dependsOn=[{"job": "chain", "condition": "COMPLETE"}]),
        jobs("never", dependsOn=[{"job": "after", "condition": "FAILURE"}]),
    )
    for index, outcome in enumerate(
        (AttemptOutcome.FAILED, AttemptOutcome.SUCCEEDED, AttemptOutcome.FAILED)
    ):
        stand.end(stand.start("chain", index), outcome)
    assert stand.waiting() == [("mend", [0]), ("mend", [2]), ("after", [0])]
    for started in (stand.start("mend", 0), stand.start("mend", 2), stand.start("after", 0)):
        stand.end(started)
    backlog = stand.backlog
    assert (backlog.succeeded, backlog.failed, backlog.unfinished) == (4, 4, 0)


def test_children_wait_for_their_pair_and_fail_with_it() -> None:
    stand = Stand(
        jobs("one", arraySize=3),
        jobs("two", arraySize=3, dependsOn=[{"job": "one", "type": "N_TO_N"}]),
        jobs("after", dependsOn=[{"job": "two"}]),
    )
    started = stand.start("one", 0, 1, 2)
    stand.end(started[1:2])
    assert stand.waiting() == [("two", [1])]
    stand.end(started[0:1], AttemptOutcome.FAILED)
    stand.end(started[2:])
    assert stand.waiting() == [("two", [1]), ("two", [2])]
    stand.end(stand.start("two", 1))
    stand.end(stand.start("two", 2))
    backlog = stand.backlog
    assert (backlog.succeeded, backlog.failed, backlog.unfinished) == (4, 3, 0)


def test_pairs_whose_array_begins_later_know_what_has_happened_before() -> None:
    """The pairs also wait for a whole job, which ends after their counterparts."""
    stand = Stand(
        jobs("slow"),
        jobs("one", arraySize=2),
        jobs("two", arraySize=2, dependsOn=[{"job": "one", "type": "N_TO_N"}, {"job": "slow"}]),
    )
    slow = stand.start("slow", 0)
    first, second = stand.start("one", 0, 1)
    stand.end([first])
    stand.end([second], AttemptOutcome.FAILED)
    assert stand.waiting() == []
    stand.end(slow)
    assert stand.waiting() == [("two", [0])]
    assert stand.backlog.failed == 2


def test_heads_hold_what_could_be_placed_and_one_more() -> None:
    stand = Stand(*(jobs(f"job{number}") for number in range(10)))
    assert len(stand.heads(fits=3)) == 4
    assert len(stand.heads(fits=0)) == 1


def test_heads_never_leave_out_one_that_comes_before_another() -> None:
    parts = [jobs(f"job{n}", vcpus=1 if n % 10 else 2) for n in range(300)]
    stand = Stand(*parts)
    heads = stand.heads(fits=1000)
    assert [entry.seq for entry in heads] == list(range(len(heads)))
    assert len(heads) < 300
