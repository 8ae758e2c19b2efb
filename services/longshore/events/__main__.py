"""Starts the event service: `python -m longshore.events`."""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator
from functools import partial

import structlog

from longshore.admission.stored import admitting
from longshore.events.archives import Archives, Replays
from longshore.events.buses import Buses, Tags
from longshore.events.config import EventsConfig
from longshore.events.connections import ApiDestinations, Connections
from longshore.events.event_servicer import EventServicer
from longshore.events.flow import flowing
from longshore.events.putting import Putting
from longshore.events.rules import Rules
from longshore.events.sealing import Sealer
from longshore.events.senders.opening import Openings
from longshore.events.servicer import EventBridgeServicer, UseCases
from longshore.events.targets import Targets
from longshore.events.trail import Trail
from longshore.events.trail_servicer import CloudTrailServicer
from longshore.events.watching import Watching
from longshore.rpc.audit import CallAudit, Installation
from longshore.rpc.channel import peer_channel
from longshore.rpc.server import GrpcServer
from longshore.rpc.users import Users
from longshore.runtime.loop import Loop
from longshore.runtime.metrics import serve_metrics
from longshore.runtime.process import run_until_stopped
from longshore.runtime.recorder import Recorder
from longshore.runtime.stack_key import StackKey
from longshore.state.audit import audit_record
from longshore.state.health import is_ready
from longshore.state.pool import Pool, pool_when_there
from longshore.v1 import (
    cloud_trail_service_pb2,
    cloud_trail_service_pb2_grpc,
    cloudwatch_logs_service_pb2_grpc,
    event_bridge_service_pb2,
    event_bridge_service_pb2_grpc,
    event_service_pb2,
    event_service_pb2_grpc,
    submission_service_pb2_grpc,
)

log = structlog.get_logger()

SERVICE = event_bridge_service_pb2.DESCRIPTOR.services_by_name["EventBridgeService"].full_name
EVENTS = event_service_pb2.DESCRIPTOR.services_by_name["EventService"].full_name
TRAIL = cloud_trail_service_pb2.DESCRIPTOR.services_by_name["CloudTrailService"].full_name
HEALTH_SECONDS = 1.0


@contextlib.asynccontextmanager
async def serving(
    config: EventsConfig, pool: Pool, key: StackKey | None = None
) -> AsyncIterator[GrpcServer]:
    """Serves while the context is open; on leaving, calls under way are finished first.

    Args:
        config: the settings.
        pool: the database.
        key: of the stack; None: anybody may call.
    """
    async with contextlib.AsyncExitStack() as stack:
        identity = config.doors.identity if config.doors else None
        channel = await stack.enter_async_context(
            peer_channel(config.submission_address, "submission", identity)
        )
        logs = await stack.enter_async_context(peer_channel(config.logs_address, "logs", identity))
        watching = await stack.enter_async_context(
            flowing(
                pool,
                config.database_url,
                config.arns,
                Openings(Sealer(config.key_path)),
                submission_service_pb2_grpc.SubmissionServiceStub(channel),
                cloudwatch_logs_service_pb2_grpc.CloudWatchLogsServiceStub(logs),
                allows_private=config.allows_private,
            )
        )
        users = await stack.enter_async_context(
            admitting(key, config.access, pool, config.database_url)
        )
        async with _serving(config, pool, watching, users) as server:
            yield server


@contextlib.asynccontextmanager
async def _serving(
    config: EventsConfig, pool: Pool, watching: Watching, users: Users | None
) -> AsyncIterator[GrpcServer]:
    recorder = Recorder(partial(audit_record.write, pool))
    calls = CallAudit(
        recorder,
        Installation(config.arns.account, config.arns.region, config.audit.gateways),
        with_reads=config.audit.reads,
    )
    server = GrpcServer(config.address, calls, config.doors, users)
    server.add(
        cloud_trail_service_pb2_grpc.add_CloudTrailServiceServicer_to_server,
        CloudTrailServicer(config.arns, Trail(pool)),
        TRAIL,
    )
    server.add(
        event_service_pb2_grpc.add_EventServiceServicer_to_server,
        EventServicer(pool, watching),
        EVENTS,
    )
    server.add(
        event_bridge_service_pb2_grpc.add_EventBridgeServiceServicer_to_server,
        EventBridgeServicer(config.arns, _use_cases(config, pool)),
        SERVICE,
    )

    async def report_health() -> None:
        await server.set_serving(await is_ready(pool))

    health = Loop("events.health", report_health, HEALTH_SECONDS)
    async with recorder.running(), asyncio.TaskGroup() as group, server:
        loop = group.create_task(health.run())
        await report_health()
        yield server
        health.stop()
        await loop


def _use_cases(config: EventsConfig, pool: Pool) -> UseCases:
    return UseCases(
        rules=Rules(pool),
        targets=Targets(pool, config.arns.account),
        putting=Putting(pool, config.arns),
        buses=Buses(pool),
        tags=Tags(pool),
        connections=Connections(pool, Sealer(config.key_path)),
        destinations=ApiDestinations(pool),
        archives=Archives(pool),
        replays=Replays(pool),
    )


async def main(stop: asyncio.Event) -> None:
    """Serves until the event is set."""
    config = EventsConfig.from_environment()
    key = config.access.key()
    with serve_metrics(config.metrics_address):
        pool = await pool_when_there(config.database_url, stop, maximum=config.database_connections)
        if pool is None:
            return
        try:
            async with serving(config, pool, key):
                log.info("events.serving", address=config.address)
                await stop.wait()
        finally:
            async with asyncio.timeout(10):
                await pool.close()


if __name__ == "__main__":
    sys.exit(run_until_stopped("events", main))
