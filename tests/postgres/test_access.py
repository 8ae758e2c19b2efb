"""Users, keys and policies over gRPC on a real PostgreSQL: what is kept, and what is refused."""

import asyncio
import contextlib
import dataclasses
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncpg
import grpc
import pytest
from support.patience import PATIENCE_SECONDS

from longshore.domain.access.key import AccessKey
from longshore.domain.errors import (
    InvalidRequest,
    LimitExceeded,
    LongshoreError,
    NotFound,
    PermissionDenied,
    PreconditionFailed,
    Throttled,
    Unauthenticated,
)
from longshore.rpc.channel import open_channel
from longshore.rpc.errors import from_rpc_error
from longshore.runtime.stack_key import StackKey, make_key
from longshore.standalone.first_key import ensure_first_key, read_first_key
from longshore.state.access import access
from longshore.state.pool import open_pool
from longshore.submission.__main__ import serving
from longshore.submission.config import SubmissionConfig
from longshore.v1 import access_service_pb2 as pb
from longshore.v1 import access_service_pb2_grpc, job_queue_pb2, submission_service_pb2_grpc


@dataclass
class Closed:
    """A submission service that asks who calls."""

    target: str
    owner: AccessKey
    key: StackKey
    conn: asyncpg.Connection
    channel: grpc.aio.Channel

    async def __call__(self, rpc: str, request: Any, key: AccessKey | None = None) -> Any:
        """Calls with a key, the owner's if no other is given."""
        who = self.owner if key is None else key
        metadata = (("authorization", f"Bearer {who.key_id}:{who.secret}"),)
        stub: Any = access_service_pb2_grpc.AccessServiceStub(self.channel)
        if not hasattr(stub, rpc):
            stub = submission_service_pb2_grpc.SubmissionServiceStub(self.channel)
        try:
            return await getattr(stub, rpc)(request, timeout=PATIENCE_SECONDS, metadata=metadata)
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error) from error

    async def queues(self, key: AccessKey | None = None) -> Any:
        """A call that a reader may make."""
        return await self("DescribeJobQueues", job_queue_pb2.DescribeJobQueuesRequest(), key)

    async def person(self, name: str, *policies: str) -> AccessKey:
        """A user with a key and policies."""
        await self("CreateUser", pb.CreateUserRequest(name=name))
        for policy in policies:
            attachment = pb.PolicyAttachment(policy=policy, user=name)
            await self("AttachPolicy", pb.AttachPolicyRequest(attachment=attachment))
        made = await self("CreateAccessKey", pb.CreateAccessKeyRequest(user=name))
        return AccessKey(made.key.access_key_id, made.secret_access_key)


@contextlib.asynccontextmanager
async def _closed(database_url: str, place: Path, **settings: str) -> AsyncIterator[Closed]:
    make_key(place / "stack.key")
    key = StackKey.read(place / "stack.key")
    await ensure_first_key(place, database_url, key)
    owner = read_first_key(place)
    assert owner is not None
    config = SubmissionConfig.from_environment(
        {
            "LONGSHORE_DATABASE_URL": database_url,
            "LONGSHORE_SUBMISSION_ADDRESS": "127.0.0.1:0",
            **settings,
        }
    )
    # Certificates are another matter: whoever calls here shows none.
    config = dataclasses.replace(config, doors=None)
    async with contextlib.AsyncExitStack() as stack:
        pool = await open_pool(database_url)
        stack.push_async_callback(pool.close)
        server = await stack.enter_async_context(serving(config, pool, key))
        target = f"127.0.0.1:{server.port}"
        channel = await stack.enter_async_context(open_channel(target))
        conn = await asyncpg.connect(database_url)
        stack.push_async_callback(conn.close)
        yield Closed(target, owner, key, conn, channel)


@pytest.fixture
async def closed(database_url: str, tmp_path: Path) -> AsyncIterator[Closed]:
    async with _closed(database_url, tmp_path) as made:
        yield made


async def test_a_user_a_key_and_a_policy_from_the_first_to_the_last(closed: Closed) -> None:
    ana = await closed.person("ana")
    with pytest.raises(PermissionDenied, match="User: arn:aws:iam::123456789012:user/ana is not"):
        await closed.queues(ana)
    attachment = pb.PolicyAttachment(policy="reader", group="genomics")
    await closed("AttachPolicy", pb.AttachPolicyRequest(attachment=attachment))
    await closed("UpdateUser", pb.UpdateUserRequest(name="ana", groups=["genomics", "b", "b"]))
    [user] = (await closed("ListUsers", pb.ListUsersRequest(name="ana"))).users
    assert list(user.groups) == ["b", "genomics"]
    assert [one.policy for one in user.policies] == ["reader"]
    await _until(closed, ana, None)
    await closed("DetachPolicy", pb.DetachPolicyRequest(attachment=attachment))
    await _until(closed, ana, PermissionDenied)
    await closed("DeleteUser", pb.DeleteUserRequest(name="ana"))
    await _until(closed, ana, Unauthenticated)
    assert await closed.conn.fetchval("SELECT count(*) FROM access_keys") == 1


