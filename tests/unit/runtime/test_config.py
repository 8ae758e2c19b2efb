"""Settings: defaults, bounds, and every bad value names its variable."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from longshore.runtime.config import ConfigError, Setting, Settings, recording

NAME = "LONGSHORE_X"
Read = Callable[[Settings], Any]


@pytest.mark.parametrize(
    ("read", "bad"),
    [
        (lambda s: s.integer(NAME, 1, 0, 9), ["x", "1.5", "-1", "10", "0x1"]),
        (lambda s: s.seconds(NAME, 1, 0.5, 9), ["x", "nan", "inf", "-inf", "0.4", "9.1"]),
        (lambda s: s.flag(NAME, True), ["yes", "2", "on"]),
        (lambda s: s.choice(NAME, ("a", "b"), "a"), ["c", "A", " a"]),
    ],
)
def test_a_bad_value_names_its_variable(read: Read, bad: list[str]) -> None:
    for value in bad:
        with pytest.raises(ConfigError, match=NAME):
            read(Settings({NAME: value}))


@pytest.mark.parametrize(
    "value",
    ["x", "host", "host:", ":1", "host:x", "host:65536", "host:²", "::1:80", "a b:1", "[]:1"],
)
@pytest.mark.parametrize("kind", ["ADDRESS", "METRICS_ADDRESS"])
def test_a_bad_address_names_its_variable(kind: str, value: str) -> None:
    name = f"LONGSHORE_SCHEDULER_{kind}"
    settings = Settings({name: value})
    read = settings.address if kind == "ADDRESS" else settings.metrics_address
    with pytest.raises(ConfigError, match=name):
        read("scheduler")


def test_what_must_be_set_names_its_variable() -> None:
    for environ in ({}, {"LONGSHORE_DATABASE_URL": ""}):
        with pytest.raises(ConfigError, match="LONGSHORE_DATABASE_URL"):
            Settings(environ).database_url()


def test_defaults() -> None:
    settings = Settings({})
    assert settings.integer(NAME, 3, 0, 9) == 3
    assert settings.seconds(NAME, 3, 0, 9) == 3.0
    assert settings.flag(NAME, True) is True
    assert settings.text(NAME, "t") == "t"
    assert settings.address("submission") == "127.0.0.1:7070"
    assert settings.address("gateway") == "127.0.0.1:7080"
    assert settings.metrics_address("submission") == "127.0.0.1:7090"


def test_an_empty_variable_is_one_that_is_not_set() -> None:
    assert Settings({NAME: ""}).integer(NAME, 3, 0, 9) == 3


def test_ports_move_together() -> None:
    settings = Settings({"LONGSHORE_PORT_BASE": "8000", "LONGSHORE_HOST": "0.0.0.0"})
    assert settings.address("scheduler") == "0.0.0.0:8001"
    assert settings.peer_address("scheduler") == "0.0.0.0:8041"
    assert settings.join_address() == "0.0.0.0:8006"
    # They ask nobody who he is.
    assert settings.metrics_address("scheduler") == "127.0.0.1:8021"


def test_any_free_port_for_the_service_means_any_for_its_metrics() -> None:
    settings = Settings({"LONGSHORE_SCHEDULER_ADDRESS": "[::1]:0"})
    assert settings.address("scheduler") == "[::1]:0"
    assert settings.metrics_address("scheduler") == "[::1]:0"


def test_a_path_is_made_absolute() -> None:
    path = Settings({NAME: "~/x"}).path(NAME)
    assert path == Path.home() / "x"


def test_paths_that_cannot_be_name_their_variable(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(ConfigError, match=f"{NAME}.*no such user"):
        Settings({NAME: "~nobody-of-this-name/x"}).path(NAME)
    with pytest.raises(ConfigError, match=f"{NAME}.*must be a directory"):
        Settings({NAME: str(tmp_path / "file")}).directory(NAME)
    assert Settings({NAME: str(tmp_path)}).directory(NAME) == tmp_path
    assert Settings({}).directory(NAME, tmp_path / "later") == tmp_path / "later"


def test_what_is_read_is_collected_once_with_its_bounds() -> None:
    with recording() as found:
        Settings({NAME: "3"}).integer(NAME, 1, 0, 9999)
        Settings({}).address("logs")
        Settings({}).flag("LONGSHORE_Z", default=False)
    Settings({}).integer("LONGSHORE_Y", 1, 0, 9)
    assert found[NAME] == Setting("0 to 9,999", "1")
    assert found["LONGSHORE_LOGS_ADDRESS"] == Setting("HOST:PORT", "127.0.0.1:7074")
    assert found["LONGSHORE_Z"] == Setting("true, false", "false")
    assert "LONGSHORE_Y" not in found


def test_history_is_a_week_at_least() -> None:
    assert Settings({"LONGSHORE_HISTORY_DAYS": "7"}).history() == timedelta(days=7)
    with pytest.raises(ConfigError, match="LONGSHORE_HISTORY_DAYS"):
        Settings({"LONGSHORE_HISTORY_DAYS": "6"}).history()


def test_the_audit_log_is_set_with_its_bounds() -> None:
    found = Settings({}).audit()
    assert (found.kept.days, found.reads, found.gateways) == (90, False, ())
    environ = {
        "LONGSHORE_AUDIT_DAYS": "7",
        "LONGSHORE_AUDIT_READS": "true",
        "LONGSHORE_AUDIT_GATEWAYS": "10.0.0.7, 10.1.0.0/16,[fd00::1]",
    }
    found = Settings(environ).audit()
    assert (found.kept.days, found.reads) == (7, True)
    assert [str(network) for network in found.gateways] == [
        "10.0.0.7/32",
        "10.1.0.0/16",
        "fd00::1/128",
    ]
    for name, value in (("DAYS", "0"), ("READS", "some"), ("GATEWAYS", "gateway.example")):
        with pytest.raises(ConfigError, match=f"LONGSHORE_AUDIT_{name}"):
            Settings({f"LONGSHORE_AUDIT_{name}": value}).audit()
