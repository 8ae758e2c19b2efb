"""Channels from one service to another."""

from collections.abc import Sequence
from typing import Any

import grpc

from longshore.backoff import Backoff
from longshore.contract import MESSAGE_BYTES
from longshore.identity.material import Identity
from longshore.rpc.credentials import PeerChannel

#: Between tries to open a stream again that broke.
RECONNECT_FIRST_SECONDS = 0.2
RECONNECT_LAST_SECONDS = 10.0


def reconnect_backoff() -> Backoff:
    """Pauses before a stream that broke is opened again."""
    return Backoff(RECONNECT_FIRST_SECONDS, RECONNECT_LAST_SECONDS)


_OPTIONS: tuple[tuple[str, Any], ...] = (
    ("grpc.max_send_message_length", MESSAGE_BYTES),
    ("grpc.max_receive_message_length", MESSAGE_BYTES),
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    ("grpc.enable_http_proxy", 0),
)


def open_channel(
    target: str,
    credentials: grpc.ChannelCredentials | None = None,
    options: Sequence[tuple[str, Any]] = (),
) -> grpc.aio.Channel:
    """A channel with keepalive and our message limit; the caller closes it.

    Without credentials in plaintext, as users come on loopback.
    """
    if credentials is None:
        return grpc.aio.insecure_channel(target, options=[*_OPTIONS, *options])
    return grpc.aio.secure_channel(target, credentials, options=[*_OPTIONS, *options])


def peer_channel(target: str, role: str, identity: Identity | None) -> grpc.aio.Channel:
    """A channel to a service's port for services and agents; the caller closes it.

    Args:
        target: `host:port`.
        role: of the service that has to be there.
        identity: whose channel it is; None: plaintext, which is for tests alone.
    """
    if identity is None:
        return open_channel(target)
    return PeerChannel(open_channel, target, role, identity)
