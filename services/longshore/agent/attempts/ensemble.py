"""Runs the several containers of one attempt.

Each container is driven as an attempt of its own: image and secrets at once, its start when the
containers that it depends on have come far enough, then to its end. What is due is decided by
`longshore.domain.job.containers` over how far they all are. How far they are goes into the journal
with each change, so that an agent that starts again neither runs one twice nor takes what is gone
for what never was.
"""

import asyncio
import contextlib
from collections.abc import Callable
from datetime import UTC, datetime

import structlog

from longshore.agent.attempts.attempt import Attempt, Exit, Phase, now
from longshore.agent.attempts.controller import Controller
from longshore.agent.attempts.parts import members
from longshore.domain.job import containers
from longshore.domain.job.containers import ContainerProgress
from longshore.domain.job.job import ESSENTIAL_EXITED, FAILED_TO_START
from longshore.v1 import agent_service_pb2 as pb

log = structlog.get_logger()

#: Reason of a container that was never started because of another one.
_NEVER = "TaskDependencyError: "


class Ensemble:
    """The containers of an attempt, from wherever they are to the end of the last one."""

    def __init__(
        self,
        controller: Controller,
        attempt: Attempt,
        tell: Callable[[pb.AttemptChange], object],
        keep: Callable[[Attempt], object],
    ) -> None:
        """Makes an ensemble.

        Args:
            controller: moves each container on.
            attempt: the whole, with its parts.
            tell: takes the change of an attempt that runs.
            keep: called when one of the parts is further.
        """
        self._controller = controller
        self._attempt = attempt
        self._tell = tell
        self._keep = keep
        self._members = members(attempt)
        self._parts = {part.container_name: part for part in attempt.parts}
        #: By name: whether it starts, or why it never does.
        self._gates = {name: asyncio.Future[str]() for name in self._parts}
        for name, part in self._parts.items():
            if part.handle or part.phase > Phase.READY:
                self._open(name, "")
        self._status_reasons: dict[str, str] = {}
        self._given_back = ""
        #: The container that failed, so that the others were stopped.
        self._failed: str | None = None
        self._said: pb.AttemptChange | None = None
        self._changed = asyncio.Event()

    async def run(self) -> pb.AttemptChange:
        """Runs them until all have ended, or are given back.

        Returns:
            The change that ends the attempt here.
        """
        attempt = self._attempt
        attempt.on_stop = self._changed.set
        try:
            async with asyncio.TaskGroup() as group:
                drives = [group.create_task(self._drive(part)) for part in attempt.parts]
                while not self._given_back and any(part.live for part in attempt.parts):
                    self._changed.clear()
                    await self._wait(self._act())
                if self._given_back:
                    for drive in drives:
                        drive.cancel()
        finally:
            attempt.on_stop = None
        if self._given_back and not any(part.reached for part in attempt.parts):
            return attempt.returned(self._given_back)
        return self._ended()

    async def _drive(self, part: Attempt) -> None:
        """Moves one container on to its end, and closes its log if the attempt goes on."""
        gate = self._gates[part.container_name]
        while part.live:
            if part.phase is Phase.READY:
                # What is to end goes on, too: the next step sees that.
                await gate
            try:
                change = await self._controller.step(part)
            except Exception:
                log.exception(
                    "container.step_failed",
                    job_id=part.key.job_id,
                    attempt=part.key.attempt,
                    container=part.container_name,
                    phase=part.phase.name,
                )
                change = await self._controller.recover(part)
            if change is not None:
                self._take(part, change)
        if part.phase is Phase.ENDED and not self._is_ending(self._progress()):
            await self._controller.step(part)

    def _is_ending(self, progress: dict[str, ContainerProgress]) -> bool:
        return self._attempt.stopping or containers.is_over(self._members, progress)

    def _take(self, part: Attempt, change: pb.AttemptChange) -> None:
        """Notes how far a container is."""
        name = part.container_name
        if part.given_back:
            self._given_back = change.status_reason
        elif part.change is not None:
            own = part.change
            if change.HasField("start_time"):
                own.start_time.CopyFrom(change.start_time)
            if change.HasField("stop_time"):
                own.stop_time.CopyFrom(change.stop_time)
                self._status_reasons[name] = change.status_reason
            if change.HasField("exit_code"):
                own.exit_code = change.exit_code
            never = self._gates[name].result() if self._gates[name].done() else ""
            if reason := (change.reason or never):
                own.reason = reason
            self._attempt.address = self._attempt.address or part.address
            self._keep(self._attempt)
        self._changed.set()

    def _act(self) -> datetime | None:
        """Does what is due, and says when something else will be, if nothing happens until then."""
        attempt, progress = self._attempt, self._progress()
        if self._is_ending(progress):
            self._end(progress)
            return None
        steps = containers.steps(self._members, progress, now())
        for name in steps.start:
            self._open(name, "")
        for name, why in steps.give_up:
            # It is not awaited: whoever else depends on it looks again once it has ended.
            self._open(name, f"{_NEVER}{why}")
            self._parts[name].stop(FAILED_TO_START)
        if attempt.phase is not Phase.RUNNING and containers.are_settled(self._members, progress):
            started_at = max(filter(None, map(_started_at, attempt.parts)))
            self._said = attempt.started(started_at)
            self._tell(self._said)
        elif attempt.phase is Phase.RUNNING or not all(g.done() for g in self._gates.values()):
            # What takes its time is told of as it goes.
            self._say(attempt.progress())
        return steps.due_at

    def _say(self, change: pb.AttemptChange) -> None:
        """Tells of the containers what was not told yet."""
        if self._said is None or list(self._said.containers) != list(change.containers):
            begun = any(one.HasField("start_time") for one in change.containers)
            self._said = change
            if begun:
                self._tell(change)

    def _end(self, progress: dict[str, ContainerProgress]) -> None:
        """Ends what has not ended: what never began at once, the others in order."""
        if self._failed is None:
            # Whatever the clocks say by which the others end, they end after it.
            first = containers.decisive(self._members, progress)
            if first is not None and progress[first].exit_code != 0:
                self._failed = first
        reason = self._attempt.stop_reason or ESSENTIAL_EXITED
        for name, part in self._parts.items():
            if part.live and not progress[name].is_begun:
                self._open(name, "")
                part.stop(reason)
        for name in containers.may_stop(self._members, progress):
            self._parts[name].stop(reason)

    def _open(self, name: str, never: str) -> None:
        if not self._gates[name].done():
            self._gates[name].set_result(never)

    async def _wait(self, due_at: datetime | None) -> None:
        seconds = None if due_at is None else max((due_at - now()).total_seconds(), 0)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._changed.wait()

    def _progress(self) -> dict[str, ContainerProgress]:
        return {name: self._progress_of(name, part) for name, part in self._parts.items()}

    def _progress_of(self, name: str, part: Attempt) -> ContainerProgress:
        change = part.change or pb.ContainerChange()
        return ContainerProgress(
            is_begun=self._gates[name].done() or bool(part.handle) or part.started_at is not None,
            started_at=_started_at(part),
            ended_at=change.stop_time.ToDatetime(UTC) if change.HasField("stop_time") else None,
            exit_code=change.exit_code if change.HasField("exit_code") else None,
        )

    def _ended(self) -> pb.AttemptChange:
        """The change for the end of the whole: that of the container whose end counts."""
        attempt = self._attempt
        name = self._failed or containers.decisive(self._members, self._progress())
        ends = [part.change.stop_time.ToDatetime(UTC) for part in attempt.parts if part.change]
        stopped_at = max(ends, default=now())
        if name is None:
            return attempt.ended(
                Exit(None, stopped_at, self._given_back), attempt.stop_reason or FAILED_TO_START
            )
        own = self._parts[name].change or pb.ContainerChange()
        end = Exit(
            own.exit_code if own.HasField("exit_code") else None, stopped_at, own.reason or None
        )
        never_ran = not own.HasField("start_time")
        reason = self._status_reasons.get(name, FAILED_TO_START) if never_ran else ESSENTIAL_EXITED
        return attempt.ended(end, attempt.stop_reason or reason)


def _started_at(part: Attempt) -> datetime | None:
    if part.change is not None and part.change.HasField("start_time"):
        return part.change.start_time.ToDatetime(UTC)
    return None
