"""ProvisioningService on the wire: check, call, convert."""

from typing import Any

import grpc

from longshore.provisioning import convert
from longshore.provisioning.service import Provisioning
from longshore.v1 import provisioning_service_pb2 as pb
from longshore.v1 import provisioning_service_pb2_grpc as pb_grpc


class ProvisioningServicer(pb_grpc.ProvisioningServiceServicer):
    """Answers the scaler."""

    def __init__(self, provisioning: Provisioning) -> None:
        self._provisioning = provisioning

    async def Provision(
        self, request: pb.ProvisionRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.ProvisionResponse:
        """Orders capacity."""
        del context
        order = convert.order_from_request(request)
        return convert.provisioned_to_response(await self._provisioning.provision(order))

    async def TerminateInstances(
        self, request: pb.TerminateInstancesRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.TerminateInstancesResponse:
        """Gives instances back."""
        del context
        ids = convert.ids_from_request(request)
        reason = request.reason[: convert.REASON_LIMIT]
        return pb.TerminateInstancesResponse(
            instance_ids=await self._provisioning.terminate(ids, reason)
        )
