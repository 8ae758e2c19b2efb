"""`user`: people and programs that call."""

from typing import Annotated

import typer
from google.protobuf.json_format import MessageToDict

from longshore.v1 import access_service_pb2 as pb
from longshore_cli import console
from longshore_cli.command import Json, coroutine
from longshore_cli.settings import settings

app = typer.Typer(
    no_args_is_help=True, help="People and programs that call.", rich_markup_mode=None
)

Name = Annotated[str, typer.Argument(metavar="NAME", help="The user's name.", show_default=False)]
Group = Annotated[
    list[str] | None, typer.Option("--group", "-g", help="Group; repeatable.", show_default=False)
]


@app.command()
@coroutine
async def create(name: Name, group: Group = None) -> None:
    """Create a user, who may do nothing until a policy is attached to it or to a group."""
    async with settings.connect() as client:
        user = await client.create_user(name, groups=group or ())
    console.say(f"created {user.name}; `longshore key create {user.name}` makes a key")


@app.command()
@coroutine
async def update(name: Name, group: Group = None) -> None:
    """Replace the groups of a user; without any it is in none."""
    async with settings.connect() as client:
        user = await client.update_user(name, groups=group or ())
    console.say(f"{user.name} is in {', '.join(user.groups) or 'no group'}")


@app.command("list")
@coroutine
async def list_users(json: Json = False) -> None:
    """List users."""
    async with settings.connect() as client:
        users = [user async for user in client.list_users()]
    if json:
        console.print_json([MessageToDict(user) for user in users])
        return
    console.table(
        ("USER", "GROUPS", "POLICIES", "KEYS"),
        [
            (user.name, ", ".join(user.groups), _policies(user), str(len(user.keys)))
            for user in users
        ],
    )


@app.command()
@coroutine
async def show(name: Name, json: Json = False) -> None:
    """Show a user, its keys and what is attached to it."""
    async with settings.connect() as client:
        (user,) = [user async for user in client.list_users(name)]
    if json:
        console.print_json(MessageToDict(user))
        return
    console.fields(
        [
            ("user", user.name),
            ("groups", ", ".join(user.groups) or "none"),
            ("policies", _policies(user) or "none"),
            ("keys", ", ".join(key.access_key_id for key in user.keys) or "none"),
        ]
    )


@app.command()
@coroutine
async def delete(name: Name) -> None:
    """Delete a user with all keys; its jobs stay."""
    async with settings.connect() as client:
        await client.delete_user(name)
    console.say(f"deleted {name}")


def _policies(user: pb.User) -> str:
    return ", ".join(
        one.policy
        + (f" on {' '.join(one.queues)}" if one.queues else "")
        + (f" (of {one.group})" if one.group else "")
        for one in user.policies
    )
