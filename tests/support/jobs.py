"""Jobs that live in dictionaries: what the scheduler keeps in tables, moved by the same decisions.

Whom a happening reaches is looked up here by going through everything, and what is decided is
written as the tables would have it, strictly: a move of a final job is an error.
"""

import itertools
import uuid
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from longshore.domain.job.arrays import ArrayRules
from longshore.domain.job.attempts import Attempts
from longshore.domain.job.changes import Changes
from longshore.domain.job.dependency import (
    Dependency,
    DependencyCondition,
    Dependent,
    behind,
    reach,
)
from longshore.domain.job.happening import (
    Counted,
    Doomed,
    Ended,
    Following,
    Happening,
    Reached,
    Returned,
    Spawned,
    StopAsked,
    Submitted,
)
from longshore.domain.job.job import WHOLE, JobKey, JobStatus
from longshore.domain.job.life import advance
from longshore.domain.job.record import (
    AttemptMove,
    AttemptRef,
    AttemptReport,
    ChildCounts,
    JobFacts,
    LiveAttempt,
)
from longshore.domain.job.retry import ExitRule
from longshore.domain.job.snapshot import JobsSnapshot
from longshore.domain.resources import Resources

QUEUE = "queue"


@dataclass(frozen=True)
class Edge:
    """What a job waits for; without a job its own child before."""

    depends_on: uuid.UUID | None
    index: int = WHOLE
    type: str = "PLAIN"
    condition: DependencyCondition = DependencyCondition.SUCCESS


