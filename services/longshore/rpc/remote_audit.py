"""Audit records of services that have no database: sent to the one that keeps them."""

from collections.abc import Sequence

import grpc
from google.protobuf.timestamp_pb2 import Timestamp

from longshore.domain.audit.record import AuditRecord
from longshore.rpc.errors import from_rpc_error
from longshore.v1 import audit_service_pb2 as pb
from longshore.v1 import audit_service_pb2_grpc

SECONDS = 15.0


class RemoteAudit:
    """Writes records through AuditService."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub = audit_service_pb2_grpc.AuditServiceStub(channel)

    async def write(self, records: Sequence[AuditRecord], *, is_repeated: bool) -> None:  # noqa: ARG002 - it is asked to pass over what it has in any case
        """Sends records, all or none.

        Raises:
            Unavailable: they are to be sent again.
            LongshoreError: they are not taken.
        """
        try:
            await self._stub.RecordCalls(
                pb.RecordCallsRequest(records=[_entry(record) for record in records]),
                timeout=SECONDS,
            )
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error) from None


def _entry(record: AuditRecord) -> pb.CallRecord:
    time = Timestamp()
    time.FromDatetime(record.at)
    return pb.CallRecord(time=time, record=record.text)
