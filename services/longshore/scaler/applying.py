"""What is decided about a compute environment, done and written down."""

import math
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import structlog

from longshore.backoff import Backoff
from longshore.domain.errors import LongshoreError
from longshore.domain.scaling.capacity import Environment
from longshore.domain.scaling.decision import Decision, order_for
from longshore.domain.scaling.round import settled
from longshore.runtime.loop import BACKOFF_FIRST_SECONDS, BACKOFF_LAST_SECONDS
from longshore.scaler.flight import Flights, Landed
from longshore.scaler.ordering import Ordering, OrderResult
from longshore.state.leadership import Leadership
from longshore.state.scaler import scaling
from longshore.state.submission import environment_scaling

log = structlog.get_logger()

#: Ends the reason of an order that was not placed, or has no answer.
NOTHING_YET = "Nothing of that was had so far."


@dataclass(slots=True)
class _Absence:
    """An environment whose orders are not answered, and when to try again."""

    backoff: Backoff
    retry_at: datetime


class Troubles:
    """Environments that are left alone for a while; kept from pass to pass."""

    def __init__(self) -> None:
        self._absences: dict[str, _Absence] = {}

    def note(self, event: str, environment: str, error: LongshoreError) -> None:
        """Leaves an environment alone for a while, longer each time; the others go on."""
        known = self._absences.get(environment)
        backoff = known.backoff if known else Backoff(BACKOFF_FIRST_SECONDS, BACKOFF_LAST_SECONDS)
        delay = timedelta(seconds=backoff.delay())
        self._absences[environment] = _Absence(backoff, datetime.now(UTC) + delay)
        log.warning(
            event,
            compute_environment=environment,
            failures=backoff.failures,
            error=error.message,
        )

    def of(self, environment: str) -> object:
        """What is the matter with an environment, to compare it later; None: nothing."""
        return self._absences.get(environment)

    def forget(self, environment: str) -> None:
        """It was served."""
        self._absences.pop(environment, None)

    def forget_others(self, environments: Iterable[str]) -> None:
        """Forgets environments that are there no more."""
        left = set(environments)
        self._absences = {name: a for name, a in self._absences.items() if name in left}

    def waiting(self, now: datetime) -> set[str]:
        """Environments that are left alone now."""
        return {name for name, absence in self._absences.items() if absence.retry_at > now}

    def times(self) -> list[datetime]:
        """When to try again."""
        return [absence.retry_at for absence in self._absences.values()]


