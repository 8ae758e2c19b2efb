"""Channels and stubs that the parts of the client share."""

import os
from types import TracebackType
from typing import Self

from longshore.v1 import (
    access_service_pb2_grpc,
    audit_service_pb2_grpc,
    cloud_trail_service_pb2_grpc,
    event_bridge_service_pb2_grpc,
    event_service_pb2_grpc,
    image_service_pb2_grpc,
    job_control_service_pb2_grpc,
    join_service_pb2_grpc,
    log_service_pb2_grpc,
    provisioning_service_pb2_grpc,
    scaler_service_pb2_grpc,
    scheduler_service_pb2_grpc,
    submission_service_pb2_grpc,
)
from longshore_client.address import Addresses
from longshore_client.call import CA_FILE, Caller, open_channel
from longshore_client.credentials import AccessKey, find


class Connection:
    """Open channels to the services; an async context manager that closes them."""

    def __init__(
        self,
        target: str | Addresses | None = None,
        *,
        timeout: float = 10.0,
        patience: float = 5.0,
        ca_file: str | None = None,
        access_key: AccessKey | None = None,
    ) -> None:
        """Makes a connection; nothing is sent before the first call. Needs a running event loop.

        Args:
            target: submission's `host:port`, or all addresses; None reads the environment.
            timeout: seconds that a call may take with its retries, unless the call says otherwise.
            patience: seconds to try to reach a service as long as none has ever answered.
            ca_file: certificates of the authorities that services must have theirs from, where
                they are reached by TLS; None takes LONGSHORE_CA_FILE, else those of this system.
            access_key: who calls; None: LONGSHORE_ACCESS_KEY_ID and LONGSHORE_SECRET_ACCESS_KEY
                say, else the data directory of the stack that is called, if it is ours to read.

        Raises:
            InvalidRequest: the target is malformed, or the file cannot be read.
        """
        if target is None:
            target = Addresses.from_environment()
        elif isinstance(target, str):
            target = Addresses.from_submission(target)
        self.addresses = target
        self.access_key = access_key or find(target.submission)
        key = () if self.access_key is None else self.access_key.metadata
        self._caller = Caller(timeout, patience, key)
        trusted = os.environ.get(CA_FILE, "") if ca_file is None else ca_file
        self._channels = [
            open_channel(address, trusted)
            for address in (
                target.submission,
                target.scheduler,
                target.scaler,
                target.provisioning,
                target.logs,
                target.events,
            )
        ]
        submission, scheduler, scaler, provisioning, logs, events = self._channels
        self._submission = submission_service_pb2_grpc.SubmissionServiceStub(submission)
        self._access = access_service_pb2_grpc.AccessServiceStub(submission)
        self._audit = audit_service_pb2_grpc.AuditServiceStub(submission)
        self._control = job_control_service_pb2_grpc.JobControlServiceStub(submission)
        self._images = image_service_pb2_grpc.ImageServiceStub(submission)
        self._scheduler = scheduler_service_pb2_grpc.SchedulerServiceStub(scheduler)
        self._scaler = scaler_service_pb2_grpc.ScalerServiceStub(scaler)
        self._provisioning = provisioning_service_pb2_grpc.ProvisioningServiceStub(provisioning)
        self._tokens = join_service_pb2_grpc.JoinTokenServiceStub(provisioning)
        self._logs = log_service_pb2_grpc.LogServiceStub(logs)
        self._events = event_bridge_service_pb2_grpc.EventBridgeServiceStub(events)
        self._watch = event_service_pb2_grpc.EventServiceStub(events)
        self._trail = cloud_trail_service_pb2_grpc.CloudTrailServiceStub(events)

    async def close(self) -> None:
        """Closes the channels; calls under way end at once."""
        for channel in self._channels:
            await channel.close(None)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()
