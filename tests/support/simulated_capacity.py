"""Scaler and provisioning in the hands of the simulation: the real ones, on a cloud with faults."""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta

from support.cloud import Cloud
from support.patience import PATIENCE_SECONDS
from support.scheduling import local_catalogue

from longshore.domain.catalogue import Catalogue
from longshore.domain.errors import LongshoreError
from longshore.domain.scaling.decision import ScalingSettings
from longshore.provisioning.instances.loop import Reconciler
from longshore.provisioning.instances.reporting import InstanceReports
from longshore.provisioning.orders.fulfilling import Fulfilling
from longshore.provisioning.service import Provisioning
from longshore.provisioning.servicer import ProvisioningServicer
from longshore.rpc.channel import open_channel
from longshore.rpc.server import GrpcServer
from longshore.scaler.ordering import Ordering
from longshore.scaler.service import Scaler
from longshore.state import lease
from longshore.state.leadership import Leadership
from longshore.state.pool import Pool
from longshore.v1 import provisioning_service_pb2_grpc as provisioning_grpc

#: What is idle goes at once; nobody waits so long that what boots would be late.
SETTINGS = ScalingSettings(idle=timedelta(0), boot=timedelta(hours=1))
#: Instances that the cloud gives for one order at most.
ROOM = 3


@dataclass
class Capacity:
    """One scaler and one process that provisions."""

    cloud: Cloud
    scaler: Scaler
    reconciler: Reconciler
    catalogue: Catalogue

    async def scale(self) -> None:
        """A pass of the scaler; what the cloud or a lost lease makes of it is for the next one."""
        with contextlib.suppress(LongshoreError):
            await self.scaler.evaluate()

    async def reconcile(self) -> None:
        """A pass of provisioning."""
        with contextlib.suppress(LongshoreError):
            await self.reconciler.tick()

    def heal(self) -> None:
        """The cloud has no faults any more."""
        self.cloud.refuses = self.cloud.loses = 0
        self.cloud.is_blind = self.cloud.keeps_all = False
        self.cloud.room = ROOM


@contextlib.asynccontextmanager
async def capacity(pool: Pool) -> AsyncIterator[Capacity]:
    """Scaler and provisioning on the simulation's database."""
    async with contextlib.AsyncExitStack() as stack:
        cloud, catalogue = Cloud(), local_catalogue()
        leadership = Leadership(pool, lease.PROVISIONING, "the cloud's", lease.SERVICE_SECONDS)
        reconciler = Reconciler(
            pool,
            cloud,
            leadership=leadership,
            grace=timedelta(0),
            wake_after=lambda _: None,
            show_patience=timedelta(0),
        )
        provisioning = Provisioning(
            pool,
            leadership=leadership,
            fulfilling=Fulfilling(leadership, cloud, catalogue),
            provider_name=cloud.name,
            wake=lambda: None,
        )
        server = GrpcServer("127.0.0.1:0")
        server.add(
            provisioning_grpc.add_ProvisioningServiceServicer_to_server,
            ProvisioningServicer(provisioning, InstanceReports(pool)),
            "longshore.v1.ProvisioningService",
        )
        await stack.enter_async_context(server)
        channel = await stack.enter_async_context(open_channel(f"127.0.0.1:{server.port}"))
        stub = provisioning_grpc.ProvisioningServiceStub(channel)
        scaler = Scaler(
            pool,
            Ordering(stub),
            catalogue,
            SETTINGS,
            provider=cloud.name,
            patience=PATIENCE_SECONDS,
        )
        stack.push_async_callback(scaler.close)
        made = Capacity(cloud, scaler, reconciler, catalogue)
        made.heal()
        yield made
