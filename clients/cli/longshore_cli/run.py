"""`run`: one image, one command, now; as plain as running it by hand."""

import asyncio
import contextlib
import re
import signal
import sys
from collections.abc import Callable, Iterator
from typing import Annotated

import typer

from longshore.v1 import job_definition_pb2, job_pb2
from longshore_cli import console, exit_code
from longshore_cli.command import (
    WIRE_MAX,
    Array,
    Attempts,
    BeforeCommand,
    CommandLine,
    Environment,
    MaxRunning,
    Timeout,
    coroutine,
    mounts,
    pairs,
)
from longshore_cli.progress import Progress
from longshore_cli.settings import settings
from longshore_client import Client, LogLine, build
from longshore_client.errors import LongshoreError
from longshore_client.jobs import FINAL

DEFAULT_MEMORY_MIB = 512
#: A job that waits longer is worth a word on what it waits for.
REMARK_SECONDS = 3.0
#: Signals that end the job with the command.
_ENDING = (signal.SIGINT, signal.SIGTERM)


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command(cls=BeforeCommand)(run)


@coroutine
async def run(  # noqa: PLR0913, PLR0917 - each is an option
    image: Annotated[str, typer.Argument(metavar="IMAGE", help="Image to run.")],
    command: CommandLine = None,
    queue: Annotated[str, typer.Option(help="Job queue.")] = "default",
    name: Annotated[str | None, typer.Option(help="The job's name.", show_default=False)] = None,
    vcpus: Annotated[float, typer.Option(min=0.125, max=WIRE_MAX, help="vCPUs, a share.")] = 1,
    memory: Annotated[
        int, typer.Option(min=4, max=WIRE_MAX, help="Memory in MiB, a hard limit.")
    ] = DEFAULT_MEMORY_MIB,
    env: Environment = None,
    volume: Annotated[
        list[str] | None,
        typer.Option(
            "--volume", "-v", metavar="HOST:CONTAINER[:ro]", help="Directory to mount; repeatable."
        ),
    ] = None,
    array: Array = None,
    max_running: MaxRunning = None,
    attempts: Attempts = None,
    timeout_seconds: Timeout = None,
) -> int:
    """Submit a job, follow its log, and leave with its exit code.

    Ctrl-C or SIGTERM asks to terminate the job and waits for its end; a second one does not wait.
    """
    container = build.container(
        image, vcpus=1, memory_mib=DEFAULT_MEMORY_MIB, mounts=mounts(volume)
    )
    variables = pairs(env, "--env")
    async with settings.connect() as client:
        definition = await reuse_definition(client, definition_name(image), container)
        job_id = await client.submit_job(
            name or definition_name(image),
            queue=queue,
            definition=definition,
            command=command,
            env=variables,
            vcpus=vcpus,
            memory_mib=memory,
            array_size=array,
            max_running=max_running,
            attempts=attempts,
            timeout_seconds=timeout_seconds,
        )
        console.say(f"job {job_id} in queue {queue}")
        progress = None if array is None else Progress(["children"])
        say = console.say if progress is None else progress.say
        with _interrupt(client, job_id, say) as interrupted:
            if progress is None:
                await follow(client, job_id)
            else:
                await _show_array(client, job_id, progress)
        job = await client.describe_job(job_id)
    return exit_code.INTERRUPTED if interrupted else outcome(job)


def definition_name(image: str) -> str:
    """A definition's name for an image: what a name may hold, at most 128 characters."""
    name = re.sub(r"[^0-9A-Za-z_-]+", "-", image.rpartition("/")[2]).strip("-_")
    return name[:128] or "run"


async def reuse_definition(
    client: Client, name: str, container: job_definition_pb2.ContainerProperties
) -> str:
    """The newest ACTIVE revision with the same container, or a new one: `name:revision`."""
    async for known in client.list_definitions(name):
        if _essence(known.container_properties) == _essence(container):
            return f"{known.job_definition_name}:{known.revision}"
    return await client.register_container_definition(name, container)


def _essence(container: job_definition_pb2.ContainerProperties) -> tuple[object, ...]:
    """What `run` puts into a definition, comparable; everything else is said at submission."""
    return (
        container.image,
        list(container.command),
        sorted((item.type, item.value) for item in container.resource_requirements),
        [(item.name, item.host.source_path) for item in container.volumes],
        [
            (item.source_volume, item.container_path, item.read_only)
            for item in container.mount_points
        ],
        sorted((item.name, item.value) for item in container.environment),
    )


async def follow(client: Client, job_id: str) -> None:
    """Prints what the job prints until it has ended, and what it waits for before."""
    remarks = asyncio.create_task(_remark(client, job_id))
    try:
        async for line in client.job_logs(job_id, follow=True):
            remarks.cancel()
            write(line)
    finally:
        remarks.cancel()
        with contextlib.suppress(asyncio.CancelledError, LongshoreError):
            await remarks


def write(line: LogLine, prefix: str = "") -> None:
    """Prints a line where the job printed it: standard output or error."""
    stream = sys.stderr if line.is_stderr else sys.stdout
    stream.write(f"{prefix}{line.text}" + ("" if line.partial else "\n"))
    stream.flush()


async def _remark(client: Client, job_id: str) -> None:
    """Says why the job does not run yet, whenever the reason is another one."""
    await asyncio.sleep(REMARK_SECONDS)
    said = ""
    async for (job,) in client.watch([job_id]):
        if job.status in FINAL:
            return
        remark = f"{job.status}: {job.status_reason}" if job.status_reason else job.status
        if job.status != "RUNNING" and remark != said:
            console.say(remark)
        said = remark


async def _show_array(client: Client, job_id: str, progress: Progress) -> None:
    with progress:
        async for jobs in client.watch([job_id]):
            progress.show(jobs, final=all(job.status in FINAL for job in jobs))


@contextlib.contextmanager
def _interrupt(
    client: Client, job_id: str, say: Callable[[str], None]
) -> Iterator[list[asyncio.Task[None]]]:
    """Turns Ctrl-C and SIGTERM into a request to terminate the job.

    Yields a list that is not empty from then on.
    """
    interrupts: list[asyncio.Task[None]] = []
    loop = asyncio.get_running_loop()
    main = asyncio.current_task()

    async def terminate() -> None:
        try:
            await client.terminate_job(job_id, "Interrupted by the user.")
        except LongshoreError as error:
            say(f"the job could not be terminated: {error.message}")

    def on_interrupt() -> None:
        if interrupts:
            say(f"not waiting for the end of the job; see: longshore describe {job_id}")
            if main is not None:
                main.cancel()
            return
        say("terminating the job; Ctrl-C again does not wait for its end")
        interrupts.append(loop.create_task(terminate()))

    # Ctrl-C of a person, SIGTERM of what runs the command for one: a pipeline, or `timeout`.
    for number in _ENDING:
        loop.add_signal_handler(number, on_interrupt)
    try:
        yield interrupts
    except asyncio.CancelledError:
        if len(interrupts) == 0:
            raise
        raise typer.Exit(exit_code.INTERRUPTED) from None
    finally:
        for number in _ENDING:
            loop.remove_signal_handler(number)


def outcome(job: job_pb2.JobDetail) -> int:
    """The exit code that stands for a job's end; says why where the job itself did not."""
    if job.status == "SUCCEEDED":
        return exit_code.OK
    code = job.container.exit_code if job.container.HasField("exit_code") else 0
    if not code or job.container.reason:
        why = console.told(job.status_reason, job.container.reason)
        console.fail(f"Job {job.job_id} FAILED: {why or 'no reason was given'}")
    return code or exit_code.NEGATIVE
