"""`jobs`, `describe`, `logs`, `wait`, `explain`: what became of jobs."""

import asyncio
import math
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from longshore.v1 import ecs_pb2, job_definition_pb2, job_pb2, scheduler_service_pb2
from longshore_cli import array_logs, console, exit_code, service_logs
from longshore_cli.command import WAIT_SECONDS_MAX, WIRE_MAX, Json, coroutine
from longshore_cli.progress import Progress, counts, summary
from longshore_cli.run import write
from longshore_cli.settings import settings
from longshore_client import Client, Timeout, Unavailable
from longshore_client.jobs import FINAL, STATUSES

JobIds = Annotated[list[str], typer.Argument(metavar="JOB...", help="Job ids.")]
JobId = Annotated[
    str,
    typer.Argument(metavar="JOB", help="Job id; ID:INDEX for a child, ID#INDEX for a node."),
]
#: A container as definitions and jobs have it, the only one or one of several.
_Container = (
    job_pb2.ContainerDetail
    | job_definition_pb2.ContainerProperties
    | ecs_pb2.TaskContainerProperties
    | ecs_pb2.TaskContainerDetails
)
#: What numbers of a job's needs count.
UNITS = {"VCPU": "vCPU", "MEMORY": "MiB"}
#: How long to wait for what is not the job itself.
ASIDE_SECONDS = 3.0


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    for command in (jobs, describe, logs, wait, explain):
        app.command()(command)


