"""Starts provisioning: `python -m longshore.provisioning`."""

import asyncio
import sys
from contextlib import AsyncExitStack

from longshore.provisioning.config import ProvisioningConfig
from longshore.provisioning.local import LocalProvider
from longshore.provisioning.loop import Reconciler
from longshore.provisioning.service import Provisioning
from longshore.provisioning.servicer import ProvisioningServicer
from longshore.rpc.server import GrpcServer
from longshore.runtime.host import host_architecture
from longshore.runtime.loop import Loop
from longshore.runtime.metrics import serve_metrics
from longshore.runtime.process import run_until_stopped
from longshore.state.pool import open_pool
from longshore.v1 import provisioning_service_pb2_grpc as pb_grpc

SERVICE = "longshore.v1.ProvisioningService"


async def serve(stop: asyncio.Event, config: ProvisioningConfig) -> None:
    """Serves until the event is set; serving means that records and provider were compared once."""
    async with AsyncExitStack() as stack:
        stack.enter_context(serve_metrics(config.metrics_address))
        pool = await open_pool(config.database_url, maximum=6)
        stack.push_async_callback(pool.close)

        def on_exit() -> None:
            reconciler.process_ended()

        def wake_after(seconds: float) -> None:
            asyncio.get_running_loop().call_later(seconds, loop.wake)

        provider = LocalProvider(
            config.instances_dir,
            config.catalogue,
            architecture=host_architecture(),
            environment={
                "LONGSHORE_SCHEDULER_ADDRESS": config.scheduler_address,
                "LONGSHORE_LOGS_ADDRESS": config.logs_address,
                "LONGSHORE_RUNTIME": config.runtime,
            },
            instances_limit=config.instances_limit,
            on_exit=on_exit,
            agent_command=config.agent_command,
            cleanup_command=config.cleanup_command,
        )
        stack.callback(provider.close)
        reconciler = Reconciler(
            pool,
            provider,
            grace=config.grace,
            wake_after=wake_after,
            holder=f"{provider.name}:{config.instances_dir}",
        )

        async def tick() -> None:
            await server.set_serving(await reconciler.tick())

        loop = Loop("provisioning", tick, config.interval_seconds)

        server = GrpcServer(config.address)
        server.add(
            pb_grpc.add_ProvisioningServiceServicer_to_server,
            ProvisioningServicer(Provisioning(pool, provider, config.catalogue, loop.wake)),
            SERVICE,
        )
        async with server, asyncio.TaskGroup() as group:
            group.create_task(loop.run())
            await stop.wait()
            loop.stop()
        if config.stop_instances:
            await reconciler.stop_all()
        await reconciler.release()


async def _main(stop: asyncio.Event) -> None:
    await serve(stop, ProvisioningConfig.from_environment())


if __name__ == "__main__":
    sys.exit(run_until_stopped("provisioning", _main))
