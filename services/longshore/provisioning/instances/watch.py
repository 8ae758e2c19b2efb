"""What is remembered of instances from pass to pass, and gathered during one."""

import asyncio
import contextlib
from collections.abc import Coroutine, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import structlog

from longshore.domain.errors import Unavailable
from longshore.domain.instance import InstanceRecord, InstanceStatus

log = structlog.get_logger()

#: How soon a pass comes after one in which the provider did not answer.
RETRY = timedelta(seconds=2)


@dataclass(slots=True)
class Watch:
    """What this process remembers of an instance from pass to pass."""

    started_at: datetime
    deaths: int = 0
    restart_at: datetime | None = None
    stopped_at: datetime | None = None
    killed_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class RecordEnd:
    """An instance whose record is to end."""

    instance_id: str
    status: InstanceStatus
    #: None: what was said when it was given back.
    reason: str | None = None
    #: Since when it was to go by our own wish, if it was not TERMINATING.
    asked_at: datetime | None = None
    #: It is another machine's: nothing of it is here to be cleaned up.
    is_elsewhere: bool = False


@dataclass(slots=True)
class ReconcilePass:
    """What one pass saw, and what is to be done at its end."""

    running: frozenset[str]
    now: datetime
    #: When something will be due again.
    due: list[datetime] = field(default_factory=list)
    over: list[RecordEnd] = field(default_factory=list)
    #: Instances that are gone and whose agents never registered.
    unborn: list[InstanceRecord] = field(default_factory=list)
    #: Instances that are asked to end, and those that are made to.
    stop: list[str] = field(default_factory=list)
    kill: list[str] = field(default_factory=list)
    #: What takes time, for several instances at one time.
    work: list[Coroutine[None, None, None]] = field(default_factory=list)

    @contextlib.contextmanager
    def asking(self, operation: str) -> Iterator[None]:
        """Asks the provider; if it does not answer, the next pass does again what this one left."""
        try:
            yield
        except (Unavailable, TimeoutError) as error:
            log.warning("provider.unavailable", operation=operation, error=str(error))
            self.due.append(self.now + RETRY)


async def run_all(work: Iterable[Coroutine[None, None, None]]) -> None:
    """Runs all of it to its end, whatever fails meanwhile; then raises what failed first."""
    for outcome in await asyncio.gather(*work, return_exceptions=True):
        if isinstance(outcome, BaseException):
            raise outcome