class Applying:
    """Does what was decided, environment by environment, under one lease."""

    def __init__(
        self,
        leadership: Leadership,
        ordering: Ordering,
        flights: Flights,
        troubles: Troubles,
    ) -> None:
        self._leadership = leadership
        self._ordering = ordering
        self._flights = flights
        self._troubles = troubles

    async def apply(self, env: Environment, decision: Decision, *, may_order: bool) -> bool:
        """Orders and gives back, then writes down what came of it.

        Returns:
            Whether the provider was short of what was ordered.
        """
        trouble = self._troubles.of(env.name)
        was_short = await self._apply(env, decision, may_order=may_order)
        if may_order and self._troubles.of(env.name) is trouble:
            self._troubles.forget(env.name)
        return was_short

    async def _apply(self, env: Environment, decision: Decision, *, may_order: bool) -> bool:
        if decision.is_gone:
            async with self._leadership.transaction() as conn:
                await environment_scaling.delete_unused(conn, env.name)
            return False
        if not decision.changes(env):
            return False
        got = OrderResult()
        if decision.launches:
            got = await self._order(env, decision) if may_order else OrderResult.nothing(decision)
        desired = settled(decision, got.vcpus_missed)
        reason = _with_errors(decision.reason, got)
        terminated = await self._terminate(env, decision)
        is_history = (
            got.ordered
            or got.errors
            or terminated
            or desired != env.settledv_cpus
            or decision.is_invalidated
        )
        async with self._leadership.transaction() as conn:
            if not _is_raise_pending(env, decision, got, desired):
                await environment_scaling.settle(conn, env.name, env.desiredv_cpus, desired)
            if decision.status != env.status:
                await environment_scaling.set_status(
                    conn, env.name, env.status, decision.status, decision.status_reason
                )
            if is_history:
                await scaling.add_activity(
                    conn,
                    env.name,
                    desired,
                    ordered=got.ordered,
                    terminated=terminated,
                    reason=reason,
                    is_invalidated=decision.is_invalidated,
                    order_id=got.order_id,
                )
        if is_history or decision.status != env.status:
            log.info(
                "environment.scaled",
                compute_environment=env.name,
                desiredv_cpus=desired,
                ordered=got.ordered,
                terminated=terminated,
                status=decision.status,
                reason=reason,
            )
        return bool(got.errors)

    async def _order(self, env: Environment, decision: Decision) -> OrderResult:
        """Places an order; nothing, so far, if it is not answered soon."""
        order = order_for(decision, env, uuid.uuid4())
        try:
            got = await self._flights.place(order, decision, self._leadership.token)
        except LongshoreError as error:
            self._troubles.note("order.unanswered", env.name, error)
            return OrderResult.nothing(decision)
        if got is None:
            log.info("order.slow", compute_environment=env.name, order_id=str(order.order_id))
        return got or OrderResult.nothing(decision)

    async def take_landed(self) -> None:
        """Writes down what orders of earlier passes got meanwhile.

        Each is settled once it is stored: what a pass that fails leaves, the next one takes.
        """
        for landed in self._flights.landed():
            await self._take(landed)
            self._flights.settle(landed)

    async def _take(self, landed: Landed) -> None:
        name, got = landed.order.compute_environment, landed.outcome
        if isinstance(got, LongshoreError):
            self._troubles.note("order.unanswered", name, got)
            return
        if got.ordered or got.errors:  # else it had been given up
            async with self._leadership.transaction() as conn:
                await scaling.add_late(
                    conn,
                    name,
                    math.ceil(got.vcpus),
                    ordered=got.ordered,
                    reason=_with_errors(landed.order.reason, got),
                    order_id=landed.order.order_id,
                )
            log.info(
                "order.answered",
                compute_environment=name,
                order_id=str(landed.order.order_id),
                ordered=got.ordered,
                errors=len(got.errors),
            )
        self._troubles.forget(name)

    async def _terminate(self, env: Environment, decision: Decision) -> int:
        """Gives instances back; returns how many that came to."""
        try:
            return await self._ordering.give_back(decision.terminate)
        except LongshoreError as error:
            self._troubles.note("termination.unanswered", env.name, error)
            return 0

    async def delete_empty(self, environments: Iterable[Environment]) -> None:
        """Removes unmanaged environments that are being deleted once their machines are gone."""
        for env in environments:
            if env.status == "DELETING" and not env.is_managed:
                async with self._leadership.transaction() as conn:
                    await environment_scaling.delete_unused(conn, env.name)


def _is_raise_pending(env: Environment, decision: Decision, got: OrderResult, desired: int) -> bool:
    """Whether a client's raise of desiredvCpus stands, as more is to be had for it.

    The provider was short, or has not answered, or instances on their way out take the room: there
    will be another try. A raise ends when it is reached, when nothing but instances that would pass
    maxvCpus could be added, and when the environment takes no jobs any more.

    Args:
        env: the environment as it was read.
        decision: what was decided about it.
        got: what was had of that.
        desired: the vCPUs that it has now.
    """
    is_raised = env.desiredv_cpus > env.settledv_cpus
    is_usable = replace(env, status=decision.status).is_usable
    if not (is_raised and is_usable) or desired >= min(env.desiredv_cpus, env.maxv_cpus):
        return False
    is_short = not got.is_answered or got.vcpus_missed > 0
    is_leaving = env.maxv_cpus - decision.headroom + got.vcpus > desired
    return is_short or is_leaving or any(offer.is_short for offer in env.offers)


def _with_errors(reason: str, got: OrderResult) -> str:
    """Why something was ordered, and each thing once that could not be had."""
    unanswered = () if got.is_answered else (NOTHING_YET,)
    return " ".join((reason, *dict.fromkeys(error.message for error in got.errors), *unanswered))
