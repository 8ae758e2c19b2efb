"""Where the log service keeps complete logs besides."""

import pytest

from longshore.logs.archive import ArchiveConfig
from longshore.logs.config import LogsConfig
from longshore.runtime.config import ConfigError


def _archive(**environ: str) -> ArchiveConfig | None:
    return LogsConfig.from_environment(environ).archive


def test_nowhere_unless_it_is_said() -> None:
    assert _archive(LONGSHORE_LOGS_S3_ENDPOINT_URL="http://x") is None


@pytest.mark.parametrize(
    ("place", "bucket", "prefix"),
    [
        ("logs", "logs", ""),
        ("my.logs-1/", "my.logs-1", ""),
        ("logs/team/a", "logs", "team/a/"),
        ("logs/team/", "logs", "team/"),
    ],
)
def test_a_bucket_and_a_prefix(place: str, bucket: str, prefix: str) -> None:
    found = _archive(LONGSHORE_LOGS_S3=place, AWS_REGION="eu-west-1", LONGSHORE_LOGS_CACHE_MIB="1")
    assert found == ArchiveConfig(bucket, prefix, "eu-west-1", "", 1024 * 1024)


@pytest.mark.parametrize("place", ["s3://logs", "Logs", "a", "/x", "logs/a b", "-logs"])
def test_what_names_no_bucket_is_refused(place: str) -> None:
    with pytest.raises(ConfigError, match="must be the name of a bucket"):
        _archive(LONGSHORE_LOGS_S3=place)


def test_an_endpoint_is_an_address() -> None:
    with pytest.raises(ConfigError, match="must begin with http"):
        _archive(LONGSHORE_LOGS_S3="logs", LONGSHORE_LOGS_S3_ENDPOINT_URL="minio:9000")
