"""Users, keys, policies and who has which, in tables."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from longshore.domain.access import managed, policy
from longshore.domain.access.condition import SUBMITTED_BY
from longshore.domain.access.key import AccessKey, KeyState
from longshore.domain.access.policy import Policy
from longshore.domain.access.principal import KeyRecord, Principal, digest_of
from longshore.domain.errors import LimitExceeded, NotFound, PreconditionFailed
from longshore.state import listen
from longshore.state.pool import Connection
from longshore.state.queries import load_queries

_SQL = load_queries("access")

#: As IAM has it, or near.
KEYS_PER_USER = 20
ATTACHMENTS = 20
POLICIES = 1_500
#: Attachments of the policies of a page that are told.
ATTACHMENTS_TOLD = 1_000


@dataclass(frozen=True, slots=True)
class Attachment:
    """That a policy is attached."""

    policy: str
    #: `user` or `group`.
    kind: str
    name: str
    queues: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class UserRecord:
    """A user with all that belongs to it."""

    name: str
    groups: tuple[str, ...]
    created_at: datetime
    keys: tuple[KeyRecord, ...] = ()
    attachments: tuple[Attachment, ...] = ()


@dataclass(frozen=True, slots=True)
class PolicyRecord:
    """A policy and to whom it is attached."""

    name: str
    document: str
    is_managed: bool
    attachments: tuple[Attachment, ...] = ()


@dataclass(frozen=True, slots=True)
class Sealed:
    """A key's principal, and its secret under the stack's key."""

    principal: Principal
    secret: bytes = field(repr=False)
    #: Names and documents of the principal's policies.
    documents: tuple[tuple[str, str], ...] = ()


# ---------------------------------------------------------------- users


async def insert_user(conn: Connection, name: str, groups: Sequence[str]) -> None:
    """Stores a user.

    Raises:
        PreconditionFailed: there is one of this name.
    """
    if await conn.fetchval(_SQL["insert_user"], name, sorted(set(groups))) is None:
        raise PreconditionFailed(f"There is a user {name} already.", code="EntityAlreadyExists")


async def update_user(conn: Connection, name: str, groups: Sequence[str]) -> None:
    """Replaces a user's groups.

    Raises:
        NotFound: there is no such user.
    """
    if await conn.fetchval(_SQL["update_user"], name, sorted(set(groups))) is None:
        raise no_user(name)
    await listen.notify(conn, listen.ACCESS)


async def delete_user(conn: Connection, name: str) -> None:
    """Deletes a user, its keys and what is attached to it.

    Raises:
        NotFound: there is no such user.
    """
    if await conn.fetchval(_SQL["delete_user"], name) is None:
        raise no_user(name)
    await conn.execute(_SQL["detach_all"], name)
    await listen.notify(conn, listen.ACCESS)


async def list_users(
    conn: Connection, *, name: str = "", after: str = "", limit: int
) -> list[UserRecord]:
    """Users in order of their names, with keys and policies."""
    rows = await conn.fetch(_SQL["list_users"], name, after, limit)
    names = [row["name"] for row in rows]
    keys = [_key(row) for row in await conn.fetch(_SQL["list_keys"], names)]
    groups = sorted({group for row in rows for group in row["groups"]})
    attachments = [
        _attachment(row) for row in await conn.fetch(_SQL["attachments_of_users"], names, groups)
    ]
    return [
        UserRecord(
            row["name"],
            tuple(row["groups"]),
            row["created_at"],
            tuple(key for key in keys if key.user == row["name"]),
            tuple(
                one
                for one in attachments
                if (one.name == row["name"] if one.kind == "user" else one.name in row["groups"])
            ),
        )
        for row in rows
    ]


# ---------------------------------------------------------------- keys


async def insert_key(
    conn: Connection, user: str, key: AccessKey, sealed: bytes, expires_at: datetime | None
) -> KeyRecord:
    """Stores a key.

    Raises:
        NotFound: there is no such user.
        LimitExceeded: the user has too many.
    """
    if await conn.fetchval(_SQL["lock_user"], user) is None:
        raise no_user(user)
    if await conn.fetchval(_SQL["count_keys"], user) >= KEYS_PER_USER:
        raise LimitExceeded(
            f"The user {user} has {KEYS_PER_USER} access keys; delete one of them first."
        )
    row = await conn.fetchrow(
        _SQL["insert_key"], key.key_id, user, sealed, digest_of(key.secret), expires_at
    )
    return _key(row)


async def update_key(conn: Connection, key_id: str, status: str) -> KeyRecord:
    """Enables or disables a key.

    Raises:
        NotFound: there is no such key.
    """
    row = await conn.fetchrow(_SQL["update_key"], key_id, status)
    if row is None:
        raise no_key(key_id)
    await listen.notify(conn, listen.ACCESS)
    return _key(row)


async def delete_key(conn: Connection, key_id: str) -> None:
    """Deletes a key.

    Raises:
        NotFound: there is no such key.
    """
    if await conn.fetchval(_SQL["delete_key"], key_id) is None:
        raise no_key(key_id)
    await listen.notify(conn, listen.ACCESS)


async def read_key(conn: Connection, key_id: str) -> Sealed | None:
    """What a key stands for; None if there is no such key."""
    row = await conn.fetchrow(_SQL["read_key"], key_id)
    if row is None:
        return None
    policies, documents = _policies(row["policies"])
    principal = Principal(
        key=_key(row),
        groups=tuple(row["groups"]),
        digest=row["digest"],
        policies=policies,
        asks_for_submitters=asks_for_submitters(policies),
    )
    return Sealed(principal, row["sealed"], documents)


async def note_use(conn: Connection, key_ids: Sequence[str], at: datetime) -> None:
    """Notes that keys were used."""
    await conn.execute(_SQL["note_use"], key_ids, at)


# ---------------------------------------------------------------- policies


async def put_policy(conn: Connection, name: str, document: str) -> None:
    """Stores a policy whose document was read.

    Raises:
        LimitExceeded: there are too many.
    """
    if await conn.fetchval(_SQL["count_policies"]) >= POLICIES:
        raise LimitExceeded(f"There are {POLICIES} policies; delete one of them first.")
    await conn.execute(_SQL["put_policy"], name, document)
    await listen.notify(conn, listen.ACCESS)


async def delete_policy(conn: Connection, name: str) -> None:
    """Deletes a policy.

    Raises:
        NotFound: there is no such policy.
        PreconditionFailed: it is attached to somebody.
    """
    if await conn.fetchval(_SQL["lock_policy"], name) is None:
        raise no_policy(name)
    if await conn.fetchval(_SQL["delete_policy"], name) is None:
        raise PreconditionFailed(
            f"The policy {name} is attached to users or groups; detach it first.",
            code="DeleteConflict",
        )


async def list_policies(
    conn: Connection, *, name: str = "", after: str = "", limit: int
) -> list[PolicyRecord]:
    """Policies in order of their names; managed ones are among them."""
    rows = await conn.fetch(_SQL["list_policies"], name, after, limit)
    found = [(row["name"], row["document"], False) for row in rows]
    found += [
        (one, document, True)
        for one in managed.NAMES
        if one > after and name in ("", one) and (document := managed.document(one))
    ]
    found = sorted(found)[:limit]
    attachments = [
        _attachment(row)
        for row in await conn.fetch(
            _SQL["attachments_of_policies"], [one for one, _, _ in found], ATTACHMENTS_TOLD
        )
    ]
    return [
        PolicyRecord(
            one, document, is_managed, tuple(each for each in attachments if each.policy == one)
        )
        for one, document, is_managed in found
    ]


async def attach(conn: Connection, attachment: Attachment) -> None:
    """Attaches a policy.

    Raises:
        NotFound: there is no such policy or user.
        LimitExceeded: too many are attached to it.
    """
    if attachment.policy not in managed.NAMES and (
        await conn.fetchval(_SQL["lock_policy"], attachment.policy) is None
    ):
        raise no_policy(attachment.policy)
    if attachment.kind == "user" and (
        await conn.fetchval(_SQL["lock_user"], attachment.name) is None
    ):
        raise no_user(attachment.name)
    kind, name = attachment.kind, attachment.name
    if await conn.fetchval(_SQL["count_attachments"], kind, name, attachment.policy) >= ATTACHMENTS:
        raise LimitExceeded(f"The {kind} {name} has {ATTACHMENTS} policies already.")
    await conn.execute(_SQL["attach"], attachment.policy, kind, name, list(attachment.queues))
    await listen.notify(conn, listen.ACCESS)


async def detach(conn: Connection, attachment: Attachment) -> None:
    """Detaches a policy.

    Raises:
        NotFound: it is not attached.
    """
    gone = await conn.fetchval(_SQL["detach"], attachment.policy, attachment.kind, attachment.name)
    if gone is None:
        raise NotFound(
            f"The policy {attachment.policy} is not attached to the {attachment.kind} "
            f"{attachment.name}.",
            code="NoSuchEntity",
        )
    await listen.notify(conn, listen.ACCESS)


async def read_user(conn: Connection, name: str) -> tuple[tuple[str, ...], tuple[Policy, ...]]:
    """A user's groups, and what the user may do.

    Raises:
        NotFound: there is no such user.
    """
    row = await conn.fetchrow(_SQL["read_user"], name)
    if row is None:
        raise no_user(name)
    return tuple(row["groups"]), _policies(row["policies"])[0]


def asks_for_submitters(policies: Sequence[Policy]) -> bool:
    """Whether what is allowed depends on who has submitted a job."""
    return any(one.asks_for(SUBMITTED_BY) for one in policies)


def _policies(rows: Sequence[Any]) -> tuple[tuple[Policy, ...], tuple[tuple[str, str], ...]]:
    found, documents = [], []
    for name, stored, queues in rows:
        document = stored if stored is not None else managed.document(name, queues)
        if document is None:
            continue  # of an older version of the program: nothing is allowed by it
        found.append(policy.read(name, document))
        documents.append((name, document))
    return tuple(found), tuple(documents)


def _key(row: Any) -> KeyRecord:
    return KeyRecord(
        key_id=row["key_id"],
        user=row["user_name"],
        state=KeyState(row["status"], row["expires_at"]),
        created_at=row["created_at"],
        last_used_at=row["last_used_at"],
    )


def _attachment(row: Any) -> Attachment:
    return Attachment(row["policy"], row["kind"], row["name"], tuple(row["queues"]))


def no_user(name: str) -> NotFound:
    """There is no such user."""
    return NotFound(f"There is no user {name[:64]!r}.", code="NoSuchEntity")


def no_key(key_id: str) -> NotFound:
    """There is no such key."""
    return NotFound(f"There is no access key {key_id[:64]!r}.", code="NoSuchEntity")


def no_policy(name: str) -> NotFound:
    """There is no such policy."""
    return NotFound(f"There is no policy {name[:64]!r}.", code="NoSuchEntity")
