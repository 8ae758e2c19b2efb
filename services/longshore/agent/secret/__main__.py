"""The program behind `longshore secret`: a value comes in over standard input, none goes out."""

import argparse
import json
import os
import sys
from collections.abc import Sequence

from longshore.agent.secret.file import VALUE_BYTES, SecretsFile, secrets_file
from longshore.domain.errors import InvalidRequest, LongshoreError, NotFound
from longshore.runtime.config import Settings

#: Exit code for a secret that is not there, as the command's.
NOT_FOUND = 4


def main(arguments: Sequence[str]) -> int:
    """Does what the arguments say; prints JSON, or what is wrong."""
    parser = argparse.ArgumentParser(prog="python -m longshore.agent.secret", allow_abbrev=False)
    actions = parser.add_subparsers(dest="action", required=True)
    for action in ("set", "delete"):
        actions.add_parser(action).add_argument("name")
    actions.add_parser("list")
    parsed = parser.parse_args(arguments)
    try:
        _act(secrets_file(Settings(os.environ)), parsed)
    except LongshoreError as error:
        sys.stderr.write(f"longshore: {error.message}\n")
        return NOT_FOUND if isinstance(error, NotFound) else 1
    return 0


def _act(file: SecretsFile, parsed: argparse.Namespace) -> None:
    if parsed.action == "set":
        file.set(parsed.name, _value())
    elif parsed.action == "delete":
        file.delete(parsed.name)
    else:
        found = {name: at.isoformat(timespec="seconds") for name, at in file.list().items()}
        json.dump(found, sys.stdout)


def _value() -> str:
    """Standard input as text; the newline that ends a line is none of the value's."""
    # One byte more than allowed, and the newline, tell what is too long.
    raw = sys.stdin.buffer.read(VALUE_BYTES + 2)
    try:
        return raw.decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        raise InvalidRequest(
            "A secret's value must be text in UTF-8; encode it, with base64 for instance."
        ) from None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
