"""ScalerService on the wire: check, call, convert."""

from typing import Any

import grpc

from longshore.scaler import convert
from longshore.scaler.service import Scaler
from longshore.v1 import scaler_service_pb2 as pb
from longshore.v1 import scaler_service_pb2_grpc as pb_grpc


class ScalerServicer(pb_grpc.ScalerServiceServicer):
    """Answers whoever does not want to wait for the next pass."""

    def __init__(self, scaler: Scaler) -> None:
        self._scaler = scaler

    async def Evaluate(
        self, request: pb.EvaluateRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.EvaluateResponse:
        """Decides now."""
        del request, context
        return convert.decisions_to_response(await self._scaler.evaluate())
