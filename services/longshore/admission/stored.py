"""For services with a database."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime

from longshore.domain.access.principal import Principal
from longshore.rpc.assertion import Assertions
from longshore.rpc.users import Paces, Principals, Users
from longshore.runtime.config import AccessSettings
from longshore.runtime.loop import Loop
from longshore.runtime.stack_key import StackKey
from longshore.state.access import access
from longshore.state.listen import ACCESS, Listener
from longshore.state.pool import Pool, connection, transaction

#: Between two notes of which keys were used.
USED_SECONDS = 10.0


@contextlib.asynccontextmanager
async def admitting(
    key: StackKey | None, settings: AccessSettings, pool: Pool, database_url: str
) -> AsyncIterator[Users | None]:
    """What checks who calls, while the context is open.

    Args:
        key: the stack's; None: anybody may call.
        settings: whose keys, and how fast each may call.
        pool: where keys and policies are.
        database_url: the same, for being told of changes.
    """
    if key is None:
        yield None
        return

    async def resolve(key_id: str) -> Principal | None:
        async with connection(pool) as conn:
            found = await access.read_key(conn, key_id)
        return None if found is None else found.principal

    users = Users(
        Principals(resolve),
        Assertions(key.assertions),
        settings.arns,
        Paces(settings.reads, settings.writes),
    )

    async def note_used() -> None:
        if used := users.take_used():
            async with transaction(pool) as conn:
                await access.note_use(conn, sorted(used), datetime.now(UTC))

    noting = Loop("access.used", note_used, USED_SECONDS)
    listener = Listener(database_url, {ACCESS: users.forget})
    tasks = [asyncio.create_task(run()) for run in (noting.run, listener.run)]
    try:
        yield users
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
