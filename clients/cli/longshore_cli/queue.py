"""`queue`: job queues."""

from typing import Annotated

import typer

from longshore_cli import console
from longshore_cli.command import WIRE_MAX, Json, Tag, coroutine, pairs
from longshore_cli.settings import settings
from longshore_cli.switch import State

app = typer.Typer(no_args_is_help=True, help="Job queues.", rich_markup_mode=None)

Name = Annotated[str, typer.Argument(metavar="NAME", help="The queue's name.")]


@app.command()
@coroutine
async def create(
    name: Name,
    env: Annotated[
        list[str], typer.Option(help="Compute environment; repeatable, tried in this order.")
    ],
    priority: Annotated[int, typer.Option(min=0, max=WIRE_MAX, help="The higher goes first.")] = 1,
    state: Annotated[
        State, typer.Option(case_sensitive=False, help="Whether it takes jobs.")
    ] = State.ENABLED,
    policy: Annotated[
        str | None,
        typer.Option(
            help="Scheduling policy, name or ARN; a queue made without one never gets one.",
            show_default=False,
        ),
    ] = None,
    max_running: Annotated[
        int | None,
        typer.Option(
            min=1, max=WIRE_MAX, help="How many jobs run at one time.", show_default=False
        ),
    ] = None,
    tag: Tag = None,
) -> None:
    """Create a job queue on compute environments."""
    async with settings.connect() as client:
        arn = await client.create_queue(
            name,
            env,
            priority=priority,
            state=state.value,
            scheduling_policy=policy,
            max_running=max_running,
            tags=pairs(tag, "--tag"),
        )
        await client.wait_for_queue(name)
    console.line(arn)


@app.command("list")
@coroutine
async def list_(json: Json = False) -> None:
    """List job queues."""
    async with settings.connect() as client:
        found = [item async for item in client.list_queues()]
    if json:
        console.print_json([console.plain(item) for item in found])
        return
    console.table(
        ("QUEUE", "STATE", "STATUS", "PRIORITY", "MAX RUNNING", "POLICY", "COMPUTE ENVIRONMENTS"),
        [
            (
                item.job_queue_name,
                item.state,
                item.status,
                str(item.priority),
                str(item.max_running or "-"),
                console.short(item.scheduling_policy_arn) or "-",
                ", ".join(
                    console.short(entry.compute_environment)
                    for entry in sorted(item.compute_environment_order, key=lambda e: e.order)
                ),
            )
            for item in found
        ],
    )


@app.command()
@coroutine
async def front(name: Name, json: Json = False) -> None:
    """Show which jobs a queue dispatches next, and since when each has been at its place."""
    async with settings.connect() as client:
        found = await client.queue_snapshot(name)
    if json:
        console.print_json(console.plain(found))
        return
    console.table(
        ("", "JOB", "THERE SINCE"),
        [
            (str(place), console.short(job.job_arn), console.when(job.earliest_time_at_position))
            for place, job in enumerate(found.front_of_queue.jobs, 1)
        ],
    )
    held = sum(usage.quantity for usage in found.queue_utilization.total_capacity_usage)
    console.say(f"jobs of queue {name} hold {held:g} vCPUs")


@app.command()
@coroutine
async def update(
    name: Name,
    state: Annotated[
        State | None,
        typer.Option(case_sensitive=False, help="Whether it takes jobs.", show_default=False),
    ] = None,
    priority: Annotated[
        int | None,
        typer.Option(min=0, max=WIRE_MAX, help="The higher goes first.", show_default=False),
    ] = None,
    env: Annotated[
        list[str] | None,
        typer.Option(help="Compute environments in place of the present ones; repeatable."),
    ] = None,
    policy: Annotated[
        str | None,
        typer.Option(help="Scheduling policy in place of the present one.", show_default=False),
    ] = None,
    max_running: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=WIRE_MAX,
            help="How many jobs run at one time, from now on; 0: any number.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Change a job queue; what is not given stays."""
    async with settings.connect() as client:
        await client.update_queue(
            name,
            state=None if state is None else state.value,
            priority=priority,
            compute_environments=env or (),
            scheduling_policy=policy,
            max_running=max_running,
        )
    console.say(f"queue {name} is updated")


@app.command()
@coroutine
async def delete(
    name: Name,
    force: Annotated[
        bool, typer.Option("--force", help="Disable it first; its unfinished jobs end FAILED.")
    ] = False,
) -> None:
    """Delete a DISABLED job queue."""
    async with settings.connect() as client:
        if force:
            await client.update_queue(name, state="DISABLED")
        await client.delete_queue(name)
    console.say(f"queue {name} is being deleted")
