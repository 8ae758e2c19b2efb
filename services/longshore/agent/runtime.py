"""What the agent asks of whatever runs containers."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, Protocol

from longshore.agent.attempts.attempt import Attempt, AttemptKey, Exit
from longshore.v1 import resources_pb2


@dataclass(frozen=True, slots=True)
class Found:
    """Something that an earlier life of this agent made and that is still there."""

    handle: str
    #: When its main process started; None if it never did.
    started_at: datetime | None
    #: Where other nodes reach it; only for nodes of multi-node jobs.
    address: str = ""


class Joined(NamedTuple):
    """What containers join, and why that is not quite what the settings name."""

    network: str = ""
    detail: str = ""


class Runtime(Protocol):
    """Runs attempts. Every method may raise `StepFailed`; `find`, `prepare`, `started`, `launch`,
    `trial` and `remove` raise `RuntimeAway` where there is no answer, and are called again. None is
    called twice at once for one attempt, save `stop`, which comes while `wait` waits.
    """  # noqa: D205

    kind: resources_pb2.Runtime.ValueType

    async def answers(self) -> bool:
        """Whether it is there."""
        ...

    def joined(self) -> Joined:
        """What containers join, as far as that is known."""
        ...

    async def trial(self) -> None:
        """Starts something of its own as it would an attempt, and removes it."""
        ...

    async def room(self) -> tuple[str, int] | None:
        """The directory it writes to where the least room is left, and how many MiB; None: none."""
        ...

    async def find(self) -> dict[AttemptKey, Found]:
        """What is there already, called once before anything else."""
        ...

    def adopt(self, attempt: Attempt) -> None:
        """Takes up an attempt whose handle was found."""
        ...

    def prepared(self, attempt: Attempt) -> bool:
        """Whether `prepare` has nothing to do."""
        ...

    async def prepare(self, attempt: Attempt) -> None:
        """Makes the image present."""
        ...

    async def started(self, attempt: Attempt) -> datetime | None:
        """When an attempt with a handle started, if it did; then it is as after `launch`."""
        ...

    async def launch(self, attempt: Attempt) -> datetime:
        """Creates and starts it, sets its handle at once when there is one, returns its start.

        `reached` is set while the runtime may have something of it.

        Of a node of a multi-node job it sets the address, too.
        """
        ...

    async def wait(self, attempt: Attempt) -> Exit:
        """Waits for its end."""
        ...

    async def stop(self, attempt: Attempt) -> None:
        """SIGTERM, the stop timeout, SIGKILL. Returns when the end is certain to come."""
        ...

    async def collect(self, attempt: Attempt) -> None:
        """Takes the rest of its output and closes its log."""
        ...

    async def remove(self, attempt: Attempt) -> None:
        """Removes all that it left behind. Harmless when nothing is there."""
        ...

    async def discard(self, key: AttemptKey, found: Found) -> None:
        """Stops and removes what was found and belongs to no attempt."""
        ...

    async def run(self, suspect: Callable[[], object]) -> None:
        """Whatever must go on in the background, until cancelled.

        Args:
            suspect: called when it seems to be away.
        """
        ...

    async def close(self, *, last: bool) -> None:
        """Lets go of all; with `last` also of what only this instance needs."""
        ...
