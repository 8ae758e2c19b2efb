"""Channels from one service to another."""

import grpc

from longshore.backoff import Backoff
from longshore.contract import MESSAGE_BYTES

#: Between tries to open a stream again that broke.
RECONNECT_FIRST_SECONDS = 0.2
RECONNECT_LAST_SECONDS = 10.0


def reconnect_backoff() -> Backoff:
    """Pauses before a stream that broke is opened again."""
    return Backoff(RECONNECT_FIRST_SECONDS, RECONNECT_LAST_SECONDS)


def open_channel(target: str) -> grpc.aio.Channel:
    """A channel with keepalive and our message limit; the caller closes it."""
    return grpc.aio.insecure_channel(
        target,
        options=[
            ("grpc.max_send_message_length", MESSAGE_BYTES),
            ("grpc.max_receive_message_length", MESSAGE_BYTES),
            ("grpc.keepalive_time_ms", 20_000),
            ("grpc.keepalive_timeout_ms", 10_000),
            ("grpc.keepalive_permit_without_calls", 1),
            ("grpc.initial_reconnect_backoff_ms", 100),
            ("grpc.max_reconnect_backoff_ms", 2_000),
            ("grpc.enable_http_proxy", 0),
        ],
    )
