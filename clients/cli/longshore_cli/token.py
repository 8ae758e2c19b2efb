"""`token`: what machines join with."""

import re
from typing import Annotated

import typer

from longshore.contract import JOIN_OFFSET
from longshore_cli import console
from longshore_cli.command import Json, coroutine
from longshore_cli.settings import settings
from longshore_client.address import split_address

app = typer.Typer(
    no_args_is_help=True, help="Tokens by which machines join.", rich_markup_mode=None
)

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_TTL = re.compile(r"([1-9][0-9]{0,7})([smhd])")


@app.command()
@coroutine
async def create(
    env: Annotated[str, typer.Option(help="UNMANAGED compute environment to join.")],
    uses: Annotated[int, typer.Option(min=1, max=1000, help="Machines that may join.")] = 1,
    ttl: Annotated[str, typer.Option(metavar="TIME", help="Until it is over: 15m, 1h, 7d.")] = "1h",
    json: Json = False,
) -> None:
    """Make a token, and print it: this once.

    What to run on the machine is told on standard error.
    """
    match = _TTL.fullmatch(ttl)
    if match is None:
        raise typer.BadParameter(f"--ttl takes 90s, 15m, 1h or 7d, not {ttl!r}.")
    seconds = int(match[1]) * _UNITS[match[2]]
    async with settings.connect() as client:
        made = await client.create_join_token(env, uses=uses, ttl_seconds=seconds)
        host, _ = split_address(client.addresses.provisioning, "provisioning's address")
    if json:
        console.print_json(console.whole(made))
        return
    console.say(
        f"On the machine: longshore agent --join {host}:{made.join_port - JOIN_OFFSET} --token -   "
        "(the token on standard input)"
    )
    console.line(made.token)


@app.command("list")
@coroutine
async def list_tokens(
    env: Annotated[
        str | None, typer.Option(help="Only of this compute environment.", show_default=False)
    ] = None,
    json: Json = False,
) -> None:
    """List tokens that may be used still, the newest first."""
    async with settings.connect() as client:
        found = await client.list_join_tokens(env)
    if json:
        console.print_json([console.whole(item) for item in found])
        return
    console.table(
        ("TOKEN", "COMPUTE ENVIRONMENT", "USES LEFT", "MADE", "UNTIL"),
        [
            (
                item.token_id,
                item.compute_environment,
                str(item.uses_left),
                console.moment(item.created_at),
                console.moment(item.expires_at),
            )
            for item in found
        ],
    )


@app.command()
@coroutine
async def delete(
    token_id: Annotated[
        str, typer.Argument(metavar="TOKEN", help="Its id, as `longshore token list` has it.")
    ],
) -> None:
    """Make a token good for nothing more; machines that have joined with it stay."""
    async with settings.connect() as client:
        await client.delete_join_token(token_id)
