"""`cancel`, `terminate`: jobs that should not run, or not go on."""

from typing import Annotated

import typer

from longshore_cli import console
from longshore_cli.command import coroutine
from longshore_cli.settings import settings
from longshore_client import NotFound

JobIds = Annotated[list[str], typer.Argument(metavar="JOB...", help="Job ids.")]
Reason = Annotated[str, typer.Option(help="Why; becomes the jobs' status reason.")]


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    app.command()(cancel)
    app.command()(terminate)


@coroutine
async def cancel(job: JobIds, reason: Reason = "Cancelled by the user.") -> None:
    """Ask that jobs which have not started do not run; those that have are left alone."""
    async with settings.connect() as client:
        known = {item.job_id for item in await client.describe_jobs(job)}
        for job_id in job:
            _require(job_id, known)
            await client.cancel_job(job_id, reason)
            console.say(f"asked to cancel {job_id}")


@coroutine
async def terminate(job: JobIds, reason: Reason = "Terminated by the user.") -> None:
    """End jobs in whatever status they are: SIGTERM and, 30 seconds later, SIGKILL."""
    async with settings.connect() as client:
        known = {item.job_id for item in await client.describe_jobs(job)}
        for job_id in job:
            _require(job_id, known)
            await client.terminate_job(job_id, reason)
            console.say(f"asked to terminate {job_id}")


def _require(job_id: str, known: set[str]) -> None:
    # The service takes unknown ids without a word, as AWS does; a person most likely mistyped one.
    if job_id not in known:
        raise NotFound(f"There is no job {job_id}; `longshore jobs` lists those there are.")
