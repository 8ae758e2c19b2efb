"""Starts the submission service: `python -m longshore.submission`."""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from functools import partial

import structlog

from longshore.admission.stored import admitting
from longshore.domain.arn import Arns
from longshore.rpc.audit import CallAudit, Installation
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
from longshore.submission.access_servicer import AccessServicer
from longshore.submission.audit_servicer import AuditServicer
from longshore.submission.clusters import Clusters
from longshore.submission.config import SubmissionConfig
from longshore.submission.consumables import Consumables
from longshore.submission.control_servicer import JobControlServicer
from longshore.submission.convert import encode_container, encode_nodes, encode_task
from longshore.submission.definitions import Definitions
from longshore.submission.ecs_servicer import EcsServicer
from longshore.submission.environments import Environments, Queues
from longshore.submission.image_servicer import ImageServicer
from longshore.submission.jobs import Jobs
from longshore.submission.key_servicer import Changes, KeyServicer
from longshore.submission.measuring import forget_queues
from longshore.submission.policies import Policies
from longshore.submission.rerunning import Rerunning
from longshore.submission.servicer import SubmissionServicer
from longshore.submission.stopping import Stopping
from longshore.submission.submit import Encoders, Submitter, forget_tokens
from longshore.submission.tags import Tags
from longshore.submission.updating import Updating, forget_outcomes
from longshore.v1 import (
    access_service_pb2,
    access_service_pb2_grpc,
    audit_service_pb2,
    audit_service_pb2_grpc,
    ecs_service_pb2,
    ecs_service_pb2_grpc,
    image_service_pb2,
    image_service_pb2_grpc,
    job_control_service_pb2,
    job_control_service_pb2_grpc,
    key_service_pb2,
    key_service_pb2_grpc,
    submission_service_pb2,
    submission_service_pb2_grpc,
)

log = structlog.get_logger()

SERVICE = submission_service_pb2.DESCRIPTOR.services_by_name["SubmissionService"].full_name
AUDIT = audit_service_pb2.DESCRIPTOR.services_by_name["AuditService"].full_name
ACCESS = access_service_pb2.DESCRIPTOR.services_by_name["AccessService"].full_name
KEYS = key_service_pb2.DESCRIPTOR.services_by_name["KeyService"].full_name
ECS = ecs_service_pb2.DESCRIPTOR.services_by_name["EcsService"].full_name
CONTROL = job_control_service_pb2.DESCRIPTOR.services_by_name["JobControlService"].full_name
IMAGES = image_service_pb2.DESCRIPTOR.services_by_name["ImageService"].full_name
HEALTH_SECONDS = 1.0
#: Between passes that forget old tokens, outcomes that nobody took, and counts of queues that are
#: gone.
FORGET_SECONDS = 600.0


@contextlib.asynccontextmanager
async def serving(
    config: SubmissionConfig, pool: Pool, key: StackKey | None = None
) -> AsyncIterator[GrpcServer]:
    """Serves while the context is open; on leaving, calls under way are finished first.

    Args:
        config: the settings.
        pool: the database.
        key: of the stack; None: anybody may call.
    """
    async with (
        admitting(key, config.access, pool, config.database_url) as users,
        _serving(config, pool, key, users) as server,
    ):
        yield server


@contextlib.asynccontextmanager
async def _serving(
    config: SubmissionConfig, pool: Pool, key: StackKey | None, users: Users | None
) -> AsyncIterator[GrpcServer]:
    changes = Changes()
    if users is not None:
        users.on_change = changes.tell
    encode = Encoders(encode_container, encode_task, encode_nodes)
    submitter = Submitter(pool, encode, config.limits)
    recorder = Recorder(partial(audit_record.write, pool))
    watching = CallAudit(
        recorder,
        Installation(config.account, config.region, config.audit.gateways),
        with_reads=config.audit.reads,
    )
    server = GrpcServer(config.address, watching, config.doors, users)
    server.add(
        submission_service_pb2_grpc.add_SubmissionServiceServicer_to_server,
        SubmissionServicer(  # type: ignore[abstract]  # Those refused are set by `refuse`.
            Arns(config.account, config.region),
            Environments(pool, config.catalogue),
            Queues(pool, config.catalogue, config.limits),
            Policies(pool),
            Consumables(pool),
            Definitions(pool, config.limits),
            Jobs(pool),
            submitter,
            Tags(pool),
        ),
        SERVICE,
    )

    server.add(
        job_control_service_pb2_grpc.add_JobControlServiceServicer_to_server,
        JobControlServicer(
            Stopping(pool),
            Rerunning(pool, config.limits),
            Updating(pool, encode_container, config.limits),
        ),
        CONTROL,
    )
    server.add(
        image_service_pb2_grpc.add_ImageServiceServicer_to_server, ImageServicer(pool), IMAGES
    )
    server.add(
        audit_service_pb2_grpc.add_AuditServiceServicer_to_server, AuditServicer(pool), AUDIT
    )
    server.add(
        access_service_pb2_grpc.add_AccessServiceServicer_to_server,
        AccessServicer(pool, key),
        ACCESS,
    )
    server.add(
        key_service_pb2_grpc.add_KeyServiceServicer_to_server,
        KeyServicer(pool, key, changes),
        KEYS,
    )
    server.add(
        ecs_service_pb2_grpc.add_EcsServiceServicer_to_server,
        EcsServicer(Arns(config.account, config.region), Clusters(pool)),
        ECS,
    )

    async def report_health() -> None:
        await server.set_serving(await is_ready(pool))

    health = Loop("submission.health", report_health, HEALTH_SECONDS)
    forgetting = Loop(
        "submission.forgetting", partial(_forget, pool, config.audit.kept), FORGET_SECONDS
    )
    async with recorder.running(), asyncio.TaskGroup() as group:
        batches = group.create_task(submitter.run())
        async with server:
            loops = [group.create_task(loop.run()) for loop in (health, forgetting)]
            await report_health()
            yield server
            health.stop()
            forgetting.stop()
            await asyncio.gather(*loops)
        batches.cancel()


async def _forget(pool: Pool, audit_kept: timedelta) -> None:
    await forget_tokens(pool)
    await forget_outcomes(pool)
    await forget_queues(pool)
    for day in await audit_record.forget(pool, (datetime.now(UTC) - audit_kept).date()):
        log.info("audit.dropped", day=day.isoformat())


async def main(stop: asyncio.Event) -> None:
    """Serves until the event is set."""
    config = SubmissionConfig.from_environment()
    key = config.access.key()
    with serve_metrics(config.metrics_address):
        pool = await pool_when_there(config.database_url, stop, maximum=config.database_connections)
        if pool is None:
            return
        try:
            async with serving(config, pool, key):
                log.info("submission.serving", address=config.address)
                await stop.wait()
        finally:
            async with asyncio.timeout(10):
                await pool.close()


if __name__ == "__main__":
    sys.exit(run_until_stopped("submission", main))
