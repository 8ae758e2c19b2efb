"""AWS's event stream: one answer of many messages, each with its length and checksums.

message = u32 total length | u32 length of the headers | u32 CRC-32 of both
        | headers | payload | u32 CRC-32 of all before
header  = u8 length of the name | name | 7 (a text) | u16 length of the value | value
"""

import json
import struct
import zlib
from typing import Any

MEDIA_TYPE = "application/vnd.amazon.eventstream"
_TEXT = 7


def event(kind: str, value: Any) -> bytes:
    """One event of a kind."""
    headers = {
        ":message-type": "event",
        ":event-type": kind,
        ":content-type": "application/json",
    }
    return _message(headers, value)


def failure(kind: str, message: str) -> bytes:
    """The last message of a stream that ends otherwise than its caller wished."""
    headers = {
        ":message-type": "exception",
        ":exception-type": kind,
        ":content-type": "application/json",
    }
    return _message(headers, {"message": message})


def _message(headers: dict[str, str], value: Any) -> bytes:
    head = b"".join(_header(name.encode(), text.encode()) for name, text in headers.items())
    payload = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode(errors="replace")
    # The prelude and its checksum, and the checksum at the end.
    lengths = struct.pack(">II", 12 + len(head) + len(payload) + 4, len(head))
    message = lengths + struct.pack(">I", zlib.crc32(lengths)) + head + payload
    return message + struct.pack(">I", zlib.crc32(message))


def _header(name: bytes, value: bytes) -> bytes:
    return struct.pack(">B", len(name)) + name + struct.pack(">BH", _TEXT, len(value)) + value
