import base64
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longshore.domain.arn import NAME
from longshore.domain.errors import InvalidRequest
from longshore.domain.page import (
    ANY_NAME,
    NUMBER_32,
    NUMBER_64,
    Part,
    decode_token,
    encode_token,
    page_size,
)


def test_a_token_leads_back_to_its_position() -> None:
    token = encode_token("s", ["näme", 7])
    assert decode_token(token, "s", [ANY_NAME, NUMBER_32]) == ["näme", 7]


@pytest.mark.parametrize(
    "token",
    [
        "",
        "!",
        "é",
        "e30=",
        encode_token("other", [1]),
        encode_token("s", ["1"]),
        encode_token("s", [True]),
        encode_token("s", []),
        base64.urlsafe_b64encode(b"[" * 100_000).decode(),
        base64.urlsafe_b64encode(b'["s", ' + b"9" * 5_000 + b"]").decode(),
    ],
)
def test_other_tokens_are_refused(token: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        decode_token(token, "s", [NUMBER_64])
    assert caught.value.member == "nextToken"


@pytest.mark.parametrize(
    ("part", "position"),
    [
        (NUMBER_32, 2**31),
        (NUMBER_32, -1),
        (NUMBER_64, 2**63),
        (range(10), 10),
        (NAME, ""),
        (NAME, "a\0"),
        (NAME, "a" * 129),
        (ANY_NAME, "a\0"),
        (ANY_NAME, "\ud800"),
        (ANY_NAME, "a" * 513),
    ],
)
def test_what_no_query_takes_is_refused(part: Part, position: int | str) -> None:
    with pytest.raises(InvalidRequest):
        decode_token(encode_token("s", [position]), "s", [part])


@given(st.text() | st.binary().map(lambda raw: base64.urlsafe_b64encode(raw).decode()))
def test_any_text_is_a_token_or_refused(text: str) -> None:
    with suppress(InvalidRequest):
        decode_token(text, "s", [ANY_NAME, NUMBER_32])


def test_page_sizes_have_a_default_and_bounds() -> None:
    assert page_size(None, 100) == 100
    assert [page_size(n, 100) for n in (1, 100)] == [1, 100]
    for size in (0, 101, -1):
        with pytest.raises(InvalidRequest):
            page_size(size, 100)
