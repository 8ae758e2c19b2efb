"""Progress bars, on a terminal and elsewhere."""

import io

from rich.console import Console

from longshore.v1 import job_pb2
from longshore_cli.progress import Progress, bar, counts, summary
from longshore_cli.stack import COUNT_MAXIMUM, shown


def _array(status: str, **children: int) -> job_pb2.JobDetail:
    job = job_pb2.JobDetail(job_id="a", status=status)
    job.array_properties.size = sum(children.values()) or 10
    job.array_properties.status_summary.update(children)
    return job


def test_counts_are_the_childrens_or_the_jobs_own() -> None:
    assert counts(_array("PENDING", RUNNING=3, FAILED=1))["RUNNING"] == 3
    assert counts(job_pb2.JobDetail(status="RUNNING"))["RUNNING"] == 1
    assert counts(_array("SUBMITTED"))["SUBMITTED"] == 10, "children that are not made yet"


def test_summary_is_in_the_order_of_life() -> None:
    assert summary({"FAILED": 1, "RUNNABLE": 2, "SUCCEEDED": 0}) == "2 RUNNABLE, 1 FAILED"


def test_counts_that_end_at_the_most_that_are_counted_say_so() -> None:
    given = shown({"RUNNABLE": COUNT_MAXIMUM, "RUNNING": COUNT_MAXIMUM - 1, "FAILED": 0})
    assert summary(given) == f"{COUNT_MAXIMUM}+ RUNNABLE, {COUNT_MAXIMUM - 1} RUNNING"


def test_bar_is_full_and_in_proportion() -> None:
    drawn = bar({"SUCCEEDED": 1, "FAILED": 1, "RUNNABLE": 2}, 40)
    assert drawn.plain == "━" * 40
    assert [
        (span.end - span.start, span.style) for span in drawn.spans if span.end > span.start
    ] == [
        (10, "green"),
        (10, "red"),
        (20, "yellow"),
    ]
    assert bar({}, 40).plain == ""


def test_elsewhere_progress_is_lines_without_control_characters() -> None:
    output = io.StringIO()
    with Progress(["all"], Console(file=output, width=40)) as progress:
        progress.show([_array("PENDING", RUNNABLE=4)])
        progress.show([_array("PENDING", RUNNABLE=2, RUNNING=2)])  # too soon after the first
        progress.show([_array("SUCCEEDED", SUCCEEDED=4)], final=True)
    lines = output.getvalue().splitlines()
    assert [line.partition("s  ")[2] for line in lines] == ["all: 4 RUNNABLE", "all: 4 SUCCEEDED"]
    assert "\x1b" not in output.getvalue()


def test_many_jobs_are_shown_as_one() -> None:
    """Hundreds of names would be a line of thousands of characters, every other second."""
    output = io.StringIO()
    jobs = [job_pb2.JobDetail(status="PENDING") for _ in range(249)]
    with Progress([f"job-{n}" for n in range(250)], Console(file=output, width=40)) as progress:
        progress.show([*jobs, _array("PENDING", RUNNING=3)], final=True)
    assert output.getvalue().partition("s  ")[2] == "250 jobs: 249 PENDING, 3 RUNNING\n"


def test_remarks_stand_above_the_display() -> None:
    output = io.StringIO()
    terminal = Console(file=output, force_terminal=True, width=100)
    with Progress(["all"], terminal) as progress:
        progress.show([_array("PENDING", RUNNING=1)])
        progress.say("a remark")
    assert "a remark" in output.getvalue()
    assert output.getvalue().rindex("━") > output.getvalue().index("a remark")


def test_terminal_shows_a_bar_for_each_job() -> None:
    output = io.StringIO()
    terminal = Console(file=output, force_terminal=True, width=100)
    with Progress(["first", "second"], terminal) as progress:
        progress.show(
            [_array("PENDING", RUNNING=1, SUCCEEDED=3), job_pb2.JobDetail(status="PENDING")]
        )
    shown = output.getvalue()
    assert "first" in shown
    assert "3/4" in shown
    assert "0/1" in shown
    assert "━" in shown
