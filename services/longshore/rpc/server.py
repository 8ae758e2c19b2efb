"""A gRPC server with what every service has: interceptor, health, reflection, limits.

It has two doors, each a port of its own. Users come through one, which on loopback takes plaintext
and elsewhere TLS; services and agents through the other, which takes no connection without a
certificate of the stack. A port can ask those who connect for a certificate or not, but not both:
one for all would have to let in whoever has none, and users have none.
"""

from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from longshore.contract import MESSAGE_BYTES
from longshore.domain.errors import Unavailable
from longshore.identity.doors import Doors
from longshore.rpc.access import Access, rules_of
from longshore.rpc.audit import CallAudit
from longshore.rpc.credentials import server_credentials
from longshore.rpc.interceptor import CallInterceptor
from longshore.rpc.users import Users

#: Seconds that calls in flight get to finish when the server stops.
DRAIN_SECONDS = 5.0


class GrpcServer:
    """Serves the added servicers at an address from entering to leaving the context.

    Health answers NOT_SERVING until `set_serving(True)`. Entering raises Unavailable where the
    address cannot be listened on.
    """

    def __init__(
        self,
        address: str,
        audit: CallAudit | None = None,
        doors: Doors | None = None,
        users: Users | None = None,
    ) -> None:
        """Makes a server that does not listen yet.

        Args:
            address: where users reach it.
            audit: records calls.
            doors: how others reach it; None: nobody is asked who he is, which is for tests alone.
            users: tells users apart; None: whoever comes for users is let in.
        """
        self._address = address
        self._doors = doors
        self._access = Access()
        self._is_guarded = doors is not None or users is not None
        self._names = [health_pb2.DESCRIPTOR.services_by_name["Health"].full_name]
        self._served: list[str] = [""]
        self._health = health.aio.HealthServicer()  # type: ignore[attr-defined]  # missing in the stubs
        self._server = grpc.aio.server(
            interceptors=[
                CallInterceptor(audit, self._access if self._is_guarded else None, users)
            ],
            options=[
                ("grpc.max_send_message_length", MESSAGE_BYTES),
                ("grpc.max_receive_message_length", MESSAGE_BYTES),
                ("grpc.so_reuseport", 0),
                # Who connects and says nothing is let go of.
                ("grpc.server_handshake_timeout_ms", 20_000),
                ("grpc.keepalive_time_ms", 30_000),
                # Clients ping every 20 s, also while they call nothing.
                ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
                ("grpc.keepalive_permit_without_calls", 1),
            ],
        )
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        self.port = 0
        #: For services and agents.
        self.peer_port = 0

    def add(self, register: Callable[[Any, Any], None], servicer: Any, full_name: str) -> None:
        """Adds a servicer, by its generated `add_XServicer_to_server` and full name.

        Raises:
            UnguardedRpc: one of its rpcs does not say who may call it.
        """
        if self._is_guarded:
            self._access.add(rules_of([full_name]))
        register(servicer, self._server)
        self._names.append(full_name)
        self._served.append(full_name)

    async def set_serving(self, serving: bool) -> None:
        """Tells health checks whether the service does its work."""
        status = (
            health_pb2.HealthCheckResponse.SERVING
            if serving
            else health_pb2.HealthCheckResponse.NOT_SERVING
        )
        for name in self._served:
            await self._health.set(name, status)

    async def __aenter__(self) -> Self:
        reflection.enable_server_reflection([*self._names, reflection.SERVICE_NAME], self._server)
        doors = self._doors
        users = None
        if doors is not None and doors.users is not None:
            users = server_credentials(doors.users, asks_clients=False)
        self.port = self._listen(self._address, users)
        if doors is not None and doors.peers:
            credentials = server_credentials(doors.identity, asks_clients=True)
            self.peer_port = self._listen(doors.peers, credentials)
        await self.set_serving(False)
        await self._server.start()
        return self

    def _listen(self, address: str, credentials: grpc.ServerCredentials | None) -> int:
        try:
            if credentials is None:
                return int(self._server.add_insecure_port(address))
            return int(self._server.add_secure_port(address, credentials))
        except RuntimeError as error:
            raise Unavailable(
                f"Cannot listen on {address}: another process does, or it is no address of "
                "this machine."
            ) from error

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._health.enter_graceful_shutdown()
        await self._server.stop(DRAIN_SECONDS)
