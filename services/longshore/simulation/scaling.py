"""The scaler's pass in virtual time: production's own rounds, applied to simulated instances.

As `longshore.scaler` and `longshore.state.scaler` do it: environments with the offers that the
provider quotes, instances with what is free on them, demand by shape in dispatch order; what is
decided is ordered and given back, what the provider was short of is left alone for a while, and
`desiredvCpus` is settled at what was had.
"""

import random
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from longshore.domain.catalogue import Catalogue, InstanceType
from longshore.domain.order import SPOT, CapacityOrder
from longshore.domain.placing.shapes import Queue, QueueEntry, Shape
from longshore.domain.placing.waiting import CapacityShortage, Launched, Supply
from longshore.domain.request.compute_environment import compute_resources
from longshore.domain.scaling.capacity import (
    CapacitySnapshot,
    Environment,
    InstanceState,
    QueueDemand,
    ShapeDemand,
)
from longshore.domain.scaling.capping import alike, within
from longshore.domain.scaling.decision import Decision, ScalingSettings, order_for
from longshore.domain.scaling.market import Market, PoolName, Quote
from longshore.domain.scaling.round import goes_on, make, settled
from longshore.domain.scaling.sharing import in_order, sharing
from longshore.domain.scaling.stocking import within_stock
from longshore.provisioning.provider import Fulfilment, Provider
from longshore.simulation.backlog import Backlog
from longshore.simulation.clock import EPOCH, Clock
from longshore.simulation.consuming import SimulatedConsuming
from longshore.simulation.environment import (
    EnvironmentState,
    purchase_option,
    see,
)
from longshore.simulation.fleet import SimulatedFleet, SimulatedInstance, as_instance
from longshore.simulation.sharing import SimulatedShares

#: Decisions that are kept to be shown; later ones are counted only.
ACTIVITIES_LIMIT = 1_000


@dataclass(frozen=True, slots=True)
class Activity:
    """A decision that did something."""

    at_us: int
    compute_environment: str
    desiredv_cpus: int
    ordered: int
    terminated: int
    reason: str


@dataclass(frozen=True, slots=True)
class Patience:
    """How patient scaling is, and how often it asks for prices."""

    settings: ScalingSettings
    cool_down: timedelta
    quote_step: timedelta


@dataclass(slots=True)
class Applied:
    """What a pass did: whether it changed anything, and the instances to drain by a time."""

    changed: bool = False
    #: When a decision may come out differently though nothing happens.
    due: datetime | None = None
    drains: list[tuple[SimulatedInstance, datetime]] = field(default_factory=list)
    #: Environments whose status changed.
    turned: list[str] = field(default_factory=list)


