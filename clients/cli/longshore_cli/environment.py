"""`env`: compute environments."""

from collections.abc import Mapping
from typing import Annotated

import typer

from longshore.v1 import compute_environment_pb2
from longshore_cli import console
from longshore_cli.command import WIRE_MAX, Json, Tag, coroutine, pairs
from longshore_cli.environment_options import (
    BidPercentage,
    DesiredVcpus,
    InstanceRole,
    InstanceType,
    Kind,
    LaunchTemplate,
    LostAfter,
    Name,
    NewLostAfter,
    ResourceType,
    ScaleDownDelay,
    SecurityGroup,
    Strategy,
    Subnet,
    UnmanagedVcpus,
)
from longshore_cli.settings import settings
from longshore_cli.switch import State
from longshore_client import Client, NotFound

app = typer.Typer(no_args_is_help=True, help="Compute environments.", rich_markup_mode=None)

#: Of a MANAGED environment, if nothing else is said.
MIN_VCPUS, MAX_VCPUS = 0, 16
SPOT_STRATEGY = "SPOT_PRICE_CAPACITY_OPTIMIZED"
#: The setting of silence that is borne.
LOST_AFTER_TAG = "longshore:lost-after-seconds"
#: Required by the wire contract, without meaning on the local provider.
SUBNET, SECURITY_GROUP, ROLE = "subnet-local", "sg-local", "local"


@app.command()
@coroutine
async def create(  # noqa: PLR0913, PLR0917 - each is an option
    name: Name,
    kind: Annotated[
        Kind,
        typer.Option(
            "--type",
            case_sensitive=False,
            help="MANAGED (the same as EC2), EC2, SPOT, FARGATE, FARGATE_SPOT: by longshore; "
            "UNMANAGED: by you.",
        ),
    ] = Kind.MANAGED,
    instance_type: InstanceType = None,
    min_vcpus: Annotated[
        int | None,
        typer.Option(
            min=0, max=WIRE_MAX, help="Kept running even when idle.", show_default=str(MIN_VCPUS)
        ),
    ] = None,
    desired_vcpus: DesiredVcpus = None,
    max_vcpus: Annotated[
        int | None,
        typer.Option(
            min=0, max=WIRE_MAX, help="Passed by one instance at most.", show_default=str(MAX_VCPUS)
        ),
    ] = None,
    strategy: Strategy = None,
    bid_percentage: BidPercentage = None,
    scale_down_delay: ScaleDownDelay = None,
    subnet: Subnet = None,
    security_group: SecurityGroup = None,
    instance_role: InstanceRole = None,
    launch_template: LaunchTemplate = None,
    unmanaged_vcpus: UnmanagedVcpus = None,
    lost_after: LostAfter = None,
    tag: Tag = None,
) -> None:
    """Create a compute environment and wait until it can be used.

    Without --instance-type a managed one is of the family `local`, shares of this machine.
    """
    given = {
        "--instance-type": instance_type,
        "--min-vcpus": min_vcpus,
        "--desired-vcpus": desired_vcpus,
        "--strategy": strategy,
        "--bid-percentage": bid_percentage,
        "--scale-down-delay": scale_down_delay,
        "--instance-role": instance_role,
        "--launch-template": launch_template,
    }
    everywhere = {
        "--max-vcpus": max_vcpus,
        "--subnet": subnet,
        "--security-group": security_group,
    }
    request = compute_environment_pb2.CreateComputeEnvironmentRequest(
        compute_environment_name=name,
        type="UNMANAGED" if kind is Kind.UNMANAGED else "MANAGED",
        state="ENABLED",
        unmanagedv_cpus=unmanaged_vcpus,
        tags=pairs(tag, "--tag"),
    )
    if lost_after is not None:
        request.tags[LOST_AFTER_TAG] = str(lost_after)
    if kind is Kind.UNMANAGED:
        _refuse({**given, **everywhere}, "is for managed environments, not for UNMANAGED.")
        request.service_role = ROLE
    else:
        _refuse({"--unmanaged-vcpus": unmanaged_vcpus}, "is for UNMANAGED environments.")
        if kind.is_fargate:
            _refuse(given, f"is for EC2 and SPOT: {kind} has no instance types.")
        resources = request.compute_resources
        resources.type = kind.resource_type
        resources.maxv_cpus = MAX_VCPUS if max_vcpus is None else max_vcpus
        resources.subnets.extend(subnet or [SUBNET])
        resources.security_group_ids.extend(security_group or [SECURITY_GROUP])
        if not kind.is_fargate:
            default = SPOT_STRATEGY if kind is Kind.SPOT else None
            resources.MergeFrom(
                compute_environment_pb2.ComputeResource(
                    minv_cpus=MIN_VCPUS if min_vcpus is None else min_vcpus,
                    desiredv_cpus=desired_vcpus,
                    instance_types=instance_type or ["local"],
                    allocation_strategy=strategy or default,
                    bid_percentage=bid_percentage,
                    instance_role=instance_role or ROLE,
                    scaling_policy=_scaling_policy(scale_down_delay),
                    launch_template=_template(launch_template),
                )
            )
    async with settings.connect() as client:
        arn = await client.create_environment(request)
        await client.wait_for_environment(name)
    console.line(arn)


