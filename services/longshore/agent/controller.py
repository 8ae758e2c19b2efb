"""Moves an attempt one step toward what is desired."""

import asyncio

import structlog

from longshore.agent.attempt import (
    EXITED,
    FAILED_TO_START,
    Attempt,
    Exit,
    Phase,
    StepFailed,
    now,
)
from longshore.agent.runtime import Runtime
from longshore.v1 import agent_service_pb2 as pb

log = structlog.get_logger()

#: Seconds between two tries to stop or remove what the runtime would not.
RETRY_SECONDS = 2.0
#: Containers removed at one time; more would only take processor time from those that start.
CONCURRENT_REMOVALS = 3


class Controller:
    """The steps, over a runtime. What an attempt is and how far it is stands in the attempt alone."""

    def __init__(self, runtime: Runtime, concurrent_starts: int) -> None:
        self._runtime = runtime
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

    async def _prepare(self, attempt: Attempt) -> pb.AttemptChange | None:
        preparing = asyncio.ensure_future(self._runtime.prepare(attempt))
        try:
            await _first(preparing, attempt.stopping)
            if attempt.stopping.is_set():
                return _stopped_early(attempt)
            await preparing
        except StepFailed as error:
            return _failed_to_start(attempt, error)
        finally:
            await _cancel(preparing)
        attempt.phase = Phase.READY
        return None

    async def _launch(self, attempt: Attempt) -> pb.AttemptChange | None:
        async with self._starts:
            if attempt.stopping.is_set():
                return _stopped_early(attempt)
            try:
                started_at = await self._runtime.launch(attempt)
            except StepFailed as error:
                return _failed_to_start(attempt, error)
        return attempt.started(started_at)

    async def _watch(self, attempt: Attempt) -> pb.AttemptChange:
        waiting = asyncio.ensure_future(self._runtime.wait(attempt))
        try:
            await _first(waiting, attempt.stopping)
            while not waiting.done():
                await self._stop(attempt, waiting)
            end = waiting.result()
        except StepFailed as error:
            end = Exit(None, now(), error.reason)
        finally:
            await _cancel(waiting)
        return attempt.ended(end, attempt.stop_reason or EXITED)

    async def _stop(self, attempt: Attempt, waiting: "asyncio.Future[Exit]") -> None:
        stopping = asyncio.ensure_future(self._runtime.stop(attempt))
        try:
            await asyncio.wait({waiting, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if not waiting.done():
                await stopping
                # The end is certain now; if word of it got lost, the stop is simply tried again.
                await asyncio.wait({waiting}, timeout=attempt.stop_seconds)
        except StepFailed as error:
            log.warning("attempt.not_stopped", job_id=attempt.key.job_id, error=str(error))
            await asyncio.wait({waiting}, timeout=RETRY_SECONDS)
        finally:
            await _cancel(stopping)

    async def _collect(self, attempt: Attempt) -> None:
        try:
            await self._runtime.collect(attempt)
        except StepFailed as error:
            log.warning("attempt.log_incomplete", job_id=attempt.key.job_id, error=str(error))
        attempt.phase = Phase.COLLECTED

    async def _remove(self, attempt: Attempt) -> None:
        # Only what is on record for good may leave no trace.
        await attempt.journaled.wait()
        async with self._removals:
            try:
                await self._runtime.remove(attempt)
            except StepFailed as error:
                log.warning("attempt.not_removed", job_id=attempt.key.job_id, error=str(error))
            else:
                attempt.phase = Phase.REMOVED
                return
        await asyncio.sleep(RETRY_SECONDS)


def _stopped_early(attempt: Attempt) -> pb.AttemptChange:
    return attempt.ended(Exit(None, now()), attempt.stop_reason or FAILED_TO_START)


def _failed_to_start(attempt: Attempt, error: StepFailed) -> pb.AttemptChange:
    log.info(
        "attempt.failed_to_start",
        job_id=attempt.key.job_id,
        attempt=attempt.key.attempt,
        reason=error.reason,
    )
    return attempt.ended(Exit(None, now(), error.reason), attempt.stop_reason or FAILED_TO_START)


async def _first(work: "asyncio.Future[object]", stopping: asyncio.Event) -> None:
    """Waits until the work is done or the attempt is asked to stop."""
    asked = asyncio.ensure_future(stopping.wait())
    try:
        await asyncio.wait({work, asked}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        asked.cancel()


async def _cancel(work: "asyncio.Future[object]") -> None:
    """Ends work that is still going on; how it ended no longer matters."""
    work.cancel()
    await asyncio.wait({work})
    if not work.cancelled():
        work.exception()
