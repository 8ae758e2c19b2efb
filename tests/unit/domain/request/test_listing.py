from datetime import UTC, datetime

import pytest

from longshore.domain.errors import InvalidRequest
from longshore.domain.request.listing import ListRequest, job_filter


def asked(*filters: tuple[str, tuple[str, ...]], status: str | None = None) -> ListRequest:
    return ListRequest("q", None, None, status, None, None, filters)


def test_without_anything_running_jobs_are_meant() -> None:
    wanted = job_filter(asked())
    assert wanted is not None
    assert wanted.statuses == ("RUNNING",)


def test_a_filter_means_every_status_and_only_a_last_star_is_special() -> None:
    wanted = job_filter(asked(("JOB_NAME", ("A%_*b*",)), status="FAILED"))
    assert wanted is not None
    assert len(wanted.statuses) == 7
    assert wanted.name_pattern == r"a\%\_*b%"


def test_definitions_are_told_by_name_prefix_or_revision() -> None:
    for value, pattern, revision in (("d*", "d%", None), ("d_1", r"d\_1", None), ("d:2", "d", 2)):
        wanted = job_filter(asked(("JOB_DEFINITION", (value,))))
        assert wanted is not None
        assert (wanted.definition_pattern, wanted.definition_revision) == (pattern, revision)


def test_times_are_epoch_milliseconds() -> None:
    wanted = job_filter(asked(("AFTER_CREATED_AT", ("1500",))))
    assert wanted is not None
    assert wanted.created_after == datetime(1970, 1, 1, 0, 0, 1, 500_999, UTC)
    wanted = job_filter(asked(("BEFORE_CREATED_AT", ("1500",))))
    assert wanted is not None
    assert wanted.created_before == datetime(1970, 1, 1, 0, 0, 1, 500_000, UTC)


@pytest.mark.parametrize(
    "filters",
    [
        [("JOB_NAME", ("a",)), ("JOB_NAME", ("b",))],
        [("JOB_NAME", ("a", "b"))],
        [("JOB_NAME", ())],
        [("job_name", ("a",))],
        [("JOB_DEFINITION", ("d:2*",))],
        [("BEFORE_CREATED_AT", ("1" * 15,))],
    ],
)
def test_other_filters_are_refused(filters: list[tuple[str, tuple[str, ...]]]) -> None:
    with pytest.raises(InvalidRequest):
        job_filter(asked(*filters))
