"""In what order several containers start and stop, and what their ends mean."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from longshore.domain.job.containers import (
    ContainerCondition,
    ContainerProgress,
    JobContainer,
    Need,
    are_settled,
    decisive,
    is_over,
    loop_in,
    may_stop,
    steps,
)

T0 = datetime(2030, 1, 1, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


def running(second: float = 0) -> ContainerProgress:
    return ContainerProgress(is_begun=True, started_at=at(second))


def ended(code: int | None, second: float = 1) -> ContainerProgress:
    started = None if code is None else at(0)
    return ContainerProgress(is_begun=True, started_at=started, ended_at=at(second), exit_code=code)


def a_member(name: str, *needs: tuple[str, str], essential: bool = False) -> JobContainer:
    return JobContainer(
        name, essential, tuple(Need(other, ContainerCondition(c)) for other, c in needs)
    )


def started(condition: str, other: ContainerProgress) -> bool | str:
    """Whether what waits for another starts, or why it never does."""
    members = [a_member("a", ("b", condition)), a_member("b")]
    due = steps(members, {"b": other}, at(5))
    return dict(due.give_up).get("a") or due.start == ("a",)


def test_what_each_condition_waits_for() -> None:
    waiting, begun = ContainerProgress(), ContainerProgress(is_begun=True)
    for condition in ContainerCondition:
        assert started(condition, begun) is False
    assert started("START", running()) is True
    assert started("COMPLETE", running()) is False
    assert started("SUCCESS", running()) is False
    for condition in ContainerCondition:
        assert started(condition, ended(0)) is True
        assert started(condition, ended(None)) == "container b did not run"
    assert started("START", ended(1)) is True
    assert started("COMPLETE", ended(1)) is True
    assert started("SUCCESS", ended(1)) == "container b ended with exit code 1"
    members = [a_member("a", ("b", "START")), a_member("b")]
    assert steps(members, {"b": waiting}, T0).start == ("b",)


def test_a_start_timeout_counts_from_the_start_of_the_one_that_has_it() -> None:
    waited_for = replace(a_member("b"), start_timeout=timedelta(seconds=4))
    members = [a_member("a", ("b", "COMPLETE")), a_member("c", ("b", "START")), waited_for]
    due = steps(members, {"b": ContainerProgress(is_begun=True)}, at(100))
    assert (due.give_up, due.due_at) == ((), None)
    due = steps(members, {"b": running(2)}, at(5.9))
    assert (due.start, due.give_up, due.due_at) == (("c",), (), at(6))
    due = steps(members, {"b": running(2), "c": running(2)}, at(6))
    assert due.give_up == (("a", "container b did not end within its startTimeout"),)
    assert steps(members, {"b": ended(0), "c": running()}, at(60)).start == ("a",)


def test_circles_are_found() -> None:
    straight = [a_member("a", ("b", "START"), ("c", "START")), a_member("b", ("c", "START"))]
    assert loop_in([*straight, a_member("c")]) == []
    assert loop_in([*straight, a_member("c", ("b", "START"))]) == ["b", "c"]
    assert loop_in([a_member("a", ("a", "START"))]) == ["a"]
    assert loop_in([a_member("a", ("gone", "START"))]) == []


def test_the_end_that_counts() -> None:
    members = [a_member("a", essential=True), a_member("b", essential=True), a_member("c")]
    assert decisive(members, {"c": ended(1)}) is None
    assert decisive(members, {"a": ended(0, 2), "b": ended(0, 1)}) == "b"
    assert decisive(members, {"a": ended(0, 1), "b": ended(143, 2)}) == "b"
    assert decisive(members, {"a": ended(2, 2), "b": ended(1, 1), "c": ended(9, 0)}) == "b"
    assert decisive(members, {"a": ended(0, 1), "b": ended(None, 2)}) == "b"


@st.composite
def jobs(draw: st.DrawFn) -> list[JobContainer]:
    """Containers without a circle, at least one of them essential."""
    count = draw(st.integers(1, 10))
    names = [f"c{index}" for index in range(count)]
    essential = draw(st.lists(st.booleans(), min_size=count, max_size=count))
    essential[draw(st.integers(0, count - 1))] = True
    members = []
    for index, name in enumerate(names):
        others = draw(st.sets(st.integers(0, index - 1), max_size=3)) if index else set()
        needs = tuple(
            Need(
                names[other],
                ContainerCondition.START
                if essential[other]
                else draw(st.sampled_from(list(ContainerCondition))),
            )
            for other in sorted(others)
        )
        timeout = draw(st.none() | st.integers(2, 9))
        members.append(
            JobContainer(
                name,
                essential[index],
                needs,
                None if timeout is None else timedelta(seconds=timeout),
            )
        )
    return draw(st.permutations(members))


class _Engine:
    """Does what is due, and lets containers end as it is told."""

    def __init__(self, members: list[JobContainer]) -> None:
        self.members = members
        self.by_name = {member.name: member for member in members}
        self.progress: dict[str, ContainerProgress] = {}
        self.second = 0.0

    def start(self, name: str, *, fails: bool) -> None:
        for need in self.by_name[name].needs:
            assert is_met(need, self.progress), (name, need)
        self.second += 1
        self.progress[name] = (
            ended(None, self.second)
            if fails
            else ContainerProgress(is_begun=True, started_at=at(self.second))
        )

    def end(self, name: str, code: int | None) -> None:
        self.second += 1
        self.progress[name] = replace(
            self.progress.get(name, ContainerProgress(is_begun=True)),
            ended_at=at(self.second),
            exit_code=code,
        )


def is_met(need: Need, progress: Mapping[str, ContainerProgress]) -> bool:
    other = progress.get(need.name, ContainerProgress())
    codes: tuple[int | None, ...] = (other.exit_code,) if other.ended_at else ()
    return {
        ContainerCondition.START: other.started_at is not None,
        ContainerCondition.COMPLETE: bool(codes) and codes != (None,),
        ContainerCondition.SUCCESS: codes == (0,),
    }[need.condition]


@given(jobs(), st.data())
def test_any_job_comes_to_its_end(members: list[JobContainer], data: st.DataObject) -> None:
    """Each container starts once its needs are met and not before, or never, and all stop."""
    engine = _Engine(members)
    assert loop_in(members) == []
    while not is_over(members, engine.progress):
        due = steps(members, engine.progress, at(engine.second))
        assert set(due.start).isdisjoint(name for name, _ in due.give_up)
        for name in due.start:
            engine.start(name, fails=data.draw(st.booleans(), label=f"{name} fails to start"))
        for name, _ in due.give_up:
            assert not all(is_met(need, engine.progress) for need in engine.by_name[name].needs)
            engine.end(name, None)
        if due.start or due.give_up:
            continue
        # Nothing is due: whatever goes on must come from one that runs, or from time.
        live = [name for name, found in engine.progress.items() if found.is_live]
        assert live
        settled = are_settled(members, engine.progress)
        assert settled == all(member.name in engine.progress for member in members)
        engine.end(data.draw(st.sampled_from(live)), data.draw(st.sampled_from([0, 0, 1])))
    stopped: list[str] = []
    while any(found.is_live for found in engine.progress.values()):
        names = may_stop(members, engine.progress)
        assert names
        for name in names:
            others = [m for m in members if name in {need.name for need in m.needs}]
            assert not any(engine.progress.get(o.name, ContainerProgress()).is_live for o in others)
        stopped.append(data.draw(st.sampled_from(names)))
        engine.end(stopped[-1], 143)
    assert may_stop(members, engine.progress) == []
    counted = decisive(members, engine.progress)
    assert counted is not None
    codes = [
        engine.progress[member.name].exit_code
        for member in members
        if member.is_essential and member.name in engine.progress
    ]
    assert (engine.progress[counted].exit_code == 0) == all(code == 0 for code in codes)
