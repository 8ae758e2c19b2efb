"""`capacity`, `activities`, `cost`: what compute environments have, why, and what it costs."""

import asyncio
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from longshore.v1 import provisioning_service_pb2, scaler_service_pb2
from longshore_cli import console
from longshore_cli.command import Json, coroutine
from longshore_cli.settings import settings
from longshore_client import Client, NotFound, Timeout, Unavailable

if TYPE_CHECKING:
    from rich.console import RenderableType

#: Seconds between two looks of `--watch`.
WATCH_SECONDS = 2.0
#: Looks in a row that may fail before `--watch` gives up.
WATCH_FAILURES = 10
_CAPACITY = (
    *("COMPUTE ENVIRONMENT", "STATE", "STATUS", "VCPUS MIN/NOW/MAX", "BUSY", "IDLE", "BOOTING"),
    *("DRAINING", "HELD", "WAITING", "USD/HOUR"),
)
_CAPACITY_SPARE = ("STATE", "HELD", "DRAINING", "STATUS")
_DECISIONS = ("LAST DECISION", "WHEN", "VCPUS", "ORDERED", "GIVEN BACK", "WHY")
_DECISIONS_SPARE = ("GIVEN BACK", "ORDERED", "VCPUS")
_ACTIVITIES = ("WHEN", "COMPUTE ENVIRONMENT", "VCPUS", "ORDERED", "GIVEN BACK", "WHY")

Environments = Annotated[
    list[str] | None,
    typer.Argument(metavar="ENV...", help="Compute environments; all if none is named."),
]


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    for command in (capacity, activities, cost):
        app.command()(command)


@coroutine
async def capacity(
    env: Environments = None,
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Look every two seconds until Ctrl-C.")
    ] = False,
    json: Json = False,
) -> None:
    """Show what compute environments have, and the last decision about each.

    Busy, idle, booting and draining: instances (their vCPUs). Held: vCPUs that attempts hold.
    Waiting: RUNNABLE jobs in queues that use the environment.
    """
    async with settings.connect() as client:
        if not watch:
            show(await _describe(client, env or ()), json)
        elif console.is_terminal(sys.stdout) and not json:
            await watch_live(client, env or ())
        else:
            await watch_plain(client, env or (), json)


async def _describe(
    client: Client, names: Sequence[str]
) -> list[scaler_service_pb2.EnvironmentCapacity]:
    wanted = [console.short(name) for name in names]
    found = await client.describe_capacity(wanted)
    known = {item.compute_environment for item in found}
    for name in wanted:
        if name not in known:
            raise unknown_environment(name)
    return found


async def check_environment(client: Client, name: str | None) -> None:
    """Tells what has nothing to show from what is not there; no name stands for all.

    Raises:
        NotFound: there is no such compute environment.
    """
    if name is not None:
        await _describe(client, [name])


def unknown_environment(name: str) -> NotFound:
    """What is said of a compute environment that is not there."""
    return NotFound(
        f"There is no compute environment {name}; `longshore env list` lists those there are."
    )


def show(found: Sequence[scaler_service_pb2.EnvironmentCapacity], json: bool) -> None:
    """Prints capacity: a table, the last decisions, and what is out of order."""
    if json:
        console.print_json([console.whole(item) for item in found])
        return
    console.table(_CAPACITY, map(_capacity_row, found), spare=_CAPACITY_SPARE)
    decisions = _decisions(found)
    if decisions:
        console.line()
        console.table(_DECISIONS, decisions, spare=_DECISIONS_SPARE)
    for remark in _remarks(found):
        console.line()
        console.line(remark)


def _capacity_row(item: scaler_service_pb2.EnvironmentCapacity) -> list[str]:
    if item.type == "MANAGED":
        bounds = f"{item.min_vcpus}/{item.desired_vcpus}/{item.max_vcpus}"
    else:
        bounds = f"at most {item.max_vcpus}" if item.max_vcpus else ""
    return [
        item.compute_environment,
        item.state,
        item.status,
        bounds,
        *map(_sum, (item.busy, item.idle, item.booting, item.draining)),
        console.number(item.held_vcpus),
        f"{item.runnable_jobs:,}",
        console.dollars(item.cost_per_hour),
    ]


def _sum(instances: scaler_service_pb2.InstanceSum) -> str:
    """How many instances, and their vCPUs where there are some."""
    vcpus = f" ({console.number(instances.vcpus)})" if instances.instances else ""
    return f"{instances.instances}{vcpus}"


def _decisions(found: Sequence[scaler_service_pb2.EnvironmentCapacity]) -> list[list[str]]:
    return [
        [
            item.compute_environment,
            console.moment(item.last_activity.time),
            str(item.last_activity.desired_vcpus),
            str(item.last_activity.ordered),
            str(item.last_activity.terminated),
            item.last_activity.reason,
        ]
        for item in found
        if item.HasField("last_activity")
    ]


def _remarks(found: Sequence[scaler_service_pb2.EnvironmentCapacity]) -> list[str]:
    """Why environments are what they are, where that is not as usual."""
    return [
        console.harmless(f"{item.compute_environment} is {item.status}: {item.status_reason}")
        for item in found
        if item.status != "VALID" and item.status_reason
    ] + [f"{item.compute_environment}: {remark}" for item in found for remark in item.remarks]


