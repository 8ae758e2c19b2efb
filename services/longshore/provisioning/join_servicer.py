"""JoinService and JoinTokenService on the wire."""

from datetime import timedelta
from typing import Any

import grpc

from longshore.domain.errors import InvalidRequest
from longshore.provisioning.joining import LIFE, Joining
from longshore.state.provisioning.joining import TokenRecord
from longshore.v1 import join_service_pb2 as pb
from longshore.v1 import join_service_pb2_grpc as pb_grpc

Context = grpc.aio.ServicerContext[Any, Any]

JOIN = pb.DESCRIPTOR.services_by_name["JoinService"].full_name
TOKENS = pb.DESCRIPTOR.services_by_name["JoinTokenService"].full_name


class JoinServicer(pb_grpc.JoinServiceServicer):
    """Takes machines in, and renews their certificates."""

    def __init__(self, joining: Joining, scheduler_address: str, logs_address: str) -> None:
        """Makes a servicer; the addresses are those that machines are told."""
        self._joining = joining
        self._scheduler_address = scheduler_address
        self._logs_address = logs_address

    async def Join(self, request: pb.JoinRequest, context: Context) -> pb.JoinResponse:
        """Takes a machine in."""
        del context
        joined = await self._joining.join(
            request.token, request.signing_request, request.instance_id
        )
        return pb.JoinResponse(
            instance_id=joined.instance_id,
            compute_environment=joined.compute_environment,
            certificates=joined.certificates,
            trusted=joined.trusted,
            scheduler_address=self._scheduler_address,
            logs_address=self._logs_address,
        )

    async def RenewCertificate(
        self, request: pb.RenewCertificateRequest, context: Context
    ) -> pb.RenewCertificateResponse:
        """Renews a certificate."""
        del context
        certificates, trusted = await self._joining.renew(
            request.instance_id, request.signing_request
        )
        return pb.RenewCertificateResponse(certificates=certificates, trusted=trusted)


class JoinTokenServicer(pb_grpc.JoinTokenServiceServicer):
    """Makes tokens, lists and deletes them."""

    def __init__(self, joining: Joining, join_port: int) -> None:
        """Makes a servicer; the port is the one at which machines join."""
        self._joining = joining
        self._join_port = join_port

    async def CreateJoinToken(
        self, request: pb.CreateJoinTokenRequest, context: Context
    ) -> pb.CreateJoinTokenResponse:
        """Makes a token."""
        del context
        if not request.compute_environment:
            raise InvalidRequest("computeEnvironment is required.", member="computeEnvironment")
        token, record = await self._joining.create(
            request.compute_environment, request.uses or 1, _life(request)
        )
        return pb.CreateJoinTokenResponse(
            token=token, details=_details(record), join_port=self._join_port
        )

    async def ListJoinTokens(
        self, request: pb.ListJoinTokensRequest, context: Context
    ) -> pb.ListJoinTokensResponse:
        """Tokens that may be used still."""
        del context
        found = await self._joining.tokens(request.compute_environment)
        return pb.ListJoinTokensResponse(tokens=[_details(record) for record in found])

    async def DeleteJoinToken(
        self, request: pb.DeleteJoinTokenRequest, context: Context
    ) -> pb.DeleteJoinTokenResponse:
        """Deletes a token."""
        del context
        await self._joining.delete(request.token_id)
        return pb.DeleteJoinTokenResponse()


def _life(request: pb.CreateJoinTokenRequest) -> timedelta:
    if not request.HasField("ttl"):
        return LIFE
    try:
        return request.ttl.ToTimedelta()
    except (ValueError, OverflowError):
        raise InvalidRequest("ttl is out of range.", member="ttl") from None


def _details(record: TokenRecord) -> pb.JoinToken:
    details = pb.JoinToken(
        token_id=record.token_id,
        compute_environment=record.compute_environment,
        uses_left=record.uses_left,
    )
    details.created_at.FromDatetime(record.created_at)
    details.expires_at.FromDatetime(record.expires_at)
    return details
