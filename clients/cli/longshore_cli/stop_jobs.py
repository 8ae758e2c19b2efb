"""`cancel`, `terminate`: jobs that should not run, or not go on."""

import sys
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Annotated, Any

import typer

from longshore.v1 import job_control_service_pb2
from longshore_cli import console, exit_code
from longshore_cli.command import coroutine, pairs
from longshore_cli.settings import settings
from longshore_client import Client, NotFound
from longshore_client.jobs import FINAL

#: How times are written.
TIMES = ["%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%S%z"]

JobIds = Annotated[
    list[str] | None, typer.Argument(metavar="[JOB...]", help="Job ids.", show_default=False)
]
Reason = Annotated[str, typer.Option(help="Why; becomes the jobs' status reason.")]
Queue = Annotated[
    str | None, typer.Option(help="All jobs of this queue; or of all queues.", show_default=False)
]
Name = Annotated[
    str | None,
    typer.Option(
        help="Of these names: * is any text, ? any character; letter case counts.",
        show_default=False,
    ),
]
Status = Annotated[
    list[str] | None, typer.Option(help="Only with this status; repeatable.", show_default=False)
]
Definition = Annotated[
    str | None,
    typer.Option(
        "--definition", "-d", help="Of this definition: NAME or NAME:REVISION.", show_default=False
    ),
]
After = Annotated[
    datetime | None,
    typer.Option("--submitted-after", formats=TIMES, help="Submitted then or later; local time."),
]
Before = Annotated[
    datetime | None,
    typer.Option("--submitted-before", formats=TIMES, help="Submitted before; local time."),
]
Tags = Annotated[
    list[str] | None,
    typer.Option("--tag", metavar="NAME=VALUE", help="With this tag; repeatable, all of them."),
]
Share = Annotated[
    str | None, typer.Option(help="Of this share of queues with a policy.", show_default=False)
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say how many jobs it would be.")]


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    app.command()(cancel)
    app.command()(terminate)


@coroutine
async def cancel(  # noqa: PLR0913, PLR0917 - each is an option
    job: JobIds = None,
    reason: Reason = "Cancelled by the user.",
    queue: Queue = None,
    name: Name = None,
    status: Status = None,
    definition: Definition = None,
    submitted_after: After = None,
    submitted_before: Before = None,
    tag: Tags = None,
    share: Share = None,
    yes: Yes = False,
    dry_run: DryRun = False,
) -> int:
    """Ask that jobs which have not started do not run.

    Those that have are left alone. Without ids, all jobs for which every option given holds, after
    a question that says how many they are.
    """
    common = _in_common(
        queue, name, status, definition, submitted_after, submitted_before, tag, share
    )
    if _by_id(job, common, yes=yes, dry_run=dry_run):
        return await _stop_each(job or [], reason, terminate=False)
    return await _stop(common, reason, terminate=False, yes=yes, dry_run=dry_run)


@coroutine
async def terminate(  # noqa: PLR0913, PLR0917 - each is an option
    job: JobIds = None,
    reason: Reason = "Terminated by the user.",
    queue: Queue = None,
    name: Name = None,
    status: Status = None,
    definition: Definition = None,
    submitted_after: After = None,
    submitted_before: Before = None,
    tag: Tags = None,
    share: Share = None,
    yes: Yes = False,
    dry_run: DryRun = False,
) -> int:
    """End jobs in whatever status they are.

    Containers get SIGTERM and, 30 seconds later, SIGKILL. Without ids, all jobs for which every
    option given holds, after a question that says how many they are.
    """
    common = _in_common(
        queue, name, status, definition, submitted_after, submitted_before, tag, share
    )
    if _by_id(job, common, yes=yes, dry_run=dry_run):
        return await _stop_each(job or [], reason, terminate=True)
    return await _stop(common, reason, terminate=True, yes=yes, dry_run=dry_run)


def _in_common(
    queue: str | None,
    name: str | None,
    status: list[str] | None,
    definition: str | None,
    after: datetime | None,
    before: datetime | None,
    tag: list[str] | None,
    share: str | None,
) -> dict[str, Any]:
    """What is given of jobs' common properties, as the client takes it."""
    found = {
        "queue": queue,
        "name": name,
        "statuses": [item.upper() for item in status or ()],
        "definition": definition,
        "submitted_after": after and after.astimezone(),
        "submitted_before": before and before.astimezone(),
        "tags": pairs(tag, "--tag"),
        "share": share,
    }
    return {key: value for key, value in found.items() if value not in (None, [], {})}


def _by_id(job: list[str] | None, common: dict[str, Any], *, yes: bool, dry_run: bool) -> bool:
    """Whether jobs are named by their ids.

    Raises:
        BadParameter: they are named in both ways, or in none.
    """
    if job and (common or yes or dry_run):
        raise typer.BadParameter("Jobs are named by ids, or by what they have in common; not both.")
    if not job and not common:
        raise typer.BadParameter("Say which jobs: by ids, or by --queue, --name and the like.")
    return bool(job)


async def _stop_each(job_ids: list[str], reason: str, *, terminate: bool) -> int:
    """Stops jobs by their ids."""
    verb = _verb(terminate=terminate)
    async with settings.connect() as client:
        stop = client.terminate_job if terminate else client.cancel_job
        for job_id in await _unfinished(client, job_ids):
            await stop(job_id, reason)
            console.say(f"asked to {verb} {job_id}")
    return exit_code.OK


def _verb(*, terminate: bool) -> str:
    return "terminate" if terminate else "cancel"


async def _stop(
    common: dict[str, Any], reason: str, *, terminate: bool, yes: bool, dry_run: bool
) -> int:
    """Stops all jobs with something in common, after a question."""
    verb = _verb(terminate=terminate)
    async with settings.connect() as client:
        if dry_run or not yes:
            count = await _run(client.stop_jobs(terminate=terminate, dry_run=True, **common))
            if dry_run:
                console.line(_jobs(count))
                return exit_code.OK
            if not count.jobs:
                raise _none(verb)
            if not sys.stdin.isatty():
                console.fail(f"That would {verb} {_jobs(count)}; give --yes to do it.")
                return exit_code.USAGE
            if not typer.confirm(f"{verb.capitalize()} {_jobs(count)}?", err=True):
                return exit_code.NEGATIVE
        told = await _run(client.stop_jobs(terminate=terminate, reason=reason, **common))
    if not told.jobs:
        raise _none(verb)
    console.say(f"asked to {verb} {_jobs(told)}")
    return exit_code.OK


def _none(verb: str) -> NotFound:
    return NotFound(
        f"There is no job to {verb} for which all of that holds; `longshore jobs` lists those "
        "there are."
    )


async def _run(
    answers: AsyncIterator[job_control_service_pb2.StopJobsResponse],
) -> job_control_service_pb2.StopJobsResponse:
    told = job_control_service_pb2.StopJobsResponse()
    async for answer in answers:
        told = answer
    return told


def _jobs(told: job_control_service_pb2.StopJobsResponse) -> str:
    jobs = f"{told.jobs} job{'' if told.jobs == 1 else 's'}"
    return f"{jobs} with {told.children} children" if told.children else jobs


async def _unfinished(client: Client, job_ids: list[str]) -> list[str]:
    """Those that have not ended; the service would take the others without a word, as AWS does.

    Raises:
        NotFound: one is unknown, most likely mistyped; then none is touched.
    """
    known = {job.job_id: job.status for job in await client.describe_jobs(job_ids)}
    for job_id in job_ids:
        if job_id not in known:
            raise await client.missing_job(job_id)
        if known[job_id] in FINAL:
            console.say(f"{job_id} is {known[job_id]} already")
    return [job_id for job_id in job_ids if known[job_id] not in FINAL]
