"""Starts the scheduler: `python -m longshore.scheduler`."""

import asyncio
import os
import socket
import sys
from contextlib import AsyncExitStack

from longshore.admission.stored import admitting
from longshore.rpc.server import GrpcServer
from longshore.runtime.loop import Loop
from longshore.runtime.machine import boot_identity
from longshore.runtime.metrics import serve_metrics
from longshore.runtime.process import run_until_stopped
from longshore.runtime.tracing import TracesConfig
from longshore.scheduler.config import SchedulerConfig
from longshore.scheduler.gauges import READ_SECONDS, StoreGauges
from longshore.scheduler.history import History
from longshore.scheduler.measuring import LEADS
from longshore.scheduler.service import Scheduler
from longshore.scheduler.wire.servicer import AgentServicer, SchedulerServicer
from longshore.state import listen
from longshore.state.listen import Listener
from longshore.state.pool import open_pool
from longshore.v1 import (
    agent_service_pb2,
    agent_service_pb2_grpc,
    scheduler_service_pb2,
    scheduler_service_pb2_grpc,
)

#: Seconds between ticks when nothing wakes the scheduler.
TICK_SECONDS = 0.5
#: Seconds that changes gather after a wake-up.
GATHER_SECONDS = 0.002
#: The same after a tick that took long.
GATHER_MOST_SECONDS = 0.02

#: Seconds between passes that make traces of ended jobs, if traces are on.
TRACES_SECONDS = 1.0
#: Seconds between passes that move finished jobs to history.
HISTORY_SECONDS = 5.0


async def serve(stop: asyncio.Event) -> None:
    """Serves until told to stop: first the lease, then everything else."""
    config = SchedulerConfig.from_environment()
    async with AsyncExitStack() as stack:
        stack.enter_context(serve_metrics(config.metrics_address))
        pool = await open_pool(config.database_url)
        stack.push_async_callback(pool.close)
        scheduler = Scheduler(
            pool,
            domain=config.domain,
            holder=":".join(
                # In containers alike host names and process ids are common.
                (socket.gethostname(), boot_identity(), str(os.getpid()), config.address)
            ),
            catalogue=config.catalogue,
            lease_seconds=config.lease_seconds,
            lost_seconds=config.lost_seconds,
            unmanaged_lost_seconds=config.unmanaged_lost_seconds,
            cool_down=config.cool_down,
            traced=TracesConfig.from_environment().ratio_of_jobs,
        )
        users = await stack.enter_async_context(
            admitting(config.access.key(), config.access, pool, config.database_url)
        )
        server = GrpcServer(config.address, doors=config.doors, users=users)
        server.add(
            agent_service_pb2_grpc.add_AgentServiceServicer_to_server,
            AgentServicer(scheduler, config.heartbeat_seconds),
            agent_service_pb2.DESCRIPTOR.services_by_name["AgentService"].full_name,
        )
        server.add(
            scheduler_service_pb2_grpc.add_SchedulerServiceServicer_to_server,
            SchedulerServicer(pool),
            scheduler_service_pb2.DESCRIPTOR.services_by_name["SchedulerService"].full_name,
        )
        await stack.enter_async_context(server)
        stack.push_async_callback(scheduler.release_lease)

        async def hold() -> None:
            await server.set_serving(await scheduler.hold_lease())

        history = History(scheduler.lead.leadership, config.history)
        ticks = Loop(
            "tick",
            scheduler.tick,
            TICK_SECONDS,
            gather=GATHER_SECONDS,
            gather_most=GATHER_MOST_SECONDS,
        )
        scheduler.wake = ticks.wake
        LEADS.set_function(lambda: float(scheduler.lead.held))
        gauges = StoreGauges(pool, scheduler.lead)
        stack.callback(gauges.close)
        loops = [
            ticks,
            Loop("lease", hold, config.lease_seconds / 4),
            Loop("history", history.tick, HISTORY_SECONDS),
            Loop("gauges", gauges.tick, READ_SECONDS),
            Loop("traces", scheduler.traces.tick, TRACES_SECONDS),
            Loop("seen", scheduler.agents.store_seen, config.heartbeat_seconds),
        ]
        listener = Listener(
            config.database_url,
            {
                listen.JOBS: ticks.wake,
                listen.CAPACITY: scheduler.note_capacity,
                listen.ENVIRONMENTS: scheduler.note_topology,
                listen.CONSUMABLES: scheduler.note_consumables,
            },
        )
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(loop.run()) for loop in loops]
            tasks.append(group.create_task(listener.run()))
            await stop.wait()
            for task in tasks:
                task.cancel()


if __name__ == "__main__":
    sys.exit(run_until_stopped("scheduler", serve))
