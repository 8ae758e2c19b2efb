"""Pages: an opaque token says where the next one begins."""

import base64
import binascii
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from longshore.domain.errors import InvalidRequest

T = TypeVar("T")
Position = list[int | str]


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Some items, and the token of what follows, None at the end."""

    items: Sequence[T]
    next_token: str | None = None


def encode_token(scope: str, position: Position) -> str:
    """A token for a position in the listing named by `scope`."""
    return base64.urlsafe_b64encode(json.dumps([scope, *position]).encode()).decode()


def decode_token(token: str, scope: str, kinds: Sequence[type]) -> Position:
    """The position in a token that `encode_token` made for the same listing.

    Raises:
        InvalidRequest: the token is not one of ours, or of another listing.
    """
    try:
        value = json.loads(base64.b64decode(token, altchars=b"-_", validate=True))
    except (ValueError, binascii.Error):
        value = None
    if (
        not isinstance(value, list)
        or len(value) != len(kinds) + 1
        or value[0] != scope
        or not all(type(part) is kind for part, kind in zip(value[1:], kinds, strict=True))
        or any(isinstance(part, int) and not -(2**31) <= part < 2**63 for part in value[1:])
    ):
        raise InvalidRequest(
            "nextToken is not one that this listing gave; begin again without it.",
            member="nextToken",
        )
    return value[1:]


def page_size(asked: int | None, largest: int) -> int:
    """How many items a page has: what was asked for, at most `largest`, which is the default.

    Raises:
        InvalidRequest: not from 1 to `largest`.
    """
    if asked is None:
        return largest
    if not 1 <= asked <= largest:
        raise InvalidRequest(
            f"maxResults is {asked}; it must be from 1 to {largest}.", member="maxResults"
        )
    return asked
