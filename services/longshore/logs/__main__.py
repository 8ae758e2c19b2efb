"""Starts the log service."""

import asyncio
import contextlib
import sys
from concurrent.futures import ThreadPoolExecutor

import grpc
import structlog

from longshore.admission.asked import Asking, admitting
from longshore.domain.arn import Arns
from longshore.logs.archive import THREADS, open_archive
from longshore.logs.archiving import Archiver
from longshore.logs.cloudwatch.servicer import SERVICE, CloudWatchLogsServicer
from longshore.logs.config import LogsConfig
from longshore.logs.history import LogHistory
from longshore.logs.measuring import show_disk
from longshore.logs.owning import Owners
from longshore.logs.service import LogsService
from longshore.logs.servicer import LogServicer
from longshore.logs.store import LogStore
from longshore.rpc.audit import CallAudit, Installation
from longshore.rpc.channel import peer_channel
from longshore.rpc.remote_audit import RemoteAudit
from longshore.rpc.server import GrpcServer
from longshore.rpc.users import Users
from longshore.runtime.loop import Loop
from longshore.runtime.metrics import serve_metrics
from longshore.runtime.process import run_until_stopped
from longshore.runtime.recorder import Recorder
from longshore.v1 import cloudwatch_logs_service_pb2_grpc, log_service_pb2, log_service_pb2_grpc

log = structlog.get_logger()

#: Seconds between passes that delete the logs of long ago.
HISTORY_SECONDS = 3_600.0
#: Seconds between passes that write down what was stored.
CATALOGUE_SECONDS = 1.0


async def main(stop: asyncio.Event) -> None:
    """Serves until stopped."""
    config = LogsConfig.from_environment()
    async with contextlib.AsyncExitStack() as stack:
        archiver = None
        if config.archive is not None:
            archive = await stack.enter_async_context(
                open_archive(config.archive, config.directory)
            )
            archiver = Archiver(archive, config.directory, config.archive.cache_bytes)
            asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(THREADS))
        identity = config.doors.identity if config.doors else None
        channel = await stack.enter_async_context(
            peer_channel(config.submission_address, "submission", identity)
        )
        users = await stack.enter_async_context(
            admitting(config.access.key(), config.access, channel)
        )
        await _serve(config, archiver, channel, users, stop)


async def _serve(
    config: LogsConfig,
    archiver: Archiver | None,
    channel: grpc.aio.Channel,
    users: Users | None,
    stop: asyncio.Event,
) -> None:
    store = LogStore(config.directory, archiver)
    service = LogsService(store)
    history = Loop("history", LogHistory(store, config.history).tick, HISTORY_SECONDS)
    catalogue = Loop("catalogue", store.catalogue.flush, CATALOGUE_SECONDS)
    await store.catalogue.begin()
    owners = Owners(Asking(channel), config.access.arns)
    cloudwatch = CloudWatchLogsServicer(  # type: ignore[abstract]  # Those refused are set by `refuse`.
        store, Arns(config.account, config.region), owners
    )
    recorder = Recorder(RemoteAudit(channel).write)
    audit = CallAudit(
        recorder,
        Installation(config.account, config.region, config.audit.gateways),
        with_reads=config.audit.reads,
    )
    server = GrpcServer(config.address, audit, config.doors, users)
    server.add(
        cloudwatch_logs_service_pb2_grpc.add_CloudWatchLogsServiceServicer_to_server,
        cloudwatch,
        SERVICE.full_name,
    )
    server.add(
        log_service_pb2_grpc.add_LogServiceServicer_to_server,
        LogServicer(service, owners),
        log_service_pb2.DESCRIPTOR.services_by_name["LogService"].full_name,
    )
    show_disk(config.directory)
    with serve_metrics(config.metrics_address):
        async with recorder.running(), server:
            await server.set_serving(True)
            log.info("logs.serving", address=config.address, directory=str(config.directory))
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(loop.run()) for loop in (history, catalogue)]
                if archiver is not None:
                    tasks.append(group.create_task(archiver.run(store.archive_stocked)))
                if not store.catalogue.is_whole:
                    tasks.append(group.create_task(store.take_stock()))
                await stop.wait()
                for task in tasks:
                    task.cancel()
            service.stop()
            cloudwatch.stop()
        await store.close()


if __name__ == "__main__":
    sys.exit(run_until_stopped("logs", main))
