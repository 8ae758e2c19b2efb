"""Pages: an opaque token says where the next one begins."""

import base64
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from longshore.domain.errors import InvalidRequest

T = TypeVar("T")
Position = list[int | str]
#: What a part of a position may be: a number within a range, or a text of a form.
Part = range | re.Pattern[str]

#: Numbers that a column of 32 and of 64 bits holds, from 0; no column has a number below.
NUMBER_32 = range(2**31)
NUMBER_64 = range(2**63)
#: Entries of a page of our own lists, if nothing is asked, and at most.
LIST_DEFAULT = 100
LIST_MOST = 1_000
#: Names of things whose names have no form of their own here: what the database can hold.
ANY_NAME = re.compile(r"[^\0\ud800-\udfff]{1,512}")


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Some items, and the token of what follows, None at the end."""

    items: Sequence[T]
    next_token: str | None = None


def encode_token(scope: str, position: Position) -> str:
    """A token for a position in the listing named by `scope`."""
    return base64.urlsafe_b64encode(json.dumps([scope, *position]).encode()).decode()


def decode_token(token: str, scope: str, parts: Sequence[Part]) -> Position:
    """The position in a token that `encode_token` made for the same listing.

    A token comes from outside, whoever made it: what it holds goes into a query, so each part is
    checked for what the query can take.

    Args:
        token: as the caller gives it.
        scope: names the listing.
        parts: what each part of a position may be.

    Raises:
        InvalidRequest: the token is not one of ours, or of another listing.
    """
    try:
        value = json.loads(base64.b64decode(token, altchars=b"-_", validate=True))
    except (ValueError, RecursionError):
        value = None
    if (
        not isinstance(value, list)
        or len(value) != len(parts) + 1
        or value[0] != scope
        or not all(_is(part, given) for part, given in zip(parts, value[1:], strict=True))
    ):
        raise InvalidRequest(
            "nextToken is not one that this listing gave; begin again without it.",
            member="nextToken",
        )
    return value[1:]


def _is(part: Part, given: object) -> bool:
    if isinstance(part, range):
        return type(given) is int and given in part
    return isinstance(given, str) and part.fullmatch(given) is not None


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