@coroutine
async def jobs(
    queue: Annotated[str, typer.Option(help="Job queue.")] = "default",
    status: Annotated[
        list[str] | None, typer.Option(help="Only this status; repeatable.", show_default=False)
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="Only this name; a * at the end is any ending.")
    ] = None,
    mine: Annotated[bool, typer.Option("--mine", help="Only what I have submitted.")] = False,
    array: Annotated[
        str | None, typer.Option(metavar="JOB", help="Children of this array job instead.")
    ] = None,
    nodes: Annotated[
        str | None, typer.Option(metavar="JOB", help="Nodes of this multi-node job instead.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="Most jobs to list.")] = 50,
    json: Json = False,
) -> None:
    """List jobs, newest first.

    With --name they are in order of their names, then of their definitions' revisions. A narrow
    terminal shows fewer columns.
    """
    wanted = _statuses(status)
    if array is not None and nodes is not None:
        raise typer.BadParameter("A job has children or nodes: --array and --nodes are apart.")
    if name is not None and (array is not None or nodes is not None):
        raise typer.BadParameter("--name is for the jobs of a queue, not for --array and --nodes.")
    if mine and (name is not None or array is not None or nodes is not None):
        raise typer.BadParameter("--mine does not go with --name, --array and --nodes.")
    found: list[job_pb2.JobSummary] = []
    async with settings.connect() as client:
        if mine:
            listed = _own(client, queue, wanted)
        elif array is None and nodes is None:
            listed = _select(client, queue, wanted, name)
        else:
            listed = _parts(client, wanted, array, nodes)
        async for job in listed:
            found.append(job)
            if len(found) == limit:
                break
    if json:
        console.print_json([console.plain(job) for job in found])
        return
    console.table(
        ("JOB", "NAME", "STATUS", "CREATED", "RAN", "EXIT", "WHY"),
        [
            (
                job.job_id,
                job.job_name,
                job.status,
                console.when(job.created_at),
                console.duration(job.started_at, job.stopped_at),
                str(job.container.exit_code) if job.container.HasField("exit_code") else "",
                _why(job),
            )
            for job in found
        ],
        spare=("WHY", "CREATED"),
    )


def _statuses(given: list[str] | None) -> list[str]:
    """Statuses in capital letters.

    Raises:
        BadParameter: one is none.
    """
    wanted = [item.upper() for item in given or ()]
    for item in wanted:
        if item not in STATUSES:
            raise typer.BadParameter(f"--status is one of {', '.join(STATUSES)}, not {item!r}.")
    return wanted


def _why(job: job_pb2.JobSummary) -> str:
    """Why a job is where it is; of an array, where its children are."""
    if job.array_properties.status_summary:
        again = f"runs {job.rerun_of} again" if job.rerun_of else ""
        told = summary(dict(job.array_properties.status_summary))
        return console.told(told, again)
    main = "main node" if job.node_properties.is_main_node else ""
    return console.told(main, job.status_reason, job.container.reason)


async def _select(
    client: Client, queue: str, statuses: list[str], name: str | None
) -> AsyncIterator[job_pb2.JobSummary]:
    """Jobs of the queue, in every status unless some are named."""
    if not statuses:
        # AWS lists every status only beside a filter, and this one lets everything through.
        filters = {"JOB_NAME": name} if name else {"AFTER_CREATED_AT": "0"}
        async for job in client.list_jobs(queue, filters=filters):
            yield job
        return
    if name:
        async for job in client.list_jobs(queue, filters={"JOB_NAME": name}):
            if job.status in statuses:
                yield job
        return
    for status in statuses:
        async for job in client.list_jobs(queue, status=status):
            yield job


async def _own(
    client: Client, queue: str, statuses: list[str]
) -> AsyncIterator[job_pb2.JobSummary]:
    """What the caller has submitted to the queue."""
    wanted: Sequence[str | None] = statuses or [None]
    for status in wanted:
        # As policies name who calls.
        filters = {"SUBMITTED_BY": "${aws:username}"}
        async for job in client.list_jobs(queue, status=status, filters=filters):
            yield job


async def _parts(
    client: Client, statuses: list[str], array: str | None, nodes: str | None
) -> AsyncIterator[job_pb2.JobSummary]:
    """Children of the array or nodes of the job, status by status."""
    for status in statuses or STATUSES:
        async for job in client.list_jobs(array_job=array, multi_node_job=nodes, status=status):
            yield job


@coroutine
async def describe(job: JobIds, json: Json = False) -> None:
    """Show everything known of jobs."""
    placed: dict[str, _Placed] = {}
    async with settings.connect() as client:
        found = await _found(client, job)
        for item in [] if json else found:
            placed[item.job_id] = await _placed(client, item)
    if json:
        console.print_json([console.plain(item) for item in found])
        return
    for number, item in enumerate(found):
        if number:
            console.line()
        _show(item, placed[item.job_id])


async def _found(client: Client, jobs: Sequence[str]) -> Sequence[job_pb2.JobDetail]:
    """The jobs of so many ids.

    Raises:
        NotFound: one is unknown.
    """
    found = await client.describe_jobs(jobs)
    missing = set(jobs) - {item.job_id for item in found}
    if missing:
        raise await client.missing_job(min(missing))
    return found


@dataclass(frozen=True)
class _Placed:
    """What AWS's shape does not tell of a job."""

    attempts: Sequence[scheduler_service_pb2.ExplainedAttempt]
    cost: float | None


async def _placed(client: Client, job: job_pb2.JobDetail) -> _Placed:
    """Where a job's attempts were placed and what they cost; of an array, what its children do.

    That is by the way: a service that is away leaves it out, and the job is shown all the same.
    """
    attempts: Sequence[scheduler_service_pb2.ExplainedAttempt] = ()
    try:
        async with asyncio.timeout(ASIDE_SECONDS):
            attempts = (await client.explain_job(job.job_id)).attempts
            if not attempts and not _is_parent(job):
                return _Placed((), None)
            costs = (await client.describe_costs(job_ids=[job.job_id])).jobs
    except (Unavailable, Timeout, TimeoutError):
        return _Placed(attempts, None)
    return _Placed(attempts, sum(item.cost for item in costs))


def _is_parent(job: job_pb2.JobDetail) -> bool:
    array = job.array_properties
    return bool(array.size) and not array.HasField("index")


def _instance(placed: scheduler_service_pb2.ExplainedAttempt) -> str:
    kind = placed.instance_type or "joined by itself"
    return f"{placed.instance_id} ({kind}, {placed.compute_environment})"


def _needs(container: _Container) -> str:
    """What a container needs, from AWS's deprecated members too, which weigh less."""
    stated = {need.type: need.value for need in container.resource_requirements}
    deprecated: dict[str, int] = {}
    if not isinstance(container, ecs_pb2.TaskContainerProperties | ecs_pb2.TaskContainerDetails):
        deprecated = {"VCPU": container.vcpus, "MEMORY": container.memory}
    needs = {name: value for name, value in deprecated.items() if value} | stated
    return ", ".join(f"{value} {UNITS.get(name, name)}" for name, value in needs.items())


def _containers(job: job_pb2.JobDetail) -> list[tuple[str, str]]:
    """The containers of a multi-container job: what each runs, and where it is."""
    fields = []
    for task in job.ecs_properties.task_properties:
        for item in task.containers:
            told = (
                item.image,
                " ".join(item.command),
                _needs(item),
                _pairs((v.name, v.value) for v in item.environment),
                "not essential" if item.HasField("essential") and not item.essential else "",
                *(f"after {need.container_name} ({need.condition})" for need in item.depends_on),
                _state(item),
                f"log {item.log_stream_name}" if item.log_stream_name else "",
            )
            fields.append((f"container {item.name}", "; ".join(filter(None, told))))
    return fields


def _states(job: job_pb2.JobDetail) -> list[tuple[str, str]]:
    """Where the containers of a multi-container job are, once one of them started."""
    containers = [item for task in job.ecs_properties.task_properties for item in task.containers]
    if not any(item.log_stream_name for item in containers):
        return []
    return [(f"container {item.name}", _state(item) or "has not started") for item in containers]


def _state(item: ecs_pb2.TaskContainerDetails | job_pb2.AttemptTaskContainerDetails) -> str:
    if item.HasField("exit_code"):
        return "; ".join(filter(None, (f"exit code {item.exit_code}", item.reason)))
    return item.reason or ("started" if item.log_stream_name else "")


def _nodes(job: job_pb2.JobDetail) -> list[tuple[str, str]]:
    """What the ranges of a multi-node job run, or which node this is."""
    fields = []
    if job.HasField("node_details"):
        main = ", the main node" if job.node_details.is_main_node else ""
        fields.append(("node", f"{job.node_details.node_index}{main}"))
    if job.HasField("node_properties"):
        nodes = job.node_properties
        fields.append(("nodes", f"{nodes.num_nodes}, the main node is {nodes.main_node}"))
        for item in nodes.node_range_properties:
            several = [c for t in item.ecs_properties.task_properties for c in t.containers]
            runs: Sequence[_Container] = several or [item.container]
            for run in runs:
                told = console.told(
                    run.image,
                    " ".join(run.command),
                    _needs(run),
                    _pairs((v.name, v.value) for v in run.environment),
                    *item.instance_types,
                )
                fields.append((f"nodes {item.target_nodes}", told))
    return fields


def _show(job: job_pb2.JobDetail, placed: _Placed) -> None:
    container = job.container
    console.fields(
        [
            ("job", job.job_id),
            ("name", job.job_name),
            ("status", job.status),
            ("asked", _asked(job)),
            ("reason", job.status_reason),
            ("queue", console.short(job.job_queue)),
            ("definition", console.short(job.job_definition)),
            ("created", console.when(job.created_at)),
            ("started", console.when(job.started_at)),
            ("stopped", console.when(job.stopped_at)),
            ("ran", console.duration(job.started_at, job.stopped_at)),
            ("children", summary(counts(job)) if _is_parent(job) else ""),
            ("index", _index(job)),
            ("runs again", _runs_again(job)),
            ("max running", str(job.array_properties.max_running or "")),
            *_nodes(job),
            ("depends on", _depends_on(job)),
            ("image", container.image),
            ("command", " ".join(container.command)),
            *_containers(job),
            ("needs", _needs(container)),
            ("memory", f"{job.memory_mib} MiB by now" if job.HasField("memory_mib") else ""),
            ("environment", _pairs((v.name, v.value) for v in container.environment)),
            ("parameters", _pairs(sorted(job.parameters.items()))),
            *_retries(job),
            ("timeout", _timeout(job)),
            ("instance", _instance(placed.attempts[-1]) if placed.attempts else ""),
            ("cost", "" if placed.cost is None else f"{console.dollars(placed.cost)} USD so far"),
            ("exit code", str(container.exit_code) if container.HasField("exit_code") else ""),
            ("container", container.reason),
            ("address", ", ".join(a.private_ipv4_address for a in container.network_interfaces)),
            ("log", container.log_stream_name),
            ("tags", _pairs(sorted(job.tags.items()))),
            *_attempts(job, placed.attempts),
        ]
    )


def _index(job: job_pb2.JobDetail) -> str:
    """Which child this is; what it sees as its index, where that is another."""
    array = job.array_properties
    if not array.HasField("index"):
        return ""
    seen = f", which sees index {job.rerun_index}" if job.HasField("rerun_index") else ""
    return f"{array.index}{seen}"


def _asked(job: job_pb2.JobDetail) -> str:
    """What is to become of a job, of which it may take a while."""
    if job.status in FINAL or not (job.is_terminated or job.is_cancelled):
        return ""
    return "to be terminated" if job.is_terminated else "to be cancelled"


def _runs_again(job: job_pb2.JobDetail) -> str:
    """Of an array that runs children of another one: of which, and which of the first array's."""
    if not job.rerun_of:
        return ""
    return f"failed children of {job.rerun_of}, with indexes {job.rerun_indexes}"


def _pairs(items: Iterable[tuple[str, str]]) -> str:
    return ", ".join(f"{name}={value}" for name, value in items)


def _timeout(job: job_pb2.JobDetail) -> str:
    seconds = job.timeout.attempt_duration_seconds
    return f"{seconds} s for each attempt" if seconds else ""


def _retries(job: job_pb2.JobDetail) -> list[tuple[str, str]]:
    """How many attempts there may be, and what decides after one that failed."""
    strategy = job.retry_strategy
    fields = [("attempts", f"up to {strategy.attempts}" if strategy.attempts else "")]
    if strategy.HasField("oom_memory_factor"):
        more = f"{strategy.oom_memory_factor:g} times the memory"
        fields.append(("out of memory", f"{more}, at most {strategy.oom_memory_max_mib} MiB"))
    for rule in strategy.evaluate_on_exit:
        on = {
            "exit code": rule.on_exit_code,
            "reason": rule.on_reason,
            "status reason": rule.on_status_reason,
        }
        met = " and ".join(f"{what} is {pattern}" for what, pattern in on.items() if pattern)
        fields.append((rule.action.lower(), f"where {met}"))
    return fields


def _depends_on(job: job_pb2.JobDetail) -> str:
    return ", ".join(
        " ".join(filter(None, (item.job_id, item.type, item.condition))) for item in job.depends_on
    )


def _ends(attempt: job_pb2.AttemptDetail) -> list[str]:
    """How an attempt ended, or each of its several containers."""
    ended = attempt.container
    code = f"exit code {ended.exit_code}" if ended.HasField("exit_code") else "no exit code"
    several = [item for task in attempt.task_properties for item in task.containers]
    if several:
        states = [f"{item.name}: {_state(item) or 'never started'}" for item in several]
        return [*states, attempt.status_reason]
    return [code, attempt.status_reason, ended.reason]


def _attempts(
    job: job_pb2.JobDetail, placed: Sequence[scheduler_service_pb2.ExplainedAttempt]
) -> list[tuple[str, str]]:
    """How and where each attempt that is over ended."""
    fields = []
    instances = {item.attempt: _instance(item) for item in placed}
    for number, attempt in enumerate(job.attempts, start=1):
        where = f"on {instances[number]}" if number in instances else ""
        memory = f"{attempt.memory_mib} MiB" if job.HasField("memory_mib") else ""
        told = console.told(*_ends(attempt), memory, where)
        fields.append((f"attempt {number}", told))
    return fields


@coroutine
async def logs(  # noqa: PLR0913, PLR0917 - each is an option
    job: Annotated[
        str | None,
        typer.Argument(
            metavar="JOB",
            help="Job id; ID:INDEX for a child, ID#INDEX for a node.",
            show_default=False,
        ),
    ] = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on until the job has ended.")
    ] = False,
    attempt: Annotated[
        int | None, typer.Option(min=1, max=WIRE_MAX, help="Only this attempt.", show_default=False)
    ] = None,
    tail: Annotated[
        int, typer.Option(min=0, max=WIRE_MAX, help="Only the last so many lines; 0: all.")
    ] = 0,
    timestamps: Annotated[
        bool, typer.Option("--timestamps", "-t", help="Put the time before each line.")
    ] = False,
    container: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Of a multi-container job, this container; else its first essential one.",
            show_default=False,
        ),
    ] = None,
    array: Annotated[
        str | None,
        typer.Option(
            metavar="JOB",
            help="Save the logs of this array's children instead, each in a file with its index.",
            show_default=False,
        ),
    ] = None,
    to: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder for them; made if need be.", show_default=False),
    ] = None,
    status: Annotated[
        list[str] | None,
        typer.Option(
            help="Only of children with this status, as FAILED; repeatable.", show_default=False
        ),
    ] = None,
    service: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="What this service of the stack here says instead, such as scheduler.",
            show_default=False,
        ),
    ] = None,
    agent: Annotated[
        str | None,
        typer.Option(metavar="INSTANCE", help="What its agent says instead.", show_default=False),
    ] = None,
    engine: Annotated[
        str | None,
        typer.Option(
            metavar="INSTANCE", help="What its container engine says instead.", show_default=False
        ),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(
            metavar="WHEN",
            help="Of these, what was said since then: 10m, 2h, 3d, or a time.",
            show_default="all; 1d of agents and engines",
        ),
    ] = None,
    json: Json = False,
) -> int:
    """Print what a job printed, attempt after attempt.

    Of a multi-node job that is what its main node printed. With --array the logs of all children
    go into a folder; those that are there and complete are passed over, so that it can be run
    again. The exit code is 0 then if all are complete.
    """
    if (service, agent, engine, since) != (None, None, None, None):
        others = (job, attempt, container, array, to, status, tail, timestamps)
        if any(others) or sum(one is not None for one in (service, agent, engine)) != 1:
            raise typer.BadParameter(
                "--service, --agent and --engine take --follow, --since and --json alone."
            )
        begin = service_logs.parse_since(since, datetime.now(UTC))
        if service is not None:
            await service_logs.print_service(service, begin, follow=follow, as_json=json)
        else:
            kind = "agent" if engine is None else "engine"
            await service_logs.print_agent(
                agent or engine or "", kind, begin, follow=follow, as_json=json
            )
        return exit_code.OK
    if array is not None:
        alone = (job, attempt, container) == (None, None, None) and not (
            follow or tail or timestamps
        )
        if not alone or to is None:
            raise typer.BadParameter(
                "--array takes --to DIR, and besides only --status and --json."
            )
        return await _save_logs(array, to, _statuses(status), as_json=json)
    if job is None or to is not None or status:
        raise typer.BadParameter("Give a JOB, or --array JOB --to DIR.")
    whole = True
    async with settings.connect() as client:
        lines = client.job_logs(
            job, follow=follow, attempt=attempt, tail_lines=tail, container=container
        )
        async for line in lines:
            if json:
                console.print_json_line(
                    {
                        "time": line.printed_at.isoformat(),
                        "stream": "stderr" if line.is_stderr else "stdout",
                        "attempt": line.attempt,
                        "text": line.text,
                        "partial": line.partial,
                    }
                )
                continue
            stamped = timestamps and whole
            write(line, f"{line.printed_at.isoformat()} " if stamped else "")
            whole = not line.partial
    return exit_code.OK


