"""The ends of containers, from one stream of the engine's events."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import structlog

from longshore.agent.docker.container import INSTANCE_LABEL
from longshore.agent.docker.engine import (
    Engine,
    EngineAwayError,
    EngineError,
    EngineTimeoutError,
    filters,
)

log = structlog.get_logger()

RETRY_SECONDS = 0.5


async def watch_events(
    engine: Engine,
    instance_id: str,
    handle: Callable[[dict[str, Any]], None],
    reconcile: Callable[[], Awaitable[None]],
    suspect: Callable[[], object],
) -> None:
    """Hands on the events of an instance's containers, until cancelled.

    Args:
        engine: where they happen.
        instance_id: whose containers.
        handle: takes one event.
        reconcile: looks at all containers; called whenever the stream is (again) in place, so that
            what happened in between is seen. Its own failures break the stream.
        suspect: called when the stream broke.
    """
    params = {
        "filters": filters(
            type=["container"],
            event=["start", "oom", "die", "destroy"],
            label=[f"{INSTANCE_LABEL}={instance_id}"],
        )
    }
    broken = False
    while True:
        try:
            async with engine.stream("events", params) as body:
                await reconcile()
                if broken:
                    log.info("events.resumed")
                broken = False
                while line := await body.readline():
                    handle(json.loads(line))
            suspect()
        except (EngineError, EngineAwayError, EngineTimeoutError) as error:
            if not broken:
                log.warning("events.broken", error=str(error))
                suspect()
            broken = True
        await asyncio.sleep(RETRY_SECONDS)
