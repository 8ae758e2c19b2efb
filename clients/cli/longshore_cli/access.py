"""`access`: what users may do."""

from pathlib import Path
from typing import Annotated

import typer
from google.protobuf.json_format import MessageToDict

from longshore_cli import console, exit_code
from longshore_cli.command import Json, coroutine, pairs
from longshore_cli.settings import settings

app = typer.Typer(no_args_is_help=True, help="What users may do.", rich_markup_mode=None)

Name = Annotated[str, typer.Argument(metavar="POLICY", help="Its name.", show_default=False)]
User = Annotated[str | None, typer.Option("--user", help="A user.", show_default=False)]
Group = Annotated[str | None, typer.Option("--group", help="A group.", show_default=False)]
#: Largest file that is read; a document has far less.
_BYTES = 64 * 1024


@app.command()
@coroutine
async def put(
    name: Name,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="IAM's JSON.", show_default=False)],
) -> None:
    """Create a policy of a document in IAM's JSON, or replace it."""
    with file.open("rb") as opened:
        document = opened.read(_BYTES).decode(errors="replace")
    async with settings.connect() as client:
        await client.put_access_policy(name, document)
    console.say(f"stored {name}")


@app.command("list")
@coroutine
async def list_policies(json: Json = False) -> None:
    """List policies, and to whom each is attached."""
    async with settings.connect() as client:
        found = [one async for one in client.list_access_policies()]
    if json:
        console.print_json([MessageToDict(one) for one in found])
        return
    console.table(
        ("POLICY", "MANAGED", "ATTACHED TO"),
        [
            (
                one.name,
                "yes" if one.managed else "",
                ", ".join(each.user or f"group {each.group}" for each in one.attachments),
            )
            for one in found
        ],
    )


@app.command()
@coroutine
async def show(name: Name) -> None:
    """Print a policy's document."""
    async with settings.connect() as client:
        (found,) = [one async for one in client.list_access_policies(name)]
    console.line(found.document)


@app.command()
@coroutine
async def delete(name: Name) -> None:
    """Delete a policy that is attached to nobody."""
    async with settings.connect() as client:
        await client.delete_access_policy(name)
    console.say(f"deleted {name}")


@app.command()
@coroutine
async def attach(
    name: Name,
    user: User = None,
    group: Group = None,
    queue: Annotated[
        list[str] | None,
        typer.Option(help="Queue that `submitter` is about; repeatable; all.", show_default=False),
    ] = None,
) -> None:
    """Attach a policy to a user or a group."""
    async with settings.connect() as client:
        await client.attach_policy(name, user=user or "", group=group or "", queues=queue or ())
    console.say(f"attached {name} to {user or group}")


@app.command()
@coroutine
async def detach(name: Name, user: User = None, group: Group = None) -> None:
    """Detach a policy from a user or a group."""
    async with settings.connect() as client:
        await client.detach_policy(name, user=user or "", group=group or "")
    console.say(f"detached {name} from {user or group}")


@app.command("test")
@coroutine
async def try_policy(
    user: Annotated[str, typer.Argument(metavar="USER", help="Who.", show_default=False)],
    action: Annotated[
        str, typer.Argument(metavar="ACTION", help="As batch:SubmitJob.", show_default=False)
    ],
    resource: Annotated[
        str, typer.Argument(metavar="RESOURCE", help="A queue's name, or an ARN.")
    ] = "*",
    context: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="Condition key; repeatable.", show_default=False),
    ] = None,
    json: Json = False,
) -> int:
    """Say whether a user might do something, and which statement decides; exit code 1 for no."""
    if resource != "*" and not resource.startswith("arn:"):
        resource = f"arn:aws:batch:us-east-1:123456789012:job-queue/{resource}"
    async with settings.connect() as client:
        answer = await client.test_policy(user, action, resource, pairs(context, "--context"))
    if json:
        console.print_json(MessageToDict(answer, always_print_fields_with_no_presence=True))
    else:
        console.line(f"{'yes' if answer.allowed else 'no'}: {answer.reason}")
        if answer.policy and not answer.allowed:
            console.line(f"statement {answer.statement} of the policy {answer.policy} denies it")
    return exit_code.OK if answer.allowed else exit_code.NEGATIVE
