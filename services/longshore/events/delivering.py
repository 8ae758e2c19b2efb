"""Delivers: each target by itself, so that one that is slow or away delays nobody else.

A delivery is a row until it is answered or given up. Whoever takes some puts them off for a minute
first: if it dies, another one finds them due then. So an event may come twice, with the same id,
and is never lost.
"""

import asyncio
import random
import time
from collections import Counter as Counts
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import structlog
from prometheus_client import Counter

from longshore.domain.errors import LongshoreError, Unavailable
from longshore.domain.events import retrying
from longshore.domain.events.retrying import Circuit, DeliveryFailed, RetryPolicy
from longshore.state.events import delivery
from longshore.state.events.delivery import Again, Delivery, GivenUp, Lane, TargetRecord
from longshore.state.pool import Pool, connection, transaction

log = structlog.get_logger()

#: Targets that are looked at in one pass, and those delivered to at one time.
LANES = 10_000
AT_ONCE = 256
#: For how long one goes on while others may wait.
TURN_SECONDS = 5.0
#: Deliveries taken at one time, of one target, and how many such parts go on at one time.
BATCH = 64
PARTS = 2
#: Events under way at one time in all, but for those that are sent in one go. A part gets a share
#: of the places that are free, so that the slow leave some to whoever comes after them.
PLACES = 512
SHARE = 4
#: For how long what is taken is put off: longer than delivering all of it may take.
TAKEN_SECONDS = 60.0
SEND_SECONDS = 20.0
#: Deliveries given up at one time that became too old untried.
EXPIRED = 500
#: Longest that one part of a target waits for its rate.
RATE_SECONDS = 5.0
#: Longest error that is kept.
ERROR_CHARACTERS = 500

RESULTS = Counter(
    "longshore_event_deliveries_total", "Tries to deliver events.", ["target", "result"]
)


class Sender(Protocol):
    """Delivers to targets of one kind."""

    async def send(self, lane: Lane, target: TargetRecord, one: Delivery) -> None:
        """Delivers an event.

        Raises:
            DeliveryFailed: the target did not take it.
        """


class JointSender(Protocol):
    """Delivers to targets of one kind what is for one of them in one go."""

    async def send_all(
        self, lane: Lane, target: TargetRecord, taken: Sequence[Delivery]
    ) -> Sequence[DeliveryFailed | None]:
        """Delivers events; what went wrong with each, if anything did.

        Raises:
            LongshoreError: with all of them.
        """


class DeadLetterQueue(Protocol):
    """Sends on what was given up."""

    async def bury(
        self,
        arn: str,
        lane: Lane,
        target: TargetRecord,
        letters: Sequence[tuple[Delivery, GivenUp]],
    ) -> None:
        """Sends what was given up to a queue; it is on record whether that succeeds or not."""


@dataclass(slots=True)
class _Pace:
    """Spreads what a target gets over time."""

    next_at: float = 0.0

    async def wait(self, rate: int) -> None:
        now = time.monotonic()
        at = max(now, self.next_at)
        self.next_at = at + 1 / rate
        if at > now:
            await asyncio.sleep(at - now)


@dataclass(slots=True)
class _State:
    """What is known of a target's lane in this process."""

    circuit: Circuit = field(default_factory=Circuit)
    pace: _Pace = field(default_factory=_Pace)


