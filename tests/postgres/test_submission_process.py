"""The submission service as a process of its own."""

import asyncio
import os
import signal
import sys

import asyncpg
from grpc_health.v1 import health_pb2, health_pb2_grpc
from support.identity import tls_settings
from support.patience import PATIENCE_SECONDS
from support.ports import free_port

from longshore.rpc.channel import open_channel
from longshore.state.embedded import EmbeddedPostgres, ensure_database
from longshore.state.migrate import migrate
from longshore.v1 import job_queue_pb2, submission_service_pb2_grpc


async def test_it_serves_once_the_schema_is_there_and_stops_when_told(
    postgres: EmbeddedPostgres,
) -> None:
    await ensure_database(postgres.url(), "process")
    address = f"127.0.0.1:{free_port()}"
    environment = os.environ | {
        "LONGSHORE_DATABASE_URL": postgres.url("process"),
        "LONGSHORE_SUBMISSION_ADDRESS": address,
        "LONGSHORE_SUBMISSION_METRICS_ADDRESS": f"127.0.0.1:{free_port()}",
        "LONGSHORE_SUBMISSION_PEER_ADDRESS": "127.0.0.1:0",
        **tls_settings(),
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "longshore.submission", env=environment
    )
    try:
        async with asyncio.timeout(PATIENCE_SECONDS), open_channel(address) as channel:
            health = health_pb2_grpc.HealthStub(channel)
            request = health_pb2.HealthCheckRequest(service="longshore.v1.SubmissionService")
            seen = await health.Check(request, wait_for_ready=True)
            assert seen.status == health_pb2.HealthCheckResponse.NOT_SERVING
            await migrate(postgres.url("process"))
            async for change in health.Watch(request):
                if change.status == health_pb2.HealthCheckResponse.SERVING:
                    break
            stub = submission_service_pb2_grpc.SubmissionServiceStub(channel)
            await stub.DescribeJobQueues(job_queue_pb2.DescribeJobQueuesRequest())
            process.send_signal(signal.SIGTERM)
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        admin = await asyncpg.connect(postgres.url())
        await admin.execute("DROP DATABASE process WITH (FORCE)")
        await admin.close()


async def test_wrong_settings_end_it_with_a_sentence() -> None:
    environment = os.environ | {"LONGSHORE_DATABASE_URL": "x", "LONGSHORE_ACCOUNT": "7"}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "longshore.submission",
        env=environment,
        stderr=asyncio.subprocess.PIPE,
    )
    _, said = await process.communicate()
    assert process.returncode == 2
    assert b"LONGSHORE_ACCOUNT is '7'; it must have 12 digits." in said
