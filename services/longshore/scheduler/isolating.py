"""A part of the tick acts on items of one kind, and one that fails undoes nothing of the others.

So does a part that fails as a whole: what it reads cannot be read, or what it writes belongs to
no item. Nothing that fails in the database costs the mirror, as long as the connection stands.
"""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from longshore.domain.job.changes import Changes
from longshore.domain.job.life import Allowance
from longshore.domain.job.record import AttemptRef
from longshore.scheduler.apart import PART, Apart, apart
from longshore.scheduler.following import follow, write
from longshore.scheduler.memory import Memory
from longshore.state.pool import Connection

T = TypeVar("T")
U = TypeVar("U")


@dataclass(frozen=True, slots=True)
class Pass:
    """What the parts of a tick share: a transaction, and what is undone with a part of it."""

    conn: Connection
    changes: Changes
    memory: Memory
    allowance: Allowance

    async def part(self, name: str, run: Callable[[], Awaitable[T]], otherwise: U) -> T | U:
        """Runs a part of the tick that is not divided into items.

        One that fails is set aside, as items are: until it is tried again, the rest goes on
        without it. What it does in memory besides changes, it does once nothing can fail any more.

        Args:
            name: of the part.
            run: reads or writes.
            otherwise: the result where it fails, or is passed over.
        """
        aside = self.memory.aside
        if name in aside.paused(PART):
            return otherwise
        result: T | U = otherwise

        async def run_it(_: Sequence[str]) -> None:
            nonlocal result
            result = await run()

        tried = await apart(self.conn, [name], run_it, lambda _: self.save())
        for _, error in tried.failed:
            aside.add(PART, name, error, part=name)
            return otherwise
        aside.forget(PART, name)
        return result

    async def act(
        self,
        items: Sequence[T],
        act: Callable[[Sequence[T]], Awaitable[None]],
        touches: Callable[[T], Iterable[AttemptRef]] = lambda _: (),
    ) -> Apart[T]:
        """Acts on items, writes what that changes, and follows it as far as the allowance goes.

        What follows is not an item's fault: where that fails, it is kept for the next tick, which
        finds out what of it (`resuming`), and the items are acted on without it.

        Args:
            items: all of them wait for nothing else in this tick.
            act: acts on some; what it awaits may fail.
            touches: the live attempts that acting on an item may change in the mirror.
        """
        if not items:
            return Apart()

        async def all_at_once(parts: Sequence[Sequence[T]]) -> None:
            await some(parts[0], follows=True)

        async def some(part: Sequence[T], *, follows: bool = False) -> None:
            earlier, self.changes.happenings = self.changes.happenings, []
            await act(part)
            await (self.follow() if follows else self.write())
            self.changes.happenings[:0] = earlier

        def save_all(parts: Sequence[Sequence[T]]) -> Callable[[], None]:
            return self.save(ref for item in parts[0] for ref in touches(item))

        def save(part: Sequence[T]) -> Callable[[], None]:
            return self.save(ref for item in part for ref in touches(item))

        if (await apart(self.conn, [items], all_at_once, save_all)).failed:
            return await apart(self.conn, items, some, save)
        return Apart()

    async def follow(self) -> None:
        """Writes what is gathered, and what follows as far as the allowance goes."""
        await follow(self.conn, self.changes, self.allowance)
        await self._learn()

    async def write(self) -> None:
        """Writes what is gathered."""
        await write(self.conn, self.changes)
        await self._learn()

    async def _learn(self) -> None:
        """Reads the shapes of what waits now: one that cannot be read is the fault of its jobs."""
        await self.memory.learn_shapes(self.conn, self.changes.demand)

    def save(self, refs: Iterable[AttemptRef] = ()) -> Callable[[], None]:
        """Notes what some live attempts, the changes and the allowance are now.

        Returns what goes back to that.
        """
        lives, gathered = self.memory.save(refs), self.changes.save()
        allowed = replace(self.allowance)

        def undo() -> None:
            self.memory.restore(lives)
            self.changes.restore(gathered)
            self.allowance.restore(allowed)

        return undo
