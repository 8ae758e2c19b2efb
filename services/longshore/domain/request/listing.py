"""ListJobs: what a request asks of the jobs of a queue."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from longshore.domain.access.key import check_name
from longshore.domain.arn import parse_definition
from longshore.domain.checks import require
from longshore.domain.errors import InvalidRequest
from longshore.domain.job.job import JobStatus
from longshore.domain.request.policy import SHARE
from longshore.domain.request.reading import JobFilter

_VALUE = "filters[0].values[0]"
_ALL = tuple(str(status) for status in JobStatus)


@dataclass(frozen=True, slots=True)
class ListRequest:
    """A ListJobs request; filters as name and values."""

    job_queue: str | None
    array_job_id: str | None
    multi_node_job_id: str | None
    status: str | None
    max_results: int | None
    token: str | None
    filters: tuple[tuple[str, tuple[str, ...]], ...]


def job_filter(request: ListRequest) -> JobFilter:
    """What a listing of a queue asks for.

    Raises:
        InvalidRequest: a filter is not known or its value is wrong.
    """
    wanted = only_filter(request.filters)
    if wanted is None:
        return JobFilter((request.status or str(JobStatus.RUNNING),))
    name, value = wanted
    match name:
        case "JOB_NAME":
            return JobFilter(_ALL, name_pattern=like(value.lower()))
        case "JOB_DEFINITION":
            return _definition_filter(value)
        case "BEFORE_CREATED_AT":
            return JobFilter(_ALL, created_before=_instant(value))
        case "AFTER_CREATED_AT":
            # To a caller, all that was created within a millisecond was created at its beginning.
            return JobFilter(_ALL, created_after=_instant(value) + timedelta(microseconds=999))
        case "SHARE_IDENTIFIER" | "SUBMITTED_BY":
            return _owner_filter(request, name, value)
    raise unknown_filter(
        name,
        "JOB_NAME, JOB_DEFINITION, BEFORE_CREATED_AT, AFTER_CREATED_AT, SHARE_IDENTIFIER, "
        "SUBMITTED_BY",
    )


def unknown_filter(name: str, known: str) -> InvalidRequest:
    """The refusal of a filter that a listing does not have."""
    return InvalidRequest(
        f"filters[0].name is {name[:64]!r}; it must be one of {known}.", member="filters[0].name"
    )


def only_filter(filters: Sequence[tuple[str, Sequence[str]]]) -> tuple[str, str] | None:
    """Name and value of the one filter that a listing has; None if it has none.

    Raises:
        InvalidRequest: there is more than one, or not one value.
    """
    if not filters:
        return None
    require(len(filters) == 1, "filters has more than one entry.", "filters")
    name, values = filters[0]
    require(
        len(values) == 1 and values[0], "filters[0].values needs one value.", "filters[0].values"
    )
    return name, values[0]


def _owner_filter(request: ListRequest, name: str, value: str) -> JobFilter:
    """Whose jobs; these filters go together with a status."""
    statuses = (request.status,) if request.status else _ALL
    if name == "SUBMITTED_BY":
        check_name(value, _VALUE)
        return JobFilter(statuses, submitted_by=value)
    require(SHARE.fullmatch(value), "filters[0].values[0] is no share.", _VALUE)
    return JobFilter(statuses, share=value)


def _definition_filter(value: str) -> JobFilter:
    if value.endswith("*") and re.fullmatch(r"[0-9A-Za-z_-]{0,128}\*", value):
        return JobFilter(_ALL, definition_pattern=like(value))
    definition = parse_definition(value, member="filters[0].values[0]")
    return JobFilter(
        _ALL,
        definition_pattern=like(definition.name),
        definition_revision=definition.revision,
    )


def like(value: str) -> str:
    """A LIKE pattern for a value in which only a `*` at the end is special."""
    stem, star = (value[:-1], "%") if value.endswith("*") else (value, "")
    return re.sub(r"([\\%_])", r"\\\1", stem) + star


def _instant(value: str) -> datetime:
    member = "filters[0].values[0]"
    require(
        re.fullmatch(r"[0-9]{1,14}", value), f"{member} is no time in epoch milliseconds.", member
    )
    return datetime.fromtimestamp(int(value) / 1000, UTC)
