"""How commands are written: as coroutines, with options that several of them share."""

import asyncio
import functools
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Annotated, Any, ParamSpec

import typer
from typer.core import TyperArgument, TyperCommand

from longshore_cli.settings import absolute

Parameters = ParamSpec("Parameters")

#: Largest number of a message; more could not be sent.
WIRE_MAX = 2**31 - 1
#: Longest time to wait for anything.
WAIT_SECONDS_MAX = 10 * 365 * 86_400

Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
DataDir = Annotated[
    Path | None,
    typer.Option(
        "--data-dir",
        help="Where the stack keeps its data (LONGSHORE_DATA_DIR; ~/.longshore).",
        show_default=False,
    ),
]
Environment = Annotated[
    list[str] | None,
    typer.Option("--env", "-e", metavar="NAME=VALUE", help="Environment variable; repeatable."),
]
Parameter = Annotated[
    list[str] | None,
    typer.Option("--parameter", metavar="NAME=VALUE", help="Value for Ref::NAME; repeatable."),
]
Tag = Annotated[
    list[str] | None, typer.Option("--tag", metavar="NAME=VALUE", help="Tag; repeatable.")
]
Attempts = Annotated[
    int | None, typer.Option("--attempts", min=1, max=10, help="Tries in all.", show_default=False)
]
Timeout = Annotated[
    int | None,
    typer.Option(
        "--timeout",
        min=1,
        max=WIRE_MAX,
        metavar="SECONDS",
        help="Longest time that an attempt may run.",
        show_default=False,
    ),
]
Array = Annotated[
    int | None,
    typer.Option("--array", min=1, max=1_000_000, help="Number of children.", show_default=False),
]
MaxRunning = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=WIRE_MAX,
        help="How many children of the array run at one time (Slurm's %N).",
        show_default=False,
    ),
]
CommandLine = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="COMMAND", help="Command of the container, after --.", show_default=False
    ),
]

Token = Annotated[
    str | None,
    typer.Option(
        help="Of your choice: for 24 hours the same command with it is the same job.",
        show_default=False,
    ),
]


class BeforeCommand(TyperCommand):
    """A command whose first argument stands before `--`, where a container's command begins."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parses as usual.

        Raises:
            BadParameter: nothing stands before `--`; the container's command would be taken for it.
        """
        if "--" in args:
            first = next(one for one in self.params if isinstance(one, TyperArgument))
            before = self.make_context(
                ctx.info_name, args[: args.index("--")], parent=ctx.parent, resilient_parsing=True
            )
            if not before.params.get(first.name or ""):
                raise typer.BadParameter(
                    "It stands before --, after which the container's command is.", ctx, first
                )
        return super().parse_args(ctx, args)


def coroutine(
    function: Callable[Parameters, Coroutine[Any, Any, int | None]],
) -> Callable[Parameters, None]:
    """Makes a command of a coroutine function that may return an exit code."""

    @functools.wraps(function)
    def run(*args: Parameters.args, **kwargs: Parameters.kwargs) -> None:
        code = asyncio.run(function(*args, **kwargs))
        if code:
            raise typer.Exit(code)

    return run


def pairs(items: list[str] | None, option: str) -> dict[str, str]:
    """NAME=VALUE items as a mapping.

    Raises:
        BadParameter: an item has no name or no `=`.
    """
    found = {}
    for item in items or ():
        name, equals, value = item.partition("=")
        if not name or not equals:
            raise typer.BadParameter(f"{option} takes NAME=VALUE, not {item!r}.")
        found[name] = value
    return found


def mounts(items: list[str] | None) -> list[tuple[str, str, bool]]:
    """HOST:CONTAINER[:ro] items as (host path, container path, read-only).

    Raises:
        BadParameter: an item is malformed or a path is not absolute.
    """
    found = []
    for item in items or ():
        parts = item.split(":")
        mode = parts.pop() if len(parts) == 3 else "rw"
        if len(parts) != 2 or mode not in ("ro", "rw") or not all(parts):
            raise typer.BadParameter(f"--volume takes HOST:CONTAINER[:ro], not {item!r}.")
        source, target = parts
        if not target.startswith("/"):
            raise typer.BadParameter(f"--volume needs an absolute path in the container: {item!r}.")
        found.append((str(absolute(Path(source), "--volume")), target, mode == "ro"))
    return found
