"""Moves an attempt one step toward what is desired."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import structlog

from longshore.agent.attempts.attempt import (
    Attempt,
    Exit,
    Phase,
    RuntimeAway,
    StepFailed,
    now,
)
from longshore.agent.health import HealthWatch
from longshore.agent.runtime import Runtime
from longshore.domain.job.job import ESSENTIAL_EXITED, FAILED_TO_START
from longshore.v1 import agent_service_pb2 as pb

log = structlog.get_logger()

#: Seconds until what failed after the start of an attempt is tried again.
RETRY_SECONDS = 2.0
#: Seconds between two tries to stop what has not ended.
STOP_AGAIN_SECONDS = 5.0
#: Times that the runtime may break off on an attempt's way to its start and answer again.
BROKEN_OFF_LIMIT = 10
#: Containers removed at one time; more would only take processor time from those that start.
CONCURRENT_REMOVALS = 3


class Controller:
    """The steps, over a runtime. How far an attempt is stands in the attempt alone."""

    def __init__(self, runtime: Runtime, health: HealthWatch, concurrent_starts: int) -> None:
        self._runtime = runtime
        self._health = health
        self._starts = asyncio.Semaphore(concurrent_starts)
        self._removals = asyncio.Semaphore(CONCURRENT_REMOVALS)

    async def step(self, attempt: Attempt) -> pb.AttemptChange | None:
        """Takes the next step of an attempt.

        Returns:
            What the scheduler should know of it, if anything.
        """
        match attempt.phase:
            case Phase.ACCEPTED:
                return await self._prepare(attempt)
            case Phase.READY:
                return await self._launch(attempt)
            case Phase.RUNNING:
                return await self._watch(attempt)
            case Phase.ENDED:
                await self._collect(attempt)
            case Phase.COLLECTED:
                await self._remove(attempt)
        return None

    async def recover(self, attempt: Attempt) -> pb.AttemptChange | None:
        """Goes on after a step that failed for a reason nobody foresaw.

        What does not run yet fails; what runs, or has run, is looked at again after a while.
        """
        if attempt.phase in (Phase.ACCEPTED, Phase.READY):
            return _failed_to_start(
                attempt, StepFailed("CannotStartContainerError", "the agent's log says why")
            )
        await asyncio.sleep(RETRY_SECONDS)
        return None

    async def _prepare(self, attempt: Attempt) -> pb.AttemptChange | None:
        if attempt.stopping:
            return _stopped_early(attempt)
        if not self._health.is_fit:
            return await self._wait_until_fit(attempt)
        try:
            if not self._runtime.prepared(attempt):
                await _unless_stopped(attempt, self._runtime.prepare(attempt))
        except StepFailed as error:
            return _failed_to_start(attempt, error)
        except RuntimeAway as error:
            return await self._wait_for_runtime(attempt, error)
        attempt.phase = Phase.READY
        return None

    async def _launch(self, attempt: Attempt) -> pb.AttemptChange | None:
        if not (attempt.stopping or self._health.is_fit):
            return await self._wait_until_fit(attempt)
        try:
            async with self._starts:
                # A start that was broken off may have come to pass.
                started_at = await self._runtime.started(attempt) if attempt.handle else None
                if started_at is None:
                    if attempt.stopping:
                        return _stopped_early(attempt)
                    if not self._health.is_fit:
                        return None
                    started_at = await self._runtime.launch(attempt)
        except StepFailed as error:
            self._health.failed(attempt.key.job_id.split(":")[0].split("#")[0], error)
            return _failed_to_start(attempt, error)
        except RuntimeAway as error:
            return await self._wait_for_runtime(attempt, error)
        self._health.started()
        return attempt.started(started_at)

    async def _wait_for_runtime(
        self, attempt: Attempt, error: RuntimeAway
    ) -> pb.AttemptChange | None:
        """Waits for a runtime that is away, unless it breaks off again and again."""
        attempt.broken_off += 1
        if attempt.broken_off > BROKEN_OFF_LIMIT:
            return _failed_to_start(attempt, StepFailed("DockerStateError", str(error)))
        self._health.suspect()
        return await self._wait_until_fit(attempt)

    async def _wait_until_fit(self, attempt: Attempt) -> pb.AttemptChange | None:
        """Waits until attempts can start here.

        What never reached the runtime does not once it is stopped, and is given back after a while;
        but not a node, without which the others of its job would wait in vain, nor one of several
        containers of which another did.
        """
        if attempt.handle:
            await self._health.fit()
        elif attempt.stopping:
            return None
        elif attempt.is_bound:
            await _unless_stopped(attempt, self._health.fit())
        else:
            try:
                async with asyncio.timeout_at(self._health.gives_back_at):
                    await _unless_stopped(attempt, self._health.fit())
            except TimeoutError:
                return attempt.returned(self._health.why_given_back())
        return None

    async def _watch(self, attempt: Attempt) -> pb.AttemptChange:
        stops: list[asyncio.Task[None]] = []
        attempt.on_stop = lambda: stops.append(asyncio.create_task(self._stop(attempt)))
        if attempt.stopping:
            attempt.on_stop()
        try:
            end = await self._runtime.wait(attempt)
        except StepFailed as error:
            end = Exit(None, now(), error.reason)
        finally:
            attempt.on_stop = None
            for stop in stops:
                stop.cancel()
            await asyncio.gather(*stops, return_exceptions=True)
        return attempt.ended(end, attempt.stop_reason or ESSENTIAL_EXITED)

    async def _stop(self, attempt: Attempt) -> None:
        """Stops it, and again if word of its end got lost, until cancelled because it has ended."""
        while True:
            try:
                await self._runtime.stop(attempt)
            except StepFailed as error:
                log.warning("attempt.not_stopped", job_id=attempt.key.job_id, error=str(error))
            await asyncio.sleep(STOP_AGAIN_SECONDS)

    async def _collect(self, attempt: Attempt) -> None:
        try:
            if attempt.parts:
                left = [part for part in attempt.parts if part.phase < Phase.COLLECTED]
                await asyncio.gather(*map(self._collect, left))
            else:
                await self._runtime.collect(attempt)
        except (StepFailed, OSError) as error:
            log.warning("attempt.log_incomplete", job_id=attempt.key.job_id, error=str(error))
        attempt.phase = Phase.COLLECTED

    async def _remove(self, attempt: Attempt) -> None:
        # Only what is on record for good may leave no trace.
        await attempt.journaled.wait()
        async with self._removals:
            try:
                # What they share goes after them.
                for one in (*attempt.parts, attempt):
                    await self._runtime.remove(one)
            except (StepFailed, RuntimeAway) as error:
                log.warning("attempt.not_removed", job_id=attempt.key.job_id, error=str(error))
            else:
                attempt.phase = Phase.REMOVED
                return
        await asyncio.sleep(RETRY_SECONDS)


async def _unless_stopped(attempt: Attempt, work: Coroutine[Any, Any, None]) -> None:
    """Awaits what is given up once the attempt's end is asked for."""
    working = asyncio.ensure_future(work)
    attempt.on_stop = working.cancel
    try:
        await asyncio.wait({working})
        if not working.cancelled():
            working.result()
    finally:
        attempt.on_stop = None
        working.cancel()


def _stopped_early(attempt: Attempt) -> pb.AttemptChange:
    return attempt.ended(Exit(None, now()), attempt.stop_reason or FAILED_TO_START)


def _failed_to_start(attempt: Attempt, error: StepFailed) -> pb.AttemptChange:
    log.info(
        "attempt.failed_to_start",
        job_id=attempt.key.job_id,
        attempt=attempt.key.attempt,
        reason=error.reason,
    )
    return attempt.ended(
        Exit(None, now(), error.reason), attempt.stop_reason or error.status_reason
    )
