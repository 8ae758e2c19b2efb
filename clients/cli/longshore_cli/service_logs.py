"""`logs --service`, `--agent`, `--engine`: what longshore's own processes say of themselves."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from longshore_cli import console
from longshore_cli.settings import data_directory, read_record, settings
from longshore_client import InvalidRequest, NotFound

#: Between two looks at a file that may have grown.
LOOK_SECONDS = 0.2
#: Bytes read of a file at one time.
BLOCK_BYTES = 256 * 1024
#: How long ago agents' logs begin if nothing is said, and at most.
AGENT_SINCE = timedelta(days=1)
SINCE_MOST = timedelta(days=100)
_AGO = re.compile(r"(\d{1,9})([smhd])", re.ASCII)
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def parse_since(text: str | None, now: datetime) -> datetime | None:
    """A moment, as `10m`, `2h`, `3d` before now, or as ISO 8601 has it, in UTC unless it says.

    Raises:
        InvalidRequest: it is neither.
    """
    if text is None:
        return None
    try:
        if ago := _AGO.fullmatch(text):
            return now - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
        at = datetime.fromisoformat(text)
        return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise InvalidRequest(
            f"--since is {text!a}; it is like 10m, 2h, 3d or 2026-11-29T12:00:00."
        ) from error


async def print_service(name: str, since: datetime | None, *, follow: bool, as_json: bool) -> None:
    """Prints the log of a service of the stack on this machine.

    Raises:
        NotFound: there is no stack, or no such log.
    """
    directory = _directory()
    there = sorted(path.stem for path in directory.glob("*.log"))
    if name not in there:
        raise NotFound(f"There is no log of {name} in {directory}; there are {', '.join(there)}.")
    shown = since is None
    async for line in _lines(directory / f"{name}.log", follow=follow):
        said = _said(line)
        # What is no line of ours, such as a traceback, goes with the one before.
        if since is not None and (at := _time(said)) is not None:
            shown = at >= since
        if shown:
            _print(line, said, as_json=as_json)


async def print_agent(
    instance: str, kind: str, since: datetime | None, *, follow: bool, as_json: bool
) -> None:
    """Prints what an agent, or the engine beside it, has said.

    Raises:
        InvalidRequest: that is longer ago than is looked for.
        NotFound: nothing is known of it.
    """
    now = datetime.now(UTC)
    begin = now - AGENT_SINCE if since is None else since
    if now - begin > SINCE_MOST:
        raise InvalidRequest(f"--since is more than {SINCE_MOST.days} days ago.")
    text = ""
    async with settings.connect() as client:
        async for line in client.agent_logs(instance, kind, since=begin, follow=follow):
            text += line.text
            if not line.partial:
                _print(text, _said(text), as_json=as_json)
                text = ""


def _directory() -> Path:
    data = data_directory(None)
    record = read_record(data)
    if record is None or not isinstance(record.get("log_directory"), str):
        raise NotFound(
            f"There is no stack in {data}; logs of services are on the machine that runs them."
        )
    return Path(record["log_directory"])


async def _lines(path: Path, *, follow: bool) -> AsyncIterator[str]:
    """Lines of a log and of what was put aside of it, then those that come."""
    log, rest = _Log(path), b""
    while True:
        for block in log.blocks():
            *lines, rest = (rest + block).split(b"\n")
            for line in lines:
                yield line.decode(errors="replace")
        if not follow:
            break
        await asyncio.sleep(LOOK_SECONDS)
    if rest:
        yield rest.decode(errors="replace")


class _Log:
    """A file that is written at its end; when it is large it is copied aside, and then emptied."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._aside = path.with_name(f"{path.name}.1")
        self._position = -1

    def blocks(self) -> Iterator[bytes]:
        """What is there that was not read yet, what was put aside first."""
        size = self._path.stat().st_size if self._path.exists() else 0
        if size < self._position or self._position < 0:
            yield from _blocks(self._aside, max(self._position, 0))
            self._position = 0
        for block in _blocks(self._path, self._position):
            self._position += len(block)
            yield block


def _blocks(path: Path, position: int) -> Iterator[bytes]:
    if not path.exists():
        return
    with path.open("rb") as file:
        file.seek(position)
        while block := file.read(BLOCK_BYTES):
            yield block


def _said(line: str) -> dict[str, Any] | None:
    """What a line of ours says; None if it is none."""
    try:
        said = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return said if isinstance(said, dict) and "event" in said else None


def _time(said: dict[str, Any] | None) -> datetime | None:
    try:
        at = datetime.fromisoformat(str((said or {})["timestamp"]))
    except (KeyError, ValueError):
        return None
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def _print(line: str, said: dict[str, Any] | None, *, as_json: bool) -> None:
    if as_json:
        console.print_json_line(said if said is not None else {"text": line})
    else:
        console.line(console.harmless(line if said is None else sentence(said)))


def sentence(said: dict[str, Any]) -> str:
    """A line of ours for people: when, how bad, what, and the rest by name."""
    rest = {k: v for k, v in said.items() if k not in ("timestamp", "level", "event", "service")}
    head = (said.get("timestamp", ""), str(said.get("level", "")).ljust(7), said["event"])
    values = (f"{k}={v if isinstance(v, str) else json.dumps(v)}" for k, v in rest.items())
    return " ".join(map(str, (*head, *values)))
