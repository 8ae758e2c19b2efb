"""`cancel`, `terminate`: jobs that should not run, or not go on."""

from typing import Annotated

import typer

from longshore_cli import console
from longshore_cli.command import coroutine
from longshore_cli.settings import settings
from longshore_client import Client, NotFound
from longshore_client.jobs import FINAL

JobIds = Annotated[list[str], typer.Argument(metavar="JOB...", help="Job ids.")]
Reason = Annotated[str, typer.Option(help="Why; becomes the jobs' status reason.")]


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    app.command()(cancel)
    app.command()(terminate)


@coroutine
async def cancel(job: JobIds, reason: Reason = "Cancelled by the user.") -> None:
    """Ask that jobs which have not started do not run.

    Those that have are left alone.
    """
    async with settings.connect() as client:
        for job_id in await _unfinished(client, job):
            await client.cancel_job(job_id, reason)
            console.say(f"asked to cancel {job_id}")


@coroutine
async def terminate(job: JobIds, reason: Reason = "Terminated by the user.") -> None:
    """End jobs in whatever status they are.

    Containers get SIGTERM and, 30 seconds later, SIGKILL.
    """
    async with settings.connect() as client:
        for job_id in await _unfinished(client, job):
            await client.terminate_job(job_id, reason)
            console.say(f"asked to terminate {job_id}")


async def _unfinished(client: Client, job_ids: list[str]) -> list[str]:
    """Those that have not ended; the service would take the others without a word, as AWS does.

    Raises:
        NotFound: one is unknown, most likely mistyped; then none is touched.
    """
    known = {job.job_id: job.status for job in await client.describe_jobs(job_ids)}
    for job_id in job_ids:
        if job_id not in known:
            raise NotFound(f"There is no job {job_id}; `longshore jobs` lists those there are.")
        if known[job_id] in FINAL:
            console.say(f"{job_id} is {known[job_id]} already")
    return [job_id for job_id in job_ids if known[job_id] not in FINAL]
