"""The agent's end of the stream to the scheduler."""

import asyncio
import contextlib
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field

import grpc
import structlog

from longshore.agent import machine, metrics
from longshore.agent.attempts.crew import Crew
from longshore.agent.config import AgentConfig
from longshore.agent.health import HealthWatch
from longshore.domain.errors import LongshoreError, NotFound, PreconditionFailed, Unavailable
from longshore.rpc.batch import fitting
from longshore.rpc.channel import peer_channel, reconnect_backoff
from longshore.rpc.errors import from_rpc_error
from longshore.v1 import agent_service_pb2 as pb
from longshore.v1 import agent_service_pb2_grpc as pb_grpc
from longshore.v1 import resources_pb2

log = structlog.get_logger()

REGISTER_SECONDS = 15.0
DEFAULT_HEARTBEAT_SECONDS = 5.0

Call = grpc.aio.StreamStreamCall[pb.ConnectRequest, pb.ConnectResponse]


@dataclass(frozen=True, slots=True)
class AgentIdentity:
    """What the agent says of itself besides its settings."""

    runtime: resources_pb2.Runtime.ValueType
    version: str
    #: Of this process alone.
    process_id: str = field(default_factory=lambda: uuid.uuid4().hex)


class SchedulerStream:
    """Registers, tells, listens; connects again for ever when the stream breaks."""

    def __init__(
        self, config: AgentConfig, identity: AgentIdentity, crew: Crew, health: HealthWatch
    ) -> None:
        self._config = config
        self._identity = identity
        self._crew = crew
        self._backoff = reconnect_backoff()
        self._health = health
        #: What was said of it last on this stream.
        self._said = health.message()
        health.on_change = crew.outbox.ready.set
        self._heartbeat_seconds = DEFAULT_HEARTBEAT_SECONDS
        self._notice: pb.AgentNotice | None = None
        #: Set when the scheduler wants no more attempts here.
        self.draining = asyncio.Event()
        #: Set when the instance is over on record, or may not join.
        self.over = asyncio.Event()
        #: Why a machine that joins by itself may not.
        self.refusal: LongshoreError | None = None
        self._was_taken_in = False

    async def run(self) -> None:
        """Keeps a stream until cancelled, or until the instance is over on record."""
        config = self._config
        async with peer_channel(config.scheduler_address, "scheduler", config.identity) as channel:
            stub = pb_grpc.AgentServiceStub(channel)
            while not self.over.is_set():
                try:
                    await self._session(stub)
                except PreconditionFailed as error:
                    log.warning("agent.over", error=error.message)
                    # Of a machine that joins by itself no record could be over: it may not join.
                    self.refusal = error if self._config.unmanaged else None
                    self.over.set()
                except NotFound as error:
                    log.warning("agent.unknown", error=error.message)
                    if self._config.unmanaged and not self._was_taken_in and self._crew.empty:
                        self.refusal = error
                        self.over.set()
                except (LongshoreError, TimeoutError) as error:
                    log.info("stream.broken", error=str(error), failures=self._backoff.failures)
                if not self.over.is_set():
                    await asyncio.sleep(self._backoff.delay())

    def refuse(self, error: LongshoreError) -> None:
        """Ends the instance: it gets no certificate any more."""
        self.refusal = error if self._config.unmanaged else None
        self.over.set()

    def give_notice(self, notice: pb.AgentNotice) -> None:
        """Tells the scheduler that the instance will go: now, and after each registration."""
        self._notice = notice
        self._crew.outbox.ready.set()

    async def _session(self, stub: "pb_grpc.AgentServiceStub") -> None:
        call: Call = stub.Connect()  # type: ignore[call-arg] # written to, not iterated
        try:
            registered = await self._register(call)
            part = registered
            while part.more:
                part = await self._next_answer(call)
                registered.MergeFrom(part)
            self._backoff.reset()
            self._was_taken_in = True
            metrics.CONNECTED.set(1)
            log.info(
                "agent.registered",
                session_id=registered.session_id,
                assignments=len(registered.assignments),
            )
            seconds = registered.heartbeat_interval.ToTimedelta().total_seconds()
            self._heartbeat_seconds = seconds or DEFAULT_HEARTBEAT_SECONDS
            sending = asyncio.ensure_future(self._send(call))
            receiving = asyncio.ensure_future(self._receive(call, registered))
            try:
                await asyncio.wait({sending, receiving}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                sending.cancel()
                receiving.cancel()
                results = await asyncio.gather(sending, receiving, return_exceptions=True)
            # The reader knows why the stream ended; the writer only that it did.
            for result in reversed(results):
                if isinstance(result, Exception):
                    raise result
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error) from error
        except asyncio.InvalidStateError:
            # Writing to a call that is over: its status says why.
            raise await _reason(call) from None
        finally:
            metrics.CONNECTED.set(0)
            call.cancel()

    async def _register(self, call: Call) -> pb.AgentRegistered:
        config = self._config
        known = [key.message() for key in self._crew.known_keys()]
        register = pb.AgentRegister(
            instance_id=config.instance_id,
            compute_environment=config.compute_environment,
            resources=resources_pb2.Resources(
                vcpu_milli=config.vcpu_milli,
                memory_mib=config.memory_mib,
                gpus=len(config.gpu_ids),
            ),
            gpu_devices=[
                pb.GpuDevice(uuid=gpu.uuid, name=gpu.name, memory_mib=gpu.memory_mib)
                for gpu in config.gpus_found
            ],
            runtime=self._identity.runtime,
            instance_type=config.instance_type,
            architecture=machine.architecture(),
            agent_version=self._identity.version,
            attempts=known[: fitting(known, len(known))],
            unmanaged=config.unmanaged,
            health=self._health.message(),
            process_id=self._identity.process_id,
        )
        self._said = register.health
        async with asyncio.timeout(REGISTER_SECONDS):
            await call.write(pb.ConnectRequest(register=register))
        return await self._next_answer(call)

    async def _next_answer(self, call: Call) -> pb.AgentRegistered:
        """The answer to the registration, or a further part of it."""
        async with asyncio.timeout(REGISTER_SECONDS):
            response = await call.read()
        if not isinstance(response, pb.ConnectResponse):
            raise await _reason(call)
        return response.registered

    def _apply_registered(self, registered: pb.AgentRegistered) -> None:
        self._crew.apply_set(registered.assignments, registered.stops)
        if registered.draining:
            self.draining.set()

    async def _send(self, call: Call) -> None:
        """Sends reports as they become durable, from the first that is not acknowledged."""
        outbox = self._crew.outbox
        sent = 0
        noticed: pb.AgentNotice | None = None
        outbox.ready.set()
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._heartbeat_seconds):
                    await outbox.ready.wait()
            outbox.ready.clear()
            told = False
            if self._health.message() != self._said:
                # First: what is given back is not to come again.
                await self._beat(call)
                told = True
            if self._notice is not None and self._notice is not noticed:
                noticed, told = self._notice, True
                await call.write(pb.ConnectRequest(notice=noticed))
            for report in outbox.unsent(sent):
                await call.write(pb.ConnectRequest(report=report))
                sent, told = report.sequence, True
                metrics.REPORTS.inc()
            if not told:
                await self._beat(call)

    async def _beat(self, call: Call) -> None:
        self._said = self._health.message()
        heartbeat = pb.AgentHeartbeat(live_attempts=self._crew.live(), health=self._said)
        await call.write(pb.ConnectRequest(heartbeat=heartbeat))

    async def _receive(self, call: Call, registered: pb.AgentRegistered) -> None:
        # What is wanted is told from what is here, which an engine that is away knows alone.
        await self._crew.recovered.wait()
        self._apply_registered(registered)
        while True:
            response = await call.read()
            if not isinstance(response, pb.ConnectResponse):
                raise await _reason(call)
            match response.WhichOneof("message"):
                case "assign":
                    self._crew.assign(response.assign.assignments)
                case "stop":
                    self._stop(response.stop.stops)
                case "acknowledge":
                    self._crew.outbox.acknowledge(response.acknowledge.sequence)
                case "drain":
                    log.info("agent.draining", reason=response.drain.reason)
                    self.draining.set()

    def _stop(self, stops: Iterable[pb.AttemptStop]) -> None:
        for stop in stops:
            self._crew.stop(stop)


async def _reason(call: Call) -> LongshoreError:
    """Why a call is over."""
    code, details = await call.code(), await call.details()
    if code is grpc.StatusCode.OK:
        return Unavailable("the scheduler closed the stream")
    error = grpc.aio.AioRpcError(
        code, await call.initial_metadata(), await call.trailing_metadata(), details, None
    )
    return from_rpc_error(error)
