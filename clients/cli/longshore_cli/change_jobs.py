"""`update`, `rerun`: jobs that are to be otherwise, or once more."""

from typing import Annotated

import typer

from longshore_cli import console
from longshore_cli.command import WIRE_MAX, Json, Timeout, Token, coroutine
from longshore_cli.settings import settings


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    app.command()(update)
    app.command()(rerun)


@coroutine
async def update(
    job: Annotated[
        str, typer.Argument(metavar="JOB", help="Job id; of an array, for its children.")
    ],
    queue: Annotated[
        str | None, typer.Option(help="Job queue that it waits in from now on.", show_default=False)
    ] = None,
    share: Annotated[
        str | None,
        typer.Option(help="Whose job it is, in a queue with a policy.", show_default=False),
    ] = None,
    priority: Annotated[
        int | None,
        typer.Option(
            min=0, max=9999, help="The higher goes first within its share.", show_default=False
        ),
    ] = None,
    timeout_seconds: Timeout = None,
    vcpus: Annotated[
        float | None, typer.Option(min=0.125, max=WIRE_MAX, help="vCPUs.", show_default=False)
    ] = None,
    memory: Annotated[
        int | None, typer.Option(min=4, max=WIRE_MAX, help="Memory in MiB.", show_default=False)
    ] = None,
    gpus: Annotated[
        int | None, typer.Option(min=1, max=WIRE_MAX, help="GPUs.", show_default=False)
    ] = None,
) -> None:
    """Change a job that has not started.

    Of an array that are the children which wait; those that run go on as they are.
    """
    async with settings.connect() as client:
        await client.update_job(
            job,
            queue=queue,
            share=share,
            priority=priority,
            timeout_seconds=timeout_seconds,
            vcpus=vcpus,
            memory_mib=memory,
            gpus=gpus,
        )
    console.say(f"{job} is changed")


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
    children = "child" if made.size == 1 else "children"
    console.say(f"{made.size} failed {children} of {job} to run again")