async def watch_live(client: Client, names: Sequence[str]) -> None:
    """Shows capacity in place."""
    from rich.console import Group  # noqa: PLC0415 - for terminals alone, and slow to load
    from rich.live import Live  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    screen = console.out()

    def render(
        found: Sequence[scaler_service_pb2.EnvironmentCapacity], failure: str
    ) -> "RenderableType":
        rows = [_CAPACITY, *map(_capacity_row, found)]
        parts: list[RenderableType] = [console.fitted(rows, screen.width, _CAPACITY_SPARE)]
        if decisions := _decisions(found):
            rows = [_DECISIONS, *decisions]
            parts += ["", console.fitted(rows, screen.width, _DECISIONS_SPARE)]
        parts += [Text(remark, style="yellow") for remark in _remarks(found)]
        if failure:
            parts += ["", Text(f"not current: {console.harmless(failure)}", style="red")]
        return Group(*parts)

    with Live(console=screen, auto_refresh=False) as live:
        found: Sequence[scaler_service_pb2.EnvironmentCapacity] = ()
        failures = 0
        while True:
            failure = ""
            try:
                found = await _describe(client, names)
                failures = 0
            except (Unavailable, Timeout) as error:
                # Services that are being restarted are soon back.
                failures += 1
                if failures == WATCH_FAILURES or not found:
                    raise
                failure = error.message
            live.update(render(found, failure), refresh=True)
            await asyncio.sleep(WATCH_SECONDS)


async def watch_plain(client: Client, names: Sequence[str], json: bool) -> None:
    """Prints capacity whenever it is another one: elsewhere than on a terminal."""
    last: list[scaler_service_pb2.EnvironmentCapacity] | None = None
    failures = 0
    while True:
        try:
            found = await _describe(client, names)
        except (Unavailable, Timeout) as error:
            failures += 1
            if failures == WATCH_FAILURES or last is None:
                raise
            console.say(f"not current: {error.message}")
        else:
            failures = 0
            if found != last and json:
                console.print_json_line([console.whole(item) for item in found])
            elif found != last:
                if last is not None:
                    console.line()
                show(found, json=False)
            last = found
        await asyncio.sleep(WATCH_SECONDS)


@coroutine
async def activities(
    env: Annotated[
        str | None,
        typer.Argument(metavar="ENV", help="Only of this compute environment.", show_default=False),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="Most to list.")] = 50,
    json: Json = False,
) -> None:
    """List scaling decisions that changed something, newest first."""
    found: list[scaler_service_pb2.ScalingActivity] = []
    async with settings.connect() as client:
        async for activity in client.list_activities(env, page_size=min(limit, 1000)):
            found.append(activity)
            if len(found) == limit:
                break
        if not found:  # those of one that was deleted are kept
            await check_environment(client, env)
    if json:
        console.print_json([console.whole(item) for item in found])
        return
    console.table(
        _ACTIVITIES,
        [
            (
                console.moment(item.time),
                item.compute_environment,
                str(item.desired_vcpus),
                str(item.ordered),
                str(item.terminated),
                item.reason,
            )
            for item in found
        ],
        spare=("GIVEN BACK", "ORDERED"),
    )


@coroutine
async def cost(
    env: Annotated[
        list[str] | None, typer.Option(help="Only this compute environment; repeatable.")
    ] = None,
    queue: Annotated[list[str] | None, typer.Option(help="Only this queue; repeatable.")] = None,
    job: Annotated[
        list[str] | None, typer.Option(metavar="JOB", help="This job; repeatable.")
    ] = None,
    json: Json = False,
) -> None:
    """Show what instances cost so far, in US dollars.

    A compute environment's cost is that of all its instances, idle times included. A queue's or a
    job's is its share of those: what its attempts held of them, for as long as they held it.
    """
    async with settings.connect() as client:
        answer = await client.describe_costs(
            environments=[console.short(name) for name in env or ()],
            queues=[console.short(name) for name in queue or ()],
            job_ids=job or (),
        )
    if any((env, queue, job)):
        answer = _only(answer, bool(env), bool(queue))
    for name in sorted(_missing(env, answer.compute_environments)):
        raise unknown_environment(name)
    for name in sorted(_missing(queue, answer.job_queues)):
        raise NotFound(f"There is no queue {name}; `longshore queue list` lists those there are.")
    if json:
        console.print_json(console.whole(answer))
        return
    sections = [
        ("COMPUTE ENVIRONMENT", answer.compute_environments),
        ("QUEUE", answer.job_queues),
        ("JOB", answer.jobs),
    ]
    for number, (header, costs) in enumerate((h, costs) for h, costs in sections if costs):
        if number:
            console.line()
        console.table((header, "USD"), [(item.name, console.dollars(item.cost)) for item in costs])


def _missing(
    names: Sequence[str] | None, costs: Sequence[provisioning_service_pb2.Cost]
) -> set[str]:
    """The names of which nothing was said."""
    return {console.short(name) for name in names or ()} - {item.name for item in costs}


def _only(
    answer: provisioning_service_pb2.DescribeCostsResponse, environments: bool, queues: bool
) -> provisioning_service_pb2.DescribeCostsResponse:
    """The sections that were asked for by name: an empty list of names stands for all of them."""
    return provisioning_service_pb2.DescribeCostsResponse(
        compute_environments=answer.compute_environments if environments else (),
        job_queues=answer.job_queues if queues else (),
        jobs=answer.jobs,
    )
