"""AgentService and SchedulerService on the wire."""

import asyncio
from collections.abc import AsyncIterator

import structlog
from google.protobuf.duration_pb2 import Duration
from prometheus_client import Counter

from longshore.domain.errors import InvalidRequest
from longshore.domain.job.job import JobKey
from longshore.rpc.batch import BATCH_BYTES
from longshore.rpc.caller import check_instance
from longshore.rpc.permission import by, current_user, demand, of_job
from longshore.scheduler.explaining import explain_job
from longshore.scheduler.inbox import Report
from longshore.scheduler.service import Scheduler
from longshore.scheduler.wire import convert
from longshore.scheduler.wire.session import Session, answers
from longshore.state.pool import Pool, connection
from longshore.state.views import job_reading
from longshore.v1 import agent_service_pb2 as pb
from longshore.v1 import agent_service_pb2_grpc, scheduler_service_pb2, scheduler_service_pb2_grpc

log = structlog.get_logger()

#: Seconds that an agent has for its registration after connecting.
REGISTER_SECONDS = 10.0
#: Most changes in one report.
CHANGES_LIMIT = 1_000
#: Most bytes of a message of an agent. Agents stay below a quarter of it.
REQUEST_BYTES = 4 * BATCH_BYTES

LEFT_OUT = Counter(
    "longshore_scheduler_changes_left_out_total",
    "Changes in reports that name no attempt or no status.",
)


class AgentServicer(agent_service_pb2_grpc.AgentServiceServicer):
    """The agents' streams."""

    def __init__(self, scheduler: Scheduler, heartbeat_seconds: float) -> None:
        self._scheduler = scheduler
        self._heartbeat_seconds = heartbeat_seconds

    async def Connect(
        self,
        request_iterator: AsyncIterator[pb.ConnectRequest],
        context: object,
    ) -> AsyncIterator[pb.ConnectResponse]:
        """One agent's stream: registration, then both directions side by side until either ends."""
        requests = aiter(request_iterator)
        try:
            async with asyncio.timeout(REGISTER_SECONDS):
                first = await anext(requests, None)
        except TimeoutError:
            first = None
        if first is None or first.WhichOneof("message") != "register":
            raise InvalidRequest("The first message of a stream is `register`.", member="register")
        _check_size(first)
        registration = convert.registration(first.register)
        check_instance(registration.instance_id, registration.compute_environment)
        session = Session(registration.instance_id, registration.process_id)
        assignments, stops, draining = await self._scheduler.register(registration, session)
        reader = asyncio.create_task(self._read(requests, session))
        try:
            registered = pb.AgentRegistered(
                session_id=session.session_id,
                heartbeat_interval=_duration(self._heartbeat_seconds),
                draining=draining,
            )
            for answer in answers(registered, assignments, stops):
                yield answer
            async for message in session.messages():
                yield message
            if reader.done() and not reader.cancelled():
                reader.result()
        finally:
            # First, without awaiting: the cancellation of a broken stream may come at any await.
            self._scheduler.agents.forget(session)
            reader.cancel()
            await asyncio.gather(reader, return_exceptions=True)

    async def _read(self, requests: AsyncIterator[pb.ConnectRequest], session: Session) -> None:
        """Takes reports and heartbeats until the agent's side ends, then ends ours."""
        is_told = False
        try:
            async for request in requests:
                _check_size(request)
                self._scheduler.agents.seen(session)
                kind = request.WhichOneof("message")
                if kind == "notice":
                    self._scheduler.notice(convert.notice(request.notice, session.instance_id))
                elif kind == "heartbeat" and request.heartbeat.HasField("health"):
                    health = convert.health(request.heartbeat.health)
                    self._scheduler.health(session.instance_id, health)
                elif kind == "report":
                    if len(request.report.changes) > CHANGES_LIMIT:
                        raise InvalidRequest(
                            f"A report has at most {CHANGES_LIMIT} changes.", member="changes"
                        )
                    changes = convert.reports(request.report, session.instance_id)
                    if left_out := len(request.report.changes) - len(changes):
                        LEFT_OUT.inc(left_out)
                        if not is_told:  # once a stream
                            log.warning(
                                "report.left_out",
                                instance_id=session.instance_id,
                                changes=left_out,
                            )
                        is_told = True
                    await self._scheduler.report(
                        Report(changes, session, request.report.sequence, request.ByteSize())
                    )
                    # It was not listened to while its report waited for its turn.
                    self._scheduler.agents.seen(session)
        finally:
            session.close()


class SchedulerServicer(scheduler_service_pb2_grpc.SchedulerServiceServicer):
    """Questions to the scheduler."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def ExplainJob(
        self,
        request: scheduler_service_pb2.ExplainJobRequest,
        context: object,
    ) -> scheduler_service_pb2.ExplainJobResponse:
        """Says why a job is where it is."""
        key = JobKey.named(request.job_id)
        async with connection(self._pool) as conn:
            if (user := current_user()) is not None:
                found = await job_reading.submitters(conn, [key.job_id])
                if (job := found.get(key.job_id)) is not None:
                    demand(of_job(user.arns, str(key), job.job_queue), by(job.submitted_by))
            explained = await explain_job(conn, key)
        return scheduler_service_pb2.ExplainJobResponse(
            status=explained.status.value,
            summary=explained.summary,
            reasons=[
                scheduler_service_pb2.ExplainedReason(reason=r, count=count, detail=detail)
                for r, count, detail in explained.reasons
            ],
            jobs_ahead=explained.jobs_ahead,
            attempts=[
                scheduler_service_pb2.ExplainedAttempt(
                    attempt=placed.attempt,
                    instance_id=placed.instance_id,
                    instance_type=placed.instance_type,
                    compute_environment=placed.compute_environment,
                )
                for placed in explained.attempts
            ],
        )


def _check_size(request: pb.ConnectRequest) -> None:
    """Refuses a message that no agent of ours sends.

    Raises:
        InvalidRequest: it has too many bytes.
    """
    if (size := request.ByteSize()) > REQUEST_BYTES:
        kind = request.WhichOneof("message") or "message"
        raise InvalidRequest(
            f"{kind} has {size} bytes; at most {REQUEST_BYTES} are allowed: send it in parts.",
            member=kind,
        )


def _duration(seconds: float) -> Duration:
    duration = Duration()
    duration.FromNanoseconds(int(seconds * 1e9))
    return duration
