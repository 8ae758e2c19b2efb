"""`events`: what happens, as it happens."""

import contextlib
import json as json_
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer

from longshore_cli import console
from longshore_cli.command import Json, coroutine
from longshore_cli.settings import settings

#: Longest time back: events are not kept for longer.
MINUTES_MAX = 90 * 24 * 60


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(events)


@coroutine
async def events(
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on with what is still to happen.")
    ] = False,
    pattern: Annotated[
        str | None,
        typer.Option(
            metavar="JSON",
            help='Only events that match, as in {"detail":{"status":["FAILED"]}}.',
            show_default=False,
        ),
    ] = None,
    minutes: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=MINUTES_MAX,
            help="Begin so many minutes ago; 10 without --follow, else now.",
            show_default=False,
        ),
    ] = None,
    after: Annotated[
        str | None,
        typer.Option(
            metavar="POSITION",
            help="Begin behind the event with this position, as --json told it.",
            show_default=False,
        ),
    ] = None,
    bus: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Event bus; the default one.", show_default=False),
    ] = None,
    json: Json = False,
) -> None:
    """Print events as they happen, or those of a time before.

    With --json each is a line of its own, with the position behind it: who begins there the next
    time misses nothing.
    """
    since = None
    if after is None and (minutes is not None or not follow):
        since = datetime.now(UTC) - timedelta(minutes=minutes or 10)
    async with settings.connect() as client:
        found = client.watch_events(pattern, after=after, since=since, follow=follow, bus=bus)
        async with contextlib.aclosing(found):
            async for one in found:
                event = json_.loads(one.text)
                if json:
                    console.print_json_line({"position": one.position, "event": event})
                else:
                    console.line(console.harmless(_line(event)))


def _line(event: dict[str, Any]) -> str:
    """An event for people: when, of what kind, about what, and what it says."""
    at = datetime.fromisoformat(event["time"]).astimezone()
    about = event["resources"][0].rpartition("/")[2] if event["resources"] else ""
    detail = event["detail"]
    named = ("jobName", "status", "statusReason", "state", "lastStatus", "eventName")
    said = [str(detail[name]) for name in named if detail.get(name)]
    parts = (f"{at:%Y-%m-%d %H:%M:%S}", event["detail-type"], about, *said)
    return "  ".join(filter(None, parts))
