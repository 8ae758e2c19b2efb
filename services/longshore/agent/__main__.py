"""Starts the agent."""

import asyncio
import contextlib
import signal
import sys
from importlib.metadata import version
from pathlib import Path

import structlog

from longshore.agent.attempts.attempt import RuntimeAway
from longshore.agent.attempts.crew import Crew
from longshore.agent.config import AgentConfig
from longshore.agent.docker.engine import SOCKETS, Engine, engine_address
from longshore.agent.docker.engine_log import follow
from longshore.agent.docker.runtime import DockerRuntime
from longshore.agent.endpoint.endpoint import Endpoint, open_endpoint
from longshore.agent.endpoint.role import Issuer
from longshore.agent.endpoint.sts import open_sts
from longshore.agent.health import HealthWatch
from longshore.agent.joining import enrol, renewing
from longshore.agent.logs.diary import Diary
from longshore.agent.logs.shipper import Shipper
from longshore.agent.logs.spool import Spool
from longshore.agent.process.runtime import ProcessRuntime
from longshore.agent.reporting.journal import Journal
from longshore.agent.reporting.notice import MetadataWatch
from longshore.agent.reporting.stream import AgentIdentity, SchedulerStream
from longshore.agent.runtime import Runtime
from longshore.agent.secret.reading import Secrets
from longshore.agent.secret.sources import open_sources
from longshore.agent.simulated_runtime import SimulatedRuntime
from longshore.domain.errors import LongshoreError, Unavailable
from longshore.domain.job.job import host_terminated
from longshore.runtime.lock import Lock
from longshore.runtime.logs import heard_by
from longshore.runtime.metrics import serve_metrics
from longshore.runtime.process import run_until_stopped
from longshore.v1 import resources_pb2

log = structlog.get_logger()

#: How long a terminated agent tries to tell the scheduler how its attempts ended.
TELL_SECONDS = 10.0
#: How long what an agent says last may take to the log service.
LAST_WORDS_SECONDS = 5.0
#: How long what an earlier life left is looked for before the instance is registered without it.
RECOVER_SECONDS = 10.0


async def open_runtime(config: AgentConfig, spool: Spool, endpoint: Endpoint) -> Runtime:
    """The runtime that the settings name; for `auto`, Docker where it answers, else processes.

    What `auto` took stays: an engine that is away for a while, or starts after the agent, would
    otherwise have its containers taken for gone, and jobs run beside it as processes. Processes
    stay as long as attempts may be left of them.
    """
    if config.runtime != "auto":
        return await _open_runtime(config, config.runtime, spool, endpoint)
    taken = _taken_runtime(config)
    wanted = taken.read_text() if taken.exists() else "auto"
    runtime = await _open_runtime(config, wanted, spool, endpoint)
    taken.write_text("docker" if runtime.kind == resources_pb2.RUNTIME_DOCKER else "process")
    return runtime


def _taken_runtime(config: AgentConfig) -> Path:
    return config.data_dir / "runtime"


async def _open_runtime(
    config: AgentConfig, wanted: str, spool: Spool, endpoint: Endpoint
) -> Runtime:
    if wanted == "simulated":
        return SimulatedRuntime()
    secrets = Secrets(open_sources(config.secrets, config.aws_region))
    if wanted != "process":
        address = engine_address()
        if address is None and wanted == "docker":
            # It makes its socket when it starts.
            address = f"unix://{SOCKETS[0]}"
        if address is not None:
            engine = Engine(address)
            # One that is asked for is waited for, by the agent as a whole.
            if wanted == "docker" or await engine.answers():
                return DockerRuntime(config, engine, spool, endpoint, secrets)
            await engine.close()
    return ProcessRuntime(config, spool, endpoint, secrets)


async def main(stop: asyncio.Event) -> int:
    """Runs the agent until it is stopped, drained, or told that the instance is over.

    SIGTERM ends the agent alone: what it runs goes on, and the next start takes it up. SIGUSR1 ends
    the instance: all that runs is stopped as a job is, reported, and the agent exits.
    """
    config = AgentConfig.from_environment()
    config.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    lock = Lock.of(config.data_dir)
    if not lock.take():
        raise Unavailable(
            f"{config.data_dir} is in use by another agent; "
            "choose another one with LONGSHORE_DATA_DIR."
        )
    config = await _joined(config, stop)
    spool = Spool(config.data_dir / "logs")
    async with contextlib.AsyncExitStack() as stack:
        endpoint = open_endpoint(config, await _open_issuer(config, stack))
        stack.push_async_callback(endpoint.close)
        return await _run(config, spool, endpoint, lock, stop)


