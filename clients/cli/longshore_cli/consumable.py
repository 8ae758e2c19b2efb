"""`consumable`: consumable resources."""

from typing import Annotated, Literal

import typer

from longshore_cli import console
from longshore_cli.command import Json, Tag, coroutine, pairs
from longshore_cli.settings import settings

app = typer.Typer(no_args_is_help=True, help="Consumable resources.", rich_markup_mode=None)

Name = Annotated[str, typer.Argument(metavar="NAME", help="The resource's name, or its ARN.")]
#: What a 64-bit number holds.
_MOST = 2**63 - 1


@app.command()
@coroutine
async def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The resource's name.")],
    total: Annotated[int, typer.Option(min=0, max=_MOST, help="Units that there are.")] = 0,
    used_up: Annotated[
        bool,
        typer.Option("--used-up", help="Each attempt uses its units up: they do not come back."),
    ] = False,
    tag: Tag = None,
) -> None:
    """Create a consumable resource."""
    async with settings.connect() as client:
        arn = await client.create_consumable(
            name, total=total, is_replenishable=not used_up, tags=pairs(tag, "--tag")
        )
    console.line(arn)


@app.command("list")
@coroutine
async def list_(
    name: Annotated[
        str | None,
        typer.Option(
            help="Those of a name, whatever its case; a * at the end fits any.", show_default=False
        ),
    ] = None,
    json: Json = False,
) -> None:
    """List consumable resources."""
    async with settings.connect() as client:
        found = [item async for item in client.list_consumables(name)]
    if json:
        console.print_json([console.plain(item) for item in found])
        return
    console.table(
        ("RESOURCE", "TYPE", "TOTAL", "IN USE"),
        [
            (
                item.consumable_resource_name,
                item.resource_type,
                str(item.total_quantity),
                str(item.in_use_quantity),
            )
            for item in found
        ],
    )


@app.command()
@coroutine
async def describe(name: Name, json: Json = False) -> None:
    """Show a consumable resource, and how much of it is in use."""
    async with settings.connect() as client:
        found = await client.describe_consumable(name)
    if json:
        console.print_json(console.plain(found))
        return
    console.table(
        ("RESOURCE", found.consumable_resource_name),
        [
            ("ARN", found.consumable_resource_arn),
            ("TYPE", found.resource_type),
            ("TOTAL", str(found.total_quantity)),
            ("IN USE", str(found.in_use_quantity)),
            ("AVAILABLE", str(found.available_quantity)),
            ("CREATED", console.when(found.created_at)),
            *(("TAG", f"{key}={value}") for key, value in sorted(found.tags.items())),
        ],
    )


@app.command()
@coroutine
async def update(
    name: Name,
    quantity: Annotated[int, typer.Argument(min=0, max=_MOST, help="Units.")],
    operation: Annotated[
        Literal["SET", "ADD", "REMOVE"],
        typer.Option(help="Whether that is all there are, so many more, or so many fewer."),
    ] = "SET",
) -> None:
    """Change how many units there are; what jobs hold they keep."""
    async with settings.connect() as client:
        total = await client.update_consumable(name, quantity, operation=operation)
    console.say(f"consumable {name} has {total} units now")


@app.command()
@coroutine
async def delete(name: Name) -> None:
    """Delete a consumable resource; jobs that need it wait until it is created again."""
    async with settings.connect() as client:
        await client.delete_consumable(name)
    console.say(f"consumable {name} is deleted")


@app.command()
@coroutine
async def jobs(
    name: Name,
    status: Annotated[
        str | None, typer.Option(help="Only jobs in this status.", show_default=False)
    ] = None,
    json: Json = False,
) -> None:
    """List the jobs that need a consumable resource, the newest first."""
    async with settings.connect() as client:
        found = [item async for item in client.list_jobs_of_consumable(name, status=status)]
    if json:
        console.print_json([console.plain(item) for item in found])
        return
    console.table(
        ("JOB", "NAME", "QUEUE", "STATUS", "QUANTITY"),
        [
            (
                console.short(item.job_arn),
                item.job_name,
                console.short(item.job_queue_arn),
                item.job_status,
                str(item.quantity),
            )
            for item in found
        ],
    )
