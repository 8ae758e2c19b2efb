"""Starts the scaler: `python -m longshore.scaler`."""

import asyncio
import sys
from contextlib import AsyncExitStack

from longshore.admission.stored import admitting
from longshore.rpc.channel import peer_channel
from longshore.rpc.server import GrpcServer
from longshore.runtime.loop import Loop
from longshore.runtime.metrics import serve_metrics
from longshore.runtime.process import run_until_stopped
from longshore.scaler.alarm import Alarm
from longshore.scaler.config import ScalerConfig
from longshore.scaler.history import ActivityHistory
from longshore.scaler.ordering import Ordering
from longshore.scaler.report import CapacityReports
from longshore.scaler.service import Scaler
from longshore.scaler.servicer import ScalerServicer
from longshore.state.listen import CAPACITY, CONSUMABLES, DEMAND, ENVIRONMENTS, Listener
from longshore.state.pool import open_pool
from longshore.v1 import provisioning_service_pb2_grpc as provisioning_grpc
from longshore.v1 import scaler_service_pb2_grpc as pb_grpc

SERVICE = "longshore.v1.ScalerService"
#: Notifications that come so close together fold into one pass. A busy scheduler sends one with
#: each transaction that leaves jobs waiting.
GATHER_SECONDS = 0.1
#: Under a storm of notifications passes that take long come further apart, up to so far.
GATHER_MOST_SECONDS = 2.0
#: How often activities of long ago are looked for.
HISTORY_SECONDS = 60.0


async def serve(stop: asyncio.Event, config: ScalerConfig) -> None:
    """Serves until the event is set."""
    async with AsyncExitStack() as stack:
        stack.enter_context(serve_metrics(config.metrics_address))
        pool = await open_pool(config.database_url, maximum=4)
        stack.push_async_callback(pool.close)
        identity = config.doors.identity if config.doors else None
        channel = await stack.enter_async_context(
            peer_channel(config.provisioning_address, "provisioning", identity)
        )
        alarm = Alarm()
        stack.callback(alarm.stop)
        scaler = Scaler(
            pool,
            Ordering(provisioning_grpc.ProvisioningServiceStub(channel)),
            config.catalogue,
            config.scaling,
            cool_down=config.cool_down,
            provider=config.provider,
            wake_at=alarm.set,
        )
        stack.push_async_callback(scaler.close)
        loop = Loop(
            "scaler",
            scaler.evaluate,
            config.interval_seconds,
            gather=GATHER_SECONDS,
            gather_most=GATHER_MOST_SECONDS,
        )
        history = Loop(
            "scaler.history", ActivityHistory(pool, config.history).tick, HISTORY_SECONDS
        )
        alarm.rings(loop.wake)
        listener = Listener(
            config.database_url,
            dict.fromkeys((DEMAND, CAPACITY, ENVIRONMENTS, CONSUMABLES), loop.wake),
        )
        users = await stack.enter_async_context(
            admitting(config.access.key(), config.access, pool, config.database_url)
        )
        server = GrpcServer(config.address, doors=config.doors, users=users)
        server.add(
            pb_grpc.add_ScalerServiceServicer_to_server,
            ScalerServicer(scaler, CapacityReports(pool)),
            SERVICE,
        )
        async with server, asyncio.TaskGroup() as group:
            others = [group.create_task(run()) for run in (listener.run, history.run)]
            group.create_task(loop.run())
            await server.set_serving(True)
            await stop.wait()
            for task in others:
                task.cancel()
            loop.stop()


async def _main(stop: asyncio.Event) -> None:
    await serve(stop, ScalerConfig.from_environment())


if __name__ == "__main__":
    sys.exit(run_until_stopped("scaler", _main))
