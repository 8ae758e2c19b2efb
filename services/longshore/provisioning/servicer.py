"""ProvisioningService on the wire: check, call, convert."""

from typing import Any

import grpc

from longshore.provisioning import convert
from longshore.provisioning.instances.reporting import InstanceReports
from longshore.provisioning.orders.fulfilling import ANSWER_SECONDS
from longshore.provisioning.service import Provisioning
from longshore.v1 import provisioning_service_pb2 as pb
from longshore.v1 import provisioning_service_pb2_grpc as pb_grpc

Context = grpc.aio.ServicerContext[Any, Any]

#: Of a caller's time, what is left for the answer to reach it.
ANSWER_MARGIN = 0.5


class ProvisioningServicer(pb_grpc.ProvisioningServiceServicer):
    """Answers the scaler, and whoever looks."""

    def __init__(self, provisioning: Provisioning, reports: InstanceReports) -> None:
        self._provisioning = provisioning
        self._reports = reports

    async def Provision(
        self, request: pb.ProvisionRequest, context: Context
    ) -> pb.ProvisionResponse:
        """Orders capacity."""
        order = convert.order_from_request(request)
        left = context.time_remaining()
        seconds = ANSWER_SECONDS if left is None else min(left - ANSWER_MARGIN, ANSWER_SECONDS)
        answer = await self._provisioning.provision(
            order, max(seconds, ANSWER_MARGIN), request.decision_token or None
        )
        return convert.provisioned_to_response(answer)

    async def TerminateInstances(
        self, request: pb.TerminateInstancesRequest, context: Context
    ) -> pb.TerminateInstancesResponse:
        """Gives instances back."""
        del context
        ids = convert.ids_from_request(request)
        drain_until = convert.drain_from_request(request)
        reason = request.reason[: convert.REASON_LIMIT]
        return pb.TerminateInstancesResponse(
            instance_ids=await self._provisioning.terminate(ids, reason, drain_until)
        )

    async def ListInstances(
        self, request: pb.ListInstancesRequest, context: Context
    ) -> pb.ListInstancesResponse:
        """A page of instances."""
        del context
        wanted, limit = convert.wanted_from_request(request)
        page = await self._reports.instances(wanted, limit, request.next_token)
        return pb.ListInstancesResponse(
            instances=[convert.instance_to(detail) for detail in page.items],
            next_token=page.next_token or "",
        )

    async def InterruptInstance(
        self, request: pb.InterruptInstanceRequest, context: Context
    ) -> pb.InterruptInstanceResponse:
        """Plays an interruption."""
        del context
        instance_id, notice = convert.interrupt_from_request(request)
        response = pb.InterruptInstanceResponse()
        response.end_time.FromDatetime(await self._provisioning.interrupt(instance_id, notice))
        return response

    async def DescribeCosts(
        self, request: pb.DescribeCostsRequest, context: Context
    ) -> pb.DescribeCostsResponse:
        """What instances cost so far."""
        del context
        environments, queues, jobs = convert.costs_from_request(request)
        costs = await self._reports.costs(environments, queues, jobs)
        return convert.costs_to_response(costs)
