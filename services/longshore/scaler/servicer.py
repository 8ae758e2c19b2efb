"""ScalerService on the wire: check, call, convert."""

from typing import Any

import grpc

from longshore.scaler import convert
from longshore.scaler.report import CapacityReports
from longshore.scaler.service import Scaler
from longshore.v1 import scaler_service_pb2 as pb
from longshore.v1 import scaler_service_pb2_grpc as pb_grpc


class ScalerServicer(pb_grpc.ScalerServiceServicer):
    """Answers whoever watches capacity, or does not want to wait for the next pass."""

    def __init__(self, scaler: Scaler, report: CapacityReports) -> None:
        self._scaler = scaler
        self._report = report

    async def Evaluate(
        self, request: pb.EvaluateRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.EvaluateResponse:
        """Decides now."""
        del request, context
        return convert.decisions_to_response(await self._scaler.evaluate())

    async def DescribeCapacity(
        self, request: pb.DescribeCapacityRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.DescribeCapacityResponse:
        """Says what compute environments have."""
        del context
        return convert.capacity_to_response(
            await self._report.capacity(request.compute_environments)
        )

    async def ListScalingActivities(
        self,
        request: pb.ListScalingActivitiesRequest,
        context: grpc.aio.ServicerContext[Any, Any],
    ) -> pb.ListScalingActivitiesResponse:
        """Says what was decided."""
        del context
        return convert.activities_to_response(
            await self._report.activities(
                request.compute_environment,
                request.max_results if request.HasField("max_results") else None,
                request.next_token,
            )
        )
