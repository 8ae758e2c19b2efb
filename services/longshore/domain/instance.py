r"""The life of one instance on record, and when what runs it may be ended.

    ORDERED -> LAUNCHED -> TERMINATING -> TERMINATED
       \          \             \-> FAILED    it never registered
        \          \-> FAILED                 its agent does not stay up, or never came
         \-> FAILED                           the provider could not launch it

Giving an instance back does not end a job on it. TERMINATING only asks: the scheduler, seeing it,
stops placing attempts there, marks the agent DRAINING and tells it; the agent exits by itself once
its last attempt has ended and is acknowledged. `next_step` waits for that, however long attempts
run, and ends the process only where nobody is left to answer: no agent ever registered, it was
lost, or it is empty and stays beyond its grace.

Two times bound the wait where there is no time to wait. From `drain_until` on the scheduler stops
what still runs. At `ends_at`, the end of a notice, the instance ends whatever runs.
"""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

#: How long an attempt that is stopped has from SIGTERM to SIGKILL.
STOP_TIMEOUT = timedelta(seconds=30)
#: Before the end of a notice attempts are told to stop: their time for that, and a little to tell.
NOTICE_MARGIN = STOP_TIMEOUT + timedelta(seconds=5)

_INSTANCE_ID = re.compile(r"i-[0-9a-f]{17}")


def is_instance_id(text: str) -> bool:
    """Whether a text has the form of an instance id."""
    return _INSTANCE_ID.fullmatch(text) is not None


class InstanceStatus(StrEnum):
    """Where an instance is in its life."""

    ORDERED = "ORDERED"
    LAUNCHED = "LAUNCHED"
    TERMINATING = "TERMINATING"
    TERMINATED = "TERMINATED"
    FAILED = "FAILED"


class AgentStatus(StrEnum):
    """What the scheduler knows of the agent.

    READY takes attempts, DRAINING none, LOST is given up.
    """

    READY = "READY"
    DRAINING = "DRAINING"
    LOST = "LOST"


class InstanceCondition(StrEnum):
    """Whether an instance can start attempts, as its agent says."""

    HEALTHY = "HEALTHY"
    #: What runs containers does not answer.
    ENGINE_AWAY = "ENGINE_AWAY"
    DISK_FULL = "DISK_FULL"
    #: Attempts failed one after the other at their start.
    QUARANTINED = "QUARANTINED"


class ShownStatus(StrEnum):
    """Where an instance is, as users are told: its record and its agent in one word."""

    ORDERED = "ORDERED"
    #: The provider says that it launched it, and has not shown it yet.
    LAUNCHING = "LAUNCHING"
    #: It is there, and its agent has not registered yet.
    BOOTING = "BOOTING"
    READY = "READY"
    #: Its agent is there and takes no attempts: see `Condition`.
    ENGINE_AWAY = "ENGINE_AWAY"
    DISK_FULL = "DISK_FULL"
    QUARANTINED = "QUARANTINED"
    DRAINING = "DRAINING"
    TERMINATED = "TERMINATED"
    FAILED = "FAILED"
    #: Its agent fell silent, or it went although nobody asked it to.
    LOST = "LOST"


def shown_status(
    status: InstanceStatus,
    agent: AgentStatus | None,
    condition: InstanceCondition,
    *,
    is_seen: bool,
    was_asked: bool,
) -> ShownStatus:
    """What users are told of an instance.

    Args:
        status: of its record.
        agent: of its agent; None before it first registered.
        condition: as its agent said last.
        is_seen: whether the provider has shown it.
        was_asked: whether it is, or was, on its way out by our own wish.
    """
    if status is InstanceStatus.FAILED:
        shown = ShownStatus.FAILED
    elif status is InstanceStatus.TERMINATED:
        shown = ShownStatus.TERMINATED if was_asked else ShownStatus.LOST
    elif agent is AgentStatus.LOST:
        shown = ShownStatus.LOST
    elif status is InstanceStatus.TERMINATING or agent is AgentStatus.DRAINING:
        shown = ShownStatus.DRAINING
    elif agent is AgentStatus.READY:
        healthy = condition is InstanceCondition.HEALTHY
        shown = ShownStatus.READY if healthy else ShownStatus(condition.value)
    elif status is InstanceStatus.ORDERED:
        shown = ShownStatus.ORDERED
    else:
        shown = ShownStatus.BOOTING if is_seen else ShownStatus.LAUNCHING
    return shown


#: Where an agent is there and what it says of its instance holds.
_PRESENT = (
    ShownStatus.READY,
    ShownStatus.ENGINE_AWAY,
    ShownStatus.DISK_FULL,
    ShownStatus.QUARANTINED,
    ShownStatus.DRAINING,
)


def shown_reason(
    status: ShownStatus,
    status_reason: str,
    *,
    health_detail: str,
    network: str,
    network_detail: str,
) -> str:
    """Why an instance is where it is, and what else its agent says of it."""
    parts = [status_reason]
    if status in _PRESENT:
        parts.append(health_detail)
        if network_detail:
            parts.append(f"Containers join {_joined(network)}: {network_detail}")
    return "; ".join(filter(None, parts))


_UNFIT_WORDS = {
    InstanceCondition.ENGINE_AWAY: "its engine does not answer",
    InstanceCondition.DISK_FULL: "its disk is full",
    InstanceCondition.QUARANTINED: "it is quarantined after failed starts",
}


def unfit_remark(condition: InstanceCondition, count: int, instance_id: str, detail: str) -> str:
    """A sentence about instances of a compute environment that take no attempts.

    Args:
        condition: of all of them.
        count: how many.
        instance_id: one of them.
        detail: what its agent says.
    """
    if count == 1:
        which = f"Instance {instance_id} takes no jobs: {_UNFIT_WORDS[condition]}"
    else:
        which = f"{count} instances take no jobs, {instance_id} for one: {_UNFIT_WORDS[condition]}"
    return f"{which} ({detail.rstrip('.')})." if detail else f"{which}."