class SimulatedScaler:
    """Decides for all compute environments, and carries it out."""

    def __init__(  # noqa: PLR0913 - all that a decision sees, and how patient it is
        self,
        clock: Clock,
        backlog: Backlog,
        fleet: SimulatedFleet,
        provider: Provider,
        environments: dict[str, EnvironmentState],
        queues: Sequence[Queue],
        *,
        patience: Patience,
        shares: SimulatedShares,
        consuming: SimulatedConsuming,
        seed: int,
    ) -> None:
        self._clock = clock
        self._backlog = backlog
        self._fleet = fleet
        self._provider = provider
        self._environments = environments
        self._queues = queues
        self._shares = shares
        self._consuming = consuming
        self._settings = patience.settings
        self._cool_down = patience.cool_down
        self._quote_step = patience.quote_step
        self._catalogue = Catalogue()
        self._random = random.Random(f"{seed}/orders")
        #: What the provider was short of, and until when.
        self._short: dict[PoolName, CapacityShortage] = {}
        self._quotes: list[Quote] = []
        self._quoted_step = -1
        self.activities: list[Activity] = []
        self.decisions = 0
        self.shortages = 0

    @property
    def next_relief_at(self) -> datetime | None:
        """When the first shortage is forgotten."""
        return min((shortage.until for shortage in self._short.values()), default=None)

    def supply(self) -> Supply:
        """What became of the latest orders, as long as a shortage is remembered."""
        now = self._clock.now
        shortages = tuple(shortage for shortage in self._short.values() if shortage.until > now)
        if not shortages:
            return Supply()
        launched: dict[tuple[str, str, bool], list[SimulatedInstance]] = {}
        vcpus: dict[str, float] = {}
        for member in self._fleet.members.values():
            name, is_booting = member.compute_environment, not member.registered
            vcpus[name] = vcpus.get(name, 0) + member.kind.vcpus
            if member.state is not InstanceState.LEAVING and (
                is_booting or member.ordered_at >= now - self._cool_down
            ):
                launched.setdefault((name, member.kind.name, is_booting), []).append(member)
        return Supply(
            shortages,
            tuple(
                Launched(
                    compute_environment=name,
                    instance_type=kind,
                    offer=members[0].kind.offer,
                    booting=is_booting,
                    count=len(members),
                    # They are in order of their launch.
                    first_at=members[0].ordered_at,
                    last_at=members[-1].ordered_at,
                )
                for (name, kind, is_booting), members in launched.items()
            ),
            vcpus,
        )

    async def evaluate(self) -> Applied:
        """One pass, and again at once where the provider was short of what was ordered."""
        applied = Applied()
        was_short, rounds = await self._round(applied), 1
        while goes_on(rounds, was_short=was_short):
            was_short = await self._round(applied)
            rounds += 1
        return applied

    async def _round(self, applied: Applied) -> bool:
        """Decides once and applies it; returns whether the provider was short of something."""
        before = self.shortages
        now = self._clock.now
        self._short = {key: short for key, short in self._short.items() if short.until > now}
        await self._read_quotes()
        market = Market(self._quotes, self._short)
        environments = [
            see(state, market, self._catalogue) for state in self._environments.values()
        ]
        snapshot = CapacitySnapshot(
            queues=self._demand(),
            environments=environments,
            instances=[as_instance(member) for member in self._fleet.members.values()],
        )
        self.decisions += 1
        made = make(snapshot, now, self._settings)
        applied.due = made.due
        for env, decision in zip(environments, made.decisions, strict=True):
            await self._apply(self._environments[env.name], env, decision, applied)
        return self.shortages > before

    # ------------------------------------------------------------------ what it sees

    def _demand(self) -> list[QueueDemand]:
        shapes, runnable = self._backlog.shapes, self._backlog.runnable
        order = self._backlog.dispatch_order()
        caps = self._backlog.caps
        running = caps.running
        queues = [
            QueueDemand(
                queue.name,
                queue.priority,
                queue.compute_environments,
                self._in_order(
                    queue.name,
                    tuple(
                        demand
                        for first in order.get(queue.name, ())
                        for demand in within(
                            [_demand_of(shapes[first.shape_id], runnable[first.shape_id], first)],
                            shapes[first.shape_id].max_running,
                            running.by_array[shapes[first.shape_id].array],
                        )
                    ),
                ),
            )
            for queue in self._queues
        ]
        may_run = {name: most - running.by_queue[name] for name, most in caps.queues.items()}
        return within_stock(queues, self._consuming.stock, may_run)

    def _in_order(self, queue: str, shapes: tuple[ShapeDemand, ...]) -> tuple[ShapeDemand, ...]:
        """The shapes of a queue in the order in which their jobs will be placed."""
        policy = self._shares.policies.get(queue)
        if policy is None:
            return alike(shapes)
        ledger, most = self._shares.ledger, self._shares.most_milli[queue]
        return in_order(shapes, sharing(queue, policy, shapes, ledger, most, self._clock.now))

    async def _read_quotes(self) -> None:
        """Asks for prices whenever they may have changed."""
        step = (self._clock.now - EPOCH) // self._quote_step
        if step == self._quoted_step:
            return
        self._quoted_step = step
        kinds = {
            kind.name: kind
            for state in self._environments.values()
            if purchase_option(state.stored) == SPOT
            for kind in state.kinds
        }
        self._quotes = await self._provider.quote(list(kinds.values()))

    # ------------------------------------------------------------------ what it does

    async def _apply(
        self, state: EnvironmentState, env: Environment, decision: Decision, applied: Applied
    ) -> None:
        if not decision.changes(env):
            return
        applied.changed = True
        missed, ordered, reason = 0.0, 0, decision.reason
        if decision.launches:
            answer = await self._order(state, env, decision)
            ordered = len(answer.instances)
            missed = decision.vcpus_wanted - sum(got.entry.weight for got in answer.instances)
            reason = " ".join((reason, *(error.message for error in answer.errors)))
        for give in decision.terminate:
            await self._give_back(state, give.instance_id, give.drain_until, applied)
        state.settledv_cpus = state.desiredv_cpus = settled(decision, missed)
        if decision.status != env.status:
            state.status, state.status_reason = decision.status, decision.status_reason
            state.failures = 0
            applied.turned.append(env.name)
        if len(self.activities) < ACTIVITIES_LIMIT:
            self.activities.append(
                Activity(
                    self._clock.us,
                    env.name,
                    state.desiredv_cpus,
                    ordered,
                    len(decision.terminate),
                    reason,
                )
            )

    async def _order(
        self, state: EnvironmentState, env: Environment, decision: Decision
    ) -> Fulfilment:
        order = order_for(decision, env, uuid.UUID(int=self._random.getrandbits(128)))
        kinds = {
            kind.name: kind
            for entry in order.entries
            if (kind := self._catalogue.get(entry.instance_type)) is not None
        }
        answer = await self._provider.fulfil(
            order, kinds, compute_resources(state.stored), len(self._fleet.members)
        )
        self.shortages += len(answer.errors)
        for error in answer.errors:
            key = (error.instance_type, error.zone, error.purchase_option)
            now = self._clock.now
            self._short[key] = CapacityShortage(*key, error.reason, now, now + self._cool_down)
        self._launch(order, answer, kinds)
        return answer

    def _launch(
        self, order: CapacityOrder, answer: Fulfilment, kinds: dict[str, InstanceType]
    ) -> None:
        for got in answer.instances:
            self._fleet.add(
                SimulatedInstance(
                    instance_id=got.instance_id,
                    compute_environment=order.compute_environment,
                    kind=kinds[got.entry.instance_type],
                    zone=got.zone,
                    purchase_option=got.entry.purchase_option,
                    price_per_hour=got.entry.price_per_hour,
                    generation=order.generation,
                    ordered_at=self._clock.now,
                    ordered_us=self._clock.us,
                )
            )

    async def _give_back(
        self,
        state: EnvironmentState,
        instance_id: str,
        drain_until: datetime | None,
        applied: Applied,
    ) -> None:
        """Drains an instance, and ends it once nothing is live on it."""
        member = self._fleet.members[instance_id]
        if member.state is InstanceState.LEAVING:
            return
        is_late = self._clock.now - member.ordered_at >= self._settings.boot
        if not member.registered and is_late:
            state.failures += 1
            self._fleet.bills[member.compute_environment].failures += 1
        self._fleet.drain(member)
        if not member.attempts:
            self._fleet.give_up(member)
            await self._provider.terminate([instance_id], force=False)
        elif drain_until is not None:
            applied.drains.append((member, drain_until))


def _demand_of(shape: Shape, runnable: int, first: QueueEntry) -> ShapeDemand:
    """RUNNABLE jobs of a shape as scaling sees them."""
    return ShapeDemand(
        shape.shape_id,
        shape.need,
        runnable,
        shape.nodes,
        shape.instance_type,
        (first.rank, first.seq),
        shape.share,
        shape.priority,
        shape.units,
    )
