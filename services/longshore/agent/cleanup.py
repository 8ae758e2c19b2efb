"""Ends what an instance left running: `python -m longshore.agent.cleanup`.

It takes the agent's environment, and is for an instance that is over on record and whose agent is
gone: its containers and volumes are removed by their label, the sandbox among them, and its process
groups are killed. Nothing is reported: the scheduler itself ends the attempts of a terminated
instance.

Exit codes: 0 when nothing is left; another one when something may be, so that it is run again.
"""

import asyncio
import sys

import structlog
from aiodocker.containers import DockerContainer

from longshore.agent.config import AgentConfig
from longshore.agent.docker.container import INSTANCE_LABEL
from longshore.agent.docker.engine import Engine, EngineError, engine_address, filters
from longshore.agent.endpoint.endpoint import open_endpoint
from longshore.agent.logs.spool import Spool
from longshore.agent.process.runtime import ProcessRuntime
from longshore.agent.secret.reading import Secrets
from longshore.runtime.process import run_until_stopped

log = structlog.get_logger()

CALL_SECONDS = 20.0
#: Containers removed at one time.
CONCURRENT_REMOVALS = 8


async def remove_containers(engine: Engine, instance_id: str) -> int:
    """Removes an instance's containers and volumes by label; returns how many containers."""
    label = f"{INSTANCE_LABEL}={instance_id}"
    containers = await engine.call(
        engine.docker.containers.list(all="1", filters=filters(label=[label])), CALL_SECONDS
    )
    removals = asyncio.Semaphore(CONCURRENT_REMOVALS)

    async def remove(container: DockerContainer) -> None:
        async with removals:
            try:
                await engine.call(container.delete(force=True, v=True), CALL_SECONDS)
            except EngineError as error:
                if error.status not in (404, 409):  # gone already, or just going
                    raise

    async with asyncio.TaskGroup() as group:
        for container in containers:
            group.create_task(remove(container))
    volumes = await engine.call(
        engine.docker.volumes.list(filters={"label": [label]}),  # type: ignore[no-untyped-call]
        CALL_SECONDS,
    )
    for volume in volumes["Volumes"] or ():
        find = engine.docker.volumes.get(volume["Name"])  # type: ignore[no-untyped-call]
        await engine.call((await engine.call(find, CALL_SECONDS)).delete(), CALL_SECONDS)
    return len(containers)


async def main(stop: asyncio.Event) -> int:
    """Cleans up after the instance that the environment names."""
    del stop
    config = AgentConfig.from_environment()
    processes = containers = 0
    if (config.data_dir / "attempts").is_dir():
        endpoint = open_endpoint(config, None)
        spool = Spool(config.data_dir / "logs")
        runtime = ProcessRuntime(config, spool, endpoint, Secrets({}))
        for key, found in (await runtime.find()).items():
            await runtime.discard(key, found)
            processes += 1
    address = engine_address()
    if config.runtime == "docker" and address is None:
        log.error("engine.away")
        return 1
    if config.runtime in ("auto", "docker") and address is not None:
        engine = Engine(address)
        try:
            if not await engine.answers():
                log.error("engine.away", address=address)
                return 1
            containers = await remove_containers(engine, config.instance_id)
        finally:
            await engine.close()
    log.info("instance.cleaned", processes=processes, containers=containers)
    return 0


if __name__ == "__main__":
    sys.exit(run_until_stopped("cleanup", main))
