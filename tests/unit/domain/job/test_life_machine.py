"""The life of jobs in any order of events, without a database."""

from dataclasses import replace
from datetime import timedelta

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from support.jobs import Edge, World, ended

from longshore.domain.job.dependency import DependencyCondition
from longshore.domain.job.ending import due_stops, lost_reports
from longshore.domain.job.happening import StopAsked, ToStop
from longshore.domain.job.job import WHOLE, JobKey, JobStatus, Stop, StopKind
from longshore.domain.job.record import AttemptReport, LiveAttempt
from longshore.domain.job.retry import ExitRule

INSTANCES = ("i-0", "i-1", "i-2")
CONDITIONS = st.sampled_from(DependencyCondition)
IN_SEQUENCE = st.sampled_from([DependencyCondition.SUCCESS, DependencyCondition.COMPLETE])
CODES = st.sampled_from([0, 0, 0, 1, 3, None])


class JobLife(RuleBasedStateMachine):
    """Users, agents and time, one at a time and in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()

    # ------------------------------------------------------------------ users

    @initialize(data=st.data())
    def begin(self, data: st.DataObject) -> None:
        """A few jobs that are there from the start."""
        for _ in range(3):
            self.submit(data)
        self.world.admit()

    @rule(data=st.data())
    def submit(self, data: st.DataObject) -> None:
        """A single job, an array or a multi-node job, with or without dependencies."""
        size = data.draw(st.sampled_from([None, None, 1, 2, 4]))
        nodes = data.draw(st.sampled_from([None, None, 1, 3])) if size is None else None
        known = sorted(self.world.edges)
        upstream = (
            data.draw(st.lists(st.sampled_from(known), max_size=2, unique=True)) if known else []
        )
        edges: list[Edge] = []
        for job_id in upstream:
            other = self.world.rows[JobKey(job_id)].array_size
            kinds = [Edge(job_id)]
            if other is not None:
                kinds.append(Edge(job_id, data.draw(st.integers(0, other - 1))))
            if size is not None and other == size:
                kinds.append(Edge(job_id, WHOLE, "N_TO_N"))
            if size is not None and data.draw(st.booleans()):
                # A gate, and the children one by one.
                edges.append(Edge(job_id, WHOLE, "SEQUENTIAL", data.draw(IN_SEQUENCE)))
            else:
                kind = data.draw(st.sampled_from(kinds))
                edges.append(replace(kind, condition=data.draw(CONDITIONS)))
        if size is not None and data.draw(st.booleans()):
            edges.append(Edge(None, WHOLE, "SEQUENTIAL", data.draw(IN_SEQUENCE)))
        self.world.submit(
            edges,
            size,
            nodes,
            data.draw(st.integers(0, nodes - 1)) if nodes else 0,
            attempts=data.draw(st.integers(1, 3)),
            timeout=data.draw(st.sampled_from([None, 60])),
            rules=data.draw(st.sampled_from([(), (ExitRule(retry=False, on_exit_code="3"),)])),
        )
        if data.draw(st.booleans()):
            self.world.admit()

    @rule(data=st.data(), terminate=st.booleans())
    def ask(self, data: st.DataObject, *, terminate: bool) -> None:
        """To cancel or to terminate a job or a child."""
        if not self.world.rows:
            return
        job = self.world.rows[JobKey(data.draw(st.sampled_from(sorted(self.world.edges))))]
        index = WHOLE if job.array_size is None else data.draw(st.integers(-1, job.array_size))
        reason = "terminated" if terminate else "cancelled"
        self.world.requests.append(StopAsked(JobKey(job.key.job_id, index), terminate, reason))
        if data.draw(st.booleans()):
            self.act(data.draw(st.integers(1, 4)))

    @rule(page=st.integers(1, 4))
    def act(self, page: int) -> None:
        """On the oldest request, of an array so many children."""
        if not self.world.requests:
            return
        asked = self.world.requests.pop(0)
        before = self.world.rows.get(asked.key)
        left = self.world.ask(asked, page)
        if left is not None:
            self.world.requests.append(left)
        elif before is not None and before.status is JobStatus.PENDING and not asked.terminate:
            # What waits for others is marked; it fails once it could run.
            assert self.world.rows[asked.key].is_cancelled

    @rule()
    def delete_queue(self) -> None:
        """No job is admitted any more; those that are there are for requests to end."""
        if len(self.world.edges) > 6:
            self.world.queues.clear()

    # ------------------------------------------------------------------ scheduler

    @rule()
    def admit(self) -> None:
        self.world.admit()

    @rule(number=st.integers(1, 3))
    def follow(self, number: int) -> None:
        """Some of what is to follow; the rest is for later."""
        if not self.world.happenings:
            return
        self.world.follow(number)

    @rule(data=st.data())
    def repeat(self, data: st.DataObject) -> None:
        """A happening may be followed twice, and in any order."""
        if not self.world.happenings:
            return
        self.world.happenings.append(data.draw(st.sampled_from(self.world.happenings)))

    @rule(data=st.data())
    def place(self, data: st.DataObject) -> None:
        if not self.world.ready:
            return
        key = data.draw(st.sampled_from(sorted(self.world.ready)))
        self.world.place(key, data.draw(st.permutations(INSTANCES)))

    @rule(seconds=st.integers(1, 100))
    def pass_time(self, seconds: int) -> None:
        """What runs for too long is told to stop."""
        self.world.pass_time(timedelta(seconds=seconds))
        self._stop_due([])

    # ------------------------------------------------------------------ agents

    def _live(self, data: st.DataObject) -> LiveAttempt:
        lives = self.world.attempts.live
        return lives[data.draw(st.sampled_from(sorted(lives)))]

    @rule(data=st.data())
    def start(self, data: st.DataObject) -> None:
        if not self.world.attempts.live:
            return
        live = self._live(data)
        if not live.held_back:
            now = self.world.now
            self.world.advance(
                AttemptReport(live.key, live.attempt, ended=False, started_at=now, address="a")
            )

    @rule(data=st.data(), code=CODES)
    def end(self, data: st.DataObject, code: int | None) -> None:
        """With any exit; the report may come twice."""
        if not self.world.attempts.live:
            return
        live = self._live(data)
        if not live.held_back:
            report = ended(live, self.world.now, code)
            self.world.advance(report, report)

    @rule(data=st.data())
    def give_back(self, data: st.DataObject) -> None:
        """What never reached the engine was no attempt."""
        if not self.world.attempts.live:
            return
        live = self._live(data)
        if not live.held_back:
            report = AttemptReport(
                live.key, live.attempt, ended=False, started_at=None, returned=True
            )
            self.world.advance(report)

    @rule(instance_id=st.sampled_from(INSTANCES))
    def lose(self, instance_id: str) -> None:
        """All that is live on an instance is over."""
        self.world.advance(*lost_reports(self._on(instance_id), self.world.now))

    @rule(instance_id=st.sampled_from(INSTANCES))
    def come_back(self, instance_id: str) -> None:
        """Its agent is there again, and still has what it had."""
        self.world.come_back(instance_id)

    @rule(instance_id=st.sampled_from(INSTANCES))
    def take_away(self, instance_id: str) -> None:
        """What is live on an instance is told to stop, as the instance goes."""
        self._stop_due(self._on(instance_id))

    def _stop_due(self, gone: list[LiveAttempt]) -> None:
        world = self.world
        world.advance(*due_stops(world.attempts, gone, world.now, paused=()))

    def _on(self, instance_id: str) -> list[LiveAttempt]:
        lives = self.world.attempts.live.values()
        return [live for live in lives if live.instance_id == instance_id]

    # ------------------------------------------------------------------ truth

    @invariant()
    def holds(self) -> None:
        self.world.check()

    def teardown(self) -> None:
        """Once faults stop and all that runs ends well, every job ends."""
        world = self.world
        steps = 0
        while True:
            while self.world.requests:
                self.act(4)
            world.admit()
            while world.happenings:
                world.follow(4)
                world.check()
            for key in sorted(world.ready):
                world.place(key, INSTANCES)
            lives = list(world.attempts.live.values())
            if not lives and not world.happenings and not self.world.requests:
                break
            for live in lives:
                if (live.key, live.attempt) in world.attempts.live and not live.held_back:
                    world.advance(ended(live, world.now, 0))
            steps += 1
            assert steps < 1_000, "it does not come to an end"
        world.check()
        assert all(row.status.final for row in world.rows.values())


# Nothing waits here, but 6,000 steps take what the machine gives them.
TestJobLife = JobLife.TestCase
TestJobLife.settings = settings(max_examples=120, stateful_step_count=50, deadline=None)


def test_what_was_cancelled_while_it_waited_fails_when_its_turn_comes() -> None:
    world = World()
    first = world.submit()
    single = world.submit([Edge(first)])
    array = world.submit([Edge(None, WHOLE, "SEQUENTIAL")], size=2)
    world.admit()
    cancelled = JobKey(single), JobKey(array, 1)
    world.advance(*(StopAsked(key, terminate=False, reason="no") for key in cancelled))
    assert [world.rows[key].status for key in cancelled] == [JobStatus.PENDING] * 2
    for key in (JobKey(first), JobKey(array, 0)):
        world.place(key, INSTANCES)
    world.advance(*(ended(live, world.now, 0) for live in world.attempts.live.values()))
    world.follow(10)
    assert [world.rows[key].status for key in cancelled] == [JobStatus.FAILED] * 2


def test_a_lost_attempt_stands_as_long_as_nobody_has_started_its_job_again() -> None:
    world = World()
    job_id = world.submit(attempts=3)
    world.admit()
    world.place(JobKey(job_id), ["i-0"])
    world.advance(*lost_reports(list(world.attempts.live.values()), world.now))
    (back,) = world.come_back("i-0")
    assert (back.attempt, world.rows[JobKey(job_id)].status) == (1, JobStatus.STARTING)
    world.advance(*lost_reports([back], world.now))
    world.place(JobKey(job_id), ["i-1"])
    world.advance(*lost_reports(list(world.attempts.live.values()), world.now))
    assert world.come_back("i-0") == []
    world.check()


def test_a_step_decides_no_more_than_it_was_given() -> None:
    """Ten thousand children behind one that failed: a page of them is a step, whatever follows."""
    world = World()
    job_id = world.submit([Edge(None, WHOLE, "SEQUENTIAL")], size=10_000)
    world.admit()
    world.place(JobKey(job_id, 0), INSTANCES)
    (live,) = world.attempts.live.values()
    changes = world.advance(ended(live, world.now, 1))
    assert len(changes.moves) == 1
    assert len(changes.happenings) == 1
    changes = world.advance(ToStop(live.key, live.attempt, Stop(StopKind.TIMED_OUT, "late")))
    assert not changes.stops
    left = world.ask(StopAsked(JobKey(job_id), terminate=True, reason="enough"), page=100)
    assert left is not None
    assert left.first == 100
    assert sum(r.status is JobStatus.FAILED for r in world.rows.values()) == 100
