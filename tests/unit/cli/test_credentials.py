"""`longshore credentials`: a variable for each service that longshore speaks, and for no other."""

import json
import os
from pathlib import Path

import pytest

from longshore_cli import credentials, settings


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A user's home with nothing in it, and no variable that says anything."""
    for name in list(os.environ):
        if name.startswith(("AWS_", "LONGSHORE_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(credentials, "settings", settings.CommandSettings())
    return tmp_path


def printed(capsys: pytest.CaptureFixture[str]) -> dict[str, str]:
    credentials.credentials()
    lines = capsys.readouterr().out.splitlines()
    exports = [line.removeprefix("export ") for line in lines if line.startswith("export ")]
    return dict(line.split("=", 1) for line in exports)


def test_each_service_has_a_variable_of_its_own(
    fresh: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = printed(capsys)
    names = ("BATCH", "CLOUDWATCH_LOGS", "EVENTBRIDGE", "CLOUDTRAIL", "ECS")
    urls = dict.fromkeys((f"AWS_ENDPOINT_URL_{name}" for name in names), "http://127.0.0.1:7080")
    own = {"AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "any"}
    assert found == urls | own | {"AWS_DEFAULT_REGION": "us-east-1"}


def test_credentials_that_are_there_are_left(
    fresh: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (fresh / ".aws").mkdir()
    (fresh / ".aws" / "credentials").touch()
    found = printed(capsys)
    assert "AWS_ACCESS_KEY_ID" not in found
    assert "AWS_DEFAULT_REGION" in found


def test_where_the_gateway_is(
    fresh: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stack that runs here, else what the variables say, else beside --server."""
    addresses = dict.fromkeys(settings.Addresses.__dataclass_fields__, "127.0.0.1:1")
    (fresh / ".longshore").mkdir()
    record = {"status": "ready", "addresses": addresses | {"gateway": "127.0.0.1:9"}}
    (fresh / ".longshore" / "longshore.json").write_text(json.dumps(record))
    assert printed(capsys)["AWS_ENDPOINT_URL_BATCH"] == "http://127.0.0.1:9"
    monkeypatch.setenv("LONGSHORE_PORT_BASE", "9000")
    monkeypatch.setattr(credentials, "settings", settings.CommandSettings())
    assert printed(capsys)["AWS_ENDPOINT_URL_BATCH"] == "http://127.0.0.1:9010"
    monkeypatch.setenv("LONGSHORE_GATEWAY_ADDRESS", "far:80")
    assert printed(capsys)["AWS_ENDPOINT_URL_BATCH"] == "http://far:80"
    monkeypatch.setattr(credentials, "settings", settings.CommandSettings(server="near:7070"))
    assert printed(capsys)["AWS_ENDPOINT_URL_BATCH"] == "http://near:7080"
