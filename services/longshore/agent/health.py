"""How this instance fares: whether attempts can start here, and if not, why.

Three things keep every attempt from starting, whatever its job is:

- what runs containers does not answer;
- a disk that attempts write to has less room than the settings want;
- attempts failed at their start one after the other, for reasons that may be the machine's, and a
  container of our own fails just so. A job that can start nowhere is thus told from a machine on
  which nothing can start. Our own is tried again with growing pauses, until it starts. Where that
  starts well, while as many jobs one after the other, each another one, do not, it is not believed:
  the machine pauses, and after each pause one failure more is another, longer one. Such a pause is
  short at most, as the jobs may be all wrong.

Attempts wait meanwhile, all of them here. The scheduler is told of every change at once and places
nothing here until all is well. What has not reached the runtime is given back after a short while,
so that its job goes elsewhere; what runs, runs on.

What containers join instead of what the settings name is told with it, and keeps nothing from
starting.
"""

import asyncio
import enum
from collections.abc import Callable

import structlog

from longshore.agent.attempts.attempt import REASON_LENGTH, RuntimeAway, StepFailed
from longshore.agent.runtime import Runtime
from longshore.v1 import agent_service_pb2 as pb

log = structlog.get_logger()

#: Seconds between two looks at a runtime that is away: at first, and at most.
LOOK_FIRST_SECONDS = 0.5
LOOK_LAST_SECONDS = 5.0
#: Seconds between two looks at the disks.
DISK_SECONDS = 10.0
#: A disk that was full is well again with so many times the room that is wanted.
DISK_WELL = 1.2
#: Failures at the start, one after the other, until the machine itself is tried.
FAILURES_LIMIT = 5
#: Seconds between two trials: at first, and at most.
TRIAL_FIRST_SECONDS = 10.0
TRIAL_LAST_SECONDS = 600.0
#: Seconds without a start, at first and at most, where a trial starts well and jobs do not.
PAUSE_FIRST_SECONDS = 10.0
PAUSE_LAST_SECONDS = 60.0
#: Seconds that an attempt waits here before it is given back: an engine is restarted in less.
GIVE_BACK_SECONDS = 5.0
ENGINE_AWAY = "The Docker engine does not answer."


class Ailment(enum.IntEnum):
    """What keeps attempts from starting; the first of several is told."""

    ENGINE_AWAY = pb.AGENT_CONDITION_ENGINE_AWAY
    DISK_FULL = pb.AGENT_CONDITION_DISK_FULL
    QUARANTINED = pb.AGENT_CONDITION_QUARANTINED


def disbelief(jobs: int, pause: float) -> float:
    """How long a machine pauses on which a trial started and jobs did not; 0: it is believed.

    Args:
        jobs: that failed at the start, one after the other, each another one.
        pause: seconds of the pause before; 0: none since something started.
    """
    if jobs < FAILURES_LIMIT:
        return 0.0
    return min(2 * pause, PAUSE_LAST_SECONDS) if pause else PAUSE_FIRST_SECONDS


