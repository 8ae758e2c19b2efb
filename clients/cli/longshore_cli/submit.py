"""`submit`: a job from a registered definition."""

from typing import Annotated

import typer

from longshore.v1 import job_pb2
from longshore_cli import console
from longshore_cli.command import (
    WIRE_MAX,
    Array,
    Attempts,
    BeforeCommand,
    CommandLine,
    Environment,
    Json,
    MaxRunning,
    Parameter,
    Tag,
    Timeout,
    Token,
    coroutine,
    pairs,
)
from longshore_cli.settings import settings

#: Of a 64-bit number.
DIGITS_MAX = 19
#: What a part of a dependency says that is no job.
DEPENDENCY_WORDS = {
    "N_TO_N": "type",
    "SEQUENTIAL": "type",
    "SUCCESS": "condition",
    "COMPLETE": "condition",
    "FAILURE": "condition",
}


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command(cls=BeforeCommand)(submit)


@coroutine
async def submit(  # noqa: PLR0913, PLR0917 - each is an option
    name: Annotated[str, typer.Argument(metavar="NAME", help="The job's name.")],
    definition: Annotated[
        str, typer.Option("--definition", "-d", help="Job definition: NAME or NAME:REVISION.")
    ],
    command: CommandLine = None,
    queue: Annotated[str, typer.Option(help="Job queue.")] = "default",
    array: Array = None,
    max_running: MaxRunning = None,
    nodes: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=1000,
            help="Number of nodes, in place of a multi-node definition's.",
            show_default=False,
        ),
    ] = None,
    depends_on: Annotated[
        list[str] | None,
        typer.Option(
            metavar="JOB[,N_TO_N]|SEQUENTIAL[,COMPLETE|FAILURE]",
            help="What must have succeeded before; with COMPLETE ended in any way, with FAILURE "
            "failed (Slurm's afterok, afterany, afternotok). Repeatable.",
        ),
    ] = None,
    parameter: Parameter = None,
    env: Environment = None,
    vcpus: Annotated[
        float | None, typer.Option(min=0.125, max=WIRE_MAX, help="vCPUs.", show_default=False)
    ] = None,
    memory: Annotated[
        int | None, typer.Option(min=4, max=WIRE_MAX, help="Memory in MiB.", show_default=False)
    ] = None,
    attempts: Attempts = None,
    oom_memory_factor: Annotated[
        float | None,
        typer.Option(
            help="After an attempt that ran out of memory the next one has so many times as much; "
            "with --attempts and --oom-memory-max.",
            show_default=False,
        ),
    ] = None,
    oom_memory_max: Annotated[
        int | None,
        typer.Option(
            min=1, max=WIRE_MAX, metavar="MIB", help="Most that it gets so.", show_default=False
        ),
    ] = None,
    timeout_seconds: Timeout = None,
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
    consumable: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=UNITS",
            help="What it needs of a consumable resource, in place of all that the definition "
            "says. Repeatable.",
        ),
    ] = None,
    tag: Tag = None,
    token: Token = None,
    json: Json = False,
) -> None:
    """Submit a job and print its id."""
    async with settings.connect() as client:
        job_id = await client.submit_job(
            name,
            queue=queue,
            definition=definition,
            command=command,
            env=pairs(env, "--env"),
            vcpus=vcpus,
            memory_mib=memory,
            parameters=pairs(parameter, "--parameter"),
            array_size=array,
            max_running=max_running,
            num_nodes=nodes,
            depends_on=[dependency(item) for item in depends_on or ()],
            attempts=attempts,
            timeout_seconds=timeout_seconds,
            share=share,
            priority=priority,
            consumables=None if consumable is None else _units(consumable),
            tags=pairs(tag, "--tag"),
            client_token=token,
            oom_memory_factor=oom_memory_factor,
            oom_memory_max_mib=oom_memory_max,
        )
    if json:
        console.print_json({"jobId": job_id, "jobName": name})
    else:
        console.line(job_id)


def _units(items: list[str]) -> dict[str, int]:
    """NAME=UNITS items as a mapping.

    Raises:
        BadParameter: an item is malformed.
    """
    units = {}
    for name, text in pairs(items, "--consumable").items():
        if not (text.isascii() and text.isdecimal()) or len(text) > DIGITS_MAX:
            raise typer.BadParameter(f"--consumable takes NAME=UNITS, not {name}={text!r}.")
        units[name] = int(text)
    return units


def dependency(text: str) -> job_pb2.JobDependency:
    """A dependency from `JOB`, `JOB,N_TO_N` or `SEQUENTIAL`, each with a condition or without.

    AWS's `jobId=...,type=...` works too.

    Raises:
        BadParameter: there is something else in it.
    """
    said: dict[str, str] = {}
    for part in text.split(","):
        name, equals, value = part.partition("=")
        if not equals:
            name, value = DEPENDENCY_WORDS.get(part, "jobId"), part
        is_known = DEPENDENCY_WORDS.get(value) == name or (name == "jobId" and value)
        if not is_known or name in said:
            raise typer.BadParameter(
                "--depends-on takes JOB, JOB,N_TO_N or SEQUENTIAL, and behind it COMPLETE or "
                f"FAILURE, not {text!r}."
            )
        said[name] = value
    return job_pb2.JobDependency(
        job_id=said.get("jobId"), type=said.get("type"), condition=said.get("condition")
    )
