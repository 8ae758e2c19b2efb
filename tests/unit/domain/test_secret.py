"""Where secrets lie."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longshore.domain.errors import InvalidRequest
from longshore.domain.secret import SecretReference, Store, parse_login, parse_secret

ARN = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:team/db-AbCdEf"
PARAMETER = "arn:aws:ssm:eu-west-1:123456789012:parameter/team/db"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (ARN, SecretReference(Store.SECRETS_MANAGER, ARN, "eu-west-1")),
        (
            f"{ARN}:password::",
            SecretReference(Store.SECRETS_MANAGER, ARN, "eu-west-1", "password"),
        ),
        (
            f"{ARN}::AWSPREVIOUS:",
            SecretReference(Store.SECRETS_MANAGER, ARN, "eu-west-1", None, "AWSPREVIOUS"),
        ),
        (
            f"{ARN}:a key:AWSCURRENT:5f1d",
            SecretReference(Store.SECRETS_MANAGER, ARN, "eu-west-1", "a key", "AWSCURRENT", "5f1d"),
        ),
        (PARAMETER, SecretReference(Store.PARAMETER_STORE, PARAMETER, "eu-west-1")),
        (f"{PARAMETER}:3", SecretReference(Store.PARAMETER_STORE, f"{PARAMETER}:3", "eu-west-1")),
        ("/team/db", SecretReference(Store.PARAMETER_STORE, "/team/db")),
        ("db:live", SecretReference(Store.PARAMETER_STORE, "db:live")),
        ("longshore:secret:team/db", SecretReference(Store.OWN, "team/db")),
        ("longshore:secret:db:user", SecretReference(Store.OWN, "db", key="user")),
    ],
)
def test_the_place_of_a_value(text: str, found: SecretReference) -> None:
    assert parse_secret(text, member="m") == found


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a b",
        "a:b:c",
        f"{ARN}:key",
        f"{ARN}:key:stage",
        f"{ARN}:key:stage:id:more",
        "arn:aws:s3:::bucket",
        "arn:aws:secretsmanager:eu-west-1:12:secret:x",
        "longshore:secret:",
        "longshore:secret:a b",
        "a\0b",
        "\ud800",
        "x" * 5000,
        f"{ARN}{'x' * 5000}",
    ],
)
def test_what_is_no_place_is_refused_by_name(text: str) -> None:
    with pytest.raises(InvalidRequest, match="m is ") as caught:
        parse_secret(text, member="m")
    assert caught.value.member == "m"
    assert len(caught.value.message) < 1000


def test_logins_of_registries_are_secrets_by_name_or_arn() -> None:
    assert parse_login("registry", member="m") == SecretReference(Store.SECRETS_MANAGER, "registry")
    assert parse_login(f"{ARN}:a::", member="m").key == "a"
    assert parse_login("longshore:secret:r", member="m").store is Store.OWN
    for text in (PARAMETER, "", "a:b", "a b"):
        with pytest.raises(InvalidRequest, match="m is "):
            parse_login(text, member="m")


@given(st.text(st.sampled_from("arn:aws:secretmgparo/-:01\n\0é"), max_size=80) | st.text())
def test_no_text_is_too_strange(text: str) -> None:
    for parse in (parse_secret, parse_login):
        with contextlib.suppress(InvalidRequest):
            assert parse(text, member="m").secret_id
