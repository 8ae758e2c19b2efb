"""An attempt as the agent knows it."""

import asyncio
import enum
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import NamedTuple, Self

from longshore.domain.job.job import FAILED_TO_START
from longshore.v1 import agent_service_pb2 as pb

#: AWS cuts a container's reason here, in characters.
REASON_LENGTH = 255
STOP_SECONDS = 30.0
#: The only container of a job, as AWS Batch names it.
DEFAULT_CONTAINER = "default"
#: Of values that are hidden, in characters.
_SHORTEST_HIDDEN = 4


class AttemptKey(NamedTuple):
    """Names one attempt of one job."""

    job_id: str
    attempt: int
    #: Of one of several containers, its position from 1; 0: the attempt as a whole.
    container: int = 0

    @classmethod
    def of(cls, key: pb.AttemptKey) -> Self:
        """The key of a message."""
        return cls(key.job_id, key.attempt)

    def message(self) -> pb.AttemptKey:
        """The key as a message."""
        return pb.AttemptKey(job_id=self.job_id, attempt=self.attempt)

    def path(self) -> str:
        """The key as it stands in container and file names: `:` and `#` are not allowed there."""
        whole = f"{self.job_id.replace(':', '-').replace('#', '-')}-{self.attempt}"
        return f"{whole}_{self.container}" if self.container else whole

    def whole(self) -> Self:
        """The key of the attempt that a container is of."""
        return self._replace(container=0)


class Phase(enum.IntEnum):
    """How far an attempt is on this instance. It only ever grows."""

    ACCEPTED = 0
    READY = 1
    RUNNING = 2
    ENDED = 3
    COLLECTED = 4
    REMOVED = 5


@dataclass(frozen=True, slots=True)
class Exit:
    """How what ran came to its end."""

    exit_code: int | None
    stopped_at: datetime
    reason: str | None = None
    #: What is known to be missing in its log, in words.
    lost: str = ""


class StepFailed(Exception):
    """A step went wrong; `name` is one of AWS's reasons, as in `CannotPullContainerError`.

    What fails before there is a container to tell of is at AWS the whole attempt's status reason;
    here it is the container's reason too, as for all other failures.
    """

    def __init__(
        self, name: str, text: str, *, may_be_machine: bool = False, before_container: bool = False
    ) -> None:
        super().__init__(f"{name}: {text}")
        #: Whether that may lie in the machine, and not in what is to start.
        self.may_be_machine = may_be_machine
        self.reason = f"{name}: {text}"[:REASON_LENGTH]
        self.status_reason = self.reason if before_container else FAILED_TO_START


class RuntimeAway(Exception):
    """What runs containers did not answer. Of the attempt that says nothing: it is tried again."""


def no_network(why: str) -> StepFailed:
    """The failure of a node that others could not reach."""
    return StepFailed(
        "CannotStartContainerError", f"nodes of multi-node jobs need a network: {why}"
    )


def hidden(text: str, values: Iterable[str]) -> str:
    """A text without some values, as they are, by line or as a program quotes them.

    Short ones stay: they stand in many a text anyway, and a gap would tell of them.
    """
    forms = {
        form
        for value in values
        for form in (value, *value.splitlines(), json.dumps(value, ensure_ascii=False)[1:-1])
        if len(form) >= _SHORTEST_HIDDEN
    }
    for form in sorted(forms, key=len, reverse=True):
        text = text.replace(form, "***")
    return text


@dataclass(frozen=True, slots=True)
class SecretValues:
    """The values of an attempt's secrets, for its start alone: kept in memory, shown nowhere."""

    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    log_options: Mapping[str, str] = field(default_factory=dict, repr=False)

    def hide(self, text: str) -> str:
        """A text of somebody who was given the values, without them."""
        return hidden(text, (*self.environment.values(), *self.log_options.values()))


NO_SECRETS = SecretValues()


