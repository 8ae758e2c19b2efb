"""`key`: access keys."""

import re
from datetime import UTC
from typing import Annotated

import typer
from google.protobuf.json_format import MessageToDict
from google.protobuf.timestamp_pb2 import Timestamp

from longshore_cli import console
from longshore_cli.command import Json, coroutine
from longshore_cli.settings import settings

app = typer.Typer(no_args_is_help=True, help="Access keys.", rich_markup_mode=None)

User = Annotated[str, typer.Argument(metavar="USER", help="The user's name.", show_default=False)]
KeyId = Annotated[str, typer.Argument(metavar="KEY", help="The key's id.", show_default=False)]
_TTL = re.compile(r"([0-9]{1,6})([mhd])", re.ASCII)
_SECONDS = {"m": 60, "h": 3600, "d": 86_400}


@app.command()
@coroutine
async def create(
    user: User,
    ttl: Annotated[
        str | None,
        typer.Option(
            metavar="TIME", help="How long it is good: 30m, 12h, 90d; for ever.", show_default=False
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Create a key. Its secret is shown this once."""
    seconds = None
    if ttl is not None:
        if (match := _TTL.fullmatch(ttl)) is None:
            raise typer.BadParameter(f"--ttl takes a time as 30m, 12h or 90d, not {ttl!r}.")
        seconds = int(match[1]) * _SECONDS[match[2]]
    async with settings.connect() as client:
        _, key = await client.create_access_key(user, ttl_seconds=seconds)
    if json:
        console.print_json(
            {"accessKeyId": key.access_key_id, "secretAccessKey": key.secret_access_key}
        )
        return
    console.line(f"export LONGSHORE_ACCESS_KEY_ID={key.access_key_id}")
    console.line(f"export LONGSHORE_SECRET_ACCESS_KEY={key.secret_access_key}")
    console.say("The secret is shown this once. AWS's clients take both without LONGSHORE's names.")


@app.command("list")
@coroutine
async def list_keys(user: User, json: Json = False) -> None:
    """List the keys of a user; their secrets nobody knows."""
    async with settings.connect() as client:
        (found,) = [one async for one in client.list_users(user)]
    if json:
        console.print_json([MessageToDict(key) for key in found.keys])
        return
    console.table(
        ("KEY", "STATE", "CREATED", "EXPIRES", "LAST USED"),
        [
            (
                key.access_key_id,
                "disabled" if key.disabled else "active",
                _shown(key.create_time),
                _shown(key.expire_time) if key.HasField("expire_time") else "never",
                _shown(key.last_use_time) if key.HasField("last_use_time") else "never",
            )
            for key in found.keys
        ],
    )


@app.command()
@coroutine
async def disable(key: KeyId) -> None:
    """Refuse calls with a key, until it is enabled again."""
    async with settings.connect() as client:
        await client.update_access_key(key, disabled=True)
    console.say(f"disabled {key}")


@app.command()
@coroutine
async def enable(key: KeyId) -> None:
    """Take calls with a key again."""
    async with settings.connect() as client:
        await client.update_access_key(key, disabled=False)
    console.say(f"enabled {key}")


@app.command()
@coroutine
async def delete(key: KeyId) -> None:
    """Delete a key."""
    async with settings.connect() as client:
        await client.delete_access_key(key)
    console.say(f"deleted {key}")


def _shown(time: Timestamp) -> str:
    return time.ToDatetime(UTC).astimezone().strftime("%Y-%m-%d %H:%M")