class Delivering:
    """Takes what is due and delivers it."""

    def __init__(
        self,
        pool: Pool,
        senders: Mapping[str, Sender],
        graves: DeadLetterQueue | None = None,
        joint: Mapping[str, JointSender] | None = None,
    ) -> None:
        """Makes one that delivers.

        Args:
            pool: of the database.
            senders: by the kind of their targets.
            graves: where rules say that what is given up is sent on.
            joint: by the kind of their targets, those that take several events in one go.
        """
        self._pool = pool
        #: However many targets there are, some connections are left for who matches and answers.
        self._turns = asyncio.Semaphore(max(pool.get_max_size() // 2, 1))
        self._places_taken = 0
        self._senders = senders
        self._joint = joint or {}
        self._graves = graves
        self._states: dict[Lane, _State] = {}
        self._active: Counts[Lane] = Counts()
        self._tasks: set[asyncio.Task[None]] = set()
        #: Told when there may be more to do.
        self.wake: Callable[[], None] = lambda: None

    async def tick(self) -> float:
        """Begins to deliver what is due; in how many seconds the next is, as far as is known."""
        async with connection(self._pool) as conn:
            lanes = await delivery.lanes(conn, LANES)
        now = time.monotonic()
        for lane in self._states.keys() - lanes.keys() - self._active.keys():
            del self._states[lane]
        next_in = retrying.OPEN_LAST_SECONDS
        # Of more than are delivered to at one time each has its turn.
        for lane, seconds in random.sample(list(lanes.items()), len(lanes)):
            state = self._states.setdefault(lane, _State())
            wait = max(seconds, state.circuit.left(now))
            if wait > 0:
                next_in = min(next_in, wait)
            elif self._active[lane] < self._parts(state):
                if len(self._tasks) >= AT_ONCE:
                    break
                self._active[lane] += 1
                task = asyncio.create_task(self._deliver(lane, state))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
        return next_in

    def _parts(self, state: _State) -> int:
        """How many parts of a target may go on at one time: one, where many targets want one."""
        return 1 if state.circuit.is_probing or len(self._tasks) >= AT_ONCE // 2 else PARTS

    async def drain(self) -> None:
        """Waits for what is under way."""
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _deliver(self, lane: Lane, state: _State) -> None:
        """Delivers to a target for as long as something is due and it takes it."""
        until = time.monotonic() + TURN_SECONDS
        try:
            while await self._part(lane, state) and time.monotonic() < until:
                pass
        except Unavailable as error:
            # What was taken and not settled comes again.
            log.warning("delivery.unsettled", rule=lane.rule, target=lane.target, error=str(error))
        except Exception:
            log.exception("delivery.failed", rule=lane.rule, target=lane.target)
            state.circuit.failed(time.monotonic(), retrying.OPEN_LAST_SECONDS)
        finally:
            self._active[lane] -= 1
            if not self._active[lane]:
                del self._active[lane]
            self.wake()

    async def _part(self, lane: Lane, state: _State) -> bool:
        """Delivers some; whether to go on at once."""
        places = 0
        try:
            async with self._turns, connection(self._pool) as conn:
                target = await delivery.target(conn, lane)
                limit = self._limit(target, state)
                if target is not None and target.kind not in self._joint:
                    places = limit
                    self._places_taken += limit
                taken = await delivery.take(conn, lane, limit, TAKEN_SECONDS)
                # Of those that it was given it keeps what it uses.
                unused = max(places - len(taken), 0)
                places, self._places_taken = places - unused, self._places_taken - unused
            return await self._use(lane, target, taken, state)
        finally:
            self._places_taken -= places

    async def _use(
        self, lane: Lane, target: TargetRecord | None, taken: Sequence[Delivery], state: _State
    ) -> bool:
        """Delivers what was taken; whether to go on at once."""
        if target is not None and state.circuit.is_probing:
            await self._expire(lane, target)
        if not taken:
            return False
        if len(taken) == BATCH:
            self.wake()
        if target is None:
            # Who takes a target off a rule wants nothing of what was meant for it.
            async with self._turns, transaction(self._pool) as conn:
                await delivery.settle(conn, [one.delivery_id for one in taken], (), ())
            RESULTS.labels("none", "dropped").inc(len(taken))
            return True
        if joint := self._joint.get(target.kind):
            failures = await self._send_all(joint, lane, target, taken)
        else:
            sends = (self._send(lane, target, one, state) for one in taken)
            failures = await asyncio.gather(*sends)
        await self._settle(lane, target, taken, failures)
        failed = [failure for failure in failures if failure is not None and failure.again]
        if len(failed) < len(taken):
            state.circuit.succeeded()
        else:
            state.circuit.failed(time.monotonic(), max(one.retry_after for one in failed))
        return state.circuit.left(time.monotonic()) == 0

    async def _expire(self, lane: Lane, target: TargetRecord) -> None:
        """Gives up what became too old while its target was left alone."""
        policy = RetryPolicy.of(target.target)
        async with self._turns, connection(self._pool) as conn:
            old = await delivery.take_old(conn, lane, policy.age_seconds, EXPIRED, TAKEN_SECONDS)
        if old:
            message = f"The target took nothing for {policy.age_seconds:g} s."
            failure = DeliveryFailed("TARGET_AWAY", message)
            await self._settle(lane, target, old, [failure] * len(old))

    def _limit(self, target: TargetRecord | None, state: _State) -> int:
        if state.circuit.is_probing:
            return 1
        if target is None or target.kind in self._joint:
            return BATCH
        limit = min(BATCH, max((PLACES - self._places_taken) // SHARE, 1))
        if target.endpoint is None:
            return limit
        return min(limit, max(int(target.endpoint.rate_limit * RATE_SECONDS), 1))

    async def _send_all(
        self, sender: JointSender, lane: Lane, target: TargetRecord, taken: Sequence[Delivery]
    ) -> Sequence[DeliveryFailed | None]:
        """Delivers events in one go; what went wrong with each, if anything did."""
        try:
            async with asyncio.timeout(SEND_SECONDS):
                return await sender.send_all(lane, target, taken)
        except TimeoutError:
            failure = DeliveryFailed("TIMEOUT", f"There was no answer in {SEND_SECONDS:g} s.")
        except LongshoreError as error:
            failure = DeliveryFailed(error.reason, error.message)
        except Exception as error:
            log.exception("delivery.broke", rule=lane.rule, target=lane.target)
            failure = DeliveryFailed("INTERNAL", f"{type(error).__name__}: {error}")
        return [failure] * len(taken)

    async def _send(
        self, lane: Lane, target: TargetRecord, one: Delivery, state: _State
    ) -> DeliveryFailed | None:
        """Delivers one event; what went wrong, if anything did."""
        sender = self._senders.get(target.kind)
        if sender is None:
            message = f"Targets of the kind {target.kind} are not delivered to."
            return DeliveryFailed("UNSUPPORTED_TARGET", message, again=False)
        if target.endpoint is not None:
            await state.pace.wait(target.endpoint.rate_limit)
        try:
            async with asyncio.timeout(SEND_SECONDS):
                await sender.send(lane, target, one)
        except DeliveryFailed as failure:
            return failure
        except TimeoutError:
            return DeliveryFailed("TIMEOUT", f"There was no answer in {SEND_SECONDS:g} s.")
        except ValueError as error:
            # It would be so every time.
            return DeliveryFailed("INVALID_EVENT", f"{type(error).__name__}: {error}", again=False)
        except Exception as error:
            # One bad event is set aside by itself; it counts as tried.
            log.exception("delivery.broke", rule=lane.rule, event_id=str(one.event_id))
            return DeliveryFailed("INTERNAL", f"{type(error).__name__}: {error}")
        return None

    async def _settle(
        self,
        lane: Lane,
        target: TargetRecord,
        taken: Sequence[Delivery],
        failures: Sequence[DeliveryFailed | None],
    ) -> None:
        """Notes what became of some deliveries."""
        policy = RetryPolicy.of(target.target)
        done: list[int] = []
        again: list[Again] = []
        given_up: list[tuple[Delivery, GivenUp]] = []
        for one, failure in zip(taken, failures, strict=True):
            if failure is None:
                done.append(one.delivery_id)
                continue
            tries, error = one.tries + 1, failure.message[:ERROR_CHARACTERS]
            next_step = retrying.pause(
                policy,
                failure,
                tries,
                one.age_seconds,
                random.random(),
            )
            if isinstance(next_step, str):
                grave = GivenUp(one.delivery_id, next_step, failure.code, error, tries)
                given_up.append((one, grave))
            else:
                again.append(Again(one.delivery_id, next_step, tries, f"{failure.code}: {error}"))
        async with self._turns, transaction(self._pool) as conn:
            await delivery.settle(conn, done, again, [grave for _, grave in given_up])
        for result, some in (("delivered", done), ("retried", again), ("given_up", given_up)):
            if some:
                RESULTS.labels(target.kind, result).inc(len(some))
        if given_up:
            log.warning(
                "delivery.given_up",
                rule=lane.rule,
                target=lane.target,
                count=len(given_up),
                error=given_up[-1][1].error,
            )
            arn = target.target.get("DeadLetterConfig", {}).get("Arn") or target.dead_letter_arn
            if arn and self._graves is not None:
                await self._graves.bury(arn, lane, target, given_up)
