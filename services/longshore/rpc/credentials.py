"""Credentials of servers and channels, from files that are replaced while a process runs."""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any, Self

import grpc

from longshore.identity.material import Identity
from longshore.identity.name import host_of

#: How often a channel looks whether its files were replaced.
LOOK_SECONDS = 1.0
#: Time that calls on a channel get whose certificate was replaced: all but streams end by then, and
#: streams are opened anew by those who hold them.
REPLACED_SECONDS = 300.0

Open = Callable[[str, grpc.ChannelCredentials, Sequence[tuple[str, Any]]], grpc.aio.Channel]


def server_credentials(identity: Identity, *, asks_clients: bool) -> grpc.ServerCredentials:
    """Of a server; each handshake has what the files hold then.

    Args:
        identity: the server's.
        asks_clients: whether who connects has to present a certificate of a trusted authority. If
            not, all that are trusted are sent along, for those who join to find theirs.
    """

    def configuration() -> grpc.ServerCertificateConfiguration:
        found = identity.load()
        chain = found.chain if asks_clients else found.chain + found.trusted
        return grpc.ssl_server_certificate_configuration(
            [(found.key, chain)], found.trusted if asks_clients else None
        )

    stamp = identity.stamp()

    def changed() -> grpc.ServerCertificateConfiguration | None:
        # gRPC calls this at each handshake, and goes on with what it has if it gets None.
        nonlocal stamp
        now = identity.stamp()
        if now == stamp:
            return None
        made = configuration()
        stamp = now
        return made

    return grpc.dynamic_ssl_server_credentials(
        configuration(),
        changed,  # type: ignore[arg-type]  # None is no change, as gRPC documents
        require_client_authentication=asks_clients,
    )


def channel_credentials(identity: Identity) -> grpc.ChannelCredentials:
    """Of a channel, as the files are now."""
    found = identity.load()
    return grpc.ssl_channel_credentials(found.trusted, found.key, found.chain)


class PeerChannel(grpc.aio.Channel):
    """A channel to a service, opened anew once the files of its identity are replaced.

    gRPC's own channels keep the certificate that they were opened with.
    """

    def __init__(self, open_one: Open, target: str, role: str, identity: Identity) -> None:
        """Opens a channel.

        Args:
            open_one: opens one of gRPC's own.
            target: `host:port`.
            role: of the service that has to be there.
            identity: whose channel it is.
        """
        self._open_one = open_one
        self._target = target
        self._role = role
        self._identity = identity
        self._stamp = identity.stamp()
        self._looked = time.monotonic()
        self._channel = self._open()
        self._generation = 0
        self._closing: set[asyncio.Task[None]] = set()

    def _open(self) -> grpc.aio.Channel:
        return self._open_one(
            self._target,
            channel_credentials(self._identity),
            [("grpc.ssl_target_name_override", host_of(self._role))],
        )

    def current(self) -> tuple[grpc.aio.Channel, int]:
        """The channel for a new call, and which one it is."""
        now = time.monotonic()
        if now - self._looked >= LOOK_SECONDS:
            self._looked = now
            stamp = self._identity.stamp()
            if stamp != self._stamp:
                old, self._channel = self._channel, self._open()
                self._stamp = stamp
                self._generation += 1
                closing = asyncio.ensure_future(old.close(REPLACED_SECONDS))
                self._closing.add(closing)
                closing.add_done_callback(self._closing.discard)
        return self._channel, self._generation

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self, grace: float | None = None) -> None:
        """Ends all calls, after the grace if there is one."""
        for closing in self._closing:
            closing.cancel()
        await self._channel.close(grace)

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        """Of the present channel."""
        return self._channel.get_state(try_to_connect)

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        """Of the present channel."""
        await self._channel.wait_for_state_change(last_observed_state)

    async def channel_ready(self) -> None:
        """Of the present channel."""
        await self._channel.channel_ready()

    def unary_unary(self, *args: Any, **kwargs: Any) -> Any:
        """A method, called on the channel that is the present one then."""
        return _Method(self, "unary_unary", args, kwargs)

    def unary_stream(self, *args: Any, **kwargs: Any) -> Any:
        """As `unary_unary`."""
        return _Method(self, "unary_stream", args, kwargs)

    def stream_unary(self, *args: Any, **kwargs: Any) -> Any:
        """As `unary_unary`."""
        return _Method(self, "stream_unary", args, kwargs)

    def stream_stream(self, *args: Any, **kwargs: Any) -> Any:
        """As `unary_unary`."""
        return _Method(self, "stream_stream", args, kwargs)


class _Method:
    """One method of a service."""

    def __init__(
        self, channel: PeerChannel, kind: str, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        self._channel = channel
        self._make = kind, args, kwargs
        self._generation = -1
        self._method: Any = None

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        channel, generation = self._channel.current()
        if generation != self._generation:
            kind, made, named = self._make
            self._method = getattr(channel, kind)(*made, **named)
            self._generation = generation
        return self._method(*args, **kwargs)
