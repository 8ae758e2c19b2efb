"""Start and stop of a service's process."""

import asyncio
import atexit
import gc
import signal
import sys
from collections.abc import Awaitable, Callable

import structlog
import uvloop

from longshore.domain.errors import LongshoreError
from longshore.runtime.config import ConfigError
from longshore.runtime.logs import configure_logging
from longshore.runtime.tracing import TracesConfig, tracing

log = structlog.get_logger()


async def _run(main: Callable[[asyncio.Event], Awaitable[int | None]]) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    log.info("service.starting")
    code = await main(stop)
    log.info("service.stopped", code=code or 0)
    return code or 0


def run_until_stopped(name: str, main: Callable[[asyncio.Event], Awaitable[int | None]]) -> int:
    """Runs a service until it returns; its event is set on SIGTERM and SIGINT.

    Args:
        name: name of the service, bound to its log lines.
        main: builds the service, serves until the event is set, drains, closes; may return an exit
            code.

    Returns:
        The process's exit code: 0 after a clean stop, 2 for wrong settings, 1 for a failure.
    """
    configure_logging(name)
    # What was loaded stays: the collector need not look through it each time.
    gc.freeze()
    # What is left goes with the process: nobody need look through it for what could go before.
    atexit.register(gc.freeze)
    try:
        with tracing(name, TracesConfig.from_environment()):
            return uvloop.run(_run(main))
    except ConfigError as error:
        sys.stderr.write(f"{name}: {error.message}\n")
        return 2
    except LongshoreError as error:
        log.error("service.failed", error=error.message)  # noqa: TRY400 - foreseen: no traceback
        return 1
