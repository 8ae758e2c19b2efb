"""AccessService on the wire: users, keys and policies."""

import re
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from longshore.domain.access import managed, policy
from longshore.domain.access.deciding import decide
from longshore.domain.access.key import (
    ACTIVE,
    DISABLED,
    ID_BYTES,
    SECRET_BYTES,
    AccessKey,
    check_name,
)
from longshore.domain.arn import NAME
from longshore.domain.checks import require
from longshore.runtime.stack_key import StackKey
from longshore.state.access import access
from longshore.state.access.access import Attachment, PolicyRecord, UserRecord
from longshore.state.pool import Pool, connection, transaction
from longshore.submission.key_servicer import key_message, needed, time_message
from longshore.v1 import access_service_pb2 as pb
from longshore.v1 import access_service_pb2_grpc

GROUPS = 20
QUEUES = 50
PAGE = 100
KEY_SECONDS = 60
KEY_LIFE = timedelta(days=3650)
#: Keys and values of a test's context.
CONTEXT = 50
_ACTION = re.compile(r"[a-z0-9-]+:[A-Za-z0-9]+", re.ASCII)


class AccessServicer(access_service_pb2_grpc.AccessServiceServicer):
    """Users, keys and policies of a stack; without a key of the stack there are none."""

    def __init__(self, pool: Pool, key: StackKey | None) -> None:
        self._pool = pool
        self._stack_key = key

    # ------------------------------------------------------------ users

    async def CreateUser(
        self, request: pb.CreateUserRequest, context: object
    ) -> pb.CreateUserResponse:
        """Creates a user."""
        check_name(request.name, "name")
        _check_groups(request.groups)
        async with transaction(self._pool) as conn:
            await access.insert_user(conn, request.name, request.groups)
            (user,) = await access.list_users(conn, name=request.name, limit=1)
        return pb.CreateUserResponse(user=_user(user))

    async def UpdateUser(
        self, request: pb.UpdateUserRequest, context: object
    ) -> pb.UpdateUserResponse:
        """Replaces a user's groups."""
        check_name(request.name, "name")
        _check_groups(request.groups)
        async with transaction(self._pool) as conn:
            await access.update_user(conn, request.name, request.groups)
            (user,) = await access.list_users(conn, name=request.name, limit=1)
        return pb.UpdateUserResponse(user=_user(user))

    async def ListUsers(
        self, request: pb.ListUsersRequest, context: object
    ) -> pb.ListUsersResponse:
        """Answers a page of users, or one."""
        size = _page_size(request.page_size)
        if request.name:
            check_name(request.name, "name")
        if request.page_token:
            check_name(request.page_token, "pageToken")
        async with connection(self._pool) as conn:
            users = await access.list_users(
                conn, name=request.name, after=request.page_token, limit=size
            )
        if request.name and not users:
            raise access.no_user(request.name)
        token = users[-1].name if len(users) == size and not request.name else ""
        return pb.ListUsersResponse(users=[_user(user) for user in users], next_page_token=token)

    async def DeleteUser(
        self, request: pb.DeleteUserRequest, context: object
    ) -> pb.DeleteUserResponse:
        """Deletes a user with its keys."""
        check_name(request.name, "name")
        async with transaction(self._pool) as conn:
            await access.delete_user(conn, request.name)
        return pb.DeleteUserResponse()

    # ------------------------------------------------------------ keys

    async def CreateAccessKey(
        self, request: pb.CreateAccessKeyRequest, context: object
    ) -> pb.CreateAccessKeyResponse:
        """Creates a key; its secret is told here alone."""
        check_name(request.user, "user")
        expires_at: datetime | None = None
        if request.HasField("ttl"):
            seconds = request.ttl.seconds
            require(
                KEY_SECONDS <= seconds <= KEY_LIFE.total_seconds(),
                f"ttl must be from {KEY_SECONDS} seconds to {KEY_LIFE.days} days.",
                "ttl",
            )
            expires_at = datetime.now(UTC) + timedelta(seconds=seconds)
        key = AccessKey.of(secrets.token_bytes(ID_BYTES + SECRET_BYTES))
        sealed = needed(self._stack_key).seal(key.secret, key.key_id)
        async with transaction(self._pool) as conn:
            record = await access.insert_key(conn, request.user, key, sealed, expires_at)
        return pb.CreateAccessKeyResponse(key=key_message(record), secret_access_key=key.secret)

    async def UpdateAccessKey(
        self, request: pb.UpdateAccessKeyRequest, context: object
    ) -> pb.UpdateAccessKeyResponse:
        """Disables a key, or enables it again."""
        async with transaction(self._pool) as conn:
            record = await access.update_key(
                conn, request.access_key_id, DISABLED if request.disabled else ACTIVE
            )
        return pb.UpdateAccessKeyResponse(key=key_message(record))

    async def DeleteAccessKey(
        self, request: pb.DeleteAccessKeyRequest, context: object
    ) -> pb.DeleteAccessKeyResponse:
        """Deletes a key."""
        async with transaction(self._pool) as conn:
            await access.delete_key(conn, request.access_key_id)
        return pb.DeleteAccessKeyResponse()

    # ------------------------------------------------------------ policies

    async def PutPolicy(
        self, request: pb.PutPolicyRequest, context: object
    ) -> pb.PutPolicyResponse:
        """Creates a policy, or replaces its document."""
        check_name(request.name, "name")
        require(
            request.name not in managed.NAMES,
            f"{request.name} is there from the start, and cannot be changed; take another name.",
            "name",
        )
        policy.read(request.name, request.document)
        async with transaction(self._pool) as conn:
            await access.put_policy(conn, request.name, request.document)
            (found,) = await access.list_policies(conn, name=request.name, limit=1)
        return pb.PutPolicyResponse(policy=_policy(found))

    async def ListPolicies(
        self, request: pb.ListPoliciesRequest, context: object
    ) -> pb.ListPoliciesResponse:
        """Answers a page of policies, or one."""
        size = _page_size(request.page_size)
        for member, value in (("name", request.name), ("pageToken", request.page_token)):
            if value:
                check_name(value, member)
        async with connection(self._pool) as conn:
            found = await access.list_policies(
                conn, name=request.name, after=request.page_token, limit=size
            )
        if request.name and not found:
            raise access.no_policy(request.name)
        token = found[-1].name if len(found) == size and not request.name else ""
        return pb.ListPoliciesResponse(
            policies=[_policy(one) for one in found], next_page_token=token
        )

    async def DeletePolicy(
        self, request: pb.DeletePolicyRequest, context: object
    ) -> pb.DeletePolicyResponse:
        """Deletes a policy."""
        check_name(request.name, "name")
        require(
            request.name not in managed.NAMES,
            f"{request.name} is there from the start, and cannot be deleted.",
            "name",
        )
        async with transaction(self._pool) as conn:
            await access.delete_policy(conn, request.name)
        return pb.DeletePolicyResponse()

    async def AttachPolicy(
        self, request: pb.AttachPolicyRequest, context: object
    ) -> pb.AttachPolicyResponse:
        """Attaches a policy to a user or a group."""
        attachment = _attachment(request.attachment)
        async with transaction(self._pool) as conn:
            await access.attach(conn, attachment)
        return pb.AttachPolicyResponse()

    async def DetachPolicy(
        self, request: pb.DetachPolicyRequest, context: object
    ) -> pb.DetachPolicyResponse:
        """Detaches a policy from a user or a group."""
        attachment = _attachment(request.attachment)
        async with transaction(self._pool) as conn:
            await access.detach(conn, attachment)
        return pb.DetachPolicyResponse()

    async def TestPolicy(
        self, request: pb.TestPolicyRequest, context: object
    ) -> pb.TestPolicyResponse:
        """Says what a user might do, and why."""
        check_name(request.user, "user")
        require(
            _ACTION.fullmatch(request.action) is not None,
            f"action is {request.action[:64]!r}; it must look like batch:SubmitJob.",
            "action",
        )
        require(len(request.context) <= CONTEXT, f"context has over {CONTEXT} keys.", "context")
        resource = request.resource or "*"
        async with connection(self._pool) as conn:
            _, policies = await access.read_user(conn, request.user)
        said = {"aws:username": [request.user], "aws:userid": [request.user]} | {
            key.lower(): value.split(",") for key, value in request.context.items()
        }
        decision = decide(policies, request.action, resource, said)
        return pb.TestPolicyResponse(
            allowed=decision.allowed,
            policy=decision.policy,
            statement=decision.statement,
            reason=decision.reason(request.action),
        )