class World:
    """All jobs, and what is still to follow."""

    def __init__(self) -> None:
        self.now = datetime(2030, 1, 1, tzinfo=UTC)
        self.rows: dict[JobKey, JobFacts] = {}
        self.edges: dict[uuid.UUID, list[Edge]] = {}
        self.counts: dict[uuid.UUID, Counter[JobStatus]] = {}
        self.ready: set[JobKey] = set()
        self.attempts = Attempts()
        self.exit_rules: dict[uuid.UUID, tuple[ExitRule, ...]] = {}
        self.timeouts: dict[uuid.UUID, int | None] = {}
        self.happenings: list[Following] = []
        self.requests: list[StopAsked] = []
        self.queues = {QUEUE}
        #: How attempts ended, and what they were before.
        self.ends: dict[AttemptRef, tuple[LiveAttempt, AttemptMove]] = {}
        self.final: dict[JobKey, JobStatus] = {}
        self._numbers = itertools.count(1)

    # ------------------------------------------------------------------ what happens

    def submit(
        self,
        edges: Sequence[Edge] = (),
        size: int | None = None,
        nodes: int | None = None,
        main_node: int = 0,
        attempts: int = 1,
        timeout: int | None = None,
        rules: tuple[ExitRule, ...] = (),
    ) -> uuid.UUID:
        """A job is stored; it is admitted with the next look."""
        number = next(self._numbers)
        job_id = uuid.UUID(int=number)
        key = JobKey(job_id)
        self.rows[key] = JobFacts(
            key,
            number,
            QUEUE,
            1,
            JobStatus.SUBMITTED,
            size,
            0,
            attempts,
            0,
            is_cancelled=False,
            is_terminated=False,
            request_reason=None,
            created_at=self.now,
            num_nodes=nodes,
            main_node=main_node if nodes else None,
        )
        self.edges[job_id] = list(edges)
        self.exit_rules[job_id] = rules
        self.timeouts[job_id] = timeout
        return job_id

    def advance(self, *happenings: Happening) -> Changes:
        """One step, written."""
        jobs = JobsSnapshot(
            rows=self.rows,
            edges={job_id: self._dependencies(job_id) for job_id in self.edges},
            rules={
                key.job_id: self.rules(key.job_id)
                for key, row in self.rows.items()
                if row.array_size is not None
            },
            runnable=frozenset(self.ready),
            spawned=frozenset(self.counts),
            queues=self.queues,
            exit_rules=self.exit_rules,
            attempts=self.attempts,
        )
        before = {ref: replace(live) for ref, live in self.attempts.live.items()}
        changes = advance(jobs, happenings, self.now)
        self._write(changes, before)
        return changes

    def admit(self) -> None:
        """Every submitted job is looked at for the first time."""
        new = [key for key, row in self.rows.items() if row.status is JobStatus.SUBMITTED]
        self.advance(*map(Submitted, new))

    def place(self, key: JobKey, instances: Sequence[str]) -> None:
        """A job that may run goes to an instance, or its nodes to one each."""
        self.ready.remove(key)
        row = self.rows.get(key)
        parent = self.rows[key.parent]
        if row is None:
            row = replace(parent, key=key, array_size=None, attempt=0, request_reason=None)
            row = replace(row, is_cancelled=False, is_terminated=False)
        self._count(key, JobStatus.RUNNABLE, JobStatus.STARTING)
        self.rows[key] = replace(row, status=JobStatus.STARTING, attempt=row.attempt + 1)
        keys = [JobKey.node(key.job_id, n) for n in range(row.num_nodes or 0)] or [key]
        for one, instance_id in zip(keys, instances, strict=False):
            self.attempts.hold(
                LiveAttempt(
                    key=one,
                    attempt=row.attempt + 1,
                    attempt_id=f"{one}/{row.attempt + 1}",
                    instance_id=instance_id,
                    compute_environment="environment",
                    held=Resources(1000, 1024, 0),
                    log_stream_name="",
                    placed_at=self.now,
                    seq=row.seq,
                    job_queue=QUEUE,
                    shape_id=1,
                    attempts_max=row.attempts_max,
                    timeout_seconds=self.timeouts[key.job_id],
                    array_size=parent.array_size,
                    num_nodes=row.num_nodes,
                    main_node=row.main_node,
                    held_back=one.is_node and one.node_index != row.main_node,
                )
            )

    def come_back(self, instance_id: str) -> list[LiveAttempt]:
        """An agent is there again and knows of all that it ever had."""
        known = [
            Returned(live, end.is_lost)
            for ref, (live, end) in self.ends.items()
            if live.instance_id == instance_id and ref not in self.attempts.live
        ]
        return self.advance(*known).revived

    def ask(self, asked: StopAsked, page: int) -> StopAsked | None:
        """Acts on a request, of an array on a page of its children; returns what is left."""
        row = self.rows[asked.key.parent]
        if asked.key.is_child or asked.key.job_id not in self.counts or row.status.final:
            self.advance(asked)
            return None
        size = row.array_size or 0
        end = min(asked.first + page, size)
        self.advance(replace(asked, end=end))
        return replace(asked, first=end) if end < size else None

    def follow(self, number: int) -> None:
        """Follows some of what is to follow to those whom it reaches."""
        taken, self.happenings = self.happenings[:number], self.happenings[number:]
        ended = [h for h in taken if isinstance(h, Ended)]
        dependents = [
            dependent
            for position, this in enumerate(ended)
            for dependent in self._dependents(position, this)
        ]
        reached = reach(dependents, ended, self.rows)
        self.happenings += reached.arrays
        for key, left in reached.left.items():
            self.rows[key] = replace(self.rows[key], dependencies_left=left)
        met, failed = behind(ended, {job_id: self.rules(job_id) for job_id in self.counts})
        children = reached.children | met | failed
        for key in failed:
            size = self.rules(key.job_id).size
            for index in range(key.array_index, size):
                child = JobKey(key.job_id, index)
                if child in self.rows and self.rows[child].status is not JobStatus.PENDING:
                    break
                children.add(child)
        for spawned in (h for h in taken if isinstance(h, Spawned)):
            if spawned.job_id in self.counts:
                size = self.rules(spawned.job_id).size
                children |= {JobKey(spawned.job_id, i) for i in range(spawned.first, size)}
        moved = self.advance(*map(Reached, sorted(reached.whole | children)))
        doomed = {key for key, move in moved.moves.items() if move.status is JobStatus.FAILED}
        found = self._downstream({key for key in doomed if key.array_index == WHOLE})
        self.advance(*map(Doomed, found))

    # ------------------------------------------------------------------ looking up

    def rules(self, job_id: uuid.UUID) -> ArrayRules:
        """How the children of an array wait."""
        types = Counter(edge.type for edge in self.edges[job_id])
        size = self.rows[JobKey(job_id)].array_size or 0
        conditions = {e.condition for e in self.edges[job_id] if e.type == "SEQUENTIAL"}
        on_any_end = conditions == {DependencyCondition.COMPLETE}
        return ArrayRules(size, types["N_TO_N"], types["SEQUENTIAL"] > 0, on_any_end)

    def _dependencies(self, job_id: uuid.UUID) -> list[Dependency]:
        return [
            Dependency(
                job_id,
                edge.depends_on,
                edge.index,
                edge.type,
                self._status(JobKey(edge.depends_on, edge.index)) if edge.depends_on else None,
                self._status(JobKey(edge.depends_on)) if edge.depends_on else None,
                edge.depends_on in self.counts,
                edge.condition,
            )
            for edge in self.edges[job_id]
        ]

    def _status(self, key: JobKey) -> JobStatus | None:
        row = self.rows.get(key)
        return None if row is None else row.status

    def _dependents(self, position: int, this: Ended) -> list[Dependent]:
        key = this.key
        childless = not key.is_child and key.job_id not in self.counts
        return [
            Dependent(
                position,
                job_id,
                edge.type == "N_TO_N",
                edge.condition is DependencyCondition.FAILURE,
            )
            for job_id, edges in self.edges.items()
            for edge in edges
            if edge.depends_on == key.job_id
            and (
                (key.is_child or childless)
                if edge.type == "N_TO_N"
                else edge.index == key.array_index or (childless and edge.index >= 0)
            )
        ]

    def _downstream(self, failed: set[JobKey]) -> list[JobKey]:
        found: list[JobKey] = []
        for key, row in self.rows.items():
            waits = row.status is JobStatus.PENDING and row.dependencies_left > 0
            edges = self.edges[key.job_id] if waits and key.array_index == WHOLE else []
            plain = {
                JobKey(e.depends_on)
                for e in edges
                if e.depends_on
                and e.type == "PLAIN"
                and e.index == WHOLE
                and e.condition is DependencyCondition.SUCCESS
            }
            if plain & (failed | set(found)):
                found.append(key)
        return found

    # ------------------------------------------------------------------ writing

    def _write(self, changes: Changes, before: dict[AttemptRef, LiveAttempt]) -> None:
        self._note_ends(changes, before)
        self._take_off(changes)
        self._write_rows(changes)
        for entry in changes.ready:
            end = max(entry.end_index, entry.next_index + 1)
            keys = {JobKey(entry.job_id, index) for index in range(entry.next_index, end)}
            assert not keys & self.ready, "what is RUNNABLE is dispatchable once"
            self.ready |= keys
        self.happenings += changes.happenings
        for live in changes.revived:
            self.ready.remove(live.key)
            self.attempts.hold(live)
            self.attempts.watch_deadline(live)
        for job_id, differences in changes.arrays.items():
            self.counts[job_id].update(differences)
        for job_id in changes.arrays:
            size = self.rules(job_id).size
            counted = ChildCounts(job_id, size, self.counts[job_id])
            if counted.finished and not self.rows[JobKey(job_id)].status.final:
                self.advance(Counted(counted))

    def _note_ends(self, changes: Changes, before: dict[AttemptRef, LiveAttempt]) -> None:
        for ref, move in changes.attempt_moves.items():
            if move.status == "ENDED" and ref in before:
                live = replace(before[ref], running=move.started_at is not None)
                live.started_at = live.running_at = move.started_at
                if ref in changes.stops:
                    live.stop = changes.stops[ref][1]
                self.ends[ref] = live, move

    def _take_off(self, changes: Changes) -> None:
        for key in changes.unready:
            self.ready.remove(key)
        for job_id in changes.held:
            for key in [k for k in self.ready if k.job_id == job_id and k not in self.rows]:
                self.ready.remove(key)
                self._count(key, JobStatus.RUNNABLE, JobStatus.PENDING)

    def _write_rows(self, changes: Changes) -> None:
        for live in changes.returned:
            self._update(live.key, attempt=self.rows[live.key].attempt - 1)
        for job_id, left in changes.admitted:
            self._update(JobKey(job_id), status=JobStatus.PENDING, dependencies_left=left)
        for array in changes.spawned:
            assert array.job_id not in self.counts, "an array spawns once"
            self.counts[array.job_id] = Counter(
                {
                    JobStatus.PENDING: array.size - array.runnable,
                    JobStatus.RUNNABLE: array.runnable,
                }
            )
        self._write_children(changes)
        for job_id, left in changes.left:
            self._update(JobKey(job_id), dependencies_left=left)
        for flag in changes.flags:
            row = self.rows[flag.key]
            self._update(
                flag.key,
                is_cancelled=row.is_cancelled or flag.cancelled,
                is_terminated=row.is_terminated or flag.terminated,
                request_reason=row.request_reason or flag.reason,
            )
        for key, job_move in changes.moves.items():
            assert not self.rows[key].status.final, f"{key} leaves a final status"
            self._update(key, status=job_move.status)

    def _write_children(self, changes: Changes) -> None:
        for child in changes.children:
            assert child.key not in self.rows
            parent = self.rows[child.key.parent]
            asked = child.cancelled or child.terminated
            self.rows[child.key] = replace(
                parent,
                key=child.key,
                array_size=None,
                attempt=0,
                status=child.status,
                is_cancelled=child.cancelled,
                is_terminated=child.terminated,
                request_reason=child.reason if asked else None,
            )

    def _update(self, key: JobKey, **members: object) -> None:
        self.rows[key] = replace(self.rows[key], **members)  # type: ignore[arg-type]

    def _count(self, key: JobKey, before: JobStatus, after: JobStatus) -> None:
        if key.is_child:
            self.counts[key.job_id].update({before: -1, after: 1})

    # ------------------------------------------------------------------ truth

    def child_status(self, key: JobKey) -> JobStatus:
        """Where a child of a spawned array is."""
        if key in self.ready:
            return JobStatus.RUNNABLE
        row = self.rows.get(key)
        return JobStatus.PENDING if row is None else row.status

    def check(self) -> None:
        """What must hold between any two steps."""
        now = {key: row.status for key, row in self.rows.items() if row.status.final}
        changed = {k: now.get(k) for k, status in self.final.items() if now.get(k) is not status}
        assert not changed, f"these left a final status: {changed}"
        self.final = now
        for job_id, counts in self.counts.items():
            size = self.rules(job_id).size
            truth = Counter(self.child_status(JobKey(job_id, i)) for i in range(size))
            assert +counts == truth, f"{job_id} counts {counts}, it has {truth}"
            status = self.rows[JobKey(job_id)].status
            over = truth[JobStatus.SUCCEEDED] + truth[JobStatus.FAILED] == size
            assert status.final is over, f"{job_id} is {status} with {truth}"
        for key, row in self.rows.items():
            assert row.attempt <= row.attempts_max, f"{key} had {row.attempt} attempts"
            lives = self.attempts.live_of(key)
            assert {live.attempt for live in lives} <= {row.attempt}, key
            is_live = bool(lives)
            placed = row.status in (JobStatus.STARTING, JobStatus.RUNNING)
            assert is_live is placed, f"{key} is {row.status}, live: {is_live}"
            if row.array_size is None:
                assert (key in self.ready) is (row.status is JobStatus.RUNNABLE), key
                waits = row.status in (JobStatus.PENDING, JobStatus.FAILED)
                assert waits or not row.is_cancelled, f"{key} was cancelled and is {row.status}"
            if row.num_nodes and row.status.final and row.attempt:
                self._check_main(row)
        for key in self.ready - self.rows.keys():
            parent = self.rows[key.parent]
            assert not parent.is_cancelled, f"{key} was cancelled with its array"
            assert not parent.is_terminated, f"{key} was terminated with its array"
        if not self.happenings:
            self._check_settled()

    def _check_main(self, row: JobFacts) -> None:
        """A multi-node job ends as its main node did, and not before."""
        main = JobKey.node(row.key.job_id, row.main_node or 0)
        live, end = self.ends[main, row.attempt]
        succeeded = live.stop is None and end.exit_code == 0
        assert (row.status is JobStatus.SUCCEEDED) is succeeded, f"{row.key}: {end}"

    def _check_settled(self) -> None:
        """What must hold once all has been followed."""
        for job_id in self.edges:
            row = self.rows[JobKey(job_id)]
            if row.status is JobStatus.SUBMITTED:
                continue
            keys = [row.key]
            if job_id in self.counts:
                keys = [JobKey(job_id, index) for index in range(row.array_size or 0)]
            for key in keys:
                ends = [(self._end(other), on) for other, on in self._waited_for(key)]
                status = self.child_status(key)
                if any(on.holds(end) is False for end, on in ends):
                    assert status is JobStatus.FAILED, f"{key} is {status}"
                elif all(on.holds(end) for end, on in ends):
                    # The children of an array that is asked to end do so page by page.
                    ends_soon = (row.is_cancelled or row.is_terminated) and bool(self.requests)
                    is_waiting = status is JobStatus.PENDING and not ends_soon
                    assert not is_waiting, f"{key} could run, and waits"
                else:
                    assert status in (JobStatus.PENDING, JobStatus.FAILED), f"{key} is {status}"
        if not self.ready and not self.attempts.live and not self.requests:
            waiting = [
                str(key)
                for key, row in self.rows.items()
                if not row.status.final and row.status is not JobStatus.SUBMITTED
            ]
            submitted = any(r.status is JobStatus.SUBMITTED for r in self.rows.values())
            assert submitted or not waiting, f"nothing runs, and these wait for ever: {waiting}"

    def _waited_for(self, key: JobKey) -> Iterable[tuple[JobKey, DependencyCondition]]:
        for edge in self.edges[key.job_id]:
            if edge.type == "SEQUENTIAL" and key.array_index > 0:
                yield JobKey(key.job_id, key.array_index - 1), edge.condition
            if edge.depends_on is not None and edge.type != "N_TO_N":
                yield JobKey(edge.depends_on, edge.index), edge.condition
            elif edge.depends_on is not None and key.is_child:
                yield JobKey(edge.depends_on, key.array_index), edge.condition

    def _end(self, key: JobKey) -> JobStatus | None:
        """How a job or child ended, if it has; one that never comes to be has failed."""
        row = self.rows.get(key)
        if row is not None:
            return row.status if row.status.final else None
        parent = self.rows[key.parent]
        return JobStatus.FAILED if parent.status.final else None

    def pass_time(self, by: timedelta) -> None:
        """Time passes."""
        self.now += by


def ended(live: LiveAttempt, now: datetime, exit_code: int | None) -> AttemptReport:
    """What an agent says of an attempt that is over."""
    return AttemptReport(
        live.key,
        live.attempt,
        ended=True,
        started_at=live.started_at or now,
        stopped_at=now,
        exit_code=exit_code,
        reason=None if exit_code is not None else "OutOfMemoryError",
        status_reason="Essential container in task exited",
    )