async def _until(closed: Closed, key: AccessKey, error: type[LongshoreError] | None) -> None:
    """Waits until what was changed is known: the notification comes beside the answer."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            try:
                await closed.queues(key)
                found: type[LongshoreError] | None = None
            except LongshoreError as refused:
                found = type(refused)
            if found is error:
                return


async def test_secrets_are_in_no_table_and_bound_to_their_key(closed: Closed) -> None:
    ana = await closed.person("ana")
    rows = await closed.conn.fetch("SELECT * FROM access_keys")
    assert len(rows) == 2
    for row in rows:
        assert ana.secret.encode() not in bytes(row["sealed"])
        assert ana.secret not in str(dict(row))
    sealed = {row["key_id"]: bytes(row["sealed"]) for row in rows}
    assert closed.key.unseal(sealed[ana.key_id], ana.key_id) == ana.secret
    # Put in another one's place it is worth nothing.
    with pytest.raises(PreconditionFailed, match="under another key"):
        closed.key.unseal(sealed[closed.owner.key_id], ana.key_id)


async def test_a_key_ends_when_it_is_over(closed: Closed) -> None:
    ana = await closed.person("ana", "reader")
    await closed.queues(ana)
    await closed.conn.execute(
        "UPDATE access_keys SET expires_at = now() - interval '1 second' WHERE key_id = $1",
        ana.key_id,
    )
    await closed.conn.execute("NOTIFY longshore_access")
    await _until(closed, ana, Unauthenticated)


async def test_use_is_noted(closed: Closed) -> None:
    await access.note_use(closed.conn, [closed.owner.key_id, "nobody"], datetime.now(UTC))
    [user] = (await closed("ListUsers", pb.ListUsersRequest(name="admin"))).users
    assert user.keys[0].HasField("last_use_time")


@pytest.mark.parametrize("name", ["", "a b", "../x", "é", "-a", "a" * 65, "a\n"])
async def test_names_have_a_form(closed: Closed, name: str) -> None:
    for rpc, request in (
        ("CreateUser", pb.CreateUserRequest(name=name)),
        ("CreateUser", pb.CreateUserRequest(name="x", groups=[name])),
        ("PutPolicy", pb.PutPolicyRequest(name=name, document="{}")),
        ("CreateAccessKey", pb.CreateAccessKeyRequest(user=name)),
    ):
        with pytest.raises(InvalidRequest):
            await closed(rpc, request)


async def test_what_cannot_be_is_refused_by_name(closed: Closed) -> None:
    await closed.person("ana")
    refused: list[tuple[type[LongshoreError], str, Any]] = [
        (PreconditionFailed, "CreateUser", pb.CreateUserRequest(name="ana")),
        (NotFound, "DeleteUser", pb.DeleteUserRequest(name="bob")),
        (NotFound, "UpdateUser", pb.UpdateUserRequest(name="bob")),
        (NotFound, "ListUsers", pb.ListUsersRequest(name="bob")),
        (NotFound, "CreateAccessKey", pb.CreateAccessKeyRequest(user="bob")),
        (NotFound, "DeleteAccessKey", pb.DeleteAccessKeyRequest(access_key_id="x")),
        (NotFound, "UpdateAccessKey", pb.UpdateAccessKeyRequest(access_key_id="x")),
        (NotFound, "ListPolicies", pb.ListPoliciesRequest(name="p")),
        (NotFound, "DeletePolicy", pb.DeletePolicyRequest(name="p")),
        (InvalidRequest, "DeletePolicy", pb.DeletePolicyRequest(name="admin")),
        (InvalidRequest, "PutPolicy", pb.PutPolicyRequest(name="admin", document="{}")),
        (InvalidRequest, "PutPolicy", pb.PutPolicyRequest(name="p", document="{")),
        (InvalidRequest, "TestPolicy", pb.TestPolicyRequest(user="ana", action="Submit")),
        (NotFound, "TestPolicy", pb.TestPolicyRequest(user="bob", action="batch:SubmitJob")),
        (InvalidRequest, "ListUsers", pb.ListUsersRequest(page_size=101)),
    ]
    for policy, user, group, queues, error in (
        ("none", "ana", "", (), NotFound),
        ("reader", "bob", "", (), NotFound),
        ("reader", "", "", (), InvalidRequest),
        ("reader", "ana", "g", (), InvalidRequest),
        ("reader", "ana", "", ("q",), InvalidRequest),
        ("submitter", "ana", "", ("no/queue",), InvalidRequest),
    ):
        attachment = pb.PolicyAttachment(policy=policy, user=user, group=group, queues=queues)
        refused.append((error, "AttachPolicy", pb.AttachPolicyRequest(attachment=attachment)))
    for expected, rpc, request in refused:
        with pytest.raises(expected):
            await closed(rpc, request)
    for _ in range(access.KEYS_PER_USER - 1):
        await closed("CreateAccessKey", pb.CreateAccessKeyRequest(user="ana"))
    with pytest.raises(LimitExceeded, match="delete one of them"):
        await closed("CreateAccessKey", pb.CreateAccessKeyRequest(user="ana"))


async def test_a_policy_that_is_attached_stays(closed: Closed) -> None:
    await closed.person("ana")
    document = json.dumps({"Statement": {"Effect": "Allow", "Action": "batch:*", "Resource": "*"}})
    await closed("PutPolicy", pb.PutPolicyRequest(name="mine", document=document))
    attachment = pb.PolicyAttachment(policy="mine", user="ana")
    await closed("AttachPolicy", pb.AttachPolicyRequest(attachment=attachment))
    with pytest.raises(PreconditionFailed, match="detach it first"):
        await closed("DeletePolicy", pb.DeletePolicyRequest(name="mine"))
    names = [p.name for p in (await closed("ListPolicies", pb.ListPoliciesRequest())).policies]
    assert names == ["admin", "mine", "operator", "reader", "submitter"]
    page = await closed("ListPolicies", pb.ListPoliciesRequest(page_size=2))
    assert [p.name for p in page.policies] == ["admin", "mine"]
    rest = pb.ListPoliciesRequest(page_token=page.next_page_token)
    assert [p.name for p in (await closed("ListPolicies", rest)).policies] == names[2:]
    tested = await closed("TestPolicy", pb.TestPolicyRequest(user="ana", action="batch:SubmitJob"))
    assert (tested.allowed, tested.policy, tested.statement) == (True, "mine", "1")


async def test_what_services_ask_of_keys_users_may_not(closed: Closed) -> None:
    """The key that checks signatures is for the gateway, which shows a certificate."""
    resolve = closed.channel.unary_unary("/longshore.v1.KeyService/ResolveAccessKey")
    key = closed.owner
    for metadata in ((), (("authorization", f"Bearer {key.key_id}:{key.secret}"),)):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await resolve(b"", metadata=metadata, timeout=PATIENCE_SECONDS)
        assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED


async def test_one_key_that_floods_is_slowed_down_and_others_are_not(
    database_url: str, tmp_path: Path
) -> None:
    async with _closed(database_url, tmp_path, LONGSHORE_READS_PER_SECOND="1") as closed:
        ana = await closed.person("ana", "reader")
        outcomes = await asyncio.gather(
            *(closed.queues(ana) for _ in range(20)), return_exceptions=True
        )
        slowed = [one for one in outcomes if isinstance(one, Throttled)]
        assert len(slowed) > 5
        assert float(slowed[0].fields["retry_after"]) > 0
        assert await closed.queues()


async def test_guesses_of_a_secret_are_slowed_down(closed: Closed) -> None:
    wrong = AccessKey(closed.owner.key_id, "a" * 40)
    seen = set()
    for _ in range(30):
        with pytest.raises((Unauthenticated, Throttled)) as refused:
            await closed.queues(wrong)
        seen.add(type(refused.value))
    assert seen == {Unauthenticated, Throttled}


async def test_a_first_key_that_is_lost_is_made_anew(database_url: str, tmp_path: Path) -> None:
    make_key(tmp_path / "stack.key")
    key = StackKey.read(tmp_path / "stack.key")
    await ensure_first_key(tmp_path, database_url, key)
    first = read_first_key(tmp_path)
    await ensure_first_key(tmp_path, database_url, key)
    assert read_first_key(tmp_path) == first
    (tmp_path / "credentials.json").write_text("{")
    await ensure_first_key(tmp_path, database_url, key)
    assert read_first_key(tmp_path) not in (None, first)


def test_a_stacks_key_that_others_may_read_is_not_used(tmp_path: Path) -> None:
    path = tmp_path / "stack.key"
    make_key(path)
    made = path.read_bytes()
    make_key(path)
    assert path.read_bytes() == made
    path.chmod(0o640)
    with pytest.raises(PreconditionFailed, match="chmod 600"):
        StackKey.read(path)
    path.chmod(0o600)
    path.write_text("00")
    with pytest.raises(PreconditionFailed, match="no stack's key"):
        StackKey.read(path)
    with pytest.raises(PreconditionFailed, match="longshore up"):
        StackKey.read(tmp_path / "none")
