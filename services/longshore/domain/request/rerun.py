"""The failed children of an array, to be run again."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass

from longshore.domain.checks import Json, require
from longshore.domain.errors import NotFound, PreconditionFailed
from longshore.domain.job.arrays import Origins
from longshore.domain.job.dependency import DependencyCondition
from longshore.domain.job.job import WHOLE, JobKey, JobStatus
from longshore.domain.request.submission import SEQUENTIAL, RequestedDependency


@dataclass(frozen=True, slots=True)
class OldArray:
    """A job as it was submitted, and whether it is over."""

    job_id: uuid.UUID
    name: str
    job_queue: str
    definition_name: str
    definition_revision: int
    #: None if it is no array.
    size: int | None
    status: JobStatus
    attempts_max: int
    timeout_seconds: int | None
    share: str | None
    detail: Json
    #: One of these two is there.
    container: bytes | None
    task: bytes | None
    tags: Mapping[str, str]
    #: What its children see, if they were another array's themselves.
    origins: Origins | None

    @property
    def depends_on(self) -> list[RequestedDependency]:
        """What its children go on waiting for: each for the one before it, if they did."""
        conditions = {
            DependencyCondition(entry.get("condition", DependencyCondition.SUCCESS))
            for entry in self.detail.get("dependsOn", [])
            if entry.get("type") == SEQUENTIAL
        }
        if not conditions:
            return []
        # One that asks for success goes before those that take any end.
        condition = (
            DependencyCondition.COMPLETE
            if conditions == {DependencyCondition.COMPLETE}
            else DependencyCondition.SUCCESS
        )
        return [RequestedDependency(None, SEQUENTIAL, condition)]


def check_array(text: str) -> JobKey:
    """The array job that is meant.

    Raises:
        InvalidRequest: it is no id of one.
    """
    key = JobKey.parse(text)
    require(
        key.array_index == WHOLE,
        f"{text} is a part of a job; give the id of an array job that is over, {key.parent}.",
        "jobId",
    )
    return key


def check_size(key: JobKey, size: int, least: int) -> None:
    """Checks that as many children failed as an array has at least.

    Raises:
        PreconditionFailed: too few did.
    """
    if size < least:
        raise PreconditionFailed(
            f"{size} of the children of array job {key} failed, and an array has at least {least} "
            "(LONGSHORE_LIMITS=aws); submit a single job with SubmitJob, and tell it by its "
            "environment or command which index it stands for.",
            member="jobId",
        )


def check_old(key: JobKey, old: OldArray | None) -> OldArray:
    """Checks that a job is an array that is over, of which children failed, and returns it.

    Raises:
        NotFound: there is no such job.
        InvalidRequest: it is no array.
        PreconditionFailed: it is not over, or none failed.
    """
    if old is None:
        raise NotFound(f"Job {key} not found.", member="jobId")
    require(
        old.size is not None,
        f"Job {key} is no array job; submit it again with SubmitJob.",
        "jobId",
    )
    if not old.status.final:
        raise PreconditionFailed(
            f"Array job {key} is {old.status}; its failed children can be run again once it is "
            "over.",
            member="jobId",
        )
    if old.status is not JobStatus.FAILED:
        raise PreconditionFailed(
            f"Array job {key} is {old.status}: none of its children failed.", member="jobId"
        )
    return old