async def _save_logs(array: str, folder: Path, statuses: list[str], *, as_json: bool) -> int:
    async with settings.connect() as client:
        told = await array_logs.save(client, array, folder, statuses)
    if as_json:
        console.print_json(asdict(told))
    else:
        for sentence in array_logs.sentences(told, folder):
            console.say(sentence)
    return exit_code.NEGATIVE if told.incomplete else exit_code.OK


@coroutine
async def wait(
    job: JobIds,
    timeout_seconds: Annotated[
        float | None,
        typer.Option(
            "--timeout",
            min=0,
            max=WAIT_SECONDS_MAX,
            metavar="SECONDS",
            help="Give up after so long.",
            show_default=False,
        ),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")] = False,
    json: Json = False,
) -> int:
    """Wait until jobs have ended.

    The exit code is 0 if every one SUCCEEDED, 1 if one FAILED.
    """
    if timeout_seconds is not None and math.isnan(timeout_seconds):
        raise typer.BadParameter("--timeout takes a number of seconds.")
    async with settings.connect() as client:
        if quiet or json:
            ended = await client.wait(job, timeout=timeout_seconds)
        else:
            ended = await _wait_and_show(client, job, timeout_seconds)
    if json:
        console.print_json([console.plain(item) for item in ended])
    for item in ended:
        if item.status == "FAILED" and not json:
            why = console.told(item.status_reason, item.container.reason)
            console.fail(f"Job {item.job_id} FAILED: {why}")
    failed = any(item.status == "FAILED" for item in ended)
    return exit_code.NEGATIVE if failed else exit_code.OK


async def _wait_and_show(
    client: Client, job_ids: list[str], timeout_seconds: float | None
) -> list[job_pb2.JobDetail]:
    names = [item.job_name for item in await client.describe_jobs(dict.fromkeys(job_ids))]
    with Progress(names, console.err()) as progress:
        return await client.wait(
            job_ids,
            timeout=timeout_seconds,
            seen=lambda found: progress.show(
                found, final=all(item.status in FINAL for item in found)
            ),
        )


@coroutine
async def explain(job: JobId, json: Json = False) -> None:
    """Say why a job is where it is."""
    async with settings.connect() as client:
        [item] = await _found(client, [job])
        answer = await client.explain_job(job)
    if json:
        console.print_json(console.plain(answer))
        return
    failed = answer.status == item.status == "FAILED"
    console.fields(
        [
            ("status", answer.status),
            ("summary", answer.summary),
            ("reason", item.status_reason if failed else ""),
            ("children", summary(counts(item)) if failed and _is_parent(item) else ""),
            ("depends on", _depends_on(item) if failed else ""),
            ("jobs ahead", str(answer.jobs_ahead) if answer.HasField("jobs_ahead") else ""),
            ("instance", _instance(answer.attempts[-1]) if answer.attempts else ""),
            *_states(item),
            *(_attempts(item, answer.attempts) if failed else ()),
        ]
    )
    if answer.reasons:
        console.line()
        console.table(
            ("REASON", "COUNT", "WHAT IT MEANS"),
            [(item.reason, str(item.count), item.detail) for item in answer.reasons],
        )
