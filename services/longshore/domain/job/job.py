"""Jobs: their ids, statuses, and what an ended attempt means for its job."""

import re
import uuid
from dataclasses import dataclass
from enum import StrEnum

from longshore.domain.errors import InvalidRequest, NotFound
from longshore.domain.job.retry import ExitRule, should_retry

#: array_index of a single job, a multi-node job and an array parent.
WHOLE = -1
#: array_index of node 0 of a multi-node job; those of the others go down from there.
_NODE_0 = -2

#: A UUID as it is always written, and the index of a child or a node: at most seven digits, no
#: other spelling. Alone or in the job's ARN, which AWS takes wherever it takes the id.
_KEY = re.compile(
    r"(?:arn:aws[a-z-]*:batch:[a-z0-9-]{1,64}:[0-9]{12}:job/)?"
    r"([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})(?:([:#])(0|[1-9][0-9]{0,6}))?",
    re.IGNORECASE,
)


class JobStatus(StrEnum):
    """Where a job is in its life; AWS Batch User Guide, "Job states"."""

    SUBMITTED = "SUBMITTED"
    PENDING = "PENDING"
    RUNNABLE = "RUNNABLE"
    STARTING = "STARTING"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"

    @property
    def final(self) -> bool:
        """Whether the job never moves again."""
        return self in (JobStatus.SUCCEEDED, JobStatus.FAILED)


ESSENTIAL_EXITED = "Essential container in task exited"
FAILED_TO_START = "Task failed to start"
DEPENDENCY_FAILED = "Dependent Job failed"
DEPENDENCY_SUCCEEDED = "Dependent Job succeeded, and this job was for its failure"
ARRAY_CHILD_FAILED = "Array Child Job failed"
QUEUE_DELETED = "JobQueue deleted"
TOO_MANY_TAGS = "The total number of combined tags from the job and job definition is over 50"
TIMED_OUT = "Job attempt duration exceeded timeout"
MAIN_NODE_ENDED = "Main node has ended"


def host_terminated(instance_id: str) -> str:
    """Status reason of an attempt whose instance is gone."""
    return f"Host EC2 (instance {instance_id}) terminated."


@dataclass(frozen=True, slots=True, order=True)
class JobKey:
    """A single job, a multi-node job, an array parent (all with index -1), a child or a node."""

    job_id: uuid.UUID
    array_index: int = WHOLE

    def __str__(self) -> str:
        if self.is_node:
            return f"{self.job_id}#{self.node_index}"
        if self.array_index == WHOLE:
            return str(self.job_id)
        return f"{self.job_id}:{self.array_index}"

    @property
    def parent(self) -> "JobKey":
        """The array parent of a child, the multi-node job of a node."""
        return JobKey(self.job_id)

    @property
    def job(self) -> "JobKey":
        """What has a status of its own: of a node its job, else itself."""
        return self.parent if self.is_node else self

    @classmethod
    def node(cls, job_id: uuid.UUID, node_index: int) -> "JobKey":
        """A node of a multi-node job."""
        return cls(job_id, _NODE_0 - node_index)

    @property
    def is_child(self) -> bool:
        """Whether it is a child of an array."""
        return self.array_index > WHOLE

    @property
    def is_node(self) -> bool:
        """Whether it is a node of a multi-node job."""
        return self.array_index <= _NODE_0

    @property
    def node_index(self) -> int:
        """Which node of its job it is, from 0; only for nodes."""
        return _NODE_0 - self.array_index

    @classmethod
    def parse(cls, text: str, member: str = "jobId") -> "JobKey":
        """Reads `uuid`, `uuid:index` of a child, or `uuid#index` of a node, or the ARN of one.

        Raises:
            InvalidRequest: it is none of them; it names the member.
        """
        match = _KEY.fullmatch(text)
        if match is None:
            raise InvalidRequest(f"{member} is not a job id: {text[:64]!r}.", member=member)
        job_id, mark, index = match.groups()
        if mark == "#":
            return cls.node(uuid.UUID(job_id), int(index))
        return cls(uuid.UUID(job_id), WHOLE if index is None else int(index))

    @classmethod
    def named(cls, text: str, member: str = "jobId") -> "JobKey":
        """As `parse`, of a job that is to be there: what is no id is the id of none.

        Raises:
            NotFound: it is none of them; it names the member.
        """
        try:
            return cls.parse(text, member)
        except InvalidRequest:
            raise NotFound(
                f"{member} is {text[:64]!r}, which is the id of no job.", member=member
            ) from None


class StopKind(StrEnum):
    """Why the scheduler has an attempt stopped."""

    #: A user asked for it, or the queue is being deleted.
    TERMINATED = "TERMINATED"
    TIMED_OUT = "TIMED_OUT"
    #: Its instance is taken away.
    HOST_TERMINATED = "HOST_TERMINATED"
    #: It is a node, and the main node has ended, or its job is to end.
    MAIN_NODE_ENDED = "MAIN_NODE_ENDED"


@dataclass(frozen=True, slots=True)
class Stop:
    """An attempt was told to stop. The reason, in AWS's words, becomes its status reason."""

    kind: StopKind
    reason: str

    def gives_way(self, later: "Stop") -> bool:
        """Whether a later stop takes this one's place.

        The first one counts, but for a user's wish: it also holds for a job whose instance goes, or
        whose main node has ended, which would be retried otherwise.
        """
        return later.kind is StopKind.TERMINATED and self.kind in (
            StopKind.HOST_TERMINATED,
            StopKind.MAIN_NODE_ENDED,
        )


@dataclass(frozen=True, slots=True)
class AttemptEnd:
    """How an attempt ended. `stop` is set if the scheduler had it stopped."""

    exit_code: int | None
    reason: str | None
    status_reason: str
    stop: Stop | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an ended attempt makes of its job."""

    status: JobStatus
    status_reason: str


def judge(
    end: AttemptEnd, *, attempt: int, attempts_max: int, rules: tuple[ExitRule, ...]
) -> Verdict:
    """Decides what follows from the end of an attempt.

    An attempt that was terminated or timed out is final whatever its exit code. One that was
    stopped because its instance goes did not succeed, whatever its exit code, and is judged like
    one that was lost with its instance. Of the others exit code 0 is success. What did not succeed
    is retried while attempts are left and the rules say so.

    Args:
        end: how it ended.
        attempt: its number, from 1.
        attempts_max: runs allowed in all.
        rules: the job's evaluateOnExit, in order.
    """
    if end.stop is not None and end.stop.kind is not StopKind.HOST_TERMINATED:
        return Verdict(JobStatus.FAILED, end.stop.reason)
    if end.stop is None and end.exit_code == 0:
        return Verdict(JobStatus.SUCCEEDED, end.status_reason)
    status_reason = end.status_reason if end.stop is None else end.stop.reason
    if attempt < attempts_max and should_retry(
        rules, exit_code=end.exit_code, reason=end.reason, status_reason=status_reason
    ):
        return Verdict(JobStatus.RUNNABLE, status_reason)
    return Verdict(JobStatus.FAILED, status_reason)
