"""A cloud with faults, and provisioning on it: no processes, a real database."""

import asyncio
import contextlib
import json
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

import asyncpg

from longshore.domain.catalogue import Catalogue, InstanceType
from longshore.domain.checks import Json
from longshore.domain.errors import Unavailable
from longshore.domain.instance import InstanceRecord
from longshore.domain.order import (
    INSUFFICIENT_INSTANCE_CAPACITY,
    CapacityError,
    CapacityOrder,
    Ordered,
    OrderEntry,
    allot,
    instance_ids,
)
from longshore.domain.scaling.market import Quote
from longshore.provisioning.instances.loop import Reconciler
from longshore.provisioning.instances.reporting import InstanceFilter, InstanceReports
from longshore.provisioning.orders.fulfilling import Fulfilling
from longshore.provisioning.provider import Fulfilment, LaunchError, ProviderInstance
from longshore.provisioning.service import Provisioning
from longshore.state import lease
from longshore.state.leadership import Leadership
from longshore.state.pool import Pool, open_pool

KIND = "c6i.large"
AWAY = "The cloud does not answer."


class Cloud:
    """Launches at once, by orders' ids; each fault is a knob."""

    name = "cloud"
    revives = False

    def __init__(self) -> None:
        #: What runs, and the order that it was launched for.
        self.running: dict[str, uuid.UUID | None] = {}
        #: How many instances each order launched, in all.
        self.launches: dict[uuid.UUID, int] = {}
        #: Of what runs, what `describe` does not show.
        self.hidden: set[str] = set()
        #: Instances that may still be launched.
        self.room = 100
        #: Why it took instances back that are gone.
        self.took: dict[str, str] = {}
        #: So many questions for capacity fail before, and after, anything is launched.
        self.refuses = 0
        self.loses = 0
        #: Environments whose orders are launched, and answered only once it is set.
        self.slow: dict[str, asyncio.Event] = {}
        self.launched = asyncio.Event()
        self.is_blind = False
        self.keeps_all = False
        self.ended: list[tuple[str, bool]] = []
        self.quotes: list[Quote] = []
        self.quoted: list[list[str]] = []

    async def fulfil(
        self,
        order: CapacityOrder,
        kinds: Mapping[str, InstanceType],
        resources: Json,
        live: int,
    ) -> Fulfilment:
        del kinds, resources, live
        if self.refuses:
            self.refuses -= 1
            raise Unavailable(AWAY)
        if order.order_id not in self.launches:
            self.launches[order.order_id] = 0
            for instance_id in self._ids(order):
                self.running[instance_id] = order.order_id
                self.launches[order.order_id] += 1
        self.launched.set()
        if order.compute_environment in self.slow:
            await self.slow[order.compute_environment].wait()
        if self.loses:
            self.loses -= 1
            raise Unavailable(AWAY)
        ids = self._ids(order)
        entries = [entry for entry in order.entries for _ in range(entry.max_count)]
        got = tuple(
            Ordered(instance_id=i, entry=entry, zone="a", provider_id=i)
            for i, entry in zip(ids, entries, strict=False)
        )
        return Fulfilment(got, self._errors(order, len(ids)))

    def _ids(self, order: CapacityOrder) -> Sequence[str]:
        def refuse(entry: OrderEntry, count: int) -> CapacityError | None:
            return None if count < self.room else self._errors(order, count)[0]

        return instance_ids(order.order_id, len(allot(order, refuse)[0]))

    def _errors(self, order: CapacityOrder, count: int) -> tuple[CapacityError, ...]:
        entry = order.entries[0]
        if count < self.room:
            return ()
        reason = INSUFFICIENT_INSTANCE_CAPACITY
        return (CapacityError(entry.instance_type, "", entry.purchase_option, reason, "none left"),)

    async def launch(self, instance: InstanceRecord) -> ProviderInstance:
        raise LaunchError(f"{instance.instance_id} is gone.")

    async def terminate(self, instance_ids: Sequence[str], *, force: bool) -> None:
        if self.is_blind:
            raise Unavailable(AWAY)
        for instance_id in instance_ids:
            self.ended.append((instance_id, force))
            if not self.keeps_all or force:
                self.running.pop(instance_id, None)

    async def describe(self) -> list[ProviderInstance]:
        if self.is_blind:
            raise Unavailable(AWAY)
        return [
            ProviderInstance(key, key, order)
            for key, order in self.running.items()
            if key not in self.hidden
        ]

    async def taken_back(self, instance_ids: Sequence[str]) -> Mapping[str, str]:
        if self.is_blind:
            raise Unavailable(AWAY)
        return {key: self.took[key] for key in instance_ids if key in self.took}

    async def quote(self, kinds: Sequence[InstanceType]) -> list[Quote]:
        self.quoted.append([kind.name for kind in kinds])
        return self.quotes

    async def clean(self, instance_id: str) -> None:
        pass

    async def remains(self) -> list[str]:
        return []


