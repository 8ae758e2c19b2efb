"""The containers of a multi-container job: in what order they start and stop, and what that means.

They are one attempt. A container starts once those that it depends on have come as far as it says
(`may_start`), or never, once they cannot any more (`give_up`). The attempt runs when each container
has started or never will (`are_settled`), and is over with the first essential container that ends
(`is_over`): the others are stopped in the reverse of the order in which they started (`may_stop`).
How the attempt ended is how one of them did (`decisive`).

What is not on record anywhere of AWS Batch is Amazon ECS's, whose agent runs these containers
there: COMPLETE and SUCCESS are never met by a container that never ran, and a `startTimeout` is of
the container that is waited for, from its own start.
"""

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

CONTAINERS_MAX = 10


class ContainerCondition(enum.StrEnum):
    """How far a container must have come."""

    START = "START"
    COMPLETE = "COMPLETE"
    SUCCESS = "SUCCESS"


@dataclass(frozen=True, slots=True)
class Need:
    """A container that another waits for."""

    name: str
    condition: ContainerCondition


@dataclass(frozen=True, slots=True)
class JobContainer:
    """One container of a job."""

    name: str
    is_essential: bool = True
    needs: tuple[Need, ...] = ()
    #: How long others wait for its end, from its start; None: for as long as it takes.
    start_timeout: timedelta | None = None


@dataclass(frozen=True, slots=True)
class ContainerProgress:
    """How far a container is in one attempt."""

    #: It was told to start.
    is_begun: bool = False
    #: When its main process started.
    started_at: datetime | None = None
    #: When it ended, or it was known that it never starts.
    ended_at: datetime | None = None
    exit_code: int | None = None

    @property
    def is_live(self) -> bool:
        """Whether there is something of it to stop."""
        return self.is_begun and self.ended_at is None


@dataclass(frozen=True, slots=True)
class Steps:
    """What is to be done now with containers that wait for others."""

    start: tuple[str, ...] = ()
    #: By name, why it never starts.
    give_up: tuple[tuple[str, str], ...] = ()
    #: When time alone makes a difference.
    due_at: datetime | None = None


NOT_BEGUN = ContainerProgress()


def loop_in(members: Sequence[JobContainer]) -> list[str]:
    """Names of containers that wait for each other in a circle, in order; empty if none do.

    Needs of containers that are not there are not looked at.
    """
    by_name = {member.name: member for member in members}
    done: set[str] = set()
    for member in members:
        path: list[str] = []
        if found := _loop_from(member.name, by_name, path, done):
            return found
    return []


def _loop_from(
    name: str, by_name: Mapping[str, JobContainer], path: list[str], done: set[str]
) -> list[str]:
    if name in path:
        return path[path.index(name) :]
    if name in done or name not in by_name:
        return []
    path.append(name)
    for need in by_name[name].needs:
        if found := _loop_from(need.name, by_name, path, done):
            return found
    path.pop()
    done.add(name)
    return []


def steps(
    members: Sequence[JobContainer], progress: Mapping[str, ContainerProgress], now: datetime
) -> Steps:
    """What is to be done now with containers that have not begun."""
    by_name = {member.name: member for member in members}
    start: list[str] = []
    give_up: list[tuple[str, str]] = []
    due: list[datetime] = []
    for member in members:
        own = progress.get(member.name, NOT_BEGUN)
        if own.is_begun or own.ended_at is not None:
            continue
        met = True
        for need in member.needs:
            other = progress.get(need.name, NOT_BEGUN)
            if _is_met(need, other):
                continue
            met = False
            deadline = _deadline(need, by_name[need.name], other)
            why = _hopeless(need, other, deadline, now)
            if why:
                give_up.append((member.name, why))
                break
            if deadline is not None:
                due.append(deadline)
        if met:
            start.append(member.name)
    return Steps(tuple(start), tuple(give_up), min(due, default=None))


def _is_met(need: Need, other: ContainerProgress) -> bool:
    match need.condition:
        case ContainerCondition.START:
            return other.started_at is not None
        case ContainerCondition.COMPLETE:
            return other.ended_at is not None and other.exit_code is not None
        case ContainerCondition.SUCCESS:
            return other.ended_at is not None and other.exit_code == 0


def _deadline(need: Need, member: JobContainer, other: ContainerProgress) -> datetime | None:
    waits_for_end = need.condition is not ContainerCondition.START
    if not waits_for_end or member.start_timeout is None or other.started_at is None:
        return None
    return other.started_at + member.start_timeout


def _hopeless(
    need: Need, other: ContainerProgress, deadline: datetime | None, now: datetime
) -> str:
    """Why a need that is not met never will be; empty if it may."""
    if other.ended_at is not None:
        if other.exit_code is None:
            return f"container {need.name} did not run"
        return f"container {need.name} ended with exit code {other.exit_code}"
    if deadline is not None and now >= deadline:
        return f"container {need.name} did not end within its startTimeout"
    return ""


def are_settled(members: Sequence[JobContainer], progress: Mapping[str, ContainerProgress]) -> bool:
    """Whether each container has started, or never will."""
    found = (progress.get(member.name, NOT_BEGUN) for member in members)
    return all(one.started_at is not None or one.ended_at is not None for one in found)


def is_over(members: Sequence[JobContainer], progress: Mapping[str, ContainerProgress]) -> bool:
    """Whether an essential container has ended, so that all the others are to end."""
    return any(
        member.is_essential and progress.get(member.name, NOT_BEGUN).ended_at is not None
        for member in members
    )


def may_stop(
    members: Sequence[JobContainer], progress: Mapping[str, ContainerProgress]
) -> list[str]:
    """Which live containers may be stopped now: those that no other live one depends on."""
    live = {m.name for m in members if progress.get(m.name, NOT_BEGUN).is_live}
    needed = {need.name for member in members if member.name in live for need in member.needs}
    return [member.name for member in members if member.name in live - needed]


def decisive(
    members: Sequence[JobContainer], progress: Mapping[str, ContainerProgress]
) -> str | None:
    """Whose end is that of the attempt; None while no essential container has ended.

    The job succeeds only if all essential containers exit with 0. So it is the first of them that
    did not, and where all did, the first that ended.
    """
    ended = [
        (found.ended_at, position, member.name, found.exit_code)
        for position, member in enumerate(members)
        if member.is_essential
        and (found := progress.get(member.name, NOT_BEGUN)).ended_at is not None
    ]
    if not ended:
        return None
    failed = [one for one in ended if one[3] != 0]
    return min(failed or ended)[2]
