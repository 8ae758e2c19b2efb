"""`dead-letter`: events that could not be delivered."""

import json as json_
from typing import Annotated

import typer

from longshore_cli import console
from longshore_cli.command import Json, coroutine
from longshore_cli.settings import settings
from longshore_client import InvalidRequest, NotFound

app = typer.Typer(
    no_args_is_help=True, help="Events that could not be delivered.", rich_markup_mode=None
)

#: Most letters that one list shows.
LISTED_MAX = 10_000
NUMBER_MAX = 2**63 - 1

Rule = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Of this rule alone.", show_default=False),
]


@app.command("list")
@coroutine
async def list_(
    rule: Rule = None,
    limit: Annotated[int, typer.Option(min=1, max=LISTED_MAX, help="How many at most.")] = 100,
    json: Json = False,
) -> None:
    """List events that could not be delivered, newest first."""
    found = []
    async with settings.connect() as client:
        async for letter in client.list_dead_letters(rule=rule):
            found.append(letter)
            if len(found) == limit:
                break
    if json:
        console.print_json([console.plain(letter) for letter in found])
        return
    console.table(
        ("LETTER", "GIVEN UP", "RULE", "TARGET", "TRIES", "ERROR", "EVENT"),
        [
            (
                str(letter.letter_id),
                console.moment(letter.give_up_time),
                letter.rule,
                letter.target_id,
                str(letter.tries),
                f"{letter.error_code}: {letter.error_message}",
                json_.loads(letter.event)["detail-type"],
            )
            for letter in found
        ],
    )


@app.command()
@coroutine
async def resend(
    letters: Annotated[
        list[int] | None,
        typer.Argument(
            metavar="LETTER",
            min=1,
            max=NUMBER_MAX,
            help="Numbers, as they are listed.",
            show_default=False,
        ),
    ] = None,
    rule: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="All of this rule.", show_default=False),
    ] = None,
) -> None:
    """Send events anew, to the targets that they were for."""
    if bool(letters) == bool(rule):
        raise InvalidRequest("Give the numbers of letters, or --rule for all of a rule.")
    async with settings.connect() as client:
        wanted = letters or [
            letter.letter_id async for letter in client.list_dead_letters(rule=rule)
        ]
        sent = await client.resend_dead_letters(wanted)
    if not sent:
        raise NotFound(
            "None of these letters is there and has a target; list them with: longshore "
            "dead-letter list, and a rule's targets with: longshore rule describe"
        )
    left = len(set(wanted)) - len(sent)
    more = f"; of {left} the letter or its target is gone" if left else ""
    console.line(f"{len(sent)} sent anew{more}")
