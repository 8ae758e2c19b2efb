import pytest

from longshore.runtime.config import ConfigError
from longshore.submission.config import SubmissionConfig


def test_defaults() -> None:
    config = SubmissionConfig.from_environment({"LONGSHORE_DATABASE_URL": "postgresql://x"})
    assert (config.account, config.region) == ("123456789012", "us-east-1")
    assert config.address == "127.0.0.1:7070"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LONGSHORE_ACCOUNT", "12"),
        ("LONGSHORE_REGION", "US EAST"),
        ("LONGSHORE_SUBMISSION_CONNECTIONS", "0"),
    ],
)
def test_bad_settings_name_their_variable(name: str, value: str) -> None:
    with pytest.raises(ConfigError, match=name):
        SubmissionConfig.from_environment({"LONGSHORE_DATABASE_URL": "x", name: value})
