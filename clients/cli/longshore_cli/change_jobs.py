"""`rerun`: jobs that are there, once more."""

from typing import Annotated

import typer

from longshore_cli import console
from longshore_cli.command import Json, coroutine
from longshore_cli.settings import settings

Token = Annotated[
    str | None,
    typer.Option(
        help="Of your choice: for 24 hours the same command with it is the same job.",
        show_default=False,
    ),
]


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    app.command()(rerun)


@coroutine
async def rerun(
    job: Annotated[str, typer.Argument(metavar="JOB", help="Id of an array job that is over.")],
    token: Token = None,
    json: Json = False,
) -> None:
    """Run the failed children of an array again, as a new array.

    Prints its id. Each child sees the AWS_BATCH_JOB_ARRAY_INDEX that it had.
    """
    async with settings.connect() as client:
        made = await client.rerun_job(job, client_token=token)
    if json:
        console.print_json({"jobId": made.job_id, "size": made.size, "rerunOf": job})
        return
    console.line(made.job_id)
    console.say(f"{made.size} failed children of {job} run again")
