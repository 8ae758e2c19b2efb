"""`definition`: job definitions."""

import json as json_module
from pathlib import Path
from typing import Annotated

import typer
from google.protobuf.json_format import ParseDict, ParseError

from longshore.v1 import job_definition_pb2
from longshore_cli import console
from longshore_cli.command import (
    WIRE_MAX,
    Attempts,
    BeforeCommand,
    CommandLine,
    Environment,
    Json,
    Parameter,
    Tag,
    Timeout,
    coroutine,
    mounts,
    pairs,
)
from longshore_cli.run import DEFAULT_MEMORY_MIB
from longshore_cli.settings import settings
from longshore_client import Client, InvalidRequest, NotFound, build

#: Most that is read of a file; a service takes far less.
FILE_BYTES_MAX = 1024 * 1024

app = typer.Typer(no_args_is_help=True, help="Job definitions.", rich_markup_mode=None)


@app.command(cls=BeforeCommand)
@coroutine
async def register(  # noqa: PLR0913, PLR0917 - each is an option
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="NAME",
            help="The definition's name; by default the one in --file.",
            show_default=False,
        ),
    ] = None,
    command: CommandLine = None,
    image: Annotated[str | None, typer.Option(help="Image to run.", show_default=False)] = None,
    file: Annotated[
        Path | None,
        typer.Option(
            help="JSON file as for `aws batch register-job-definition`, instead of other options.",
            show_default=False,
        ),
    ] = None,
    vcpus: Annotated[
        float | None,
        typer.Option(min=0.125, max=WIRE_MAX, help="vCPUs, a share.", show_default="1"),
    ] = None,
    memory: Annotated[
        int | None,
        typer.Option(
            min=4,
            max=WIRE_MAX,
            help="Memory in MiB, a hard limit.",
            show_default=str(DEFAULT_MEMORY_MIB),
        ),
    ] = None,
    env: Environment = None,
    volume: Annotated[
        list[str] | None,
        typer.Option(
            "--volume", "-v", metavar="HOST:CONTAINER[:ro]", help="Directory to mount; repeatable."
        ),
    ] = None,
    parameter: Parameter = None,
    attempts: Attempts = None,
    timeout_seconds: Timeout = None,
    tag: Tag = None,
    json: Json = False,
) -> None:
    """Register a job definition, or the next revision of one."""
    if (image is None) == (file is None):
        raise typer.BadParameter("Either --image or --file says what to run.")
    if file is not None:
        others = (command, vcpus, memory, env, volume, parameter, attempts, timeout_seconds, tag)
        if any(others):
            raise typer.BadParameter("--file says everything; other options cannot be beside it.")
        request = _read(name, file)
    elif name is None:
        raise typer.BadParameter("Without --file a NAME is needed.")
    else:
        request = job_definition_pb2.RegisterJobDefinitionRequest(
            job_definition_name=name,
            type="container",
            container_properties=build.container(
                image or "",
                command or (),
                vcpus=vcpus or 1,
                memory_mib=memory or DEFAULT_MEMORY_MIB,
                env=pairs(env, "--env"),
                mounts=mounts(volume),
            ),
            parameters=pairs(parameter, "--parameter"),
            tags=pairs(tag, "--tag"),
        )
        if attempts is not None:
            request.retry_strategy.attempts = attempts
        if timeout_seconds is not None:
            request.timeout.attempt_duration_seconds = timeout_seconds
    async with settings.connect() as client:
        revision = await client.register_definition(request)
    if json:
        console.print_json({"jobDefinition": revision})
    else:
        console.line(revision)


def _read(name: str | None, file: Path) -> job_definition_pb2.RegisterJobDefinitionRequest:
    try:
        with file.open("rb") as opened:
            content = opened.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise InvalidRequest(f"{file} cannot be read: {error.strerror}.") from error
    if len(content) > FILE_BYTES_MAX:
        raise InvalidRequest(f"{file} has more than the {FILE_BYTES_MAX} bytes that are read.")
    try:
        document = json_module.loads(content)
        if not isinstance(document, dict):
            raise InvalidRequest(f"{file} is not a job definition in JSON: it holds no object.")
        request = ParseDict(document, job_definition_pb2.RegisterJobDefinitionRequest())
    except RecursionError as error:
        raise InvalidRequest(f"{file} is not a job definition: it is nested too deep.") from error
    except (ValueError, ParseError) as error:
        # What follows the first line lists protobuf's own names.
        why = str(error).partition("\n")[0]
        raise InvalidRequest(f"{file} is not a job definition in JSON: {why}") from error
    request.job_definition_name = name or request.job_definition_name
    return request


@app.command("list")
@coroutine
async def list_(
    name: Annotated[
        str | None,
        typer.Argument(metavar="NAME", help="Only revisions of this name.", show_default=False),
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="INACTIVE revisions as well.")] = False,
    json: Json = False,
) -> None:
    """List job definitions."""
    async with settings.connect() as client:
        found = [
            item async for item in client.list_definitions(name, status=None if every else "ACTIVE")
        ]
        if name is not None and not found and not await _has_revisions(client, name):
            raise NotFound(
                f"There is no job definition {name}; `longshore definition list` lists those there "
                "are."
            )
    if json:
        console.print_json([console.plain(item) for item in found])
        return
    console.table(
        ("DEFINITION", "STATUS", "TYPE", "IMAGE", "COMMAND"),
        [
            (
                f"{item.job_definition_name}:{item.revision}",
                item.status,
                item.type,
                ", ".join(dict.fromkeys(container.image for container in _containers(item))),
                ", ".join(
                    dict.fromkeys(" ".join(container.command) for container in _containers(item))
                ),
            )
            for item in found
        ],
    )


async def _has_revisions(client: Client, name: str) -> bool:
    """Whether there is a definition, be it INACTIVE."""
    async for _ in client.list_definitions(name):
        return True
    return False


def _containers(
    definition: job_definition_pb2.JobDefinition,
) -> list[job_definition_pb2.ContainerProperties]:
    """What it runs: one container, or one for each range of nodes."""
    if definition.HasField("node_properties"):
        return [item.container for item in definition.node_properties.node_range_properties]
    return [definition.container_properties]


@app.command()
@coroutine
async def deregister(
    definition: Annotated[
        str,
        typer.Argument(metavar="NAME[:REVISION]", help="Which revision; else the newest ACTIVE."),
    ],
) -> None:
    """Make a revision INACTIVE; jobs made from it are not affected."""
    async with settings.connect() as client:
        await client.deregister_definition(definition)
    console.say(f"deregistered {definition}")
