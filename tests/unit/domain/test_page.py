import pytest

from longshore.domain.errors import InvalidRequest
from longshore.domain.page import decode_token, encode_token, page_size


def test_a_token_leads_back_to_its_position() -> None:
    token = encode_token("s", ["näme", 7])
    assert decode_token(token, "s", [str, int]) == ["näme", 7]


@pytest.mark.parametrize(
    "token",
    ["", "!", "e30=", encode_token("other", [1]), encode_token("s", ["1"]), encode_token("s", [])],
)
def test_other_tokens_are_refused(token: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        decode_token(token, "s", [int])
    assert caught.value.member == "nextToken"


def test_numbers_beyond_the_database_are_refused() -> None:
    with pytest.raises(InvalidRequest):
        decode_token(encode_token("s", [2**63]), "s", [int])


def test_page_sizes_have_a_default_and_bounds() -> None:
    assert page_size(None, 100) == 100
    assert [page_size(n, 100) for n in (1, 100)] == [1, 100]
    for size in (0, 101, -1):
        with pytest.raises(InvalidRequest):
            page_size(size, 100)