def _page_size(wanted: int) -> int:
    require(0 <= wanted <= PAGE, f"pageSize must be at most {PAGE}.", "pageSize")
    return wanted or PAGE


def _check_groups(groups: Sequence[str]) -> None:
    require(len(groups) <= GROUPS, f"groups has more than {GROUPS} entries.", "groups")
    for index, group in enumerate(groups):
        check_name(group, f"groups[{index}]")


def _attachment(given: pb.PolicyAttachment) -> Attachment:
    check_name(given.policy, "policy")
    require(bool(given.user) != bool(given.group), "Name a user or a group.", "user")
    kind = "user" if given.user else "group"
    name = given.user or given.group
    check_name(name, kind)
    require(
        not given.queues or given.policy == managed.SUBMITTER,
        f"queues goes with the policy {managed.SUBMITTER} alone; others name theirs as Resource.",
        "queues",
    )
    require(len(given.queues) <= QUEUES, f"queues has more than {QUEUES} entries.", "queues")
    for index, queue in enumerate(given.queues):
        is_name = NAME.fullmatch(queue) is not None
        require(is_name, f"queues[{index}] is no queue's name.", f"queues[{index}]")
    return Attachment(given.policy, kind, name, tuple(given.queues))


def _attached(one: Attachment) -> pb.PolicyAttachment:
    is_user = one.kind == "user"
    return pb.PolicyAttachment(
        policy=one.policy,
        user=one.name if is_user else "",
        group="" if is_user else one.name,
        queues=one.queues,
    )


def _user(record: UserRecord) -> pb.User:
    return pb.User(
        name=record.name,
        groups=record.groups,
        create_time=time_message(record.created_at),
        keys=[key_message(key) for key in record.keys],
        policies=[_attached(one) for one in record.attachments],
    )


def _policy(record: PolicyRecord) -> pb.Policy:
    return pb.Policy(
        name=record.name,
        document=record.document,
        managed=record.is_managed,
        attachments=[_attached(one) for one in record.attachments],
    )
