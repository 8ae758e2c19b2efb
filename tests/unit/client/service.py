"""A service in process that answers as a test tells it to."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
from grpc_status import rpc_status

from longshore.domain.errors import LongshoreError
from longshore.rpc.errors import to_status
from longshore.v1 import (
    job_control_service_pb2,
    job_control_service_pb2_grpc,
    log_service_pb2,
    log_service_pb2_grpc,
    provisioning_service_pb2,
    provisioning_service_pb2_grpc,
    scaler_service_pb2,
    scaler_service_pb2_grpc,
    scheduler_service_pb2_grpc,
    submission_service_pb2,
    submission_service_pb2_grpc,
)
from longshore_client import Addresses, Client

Answer = Callable[[Any], Any]


def _methods(service: Any) -> list[str]:
    [descriptor] = service.DESCRIPTOR.services_by_name.values()
    return list(descriptor.methods_by_name)


class Script:
    """Answers by method; keeps every request and its metadata."""

    def __init__(self) -> None:
        self.answers: dict[str, list[Answer | LongshoreError | grpc.StatusCode]] = {}
        self.requests: list[tuple[str, Any, dict[str, str]]] = []
        #: Of StopJobs, stream after stream.
        self.stops: list[list[job_control_service_pb2.StopJobsResponse | grpc.StatusCode]] = []
        self.tails: list[list[log_service_pb2.TailLogsResponse | grpc.StatusCode]] = []

    def on(self, method: str, *answers: Answer | LongshoreError | grpc.StatusCode) -> None:
        """The answers to a method in order; the last one stays."""
        self.answers[method] = list(answers)

    def sent(self, method: str) -> list[Any]:
        """The requests that a method got."""
        return [request for name, request, _ in self.requests if name == method]

    async def answer(self, method: str, request: Any, context: Any) -> Any:
        """Plays the next answer."""
        metadata = {str(key): str(value) for key, value in context.invocation_metadata()}
        self.requests.append((method, request, metadata))
        answers = self.answers[method]
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, LongshoreError):
            await context.abort_with_status(rpc_status.to_status(to_status(answer)))
        if isinstance(answer, grpc.StatusCode):
            await context.abort(answer, "from the test")
        return answer(request)

    async def tail(
        self, request: log_service_pb2.TailLogsRequest, context: Any
    ) -> AsyncIterator[log_service_pb2.TailLogsResponse]:
        """Plays the next stream."""
        copy = log_service_pb2.TailLogsRequest()
        copy.CopyFrom(request)
        self.requests.append(("TailLogs", copy, {}))
        async for part in _play(self.tails.pop(0), context):
            yield part


async def _play(parts: list[Any], context: Any) -> AsyncIterator[Any]:
    for part in parts:
        if isinstance(part, grpc.StatusCode):
            await context.abort(part, "from the test")
        else:
            yield part


def _handler(script: Script, name: str) -> Any:
    async def handle(_servicer: Any, request: Any, context: Any) -> Any:
        return await script.answer(name, request, context)

    return handle


async def start(script: Script) -> tuple[grpc.aio.Server, Addresses]:
    """A server on a free port that plays the script for all services alike."""
    server = grpc.aio.server()
    submission = type(
        "Submission",
        (submission_service_pb2_grpc.SubmissionServiceServicer,),
        {name: _handler(script, name) for name in _methods(submission_service_pb2)},
    )
    scaler = type(
        "Scaler",
        (scaler_service_pb2_grpc.ScalerServiceServicer,),
        {name: _handler(script, name) for name in _methods(scaler_service_pb2)},
    )
    provisioning = type(
        "Provisioning",
        (provisioning_service_pb2_grpc.ProvisioningServiceServicer,),
        {name: _handler(script, name) for name in _methods(provisioning_service_pb2)},
    )
    scheduler = type(
        "Scheduler",
        (scheduler_service_pb2_grpc.SchedulerServiceServicer,),
        {"ExplainJob": _handler(script, "ExplainJob")},
    )

    class Logs(log_service_pb2_grpc.LogServiceServicer):
        def AppendLogs(self, request_iterator: Any, context: Any) -> Any:  # noqa: N802
            raise NotImplementedError

        async def TailLogs(self, request: Any, context: Any) -> AsyncIterator[Any]:  # noqa: N802
            async for part in script.tail(request, context):
                yield part

    class Control(job_control_service_pb2_grpc.JobControlServiceServicer):
        async def UpdateJob(self, request: Any, context: Any) -> Any:  # noqa: N802
            return await script.answer("UpdateJob", request, context)

        async def RerunJob(self, request: Any, context: Any) -> Any:  # noqa: N802
            return await script.answer("RerunJob", request, context)

        async def StopJobs(self, request: Any, context: Any) -> AsyncIterator[Any]:  # noqa: N802
            script.requests.append(("StopJobs", request, {}))
            async for part in _play(script.stops.pop(0), context):
                yield part

    job_control_service_pb2_grpc.add_JobControlServiceServicer_to_server(Control(), server)
    submission_service_pb2_grpc.add_SubmissionServiceServicer_to_server(submission(), server)
    scheduler_service_pb2_grpc.add_SchedulerServiceServicer_to_server(scheduler(), server)
    scaler_service_pb2_grpc.add_ScalerServiceServicer_to_server(scaler(), server)
    provisioning_service_pb2_grpc.add_ProvisioningServiceServicer_to_server(provisioning(), server)
    log_service_pb2_grpc.add_LogServiceServicer_to_server(Logs(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    return server, Addresses(*[f"127.0.0.1:{port}"] * 6)


__all__ = ["Client", "Script", "start"]
