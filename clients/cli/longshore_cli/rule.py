"""`rule`: rules that pick events, or make them by the clock."""

from typing import Annotated

import typer

from longshore_cli import console
from longshore_cli.command import Json, coroutine
from longshore_cli.settings import settings

app = typer.Typer(no_args_is_help=True, help="Rules of events.", rich_markup_mode=None)

Bus = Annotated[str, typer.Option("--bus", help="Event bus.")]


@app.command("list")
@coroutine
async def list_(bus: Bus = "default", json: Json = False) -> None:
    """List rules, with what each picks."""
    async with settings.connect() as client:
        found = [rule async for rule in client.list_rules(bus=bus)]
    if json:
        console.print_json([console.plain(rule) for rule in found])
        return
    console.table(
        ("RULE", "STATE", "PATTERN OR SCHEDULE"),
        [
            (
                rule.name,
                rule.state,
                " ".join((rule.event_pattern or rule.schedule_expression).split()),
            )
            for rule in found
        ],
    )


@app.command()
@coroutine
async def describe(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The rule's name.")],
    bus: Bus = "default",
    json: Json = False,
) -> None:
    """Show a rule and who gets its events."""
    async with settings.connect() as client:
        rule, targets = await client.describe_rule(name, bus=bus)
    if json:
        shown = console.plain(rule)
        shown["Targets"] = [console.plain(target) for target in targets]
        console.print_json(shown)
        return
    rows = [
        ("ARN", rule.arn),
        ("STATE", rule.state),
        ("PATTERN", rule.event_pattern),
        ("SCHEDULE", rule.schedule_expression),
        (
            "NEXT",
            console.when(round(rule.next_time * 1000)) if rule.HasField("next_time") else "",
        ),
        ("DESCRIPTION", rule.description),
        *((f"TARGET {target.id}", target.arn) for target in targets),
    ]
    console.table(("RULE", rule.name), [row for row in rows if row[1]])