async def _joined(config: AgentConfig, stop: asyncio.Event) -> AgentConfig:
    """The settings, once the machine has its place in a stack.

    Raises:
        LongshoreError: it may not join.
        Unavailable: it was stopped before.
    """
    joining = asyncio.ensure_future(enrol(config))
    stopped = asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait({joining, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if not joining.done():
            raise Unavailable("The agent was stopped before the machine had joined.")
        return joining.result()
    finally:
        joining.cancel()
        stopped.cancel()


async def _open_issuer(config: AgentConfig, stack: contextlib.AsyncExitStack) -> Issuer | None:
    if config.job_roles == "none":
        return None
    return await stack.enter_async_context(open_sts(config.sts_region, config.sts_endpoint_url))


async def _run(
    config: AgentConfig, spool: Spool, endpoint: Endpoint, lock: Lock, stop: asyncio.Event
) -> int:
    runtime = await open_runtime(config, spool, endpoint)
    simulated = runtime.kind == resources_pb2.RUNTIME_SIMULATED
    journal = Journal(None if simulated else config.data_dir / "journal")
    last, refusal = False, None
    diary = (
        None
        if simulated
        else Diary(config.instance_id, "agent", config.logs_address, config.identity)
    )
    with contextlib.ExitStack() as stack:
        if diary is not None:
            stack.enter_context(heard_by(diary.take))
        if config.metrics_address:
            stack.enter_context(serve_metrics(config.metrics_address))
        stack.callback(lock.release)
        stack.callback(journal.close)
        log.info(
            "agent.started",
            instance_id=config.instance_id,
            runtime=resources_pb2.Runtime.Name(runtime.kind),
            vcpu_milli=config.vcpu_milli,
            memory_mib=config.memory_mib,
        )
        try:
            last, refusal = await _serve(config, runtime, journal, spool, endpoint, diary, stop)
        finally:
            await runtime.close(last=last)
            if last and runtime.kind != resources_pb2.RUNTIME_DOCKER:
                _taken_runtime(config).unlink(missing_ok=True)
    if refusal is not None:
        raise refusal
    return 0


async def _serve(
    config: AgentConfig,
    runtime: Runtime,
    journal: Journal,
    spool: Spool,
    endpoint: Endpoint,
    diary: Diary | None,
    stop: asyncio.Event,
) -> tuple[bool, LongshoreError | None]:
    """Serves until it is over.

    Returns whether nothing is left for a next agent of the instance to find, and why it may not
    join, if it is that.
    """
    terminate = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, terminate.set)
    shipper = Shipper(config.logs_address, spool, config.identity)
    async with asyncio.TaskGroup() as group:
        health = HealthWatch(runtime, config.disk_free_mib)
        crew = Crew(runtime, health, journal, config.concurrent_starts, group)
        identity = AgentIdentity(runtime.kind, version("longshore"))
        stream = SchedulerStream(config, identity, crew, health)
        await health.look()
        tasks = [
            group.create_task(health.run()),
            group.create_task(_recover(crew, runtime, health, spool, shipper)),
        ]
        if health.is_there:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(RECOVER_SECONDS):
                    await crew.recovered.wait()
        works = [
            endpoint.run(),
            crew.outbox.run(),
            stream.run(),
            renewing(config, stream.refuse),
        ]
        if config.metadata == "ec2":
            watch = MetadataWatch(
                stream.give_notice, config.metadata_endpoint, config.metadata_seconds
            )
            works.append(watch.run())
        if diary is not None:
            works.append(diary.run())
        if runtime.kind == resources_pb2.RUNTIME_DOCKER and config.engine_log != "none":
            works.append(_tell_engine_log(config))
        tasks += [group.create_task(work) for work in works]
        over = await _until_end(config.instance_id, crew, stream, stop, terminate)
        if over:
            await shipper.drained(config.log_drain_seconds)
            if diary is not None:
                await diary.drained(LAST_WORDS_SECONDS)
        for task in (*tasks, *crew.tasks()):
            task.cancel()
    return over or (crew.recovered.is_set() and crew.empty), stream.refusal


async def _tell_engine_log(config: AgentConfig) -> None:
    """Sends what the engine says of itself to the log service, until cancelled."""
    diary = Diary(config.instance_id, "engine", config.logs_address, config.identity)
    async with asyncio.TaskGroup() as group:
        group.create_task(diary.run())
        group.create_task(follow(config.engine_log, diary.take))


async def _recover(
    crew: Crew, runtime: Runtime, health: HealthWatch, spool: Spool, shipper: Shipper
) -> None:
    """Goes on where an earlier life ended, once the runtime is there, and with what it does then.

    The instance is registered meanwhile, as one whose engine is away.
    """
    while not crew.recovered.is_set():
        await health.there()
        try:
            await crew.recover()
        except RuntimeAway as error:
            log.warning("engine.away", error=str(error))
            health.suspect()
    await spool.finish_others(crew.log_names())
    async with asyncio.TaskGroup() as group:
        group.create_task(runtime.run(health.suspect))
        group.create_task(shipper.run())


async def _until_end(
    instance_id: str,
    crew: Crew,
    stream: SchedulerStream,
    stop: asyncio.Event,
    terminate: asyncio.Event,
) -> bool:
    """Waits for a reason to end. Returns whether it ends the instance, not just the agent."""
    ends = {
        "stopped": asyncio.ensure_future(stop.wait()),
        "terminated": asyncio.ensure_future(terminate.wait()),
        "over": asyncio.ensure_future(stream.over.wait()),
        "drained": asyncio.ensure_future(_drained(crew, stream)),
    }
    try:
        await asyncio.wait(ends.values(), return_when=asyncio.FIRST_COMPLETED)
        end = next(name for name, wait in ends.items() if wait.done())
        log.info("agent.ending", why=end, live_attempts=crew.live())
        if end in ("terminated", "over"):
            crew.stop_all(host_terminated(instance_id))
            over = asyncio.ensure_future(crew.wait_until_over())
            await asyncio.wait({over, ends["stopped"]}, return_when=asyncio.FIRST_COMPLETED)
            over.cancel()
        if end == "terminated":
            await crew.told(TELL_SECONDS)
    finally:
        for wait in ends.values():
            wait.cancel()
    return end != "stopped"


async def _drained(crew: Crew, stream: SchedulerStream) -> None:
    await stream.draining.wait()
    while not crew.empty:
        crew.changed.clear()
        await crew.changed.wait()


if __name__ == "__main__":
    sys.exit(run_until_stopped("agent", main))
