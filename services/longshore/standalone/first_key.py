"""The access key of the owner of a stack: made at the first start, in a file for him alone.

The `longshore` command finds it there. A file that is gone, or whose key is gone from the database,
is made anew at the next start: whoever owns the data directory owns the stack.
"""

import json
import os
import secrets
import tempfile
from pathlib import Path

from longshore.domain.access.key import ACTIVE, ID_BYTES, SECRET_BYTES, AccessKey
from longshore.domain.access.managed import ADMIN
from longshore.runtime.stack_key import StackKey
from longshore.state.access import access
from longshore.state.access.access import Attachment
from longshore.state.pool import open_pool, transaction

FILE = "credentials.json"
#: The name of the user whose it is.
USER = "admin"


async def ensure_first_key(data_dir: Path, database_url: str, key: StackKey) -> None:
    """Makes the key in the file if there is none that is good.

    Raises:
        Unavailable: the database does not answer.
    """
    found = read_first_key(data_dir)
    pool = await open_pool(database_url, maximum=1)
    try:
        async with transaction(pool) as conn:
            if found is not None:
                kept = await access.read_key(conn, found.key_id)
                if (
                    kept is not None
                    and kept.principal.has_secret(found.secret)
                    and kept.principal.key.state.status == ACTIVE
                ):
                    return
            made = AccessKey.of(secrets.token_bytes(ID_BYTES + SECRET_BYTES))
            if not await access.list_users(conn, name=USER, limit=1):
                await access.insert_user(conn, USER, ())
            await access.attach(conn, Attachment(ADMIN, "user", USER))
            sealed = key.seal(made.secret, made.key_id)
            await access.insert_key(conn, USER, made, sealed, None)
            _write(data_dir, made)
    finally:
        await pool.close()


def read_first_key(data_dir: Path) -> AccessKey | None:
    """The key in the file; None if there is none."""
    try:
        document = json.loads((data_dir / FILE).read_text())
        return AccessKey(str(document["accessKeyId"]), str(document["secretAccessKey"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _write(data_dir: Path, key: AccessKey) -> None:
    """Replaces the file in one step; nobody but its owner may read it at any time."""
    document = {"accessKeyId": key.key_id, "secretAccessKey": key.secret}
    # A temporary file is its owner's alone.
    handle, name = tempfile.mkstemp(dir=data_dir, prefix=FILE)
    try:
        with os.fdopen(handle, "w") as file:
            file.write(json.dumps(document) + "\n")
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(data_dir / FILE)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
