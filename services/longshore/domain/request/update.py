"""What a user changes of a job that waits, checked as a submission is."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from longshore.domain.checks import Json, check_priority, check_timeout, require
from longshore.domain.environment import FARGATE, QueueFacts, platform_of
from longshore.domain.errors import NotFound, PreconditionFailed
from longshore.domain.job.altering import Alteration
from longshore.domain.job.job import WHOLE, JobKey, JobStatus
from longshore.domain.limits import Limits
from longshore.domain.request.container import check_resources, needs_of
from longshore.domain.request.fargate import check_fargate_size
from longshore.domain.request.merge import Overrides, merge_container
from longshore.domain.request.policy import check_share
from longshore.domain.request.queue import QUEUE_TYPES
from longshore.domain.resources import Resources

_NEEDS = "resourceRequirements"


@dataclass(frozen=True, slots=True)
class JobUpdate:
    """An UpdateJob request; None leaves a member as it is."""

    job_queue: str | None = None
    share: str | None = None
    priority: int | None = None
    timeout_seconds: int | None = None
    requirements: tuple[Json, ...] = ()


@dataclass(frozen=True, slots=True)
class WaitingJob:
    """A job as it is now."""

    job_queue: str
    share: str | None
    status: JobStatus
    is_multi_node: bool
    detail: Json


@dataclass(frozen=True, slots=True)
class Change:
    """What changes of a job, for the scheduler; None leaves a member as it is."""

    job_queue: str | None
    #: '' for none.
    share: str | None
    priority: int | None
    needs: Resources | None
    timeout_seconds: int | None
    #: Members that take the place of those of the job's detail.
    detail: Json
    container: bytes | None = None


def check_target(text: str) -> JobKey:
    """The job that is meant.

    Raises:
        InvalidRequest: it is no id of a whole job.
    """
    key = JobKey.parse(text)
    require(
        key.array_index == WHOLE,
        f"{text} is a part of a job, whose parts change together; give the job's id, {key.parent}.",
        "jobId",
    )
    return key


def check_update(update: JobUpdate, limits: Limits) -> None:
    """Checks what can be checked without looking anything up.

    Raises:
        InvalidRequest: the first member found wrong, or nothing is to change.
    """
    require(
        update != JobUpdate(),
        "Nothing is to change: give a queue, share, priority, timeout or needs.",
        "jobId",
    )
    if update.share is not None:
        check_share(update.share)
    check_priority(update.priority, "schedulingPriority")
    if update.timeout_seconds is not None:
        check_timeout({"attemptDurationSeconds": update.timeout_seconds}, limits)
    check_resources(update.requirements, _NEEDS, with_fractions=True, limits=limits)


def check_waiting(key: JobKey, job: WaitingJob | None) -> WaitingJob:
    """Checks that a job may still change, and returns it.

    Raises:
        NotFound: there is no such job among the live ones.
        PreconditionFailed: it has started or is over.
    """
    if job is None:
        raise NotFound(f"Job {key} not found among the jobs that are not over.", member="jobId")
    if job.status.final:
        raise turned_down(key, Alteration.OVER)
    if job.status in (JobStatus.STARTING, JobStatus.RUNNING):
        raise turned_down(key, Alteration.STARTED)
    return job


def turned_down(key: JobKey, outcome: Alteration) -> PreconditionFailed:
    """Why a change came to nothing."""
    if outcome is Alteration.OVER:
        return PreconditionFailed(
            f"Job {key} is over or about to end, or the queue is being deleted; nothing was "
            "changed.",
            member="jobId",
        )
    return PreconditionFailed(
        f"Job {key} has started: only what waits can change, and an array changes its queue or "
        "share only while none of its children has started. Nothing was changed.",
        member="jobId",
    )


def change_of(job: WaitingJob, update: JobUpdate, queue: QueueFacts, limits: Limits) -> Change:
    """What an update makes of a job.

    Args:
        job: as it is.
        update: its form checked.
        queue: in which the job waits from then on, checked to take jobs if that is another one.
        limits: what may be asked for.

    Raises:
        InvalidRequest: a member does not go with the job or the queue.
    """
    moves = update.job_queue is not None and update.job_queue != job.job_queue
    if moves:
        platform = platform_of(job.detail)
        require(
            QUEUE_TYPES[platform] == queue.type,
            "Job Queue is attached to Compute Environment that can not run Jobs with capability "
            f"{platform}.",
            "jobQueue",
        )
    share = _share(job, update, queue)
    priority = update.priority
    detail: Json = {}
    if priority is not None:
        detail["schedulingPriority"] = priority
    elif share:
        # It comes from where priorities are without effect.
        priority = job.detail.get("schedulingPriority", 0)
    if update.timeout_seconds is not None:
        detail["timeout"] = {"attemptDurationSeconds": update.timeout_seconds}
    needs = None
    if update.requirements:
        detail["container"] = _container(job, update.requirements, limits)
        needs = needs_of(detail["container"])
        _check_needs(job, needs)
    return Change(
        job_queue=update.job_queue if moves else None,
        share=share,
        priority=priority,
        needs=needs,
        timeout_seconds=update.timeout_seconds,
        detail=detail,
    )


def _share(job: WaitingJob, update: JobUpdate, queue: QueueFacts) -> str | None:
    """The share that a job counts against from then on, '' for none; None: the same."""
    if not queue.is_shared:
        for member, given in (
            ("shareIdentifier", update.share),
            ("schedulingPriority", update.priority),
        ):
            require(
                given is None,
                f"{member} is for queues with a fair share scheduling policy.",
                member,
            )
        return "" if job.share is not None else None
    require(
        update.share or job.share,
        "shareIdentifier must be specified: the queue has a fair share scheduling policy.",
        "shareIdentifier",
    )
    return None if update.share == job.share else update.share


def _container(job: WaitingJob, requirements: Sequence[Json], limits: Limits) -> Json:
    require(
        not job.is_multi_node,
        f"{_NEEDS} is for jobs on one instance: the nodes of this one have needs of their own. "
        "Cancel it, and submit it with nodeOverrides.",
        _NEEDS,
    )
    require(
        "container" in job.detail,
        f"{_NEEDS} is for jobs of one container: those of this one have needs of their own. "
        "Cancel it, and submit it with ecsPropertiesOverride.",
        _NEEDS,
    )
    is_fargate = platform_of(job.detail) == FARGATE
    check_resources(requirements, _NEEDS, with_fractions=is_fargate, limits=limits)
    before: Json = job.detail["container"]
    # The command was resolved when the job was submitted, and stays.
    bare = {name: value for name, value in before.items() if name != "command"}
    merged = merge_container(bare, Overrides(resource_requirements=tuple(requirements)), {})
    return merged | ({"command": before["command"]} if "command" in before else {})


def _check_needs(job: WaitingJob, needs: Resources) -> None:
    if platform_of(job.detail) == FARGATE:
        check_fargate_size(needs, _NEEDS)
    most = job.detail.get("retryStrategy", {}).get("oomMemoryMaxMib")
    require(
        most is None or most >= needs.memory_mib,
        f"The job's retryStrategy.oomMemoryMaxMib is {most}, less than {needs.memory_mib} MiB.",
        _NEEDS,
    )


def with_container(change: Change, container: bytes) -> Change:
    """The same with the container as agents get it."""
    return replace(change, container=container)
