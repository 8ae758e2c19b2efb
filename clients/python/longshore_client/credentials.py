"""The access key that calls are made with."""

import json
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from longshore_client.errors import InvalidRequest

KEY_ID = "LONGSHORE_ACCESS_KEY_ID"
SECRET = "LONGSHORE_SECRET_ACCESS_KEY"  # noqa: S105 - the name of a variable
#: In a stack's data directory: the key of who owns it.
FILE = "credentials.json"
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


@dataclass(frozen=True)
class AccessKey:
    """A key's id and its secret."""

    access_key_id: str
    secret_access_key: str = field(repr=False)

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """What calls with it carry."""
        return (("authorization", f"Bearer {self.access_key_id}:{self.secret_access_key}"),)


def from_environment(environ: Mapping[str, str] = os.environ) -> AccessKey | None:
    """The key that LONGSHORE_ACCESS_KEY_ID and LONGSHORE_SECRET_ACCESS_KEY say; None without.

    Raises:
        InvalidRequest: there is one of them alone.
    """
    key_id, secret = environ.get(KEY_ID), environ.get(SECRET)
    if bool(key_id) != bool(secret):
        raise InvalidRequest(f"{KEY_ID} and {SECRET} go together; one of them is not set.")
    return AccessKey(key_id, secret) if key_id and secret else None


def of_stack(
    submission: str, data_dir: Path | None = None, environ: Mapping[str, str] = os.environ
) -> AccessKey | None:
    """The key in a data directory, if it is that of the stack at this address; None without.

    A key is sent to nobody but whose it is.

    Args:
        submission: `host:port` that calls go to.
        data_dir: of the stack; None: LONGSHORE_DATA_DIR, else ~/.longshore.
        environ: the environment.
    """
    try:
        if data_dir is None:
            data_dir = Path(environ.get("LONGSHORE_DATA_DIR") or "~/.longshore").expanduser()
        record = json.loads((data_dir / "longshore.json").read_text())
        if record["addresses"]["submission"] != submission.replace("localhost", "127.0.0.1"):
            return None
        with (data_dir / FILE).open() as file:
            found = os.fstat(file.fileno())
            if found.st_mode & _OTHERS or found.st_uid != os.geteuid():
                return None
            document = json.load(file)
        return AccessKey(str(document["accessKeyId"]), str(document["secretAccessKey"]))
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, RecursionError):
        return None


def find(submission: str) -> AccessKey | None:
    """The key for calls to an address: the environment's, else that of the stack that is there."""
    return from_environment() or of_stack(submission)
