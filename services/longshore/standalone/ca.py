"""The authority of a folder, for the command: `python -m longshore.standalone.ca ACTION`.

Actions are `show`, `init`, `issue`, `rotate` and `retire`; each prints the authorities that are
trusted afterwards, as JSON. The folder is that of LONGSHORE_TLS_DIR. Exit codes: 0, 1 for what
cannot be done, 2 for wrong settings.
"""

import json
import os
import sys
from collections.abc import Callable, Sequence

from longshore.domain.errors import LongshoreError
from longshore.identity.authority import OVERLAP, Authority
from longshore.runtime.config import ConfigError, Settings


def _show(settings: Settings) -> Authority:
    return Authority(settings.tls_directory())


def _init(settings: Settings) -> Authority:
    authority = Authority.opened(settings.tls_directory())
    authority.renew(settings.tls_names())
    return authority


def _issue(settings: Settings) -> Authority:
    authority = Authority(settings.tls_directory())
    authority.renew(settings.tls_names(), all_of_them=True)
    return authority


def _rotate(settings: Settings) -> Authority:
    return Authority(settings.tls_directory()).rotate(settings.tls_names())


def _retire(settings: Settings) -> Authority:
    authority = Authority(settings.tls_directory())
    authority.retire()
    return authority


ACTIONS: dict[str, Callable[[Settings], Authority]] = {
    "show": _show,
    "init": _init,
    "issue": _issue,
    "rotate": _rotate,
    "retire": _retire,
}


def main(arguments: Sequence[str]) -> int:
    """Does what the arguments say; the exit code."""
    if len(arguments) != 1 or arguments[0] not in ACTIONS:
        sys.stderr.write(f"ca: one of {', '.join(ACTIONS)}\n")
        return 2
    try:
        authority = ACTIONS[arguments[0]](Settings(os.environ))
        trusted = authority.trusted()
    except LongshoreError as error:
        sys.stderr.write(f"{error.message}\n")
        return 2 if isinstance(error, ConfigError) else 1
    except OSError as error:
        sys.stderr.write(f"{error.filename} cannot be used: {error.strerror}.\n")
        return 1
    since = trusted[0].not_before
    json.dump(
        {
            "directory": str(authority.directory),
            "stack": authority.stack,
            "trusted": [
                {
                    "fingerprint": one.fingerprint,
                    "current": one.is_current,
                    "notBefore": one.not_before.isoformat(),
                    "notAfter": min(
                        one.not_after, one.not_after if one.is_current else since + OVERLAP
                    ).isoformat(),
                }
                for one in trusted
            ],
        },
        sys.stdout,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
