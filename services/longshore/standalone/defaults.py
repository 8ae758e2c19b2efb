"""What a first start makes, so that a job can run: a compute environment and a queue `default`.

The environment is MANAGED on the local provider: its one instance stands for this machine, with
four vCPUs for each core (LONGSHORE_LOCAL_VCPUS says otherwise) and three quarters of its memory.
One vCPU at least is wanted all the time, so the instance stays warm.
"""

import asyncio
from collections.abc import Awaitable

import grpc

from longshore.domain.catalogue import InstanceType
from longshore.domain.errors import Unavailable
from longshore.identity.material import Identity
from longshore.rpc.channel import peer_channel
from longshore.v1 import (
    compute_environment_pb2,
    job_queue_pb2,
    submission_service_pb2_grpc,
)

NAME = "default"
_CALL_SECONDS = 10.0
_VALID_SECONDS = 30.0
_POLL_SECONDS = 0.1


async def make_defaults(submission: str, identity: Identity, machine: InstanceType) -> None:
    """Makes what is missing.

    Args:
        submission: address of the submission service for services.
        identity: the supervisor's.
        machine: the local instance type that stands for the whole machine.

    Raises:
        Unavailable: it could not be made.
    """
    channel = peer_channel(submission, "submission", identity)
    try:
        stub = submission_service_pb2_grpc.SubmissionServiceStub(channel)
        async with asyncio.timeout(_VALID_SECONDS):
            await _environment(stub, machine)
            await _queue(stub)
    except grpc.aio.AioRpcError as error:
        raise Unavailable(f"The defaults could not be made: {error.details()}") from error
    except TimeoutError as error:
        raise Unavailable("The compute environment `default` does not become VALID.") from error
    finally:
        await channel.close(None)


async def _made(call: Awaitable[object]) -> None:
    """Waits for a creation; one that was sent again because its answer was lost is there already.

    Whoever waits for it to become VALID finds out if it is not.
    """
    try:
        await call
    except grpc.aio.AioRpcError as error:
        if error.code() is not grpc.StatusCode.FAILED_PRECONDITION:
            raise


async def _environment(
    stub: submission_service_pb2_grpc.SubmissionServiceStub, machine: InstanceType
) -> None:
    describe = compute_environment_pb2.DescribeComputeEnvironmentsRequest(
        compute_environments=[NAME]
    )
    found = await stub.DescribeComputeEnvironments(describe, timeout=_CALL_SECONDS)
    if not found.compute_environments:
        request = compute_environment_pb2.CreateComputeEnvironmentRequest(
            compute_environment_name=NAME,
            type="MANAGED",
            compute_resources=compute_environment_pb2.ComputeResource(
                type="EC2",
                minv_cpus=1,
                maxv_cpus=round(machine.vcpus),
                instance_types=[machine.name],
                subnets=["subnet-local"],
                security_group_ids=["sg-local"],
                instance_role="local",
            ),
        )
        await _made(stub.CreateComputeEnvironment(request, timeout=_CALL_SECONDS))
    while True:
        found = await stub.DescribeComputeEnvironments(describe, timeout=_CALL_SECONDS)
        if found.compute_environments and found.compute_environments[0].status == "VALID":
            return
        await asyncio.sleep(_POLL_SECONDS)


async def _queue(stub: submission_service_pb2_grpc.SubmissionServiceStub) -> None:
    describe = job_queue_pb2.DescribeJobQueuesRequest(job_queues=[NAME])
    found = await stub.DescribeJobQueues(describe, timeout=_CALL_SECONDS)
    if not found.job_queues:
        request = job_queue_pb2.CreateJobQueueRequest(
            job_queue_name=NAME,
            state="ENABLED",
            priority=1,
            compute_environment_order=[
                job_queue_pb2.ComputeEnvironmentOrder(order=1, compute_environment=NAME)
            ],
        )
        await _made(stub.CreateJobQueue(request, timeout=_CALL_SECONDS))
    while True:
        found = await stub.DescribeJobQueues(describe, timeout=_CALL_SECONDS)
        if found.job_queues and found.job_queues[0].status == "VALID":
            return
        await asyncio.sleep(_POLL_SECONDS)
