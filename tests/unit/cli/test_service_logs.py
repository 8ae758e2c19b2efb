"""`longshore logs --service`: the files that services of a stack print to."""

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from support.patience import PATIENCE_SECONDS

from longshore.runtime import log_file
from longshore_cli import service_logs
from longshore_client import InvalidRequest, NotFound

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)


def _line(minute: int, event: str, **rest: object) -> str:
    at = f"2026-11-29T11:{minute:02}:00.5Z"
    line = {"job_id": "j", "event": event, "level": "info", "timestamp": at, "service": "s"}
    return json.dumps(line | rest) + "\n"


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The log of a stack's scheduler."""
    monkeypatch.setenv("LONGSHORE_DATA_DIR", str(tmp_path))
    record = {"status": "ready", "addresses": {}, "log_directory": str(tmp_path / "log")}
    (tmp_path / "longshore.json").write_text(json.dumps(record))
    path = tmp_path / "log" / "scheduler.log"
    path.parent.mkdir()
    path.write_text(_line(1, "a.one") + "Traceback\n" + _line(50, "a.two", n=3) + "\x1b[31m\n")
    return path


async def test_all_of_a_log_and_what_was_put_aside(
    log: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log.with_name("scheduler.log.1").write_text(_line(0, "a.zero"))
    await service_logs.print_service("scheduler", None, follow=False, as_json=False)
    assert capsys.readouterr().out.splitlines() == [
        "2026-11-29T11:00:00.5Z info    a.zero job_id=j",
        "2026-11-29T11:01:00.5Z info    a.one job_id=j",
        "Traceback",
        "2026-11-29T11:50:00.5Z info    a.two job_id=j n=3",
        "\\x1b[31m",
    ]


async def test_since_goes_by_the_lines_that_tell_a_time(
    log: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    since = service_logs.parse_since("20m", NOW)
    await service_logs.print_service("scheduler", since, follow=False, as_json=True)
    first, last = map(json.loads, capsys.readouterr().out.splitlines())
    assert first["event"] == "a.two"
    assert last == {"text": "\x1b[31m"}


async def test_a_log_is_followed_while_it_is_put_aside(
    log: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service_logs, "LOOK_SECONDS", 0.01)
    printed: list[str] = []

    async def until(is_so: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not is_so():
                await asyncio.sleep(0.01)
                printed.extend(capsys.readouterr().out.splitlines())

    task = asyncio.create_task(
        service_logs.print_service("scheduler", None, follow=True, as_json=False)
    )
    await until(lambda: len(printed) == 4)
    with log.open("a") as file:
        file.write(_line(51, "a.three"))
    log_file.bound(log, 10)
    with log.open("a") as file:
        file.write(_line(52, "a.four"))
    await until(lambda: len(printed) == 6)
    assert [line.split()[2] for line in printed[4:]] == ["a.three", "a.four"]
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_what_is_not_there_is_named(log: Path, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"no log of \.\./x in .*; there are scheduler"):
        await service_logs.print_service("../x", None, follow=False, as_json=False)
    (tmp_path / "longshore.json").unlink()
    with pytest.raises(NotFound, match="There is no stack in"):
        await service_logs.print_service("scheduler", None, follow=False, as_json=False)


@pytest.mark.parametrize("text", ["", "x", "10", "-5m", "999999999d", "\u0663m", "12:00"])
def test_what_is_no_moment_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest, match="--since is"):
        service_logs.parse_since(text, NOW)


def test_moments() -> None:
    assert service_logs.parse_since(None, NOW) is None
    assert service_logs.parse_since("2h", NOW) == NOW.replace(hour=10)
    assert service_logs.parse_since("2026-11-29T12:00:00", NOW) == NOW
    assert service_logs.parse_since("2026-11-29T14:00:00+02:00", NOW) == NOW