@dataclass(slots=True, eq=False)
class Attempt:
    """One attempt, from its assignment until it is forgotten.

    An attempt of several containers has `parts`. To what runs containers each of these is an
    attempt with an assignment of its own; to the scheduler there is only the whole.
    """

    key: AttemptKey
    assignment: pb.Assignment
    phase: Phase = Phase.ACCEPTED
    #: The runtime's name for what it made: container id, process id.
    handle: str = ""
    started_at: datetime | None = None
    #: Where other nodes of its job reach it.
    address: str = ""
    stop_reason: str | None = None
    #: Called when its end is asked for, by whoever has something to do about that.
    on_stop: Callable[[], object] | None = None
    #: Set by the outbox when the attempt's last report is in the journal.
    journaled: asyncio.Event = field(default_factory=asyncio.Event)
    #: The scheduler has the last report.
    acknowledged: bool = False
    #: Given back: it may come again under the same number.
    given_back: bool = False
    #: Whether the runtime may have something of it.
    reached: bool = False
    #: Times that the runtime broke off on its way to the start.
    broken_off: int = 0
    #: Set while the attempt is being started, if it has any.
    secrets: SecretValues | None = field(default=None, repr=False)
    #: How it came by its image, once that is there.
    image: pb.ImageStart | None = None
    #: Of several containers, in their order.
    parts: "tuple[Attempt, ...]" = ()
    #: Of a part: what it is a part of.
    of: "Attempt | None" = None
    #: Of a part: how far it is, as the scheduler is told.
    change: pb.ContainerChange | None = None

    @property
    def container_name(self) -> str:
        """The name of its container, as the job definition has it."""
        if self.of is None:
            return DEFAULT_CONTAINER
        return self.of.assignment.task.containers[self.key.container - 1].name

    @property
    def scope(self) -> str:
        """Names it among all attempts and their parts."""
        attempt_id = self.assignment.attempt_id
        return f"{attempt_id}-{self.key.container}" if self.key.container else attempt_id

    @property
    def live(self) -> bool:
        """Whether it has not ended."""
        return self.phase < Phase.ENDED

    @property
    def is_node(self) -> bool:
        """Whether it is a node of a multi-node job."""
        return self.assignment.HasField("node")

    @property
    def is_bound(self) -> bool:
        """Whether it stays here: something of it may be on the machine, or others count on it."""
        kin = (self,) if self.of is None else self.of.parts
        return self.is_node or any(one.reached or one.handle for one in kin)

    @property
    def stop_seconds(self) -> float:
        """Time between SIGTERM and SIGKILL."""
        if self.assignment.HasField("stop_timeout"):
            return self.assignment.stop_timeout.ToTimedelta().total_seconds()
        return STOP_SECONDS

    @property
    def stopping(self) -> bool:
        """Whether its end was asked for."""
        return self.stop_reason is not None

    def stop(self, status_reason: str) -> None:
        """Asks for its end; the first reason stays."""
        if self.stop_reason is None:
            self.stop_reason = status_reason
            if self.on_stop is not None:
                self.on_stop()

    def started(self, started_at: datetime) -> pb.AttemptChange:
        """The change for a main process that is up."""
        self.phase = Phase.RUNNING
        self.secrets = None
        self.started_at = started_at
        change = self._change(pb.ATTEMPT_STATUS_RUNNING)
        change.start_time.FromDatetime(started_at)
        return change

    def ended(self, end: Exit, status_reason: str) -> pb.AttemptChange:
        """The change for an end."""
        self.phase = Phase.ENDED
        self.secrets = None
        change = self._change(pb.ATTEMPT_STATUS_ENDED)
        stopped_at = end.stopped_at
        if self.started_at is not None:
            change.start_time.FromDatetime(self.started_at)
            stopped_at = max(stopped_at, self.started_at)
        change.stop_time.FromDatetime(stopped_at)
        change.status_reason = status_reason
        if end.exit_code is not None:
            change.exit_code = end.exit_code
        lost = f"LogIncomplete: {end.lost}" if end.lost else ""
        if reason := "; ".join(filter(None, (end.reason, lost))):
            change.reason = reason[:REASON_LENGTH]
        return change

    def progress(self) -> pb.AttemptChange:
        """The change for how far its several containers are."""
        if self.phase < Phase.RUNNING or self.started_at is None:
            return self._change(pb.ATTEMPT_STATUS_STARTING)
        change = self._change(pb.ATTEMPT_STATUS_RUNNING)
        change.start_time.FromDatetime(self.started_at)
        return change

    def returned(self, status_reason: str) -> pb.AttemptChange:
        """The change for one that is given back: nothing of it is, or ever was, on this machine."""
        self.phase, self.given_back = Phase.REMOVED, True
        change = self._change(pb.ATTEMPT_STATUS_RETURNED)
        change.status_reason = status_reason
        return change

    def _change(self, status: pb.AttemptStatus.ValueType) -> pb.AttemptChange:
        return pb.AttemptChange(
            key=self.assignment.key,
            status=status,
            address=self.address,
            containers=[part.change for part in self.parts if part.change is not None],
            images=[one.image for one in (self, *self.parts) if one.image is not None],
        )


def now() -> datetime:
    """This moment."""
    return datetime.now(UTC)
