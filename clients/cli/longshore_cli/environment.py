"""`env`: compute environments."""

from enum import StrEnum
from typing import Annotated

import typer

from longshore.v1 import compute_environment_pb2
from longshore_cli import console
from longshore_cli.command import Json, Tag, coroutine, pairs
from longshore_cli.settings import settings
from longshore_cli.switch import State

app = typer.Typer(no_args_is_help=True, help="Compute environments.", rich_markup_mode=None)

#: Of a MANAGED environment, if nothing else is said.
MIN_VCPUS, MAX_VCPUS = 0, 16

Name = Annotated[str, typer.Argument(metavar="NAME", help="The compute environment's name.")]


class Kind(StrEnum):
    """Who runs the instances."""

    MANAGED = "MANAGED"
    UNMANAGED = "UNMANAGED"


@app.command()
@coroutine
async def create(
    name: Name,
    kind: Annotated[
        Kind,
        typer.Option(
            "--type", case_sensitive=False, help="MANAGED: by longshore; UNMANAGED: by you."
        ),
    ] = Kind.MANAGED,
    instance_type: Annotated[
        list[str] | None,
        typer.Option(
            help="Instance type or family; repeatable. MANAGED only; `local` if not given."
        ),
    ] = None,
    min_vcpus: Annotated[
        int | None,
        typer.Option(min=0, help="Kept running even when idle.", show_default=str(MIN_VCPUS)),
    ] = None,
    max_vcpus: Annotated[
        int | None, typer.Option(min=0, help="Never passed.", show_default=str(MAX_VCPUS))
    ] = None,
    strategy: Annotated[
        str | None, typer.Option(help="Allocation strategy.", show_default=False)
    ] = None,
    tag: Tag = None,
) -> None:
    """Create a compute environment and wait until it can be used."""
    request = compute_environment_pb2.CreateComputeEnvironmentRequest(
        compute_environment_name=name, type=kind.value, state="ENABLED", tags=pairs(tag, "--tag")
    )
    if kind is Kind.MANAGED:
        request.compute_resources.MergeFrom(
            compute_environment_pb2.ComputeResource(
                type="EC2",
                minv_cpus=MIN_VCPUS if min_vcpus is None else min_vcpus,
                maxv_cpus=MAX_VCPUS if max_vcpus is None else max_vcpus,
                instance_types=instance_type or ["local"],
                allocation_strategy=strategy,
                # Required by the wire contract, without meaning on the local provider.
                subnets=["subnet-local"],
                security_group_ids=["sg-local"],
                instance_role="local",
            )
        )
    elif any(given is not None for given in (instance_type, min_vcpus, max_vcpus, strategy)):
        raise typer.BadParameter(
            "--instance-type, --min-vcpus, --max-vcpus and --strategy are for MANAGED environments."
        )
    else:
        request.service_role = "local"
    async with settings.connect() as client:
        arn = await client.create_environment(request)
        await client.wait_for_environment(name)
    console.out().print(arn)


@app.command("list")
@coroutine
async def list_(json: Json = False) -> None:
    """List compute environments."""
    async with settings.connect() as client:
        found = [item async for item in client.list_environments()]
    if json:
        console.print_json([console.plain(item) for item in found])
        return
    console.table(
        ("COMPUTE ENVIRONMENT", "TYPE", "STATE", "STATUS", "VCPUS MIN/NOW/MAX", "INSTANCE TYPES"),
        [
            (
                item.compute_environment_name,
                item.type,
                item.state,
                item.status,
                f"{capacity.minv_cpus}/{capacity.desiredv_cpus}/{capacity.maxv_cpus}"
                if item.type == "MANAGED"
                else "",
                ", ".join(capacity.instance_types),
            )
            for item in found
            for capacity in (item.compute_resources,)
        ],
    )


@app.command()
@coroutine
async def update(
    name: Name,
    state: Annotated[
        State | None,
        typer.Option(case_sensitive=False, help="Whether it is in use.", show_default=False),
    ] = None,
    min_vcpus: Annotated[
        int | None, typer.Option(min=0, help="Kept running even when idle.", show_default=False)
    ] = None,
    max_vcpus: Annotated[
        int | None, typer.Option(min=0, help="Never passed.", show_default=False)
    ] = None,
) -> None:
    """Change a compute environment; what is not given stays."""
    request = compute_environment_pb2.UpdateComputeEnvironmentRequest(
        compute_environment=name, state=None if state is None else state.value
    )
    if min_vcpus is not None:
        request.compute_resources.minv_cpus = min_vcpus
    if max_vcpus is not None:
        request.compute_resources.maxv_cpus = max_vcpus
    async with settings.connect() as client:
        await client.update_environment(request)
    console.say(f"compute environment {name} is updated")


@app.command()
@coroutine
async def delete(
    name: Name,
    force: Annotated[bool, typer.Option("--force", help="Disable it first.")] = False,
) -> None:
    """Delete a DISABLED compute environment that no queue refers to."""
    async with settings.connect() as client:
        if force:
            await client.update_environment(
                compute_environment_pb2.UpdateComputeEnvironmentRequest(
                    compute_environment=name, state="DISABLED"
                )
            )
        await client.delete_environment(name)
    console.say(f"compute environment {name} is being deleted")
