"""Jobs meant by what they have in common, to be stopped together."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from longshore.domain.arn import DefinitionName
from longshore.domain.checks import check_tags, require
from longshore.domain.job.job import JobStatus
from longshore.domain.request.policy import SHARE

_NAMES = re.compile(r"[0-9A-Za-z_*?-]{1,256}")
_UNSTARTED = (JobStatus.SUBMITTED, JobStatus.PENDING, JobStatus.RUNNABLE)
_UNFINISHED = (*_UNSTARTED, JobStatus.STARTING, JobStatus.RUNNING)


@dataclass(frozen=True, slots=True)
class Selection:
    """Members that are given must all hold of a job."""

    job_queue: str | None = None
    #: With `*` for any text and `?` for any character.
    job_name: str | None = None
    statuses: tuple[str, ...] = ()
    definition: DefinitionName | None = None
    submitted_after: datetime | None = None
    submitted_before: datetime | None = None
    tags: Mapping[str, str] | None = None
    share: str | None = None

    @property
    def name_pattern(self) -> str | None:
        """The names as a LIKE pattern."""
        if self.job_name is None:
            return None
        return self.job_name.replace("_", r"\_").replace("*", "%").replace("?", "_")


def check_selection(selection: Selection, *, terminate: bool) -> Selection:
    """Checks a selection, and returns it with the statuses that it means.

    Raises:
        InvalidRequest: a member is wrong, or none is given: that would mean every job.
    """
    require(
        selection != Selection(tags={}),
        "selection is empty and would mean every job there is; give at least one of its members.",
        "selection",
    )
    possible = [str(status) for status in (_UNFINISHED if terminate else _UNSTARTED)]
    for index, status in enumerate(selection.statuses):
        require(
            status in possible,
            f"selection.statuses[{index}] is {status[:64]!r}; to "
            f"{'terminate' if terminate else 'cancel'} it must be one of {', '.join(possible)}.",
            f"selection.statuses[{index}]",
        )
    require(
        selection.job_name is None or _NAMES.fullmatch(selection.job_name),
        "selection.jobName must have 1 to 256 letters, digits, - and _, and * or ? for others.",
        "selection.jobName",
    )
    require(
        selection.share is None or SHARE.fullmatch(selection.share),
        "selection.shareIdentifier is no share.",
        "selection.shareIdentifier",
    )
    check_tags(selection.tags or {}, "selection.tags")
    return Selection(
        job_queue=selection.job_queue,
        job_name=selection.job_name,
        statuses=tuple(dict.fromkeys(selection.statuses)) or tuple(possible),
        definition=selection.definition,
        submitted_after=selection.submitted_after,
        submitted_before=selection.submitted_before,
        tags=selection.tags,
        share=selection.share,
    )
