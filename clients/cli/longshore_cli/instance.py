"""`instances`, `instance`: the machines that jobs run on."""

from collections.abc import Sequence
from typing import Annotated

import typer

from longshore.v1 import provisioning_service_pb2
from longshore_cli import console
from longshore_cli.capacity import check_environment
from longshore_cli.command import Json, coroutine
from longshore_cli.settings import settings
from longshore_client import InvalidRequest, LongshoreError, NotFound

app = typer.Typer(no_args_is_help=True, help="One instance.", rich_markup_mode=None)

PURCHASE_OPTIONS = {
    provisioning_service_pb2.PURCHASE_OPTION_ON_DEMAND: "on demand",
    provisioning_service_pb2.PURCHASE_OPTION_SPOT: "spot",
}
InstanceId = Annotated[
    str, typer.Argument(metavar="INSTANCE", help="Instance id; `longshore instances` lists them.")
]


def register(parent: typer.Typer) -> None:
    """Adds the commands."""
    parent.command()(instances)
    parent.add_typer(app, name="instance")


@coroutine
async def instances(
    env: Annotated[
        str | None, typer.Option(help="Only of this compute environment.", show_default=False)
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Those that are over as well.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="Most to list.")] = 100,
    json: Json = False,
) -> None:
    """List instances, the newest order first.

    A narrow terminal shows fewer columns.
    """
    found: list[provisioning_service_pb2.InstanceDetail] = []
    async with settings.connect() as client:
        async for item in client.list_instances(env, ended=every, page_size=min(limit, 1000)):
            found.append(item)
            if len(found) == limit:
                break
        if not found:  # those of one that was deleted are kept
            await check_environment(client, env)
    if json:
        console.print_json([console.whole(item) for item in found])
    else:
        show(found)


def show(found: Sequence[provisioning_service_pb2.InstanceDetail]) -> None:
    """Prints instances as a table."""
    console.table(
        (
            *("INSTANCE", "COMPUTE ENVIRONMENT", "STATUS", "TYPE", "OPTION", "VCPUS HELD/ALL"),
            *("MIB HELD/ALL", "JOBS", "ORDERED", "USD/HOUR", "USD", "WHY"),
        ),
        [
            (
                item.instance_id,
                item.compute_environment,
                item.status,
                item.instance_type,
                PURCHASE_OPTIONS.get(item.purchase_option, ""),
                f"{console.number(item.held_vcpus)}/{console.number(item.vcpus)}",
                f"{item.held_memory_mib}/{item.memory_mib}",
                str(item.live_attempts),
                console.moment(item.order_time),
                console.dollars(item.price_per_hour),
                console.dollars(item.cost),
                item.status_reason,
            )
            for item in found
        ],
        spare=("OPTION", "WHY", "MIB HELD/ALL", "USD", "ORDERED", "USD/HOUR"),
    )


@app.command()
@coroutine
async def describe(instance: InstanceId, json: Json = False) -> None:
    """Show everything on record of an instance."""
    async with settings.connect() as client:
        try:
            item = await client.describe_instance(instance)
        except (NotFound, InvalidRequest) as error:
            raise _told(error, instance) from error
    if json:
        console.print_json(console.whole(item))
        return
    memory = f"{item.held_memory_mib} of {item.memory_mib} MiB"
    console.fields(
        [
            ("instance", item.instance_id),
            ("environment", item.compute_environment),
            ("status", item.status),
            ("reason", item.status_reason),
            ("type", item.instance_type),
            ("bought", PURCHASE_OPTIONS.get(item.purchase_option, "")),
            ("zone", item.zone),
            ("provider", " ".join(filter(None, (item.provider, item.provider_id)))),
            ("vCPUs", f"{console.number(item.held_vcpus)} of {console.number(item.vcpus)} held"),
            ("memory", f"{memory} held"),
            ("GPUs", str(item.gpus) if item.gpus else ""),
            ("found", "; ".join(item.gpu_devices)),
            ("network", item.network),
            ("attempts", f"{item.live_attempts} live"),
            ("price", f"{console.dollars(item.price_per_hour)} USD an hour"),
            ("cost", f"{console.dollars(item.cost)} USD so far"),
            ("ordered", console.moment(item.order_time)),
            ("why", item.order_reason),
            ("tags", ", ".join(f"{key}={value}" for key, value in sorted(item.tags.items()))),
            ("launched", console.moment(item.launch_time)),
            ("registered", console.moment(item.register_time)),
            ("drained", console.moment(item.drain_time)),
            ("ended", console.moment(item.end_time)),
        ]
    )


@app.command()
@coroutine
async def interrupt(
    instance: InstanceId,
    notice: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=600,
            metavar="SECONDS",
            help="How long before its end the instance is told.",
            show_default="120",
        ),
    ] = None,
) -> None:
    """Play the interruption of a spot instance, on any instance.

    It takes no more jobs; those on it get SIGTERM before its end and go on elsewhere if their
    retry strategy says so.
    """
    async with settings.connect() as client:
        try:
            end = await client.interrupt_instance(instance, notice_seconds=notice)
        except (NotFound, InvalidRequest) as error:
            raise _told(error, instance) from error
    console.say(f"instance {instance} ends at {console.when(int(end.timestamp() * 1000))}")


def _told(error: NotFound | InvalidRequest, instance: str) -> LongshoreError:
    """What a person is told: what is no id of an instance is the id of none."""
    if isinstance(error, InvalidRequest) and error.member != "instanceId":
        return error
    return NotFound(
        f"There is no instance {instance}; `longshore instances --all` lists those on record."
    )