@dataclass
class CloudWorld:
    """One process's provisioning on a cloud."""

    cloud: Cloud
    pool: Pool
    db: "asyncpg.Connection[asyncpg.Record]"
    leadership: Leadership
    provisioning: Provisioning
    reconciler: Reconciler
    due: list[float]

    async def statuses(self) -> dict[str, tuple[str, str]]:
        """What users are told of every instance on record: status and reason."""
        page = await InstanceReports(self.pool).instances(
            InstanceFilter("", "", ended=True), 1000, ""
        )
        return {item.instance_id: (str(item.status), item.status_reason) for item in page.items}

    async def register(self, instance_id: str, status: str = "READY") -> None:
        """The scheduler's row of an instance's agent."""
        await self.db.execute(
            "INSERT INTO agents (instance_id, compute_environment, instance_type, architecture, "
            "runtime, unmanaged, vcpu_milli, memory_mib, gpus, status, idle_since) "
            "SELECT instance_id, compute_environment, instance_type, 'x86_64', 'process', false, "
            "vcpus * 1000, memory_mib - 32, gpus, $2, now() FROM instances WHERE instance_id = $1 "
            "ON CONFLICT (instance_id) DO UPDATE SET status = $2",
            instance_id,
            status,
        )


def an_order(count: int = 1, environment: str = "default") -> CapacityOrder:
    """An order for instances of two vCPUs."""
    entry = OrderEntry(
        instance_type=KIND, weight=2, max_count=count, price_per_hour=0.085, purchase_option="SPOT"
    )
    return CapacityOrder(
        order_id=uuid.uuid4(),
        compute_environment=environment,
        target_vcpus=2 * count,
        entries=(entry,),
        reason="a test",
    )


@contextlib.asynccontextmanager
async def a_cloud_world(
    database_url: str, cloud: Cloud, *, grace: float = 30, patience: float = 30
) -> AsyncIterator[CloudWorld]:
    """A process that provisions on the cloud; its lease is not given back at the end."""
    async with contextlib.AsyncExitStack() as stack:
        pool = await open_pool(database_url)
        stack.push_async_callback(pool.close)
        db = await asyncpg.connect(database_url)
        stack.push_async_callback(db.close)
        leadership = Leadership(pool, lease.PROVISIONING, "the machine", lease.SERVICE_SECONDS)
        due: list[float] = []
        reconciler = Reconciler(
            pool,
            cloud,
            leadership=leadership,
            grace=timedelta(seconds=grace),
            wake_after=due.append,
            show_patience=timedelta(seconds=patience),
        )
        provisioning = Provisioning(
            pool,
            leadership=leadership,
            fulfilling=Fulfilling(leadership, cloud, Catalogue()),
            provider_name=cloud.name,
            wake=lambda: None,
        )
        yield CloudWorld(cloud, pool, db, leadership, provisioning, reconciler, due)


async def add_environment(database_url: str, name: str) -> None:
    """A managed compute environment."""
    db = await asyncpg.connect(database_url)
    try:
        await db.execute(
            "INSERT INTO compute_environments (name, uuid, type, state, status, detail, "
            "resource_type, minv_cpus, maxv_cpus, desiredv_cpus) VALUES ($1, gen_random_uuid(), "
            "'MANAGED', 'ENABLED', 'VALID', $2, 'EC2', 0, 64, 0)",
            name,
            json.dumps({"computeResources": {"instanceTypes": [KIND]}}),
        )
    finally:
        await db.close()
