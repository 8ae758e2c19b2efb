"""One pass of the scaler: load, decide, apply."""

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import grpc
import structlog

from longshore.domain.capacity import Environment
from longshore.domain.catalogue import Catalogue
from longshore.domain.decision import Decision, ScalingSettings, order_for
from longshore.domain.errors import Unavailable
from longshore.domain.scaling import decide
from longshore.rpc.errors import from_rpc_error
from longshore.scaler import convert
from longshore.state import capacity_order, compute_environment, lease, scaling
from longshore.state.pool import Connection, Pool, connection, transaction
from longshore.v1 import provisioning_service_pb2 as pb
from longshore.v1 import provisioning_service_pb2_grpc as pb_grpc

log = structlog.get_logger()

LEASE_DOMAIN = "scaler"
#: Longer than a pass may take.
LEASE_SECONDS = 60.0
PASS_SECONDS = 50.0
CALL_SECONDS = 10.0
#: Instances named in one call to give them back.
TERMINATE_BATCH = 1_000


class Scaler:
    """Decides for all managed compute environments."""

    def __init__(
        self,
        pool: Pool,
        provisioning: pb_grpc.ProvisioningServiceStub,
        catalogue: Catalogue,
        settings: ScalingSettings,
        *,
        cool_down: timedelta = timedelta(seconds=60),
    ) -> None:
        self._pool = pool
        self._provisioning = provisioning
        self._catalogue = catalogue
        self._settings = settings
        self._cool_down = cool_down
        self._holder = f"scaler:{uuid.uuid4()}"
        self._turn = asyncio.Lock()

    async def evaluate(self) -> list[Decision]:
        """One pass; returns what was decided, in the order of environments.

        Raises:
            Unavailable: another scaler decides, or provisioning or the database is away.
            StaleLease: the pass took too long and another scaler has gone ahead.
        """
        async with self._turn, asyncio.timeout(PASS_SECONDS):
            async with transaction(self._pool) as conn:
                token = await lease.acquire(conn, LEASE_DOMAIN, self._holder, LEASE_SECONDS)
            if token is None:
                raise Unavailable("Another scaler is deciding; try again.")
            try:
                return await self._pass(token)
            finally:
                async with connection(self._pool) as conn:
                    await lease.release(conn, LEASE_DOMAIN, token)

    async def _pass(self, token: int) -> list[Decision]:
        async with self._guarded(token) as conn:
            if abandoned := await capacity_order.abandon(conn):
                log.warning("orders.abandoned", order_ids=[str(order) for order in abandoned])
        now = datetime.now(UTC)
        async with transaction(self._pool) as conn:
            snapshot = await scaling.load_snapshot(conn, self._catalogue, now - self._cool_down)
        decisions = await asyncio.to_thread(decide, snapshot, now, self._settings)
        environments = {env.name: env for env in snapshot.environments}
        for decision in decisions:
            await self._apply(token, environments[decision.compute_environment], decision)
        return decisions

    async def _apply(self, token: int, env: Environment, decision: Decision) -> None:
        """Orders and gives back, then writes down what came of it."""
        if decision.is_gone:
            async with self._guarded(token) as conn:
                await compute_environment.delete_environment(conn, env.name)
            return
        is_changed = (
            decision.launches
            or decision.terminate
            or decision.status != env.status
            or decision.desiredv_cpus != env.desiredv_cpus
            or decision.desiredv_cpus != env.settledv_cpus
        )
        if not is_changed:
            return
        desired, ordered, reason = decision.desiredv_cpus, 0, decision.reason
        if decision.launches:
            response = await self._order(token, decision)
            ordered = len(response.instances)
            desired -= _vcpus_missed(decision, response)
            reason = " ".join((reason, *(error.message for error in response.errors)))
        terminated = await self._terminate(decision)
        async with self._guarded(token) as conn:
            await scaling.settle(conn, env.name, env.desiredv_cpus, desired)
            if decision.status != env.status:
                await scaling.set_status(
                    conn, env.name, env.status, decision.status, decision.status_reason
                )
            await scaling.add_activity(
                conn, env.name, desired, ordered=ordered, terminated=terminated, reason=reason
            )
        log.info(
            "environment.scaled",
            compute_environment=env.name,
            desiredv_cpus=desired,
            ordered=ordered,
            terminated=terminated,
            status=decision.status,
            reason=reason,
        )

    async def _order(self, token: int, decision: Decision) -> pb.ProvisionResponse:
        """Records an order, then places it."""
        order = order_for(decision, uuid.uuid4())
        async with self._guarded(token) as conn:
            await capacity_order.record(conn, order)
        try:
            return await self._provisioning.Provision(
                convert.order_to_request(order), timeout=CALL_SECONDS
            )
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error) from error

    async def _terminate(self, decision: Decision) -> int:
        """Gives instances back; returns how many that came to."""
        count = 0
        for start in range(0, len(decision.terminate), TERMINATE_BATCH):
            request = pb.TerminateInstancesRequest(
                instance_ids=decision.terminate[start : start + TERMINATE_BATCH],
                reason=decision.reason,
            )
            try:
                response = await self._provisioning.TerminateInstances(
                    request, timeout=CALL_SECONDS
                )
            except grpc.aio.AioRpcError as error:
                raise from_rpc_error(error) from error
            count += len(response.instance_ids)
        return count

    @contextlib.asynccontextmanager
    async def _guarded(self, token: int) -> AsyncIterator[Connection]:
        """A transaction that only the holder of the lease commits."""
        async with transaction(self._pool) as conn:
            await lease.check(conn, LEASE_DOMAIN, token)
            yield conn


def _vcpus_missed(decision: Decision, response: pb.ProvisionResponse) -> int:
    """The vCPUs that were decided and could not be had."""
    vcpus = {launch.instance_type.name: launch.instance_type.vcpus for launch in decision.launches}
    wanted = sum(launch.count * launch.instance_type.vcpus for launch in decision.launches)
    return wanted - sum(vcpus[instance.instance_type] for instance in response.instances)