def network_remark(network: str, count: int, instance_id: str, detail: str) -> str:
    """A sentence about instances whose containers do not join what the settings name.

    Args:
        network: what they join.
        count: how many instances.
        instance_id: one of them.
        detail: what its agent says.
    """
    which = f"instance {instance_id}"
    if count > 1:
        which = f"{count} instances, {instance_id} for one,"
    return f"Containers on {which} join {_joined(network)}: {detail.rstrip('.')}."


def _joined(network: str) -> str:
    return "the sandbox" if network == "sandbox" else network or "no network"


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceRecord:
    """An instance that is not over; `agent` is None before it first registered."""

    instance_id: str
    compute_environment: str
    instance_type: str
    vcpus: float
    memory_mib: int
    gpus: int
    status: InstanceStatus
    agent: AgentStatus | None
    live_attempts: int
    launched_at: datetime | None = None
    #: When the provider first showed it.
    seen_at: datetime | None = None
    terminating_at: datetime | None = None
    drain_until: datetime | None = None
    ends_at: datetime | None = None
    #: When the last attempt on it ended, or else when its agent registered.
    idle_since: datetime | None = None
    #: The machine that it is a process of; empty if the provider reaches it from anywhere.
    machine: str = ""

    @property
    def is_reachable(self) -> bool:
        """Whether an agent registered and is not given up."""
        return self.agent not in (None, AgentStatus.LOST)


class Step(StrEnum):
    """What to do next about an instance that is on its way out."""

    #: Its agent died while attempts are live: start it again.
    REVIVE = "REVIVE"
    WAIT = "WAIT"
    #: Ask the process to end.
    STOP = "STOP"
    #: End it.
    KILL = "KILL"
    #: It is gone: end the record.
    RECORD = "RECORD"


@dataclass(frozen=True, slots=True, kw_only=True)
class EndAsked:
    """When an instance was asked to end, and when it was made to."""

    stopped_at: datetime | None = None
    killed_at: datetime | None = None


def next_step(
    instance: InstanceRecord,
    asked: EndAsked,
    *,
    is_running: bool,
    revives: bool,
    now: datetime,
    grace: timedelta,
) -> tuple[Step, datetime | None]:
    """The next step of a TERMINATING instance.

    Args:
        instance: its record.
        asked: what was done about it before.
        is_running: whether the provider still has it.
        revives: whether an instance that is gone can be started again.
        now: the time.
        grace: how long the scheduler has to drain it, and then the process to end by itself.

    Returns:
        The step, and for WAIT when to look again at the latest, None if only others move it.
    """
    is_over = instance.ends_at is not None and now >= instance.ends_at
    if not is_running:
        is_held = instance.is_reachable and instance.live_attempts and asked.stopped_at is None
        return (Step.REVIVE if revives and is_held and not is_over else Step.RECORD), None
    if asked.killed_at is not None:
        return _at(Step.KILL, asked.killed_at + grace, now)
    if is_over:
        return Step.KILL, None
    if asked.stopped_at is not None:
        step, due = _at(Step.KILL, asked.stopped_at + grace, now)
    elif not instance.is_reachable:
        return Step.STOP, None
    elif not instance.live_attempts:
        since = max(filter(None, (instance.terminating_at, instance.idle_since)), default=now)
        step, due = _at(Step.STOP, since + grace, now)
    elif instance.drain_until is not None:
        step, due = _at(Step.STOP, instance.drain_until + STOP_TIMEOUT + grace, now)
    else:
        step, due = Step.WAIT, None
    if step is Step.WAIT:
        due = min(filter(None, (due, instance.ends_at)), default=None)
    return step, due


def next_step_elsewhere(
    instance: InstanceRecord, *, now: datetime, grace: timedelta
) -> tuple[Step, datetime | None]:
    """The next step of an instance that is a process of another machine.

    From here it can be neither seen nor started nor ended; its agent speaks to the scheduler all
    the same. While it does, the instance works on. Where one of this machine would be started again
    or be ended, the record of another's ends: the scheduler then refuses its agent, if there is
    one, and that ends what it runs.

    Returns:
        RECORD or WAIT, and for WAIT when to look again at the latest, None if only others move it.
    """
    if instance.agent is AgentStatus.LOST or instance.status is InstanceStatus.ORDERED:
        return Step.RECORD, None
    if instance.status is InstanceStatus.TERMINATING:
        step, due = next_step(
            instance, EndAsked(), is_running=True, revives=False, now=now, grace=grace
        )
        return (step, due) if step is Step.WAIT else (Step.RECORD, None)
    if instance.agent is None:
        return _at(Step.RECORD, (instance.launched_at or now) + grace, now)
    return Step.WAIT, None


def _at(step: Step, due: datetime, now: datetime) -> tuple[Step, datetime | None]:
    return (step, None) if now >= due else (Step.WAIT, due)


@dataclass(frozen=True, slots=True, kw_only=True)
class RestartPolicy:
    """How an agent that dies under a launched instance is started again."""

    #: An agent that stayed up for so long was all right: deaths before do not count.
    settled: timedelta = timedelta(seconds=10)
    #: Deaths one after the other that fail the instance.
    limit: int = 5
    first_delay: timedelta = timedelta(milliseconds=200)
    last_delay: timedelta = timedelta(seconds=5)

    def delay(self, deaths: int) -> timedelta | None:
        """How long to wait before the next start after so many deaths in a row; None to give up."""
        if deaths >= self.limit:
            return None
        return min(self.first_delay * (1 << (deaths - 1)), self.last_delay)