def _refuse(options: Mapping[str, object], why: str) -> None:
    for option, value in options.items():
        if value is not None:
            raise typer.BadParameter(f"{option} {why}")


def _scaling_policy(
    delay_minutes: int | None,
) -> compute_environment_pb2.ComputeScalingPolicy | None:
    if delay_minutes is None:
        return None
    return compute_environment_pb2.ComputeScalingPolicy(min_scale_down_delay_minutes=delay_minutes)


def _template(text: str | None) -> compute_environment_pb2.LaunchTemplateSpecification | None:
    """A launch template from NAME or ID, and a version after a colon."""
    if text is None:
        return None
    name, _, version = text.partition(":")
    made = compute_environment_pb2.LaunchTemplateSpecification(version=version or None)
    if name.startswith("lt-"):
        made.launch_template_id = name
    else:
        made.launch_template_name = name
    return made


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
                item.type if item.type != "MANAGED" else f"MANAGED {capacity.type}",
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
async def update(  # noqa: PLR0913, PLR0917 - each is an option
    name: Name,
    state: Annotated[
        State | None,
        typer.Option(case_sensitive=False, help="Whether it is in use.", show_default=False),
    ] = None,
    kind: Annotated[
        ResourceType | None,
        typer.Option("--type", case_sensitive=False, help="What it has.", show_default=False),
    ] = None,
    instance_type: InstanceType = None,
    min_vcpus: Annotated[
        int | None,
        typer.Option(min=0, max=WIRE_MAX, help="Kept running even when idle.", show_default=False),
    ] = None,
    desired_vcpus: DesiredVcpus = None,
    max_vcpus: Annotated[
        int | None,
        typer.Option(
            min=0, max=WIRE_MAX, help="Passed by one instance at most.", show_default=False
        ),
    ] = None,
    strategy: Strategy = None,
    bid_percentage: BidPercentage = None,
    scale_down_delay: ScaleDownDelay = None,
    subnet: Subnet = None,
    security_group: SecurityGroup = None,
    instance_role: InstanceRole = None,
    launch_template: LaunchTemplate = None,
    unmanaged_vcpus: UnmanagedVcpus = None,
    lost_after: NewLostAfter = None,
    terminate_jobs: Annotated[
        bool | None,
        typer.Option(
            "--terminate-jobs/--let-jobs-finish",
            help="What happens to running jobs when instances are replaced.",
            show_default=False,
        ),
    ] = None,
    job_timeout_minutes: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=7200,
            metavar="MINUTES",
            help="How long running jobs may go on when instances are replaced (30).",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Change a compute environment; what is not given stays.

    Vcpus, delays and state change in place. Anything else replaces the instances: new ones come
    beside the old, which go when their jobs have ended or the time given to those is over.
    """
    request = compute_environment_pb2.UpdateComputeEnvironmentRequest(
        compute_environment=name,
        state=None if state is None else state.value,
        unmanagedv_cpus=unmanaged_vcpus,
    )
    resources = compute_environment_pb2.ComputeResourceUpdate(
        type=None if kind is None else kind.value,
        minv_cpus=min_vcpus,
        desiredv_cpus=desired_vcpus,
        maxv_cpus=max_vcpus,
        instance_types=instance_type or (),
        allocation_strategy=strategy,
        bid_percentage=bid_percentage,
        scaling_policy=_scaling_policy(scale_down_delay),
        subnets=subnet or (),
        security_group_ids=security_group or (),
        instance_role=instance_role,
        launch_template=_template(launch_template),
    )
    if resources.ByteSize():
        request.compute_resources.CopyFrom(resources)
    policy = compute_environment_pb2.UpdatePolicy(
        terminate_jobs_on_update=terminate_jobs, job_execution_timeout_minutes=job_timeout_minutes
    )
    if policy.ByteSize():
        request.update_policy.CopyFrom(policy)
    async with settings.connect() as client:
        if lost_after is not None:
            await _set_lost_after(client, name, lost_after)
        is_more_given = len(request.ListFields()) > 1
        if is_more_given or lost_after is None:
            await client.update_environment(request)
        found = [item async for item in client.list_environments([name])]
    if any(item.status == "UPDATING" for item in found):
        console.say(
            f"compute environment {name} is being updated; "
            f"`longshore capacity {name} --watch` shows its instances being replaced"
        )
    else:
        console.say(f"compute environment {name} is updated")


async def _set_lost_after(client: Client, name: str, seconds: int) -> None:
    """Sets the tag that AWS's update of an environment has no member for; 0 removes it."""
    found = [item async for item in client.list_environments([name])]
    if not found:
        raise NotFound(f"There is no compute environment {name}.")
    arn = found[0].compute_environment_arn
    if seconds:
        await client.tag(arn, {LOST_AFTER_TAG: str(seconds)})
    else:
        await client.untag(arn, [LOST_AFTER_TAG])


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
