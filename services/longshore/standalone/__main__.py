"""Starts or stops a whole stack: `python -m longshore.standalone [up|down|migrate]`.

`up` (the default) stays in the foreground until SIGTERM. Exit codes: 0 after a clean stop, 1 for a
failure (told in the record), 2 for wrong settings, 4 if the data directory's stack runs already.
`down` stops the data directory's stack, or what a killed one left behind; 0 also if there was
nothing. `migrate` brings the database of LONGSHORE_DATABASE_URL to the newest schema, for services
that run elsewhere, and makes the stack's key and its first access key beside it.
"""

import asyncio
import os
import sys

import structlog

from longshore.domain.errors import LongshoreError
from longshore.runtime.config import Settings
from longshore.runtime.lock import Lock
from longshore.runtime.process import run_until_stopped
from longshore.runtime.stack_key import StackKey, make_key
from longshore.standalone import leftovers
from longshore.standalone.config import StandaloneConfig
from longshore.standalone.first_key import ensure_first_key
from longshore.standalone.stack import Stack, stop_orphans
from longshore.state.embedded import EmbeddedPostgres
from longshore.state.migrate import migrate

log = structlog.get_logger()

ALREADY_RUNNING = 4
#: Longest time that `down` waits for a supervisor to stop everything.
DOWN_SECONDS = 240.0


async def _up(stop: asyncio.Event) -> int:
    config = StandaloneConfig.from_environment(os.environ)
    config.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    lock = Lock.of(config.data_dir)
    if not lock.take():
        return ALREADY_RUNNING
    stack = Stack(config, os.environ)
    failure = await _serve(stack, stop, config.start_seconds)
    # Only who asks for the end of the stack asks for that of jobs.
    await stack.down(ends_instances=not (failure and stack.keeps_instances))
    stack.tell_end(failure)
    lock.release()
    if failure:
        log.error("stack.failed", error=failure)
    return 1 if failure else 0


async def _serve(stack: Stack, stop: asyncio.Event, start_seconds: float) -> str:
    """Brings the stack up and supervises it until asked to stop; returns why it failed, or ''."""

    async def live() -> None:
        await stack.up()
        await stack.supervise()

    living = asyncio.create_task(live())
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({living, stopping}, return_when=asyncio.FIRST_COMPLETED)
    for task in (living, stopping):
        task.cancel()
    (outcome, _) = await asyncio.gather(living, stopping, return_exceptions=True)
    match outcome:
        case LongshoreError():
            return outcome.message
        case TimeoutError():
            return f"Not everything was serving after {start_seconds:g} s; see the logs."
        case Exception():
            log.error("stack.broken", exc_info=outcome)
            return f"The supervisor failed ({type(outcome).__name__}); its log has the details."
        case _:
            return ""


async def _down(_stop: asyncio.Event) -> int:
    config = StandaloneConfig.from_environment(os.environ)
    if not config.data_dir.exists():
        return 0
    running = leftovers.supervisor(config.data_dir)
    if running is not None:
        await asyncio.to_thread(leftovers.stop, [running], DOWN_SECONDS)
    lock = Lock.of(config.data_dir)
    if not lock.take():
        log.error("stack.locked", data_dir=str(config.data_dir))
        return 1
    # After a clean stop nothing of this is there; after a killed supervisor all of it may be.
    await stop_orphans(config.data_dir)
    await asyncio.to_thread(EmbeddedPostgres(config.postgres_directory).stop)
    lock.release()
    return 0


async def _migrate(_stop: asyncio.Event) -> int:
    settings = Settings(os.environ)
    applied = await migrate(settings.database_url())
    log.info("database.migrated", migrations=applied)
    access = settings.access()
    if not access.is_open:
        await asyncio.to_thread(make_key, access.key_path)
        key = await asyncio.to_thread(StackKey.read, access.key_path)
        await ensure_first_key(access.key_path.parent, settings.database_url(), key)
    return 0


_ACTIONS = {"up": _up, "down": _down, "migrate": _migrate}

if __name__ == "__main__":
    action = (sys.argv[1:] or ["up"])[0]
    if action not in _ACTIONS:
        sys.exit(f"standalone: {action!r} is not one of {', '.join(_ACTIONS)}")
    sys.exit(run_until_stopped("standalone", _ACTIONS[action]))
