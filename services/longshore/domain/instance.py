r"""The life of one instance on record, and when what runs it may be ended.

    ORDERED -> LAUNCHED -> TERMINATING -> TERMINATED
       \          \             \-> FAILED    it never registered
        \          \-> FAILED                 its agent does not stay up, or it was lost
         \-> FAILED                           the provider could not launch it

Giving an instance back never ends a job on it. TERMINATING only asks: the scheduler, seeing it,
stops placing attempts there, marks the agent DRAINING and tells it; the agent exits by itself once
its last attempt has ended and is acknowledged. `next_step` waits for that, however long attempts
run, and ends the process only where nobody is left to answer: no agent ever registered, it was
lost, or it is empty and stays beyond its grace.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum


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


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceRecord:
    """An instance that is not over; `agent` is None before it first registered."""

    instance_id: str
    compute_environment: str
    instance_type: str
    vcpus: int
    memory_mib: int
    gpus: int
    status: InstanceStatus
    agent: AgentStatus | None
    live_attempts: int
    was_launched: bool = False


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


def next_step(
    instance: InstanceRecord,
    *,
    is_running: bool,
    since: datetime,
    stopped_at: datetime | None,
    now: datetime,
    grace: timedelta,
) -> Step:
    """The next step of a TERMINATING instance.

    Args:
        instance: its record.
        is_running: whether the provider still has it.
        since: when it was first seen TERMINATING.
        stopped_at: when its process was asked to end, if it was.
        now: the time.
        grace: how long the scheduler has to drain it, and then the process to end by itself.
    """
    is_reachable = instance.agent not in (None, AgentStatus.LOST)
    if not is_running:
        return Step.REVIVE if is_reachable and instance.live_attempts else Step.RECORD
    if stopped_at is not None:
        return Step.KILL if now - stopped_at >= grace else Step.WAIT
    if not is_reachable:
        return Step.STOP
    if instance.live_attempts:
        return Step.WAIT
    if now - since >= grace:
        return Step.STOP
    return Step.WAIT


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
