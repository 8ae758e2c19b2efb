"""`audit`: who called what, from where, with which answer."""

import json as text
import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer

from longshore.v1 import cloud_trail_service_pb2
from longshore_cli import console, exit_code
from longshore_cli.command import Json, coroutine
from longshore_cli.settings import settings

app = typer.Typer(
    invoke_without_command=True, help="Who called what, the newest first.", rich_markup_mode=None
)

_AGO = re.compile(r"([1-9][0-9]{0,5})([smhd])")
_UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_YEARS = timedelta(days=365 * 50)


@app.callback()
def audit(  # noqa: PLR0913, PLR0917 - an option each
    context: typer.Context,
    name: Annotated[
        str | None, typer.Option(help="Only calls of this name, as SubmitJob.", show_default=False)
    ] = None,
    user: Annotated[
        str | None,
        typer.Option(help="Only calls of this user.", show_default=False),
    ] = None,
    key: Annotated[
        str | None,
        typer.Option(help="Only calls with this access key.", show_default=False),
    ] = None,
    resource: Annotated[
        str | None,
        typer.Option(help="Only calls about this job, queue or the like.", show_default=False),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(
            metavar="AGO", help="Only those of the last 90s, 15m, 1h or 7d.", show_default=False
        ),
    ] = None,
    every: Annotated[
        bool, typer.Option("--all", help="Also what longshore does by itself, as RunTask.")
    ] = False,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="Most to list.")] = 50,
    json: Json = False,
) -> None:
    """Who called what, the newest first."""
    if context.invoked_subcommand is not None:
        return
    wanted = {
        "EventName": name,
        "Username": user,
        "AccessKeyId": key,
        "ResourceName": resource,
    }
    attributes = {key: value for key, value in wanted.items() if value}
    # An act is asked for by its name.
    show(attributes, _start(since), calls_only=not (every or name), limit=limit, json=json)


@coroutine
async def show(
    attributes: dict[str, str],
    since: datetime | None,
    *,
    calls_only: bool,
    limit: int,
    json: bool,
) -> None:
    """Prints events: as records for programs, a line each as they come, or as a table."""
    rows = []
    count = 0
    async with settings.connect() as client:
        async for event in client.lookup_events(
            attributes, since=since, calls_only=calls_only, page_size=min(limit, 50)
        ):
            record = text.loads(event.cloud_trail_event)
            if json:
                console.print_json_line(record)
            else:
                rows.append(_row(event, record))
            count += 1
            if count == limit:
                break
    if not json:
        headers = ("TIME", "NAME", "WHO", "FROM", "ABOUT", "ANSWER", "AGENT")
        console.table(headers, rows, spare=("AGENT",))


def _row(event: cloud_trail_service_pb2.TrailEvent, record: dict[str, Any]) -> tuple[str, ...]:
    code = record.get("errorCode")
    return (
        console.when(round(event.event_time * 1000)),
        event.event_name,
        event.username or event.access_key_id or record["userIdentity"].get("invokedBy", ""),
        record["sourceIPAddress"],
        " ".join(resource.resource_name for resource in event.resources) or _acted_on(record),
        f"{code}: {record.get('errorMessage', '')}" if code else "done",
        record["userAgent"],
    )


def _acted_on(record: dict[str, Any]) -> str:
    """The job or the instance that something is about which longshore did by itself."""
    match record:
        case {"responseElements": {"containerInstance": {"ec2InstanceId": str(instance)}}}:
            return instance
        case {
            "requestParameters": {
                "overrides": {"containerOverrides": [{"environment": list(given)}, *_]}
            }
        }:
            names = {one.get("name"): one.get("value") for one in given if isinstance(one, dict)}
            return str(names.get("AWS_BATCH_JOB_ID", ""))
        case _:
            return ""


@app.command()
@coroutine
async def verify(json: Json = False) -> int:
    """Check that the log is as it was written; print the digest of each day.

    Whoever keeps a digest elsewhere can tell later that no record of that day was changed, added or
    taken out. Leaves with 1 if something is wrong.
    """
    async with settings.connect() as client:
        found = [day async for day in client.verify_audit_log()]
    if json:
        console.print_json([console.whole(day) for day in found])
    else:
        console.table(
            ("DAY", "RECORDS", "FAULT", "DIGEST"),
            [(day.day, str(day.records), day.fault or "none", day.digest) for day in found],
        )
    return exit_code.NEGATIVE if any(day.fault for day in found) else exit_code.OK


def _start(since: str | None) -> datetime | None:
    if since is None:
        return None
    match = _AGO.fullmatch(since)
    if match is None:
        raise typer.BadParameter(f"--since takes 90s, 15m, 1h or 7d, not {since!r}.")
    ago = timedelta(seconds=int(match[1]) * _UNITS[match[2]])
    return datetime.now(UTC) - min(ago, _YEARS)
