"""`schedule`: jobs that are submitted by the clock."""

from typing import Annotated

import typer

from longshore_cli import console
from longshore_cli.command import (
    Array,
    Attempts,
    BeforeCommand,
    CommandLine,
    Environment,
    Json,
    Parameter,
    coroutine,
    pairs,
)
from longshore_cli.settings import settings

app = typer.Typer(
    no_args_is_help=True, help="Jobs that are submitted by the clock.", rich_markup_mode=None
)


@app.command(cls=BeforeCommand)
@coroutine
async def create(  # noqa: PLR0913, PLR0917 - each is an option
    name: Annotated[str, typer.Argument(metavar="NAME", help="The schedule's name.")],
    expression: Annotated[
        str,
        typer.Argument(
            metavar="EXPRESSION",
            help="'rate(5 minutes)' or 'cron(0 10 ? * MON-FRI *)': minute, hour, day of month, "
            "month, day of week, year, in UTC.",
        ),
    ],
    definition: Annotated[
        str, typer.Option("--definition", "-d", help="Job definition: NAME or NAME:REVISION.")
    ],
    command: CommandLine = None,
    queue: Annotated[str, typer.Option(help="Job queue.")] = "default",
    job_name: Annotated[
        str | None,
        typer.Option(help="Name of the jobs; the schedule's by default.", show_default=False),
    ] = None,
    array: Array = None,
    attempts: Attempts = None,
    parameter: Parameter = None,
    env: Environment = None,
    description: Annotated[
        str | None, typer.Option(help="What it is for.", show_default=False)
    ] = None,
) -> None:
    """Submit a job at each time of a schedule; a time that was missed is made up for once."""
    async with settings.connect() as client:
        arn = await client.create_schedule(
            name,
            expression,
            queue=queue,
            definition=definition,
            job_name=job_name,
            command=command,
            env=pairs(env, "--env"),
            parameters=pairs(parameter, "--parameter"),
            array_size=array,
            attempts=attempts,
            description=description,
        )
    console.line(arn)


@app.command("list")
@coroutine
async def list_(json: Json = False) -> None:
    """List schedules, with when each is due next."""
    async with settings.connect() as client:
        found = [rule async for rule in client.list_rules() if rule.schedule_expression]
    if json:
        console.print_json([console.plain(rule) for rule in found])
        return
    console.table(
        ("SCHEDULE", "EXPRESSION", "STATE", "NEXT", "DESCRIPTION"),
        [
            (
                rule.name,
                rule.schedule_expression,
                rule.state,
                console.when(round(rule.next_time * 1000)) if rule.HasField("next_time") else "-",
                rule.description,
            )
            for rule in found
        ],
    )


@app.command()
@coroutine
async def delete(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The schedule's name.")],
) -> None:
    """Delete a schedule; jobs that it submitted go on."""
    async with settings.connect() as client:
        await client.delete_schedule(name)
    console.say(f"schedule {name} is deleted")
