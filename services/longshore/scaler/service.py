"""One pass of the scaler: load, decide, apply, and again where the provider was short."""

import asyncio
import contextlib
import uuid
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta

import structlog

from longshore.domain.catalogue import Catalogue
from longshore.domain.errors import Unavailable
from longshore.domain.scaling import round as scaling_round
from longshore.domain.scaling.decision import Decision, ScalingSettings
from longshore.scaler.applying import Applying, Troubles
from longshore.scaler.flight import Flights
from longshore.scaler.ordering import Ordering
from longshore.state import lease
from longshore.state.leadership import Leadership
from longshore.state.pool import Pool, transaction
from longshore.state.scaler import scaling

log = structlog.get_logger()

RENEW_SECONDS = 10.0
PASS_SECONDS = 240.0
#: For how long a round waits for an order.
PATIENCE_SECONDS = 3.0
#: Environments that are served at one time.
AT_ONCE = 16
#: When to look again at an environment with an order that is still being answered.
IN_FLIGHT_SECONDS = 5.0


class Scaler:
    """Decides for all managed compute environments."""

    def __init__(
        self,
        pool: Pool,
        ordering: Ordering,
        catalogue: Catalogue,
        settings: ScalingSettings,
        *,
        cool_down: timedelta = timedelta(seconds=60),
        provider: str = "local",
        patience: float = PATIENCE_SECONDS,
        wake_at: Callable[[Iterable[datetime | None]], None] = lambda _: None,
    ) -> None:
        """Makes a scaler.

        Args:
            pool: of the database.
            ordering: places orders.
            catalogue: what names of instance types stand for.
            settings: of decisions.
            cool_down: for how long what the provider was short of is not asked for again.
            provider: whose quotes hold.
            patience: seconds for which a pass waits for an order.
            wake_at: told after each pass at which times another one is due.
        """
        self._pool = pool
        self._ordering = ordering
        self._catalogue = catalogue
        self._settings = settings
        self._cool_down = cool_down
        self._provider = provider
        self._wake_at = wake_at
        self._leadership = Leadership(
            pool, lease.SCALER, f"scaler:{uuid.uuid4()}", lease.SERVICE_SECONDS, is_brief=True
        )
        self._turn = asyncio.Lock()
        self._troubles = Troubles()
        self._flights = Flights(ordering, patience, lambda: wake_at([datetime.now(UTC)]))
        self._applying = Applying(self._leadership, ordering, self._flights, self._troubles)

    async def close(self) -> None:
        """Waits for no order any more."""
        await self._flights.close()

    async def evaluate(self) -> list[Decision]:
        """One pass; returns what was decided first, in the order of environments.

        Raises:
            Unavailable: another scaler decides, or has gone ahead of this one, whose lease lapsed;
                or the database is away.
        """
        async with self._turn, asyncio.timeout(PASS_SECONDS):
            if not await self._leadership.hold():
                raise Unavailable("Another scaler is deciding; try again.")
            try:
                with _first_of_group():
                    async with asyncio.TaskGroup() as group:
                        keeping = group.create_task(self._renew_lease())
                        decisions = await self._pass()
                        keeping.cancel()
                return decisions
            finally:
                await self._leadership.release()

    async def _renew_lease(self) -> None:
        """Prolongs the lease for as long as the pass takes."""
        while True:
            await asyncio.sleep(RENEW_SECONDS)
            if not self._leadership.held or not await self._leadership.hold():
                raise Unavailable("Another scaler has gone ahead; try again.")

    async def _pass(self) -> list[Decision]:
        started = datetime.now(UTC)
        await self._applying.take_landed()
        first, was_short = await self._round(started)
        rounds = 1
        while scaling_round.goes_on(rounds, was_short=was_short):
            _, was_short = await self._round(started)
            rounds += 1
        return first

    async def _round(self, started: datetime) -> tuple[list[Decision], bool]:
        """Decides once and applies it; also whether the provider was short of something.

        An environment that a round of the pass had trouble with is left alone until the pass is
        over: what it ordered may still get through before that, and not after.
        """
        now = datetime.now(UTC)
        # Before what is on record is read: an order that lands after that is not in the snapshot.
        unanswered = self._flights.environments
        async with transaction(self._pool) as conn:
            seen = await scaling.load_snapshot(
                conn,
                self._catalogue,
                now=now,
                cool_down=self._cool_down,
                provider=self._provider,
                with_held=self._settings.consolidate,
            )
        snapshot = seen.snapshot
        made = await asyncio.to_thread(scaling_round.make, snapshot, now, self._settings)
        environments = made.environments
        self._troubles.forget_others(environments)
        in_flight = seen.in_flight | unanswered
        waiting = in_flight | self._troubles.waiting(started)
        limit = asyncio.Semaphore(AT_ONCE)

        async def apply(decision: Decision) -> bool:
            env = environments[decision.compute_environment]
            async with limit:
                return await self._applying.apply(env, decision, may_order=env.name not in waiting)

        with _first_of_group():
            async with asyncio.TaskGroup() as group:
                applied = [group.create_task(apply(decision)) for decision in made.decisions]
                group.create_task(self._applying.delete_empty(environments.values()))
        was_short = any(task.result() for task in applied)
        self._wake_at(
            [
                made.due,
                made.idle_at,
                seen.cool_down_ends_at,
                datetime.now(UTC) + self._cool_down if was_short else None,
                now + timedelta(seconds=IN_FLIGHT_SECONDS) if in_flight else None,
                now if self._flights.any_landed else None,
                *self._troubles.times(),
            ]
        )
        return list(made.decisions), was_short


@contextlib.contextmanager
def _first_of_group() -> Iterator[None]:
    """Raises the first error of a group of tasks by itself: the others follow from it."""
    try:
        yield
    except ExceptionGroup as group:
        raise group.exceptions[0] from group