class HealthWatch:
    """What is wrong, and those who wait until nothing is."""

    def __init__(self, runtime: Runtime, disk_free_mib: int = 0) -> None:
        """Makes one of an instance that is well as far as anyone knows.

        Args:
            runtime: what starts attempts.
            disk_free_mib: room that its disks must have; 0: they are not looked at.
        """
        self._runtime = runtime
        self._disk_free_mib = disk_free_mib
        self._suspected = asyncio.Event()
        self._there = asyncio.Event()
        self._there.set()
        self._doubted = asyncio.Event()
        self._fit = asyncio.Event()
        self._fit.set()
        self._unfit_since = 0.0
        self._failures = 0
        #: Jobs that failed at the start since something started, as far as they count, and the
        #: pause that came of it.
        self._failed_jobs: set[str] = set()
        self._pause = 0.0
        self._ailments: dict[Ailment, str] = {}
        #: Called when there is something new to tell.
        self.on_change: Callable[[], object] = lambda: None

    def message(self) -> pb.AgentHealth:
        """What the scheduler is told."""
        joined = self._runtime.joined()
        message = pb.AgentHealth(
            condition=pb.AGENT_CONDITION_HEALTHY,
            network=joined.network,
            network_detail=joined.detail[:REASON_LENGTH],
        )
        if self._ailments:
            ailment = min(self._ailments)
            message.condition = pb.AgentCondition.ValueType(ailment.value)
            message.detail = self._ailments[ailment][:REASON_LENGTH]
        return message

    async def look(self) -> None:
        """Looks whether the runtime is there, before it is asked for anything."""
        if not await self._runtime.answers():
            self._tell(Ailment.ENGINE_AWAY, ENGINE_AWAY)
            self.suspect()

    @property
    def is_there(self) -> bool:
        """Whether the runtime answers, as far as is known."""
        return self._there.is_set()

    async def there(self) -> None:
        """Waits until the runtime answers, as far as is known."""
        await self._there.wait()

    # What attempts tell, and wait for

    def suspect(self) -> None:
        """The runtime did not answer: nothing starts until it does."""
        self._there.clear()
        self._suspected.set()
        self._settle()

    def started(self) -> None:
        """An attempt started: the machine can."""
        self._failures, self._pause = 0, 0.0
        self._failed_jobs.clear()

    def failed(self, job_id: str, error: StepFailed) -> None:
        """An attempt failed at its start.

        Args:
            job_id: of a job; the children of an array, and nodes, are one.
            error: why.
        """
        if error.may_be_machine:
            self._failures += 1
            if len(self._failed_jobs) < FAILURES_LIMIT:
                self._failed_jobs.add(job_id)
            if self._failures == FAILURES_LIMIT:
                self._doubted.set()
                self._settle()

    @property
    def is_fit(self) -> bool:
        """Whether attempts can start."""
        return self._fit.is_set()

    async def fit(self) -> None:
        """Waits until attempts can start."""
        await self._fit.wait()

    @property
    def gives_back_at(self) -> float:
        """When what waits now is given back, by the loop's clock."""
        return self._unfit_since + GIVE_BACK_SECONDS

    def why_given_back(self) -> str:
        """Status reason of what is given back."""
        return f"Given back: {self.message().detail or 'the instance can start nothing'}"

    # What is looked at

    async def run(self) -> None:
        """Looks after all that may be wrong, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._watch_runtime())
            group.create_task(self._watch_machine())
            if self._disk_free_mib:
                group.create_task(self._watch_disks())

    async def _watch_runtime(self) -> None:
        while True:
            await self._suspected.wait()
            delay = LOOK_FIRST_SECONDS
            while not await self._runtime.answers():
                self._tell(Ailment.ENGINE_AWAY, ENGINE_AWAY)
                await asyncio.sleep(delay)
                delay = min(2 * delay, LOOK_LAST_SECONDS)
            if Ailment.ENGINE_AWAY not in self._ailments:
                # It broke off and answers: whoever tries again is not to do so without a pause.
                await asyncio.sleep(LOOK_FIRST_SECONDS)
            self._suspected.clear()
            self._there.set()
            self._tell(Ailment.ENGINE_AWAY, "")

    async def _watch_disks(self) -> None:
        wanted = self._disk_free_mib
        while True:
            room = await self._runtime.room()
            if room is not None:
                path, free_mib = room
                is_full = Ailment.DISK_FULL in self._ailments
                if free_mib < (wanted * DISK_WELL if is_full else wanted):
                    text = f"{path} has {free_mib} MiB free, less than LONGSHORE_DISK_FREE_MIB"
                    self._tell(Ailment.DISK_FULL, f"{text} ({wanted}).")
                else:
                    self._tell(Ailment.DISK_FULL, "")
            await asyncio.sleep(DISK_SECONDS)

    async def _watch_machine(self) -> None:
        while True:
            await self._doubted.wait()
            delay = TRIAL_FIRST_SECONDS
            while (why := await self._trial()) is not None:
                log.warning("trial.failed", error=why, next_in_seconds=delay)
                text = f"{FAILURES_LIMIT} attempts in a row did not start, nor does a trial, which"
                text = f"{text} comes again in {round(delay)} s: {why}"
                self._tell(Ailment.QUARANTINED, text)
                await asyncio.sleep(delay)
                delay = min(2 * delay, TRIAL_LAST_SECONDS)
            if Ailment.QUARANTINED in self._ailments:
                # It was the machine, and is mended.
                self.started()
            await self._pause_if_disbelieved()
            self._doubted.clear()
            self._tell(Ailment.QUARANTINED, "")

    async def _pause_if_disbelieved(self) -> None:
        self._pause = disbelief(len(self._failed_jobs), self._pause)
        self._failures = 0
        if self._pause:
            text = f"{FAILURES_LIMIT} jobs in a row did not start, although a trial does;"
            text = f"{text} others are tried in {round(self._pause)} s."
            self._tell(Ailment.QUARANTINED, text)
            await asyncio.sleep(self._pause)
            # The next one decides.
            self._failures = FAILURES_LIMIT - 1

    async def _trial(self) -> str | None:
        """Why nothing starts here; None if something did."""
        while True:
            try:
                await self._runtime.trial()
            except StepFailed as error:
                return error.reason
            except RuntimeAway:
                self.suspect()
                await self._there.wait()
            else:
                return None

    def _tell(self, ailment: Ailment, text: str) -> None:
        """Notes what is wrong, or with no text that it is not."""
        before = self.message()
        if text and ailment not in self._ailments:
            log.warning("instance.unfit", condition=ailment.name, detail=text)
        if text:
            self._ailments[ailment] = text
        elif self._ailments.pop(ailment, None) is not None:
            log.info("instance.recovered", condition=ailment.name)
        self._settle()
        if self.message() != before:
            self.on_change()

    def _settle(self) -> None:
        if not (self._ailments or self._suspected.is_set() or self._doubted.is_set()):
            self._fit.set()
        elif self._fit.is_set():
            self._fit.clear()
            self._unfit_since = asyncio.get_running_loop().time()
