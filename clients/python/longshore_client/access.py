"""Users, their access keys, and what they may do."""

from collections.abc import AsyncIterator, Mapping, Sequence

from google.protobuf.duration_pb2 import Duration

from longshore.v1 import access_service_pb2 as pb
from longshore_client import build
from longshore_client.connection import Connection
from longshore_client.credentials import AccessKey


class AccessCalls(Connection):
    """The calls about users, keys and policies."""

    async def create_user(self, name: str, *, groups: Sequence[str] = ()) -> pb.User:
        """Creates a user, who may do nothing yet."""
        with build.well_formed():
            request = pb.CreateUserRequest(name=name, groups=groups)
        answer = await self._caller.unary(self._access.CreateUser, request, repeatable=False)
        return answer.user

    async def update_user(self, name: str, *, groups: Sequence[str]) -> pb.User:
        """Replaces the groups of a user."""
        with build.well_formed():
            request = pb.UpdateUserRequest(name=name, groups=groups)
        return (await self._caller.unary(self._access.UpdateUser, request)).user

    async def list_users(self, name: str = "") -> AsyncIterator[pb.User]:
        """All users in order of their names, or the one that is named."""
        with build.well_formed():
            request = pb.ListUsersRequest(name=name)
        while True:
            answer = await self._caller.unary(self._access.ListUsers, request)
            for user in answer.users:
                yield user
            if not answer.next_page_token:
                return
            request.page_token = answer.next_page_token

    async def delete_user(self, name: str) -> None:
        """Deletes a user with all keys."""
        with build.well_formed():
            request = pb.DeleteUserRequest(name=name)
        await self._caller.unary(self._access.DeleteUser, request, repeatable=False)

    async def create_access_key(
        self, user: str, *, ttl_seconds: int | None = None
    ) -> tuple[pb.AccessKey, AccessKey]:
        """Creates a key; its secret is told this once.

        Args:
            user: whose it is.
            ttl_seconds: for how long it is good; None: for ever.
        """
        with build.well_formed():
            ttl = None if ttl_seconds is None else Duration(seconds=ttl_seconds)
            request = pb.CreateAccessKeyRequest(user=user, ttl=ttl)
        answer = await self._caller.unary(self._access.CreateAccessKey, request, repeatable=False)
        return answer.key, AccessKey(answer.key.access_key_id, answer.secret_access_key)

    async def update_access_key(self, access_key_id: str, *, disabled: bool) -> pb.AccessKey:
        """Disables a key, or enables it again."""
        with build.well_formed():
            request = pb.UpdateAccessKeyRequest(access_key_id=access_key_id, disabled=disabled)
        return (await self._caller.unary(self._access.UpdateAccessKey, request)).key

    async def delete_access_key(self, access_key_id: str) -> None:
        """Deletes a key."""
        with build.well_formed():
            request = pb.DeleteAccessKeyRequest(access_key_id=access_key_id)
        await self._caller.unary(self._access.DeleteAccessKey, request, repeatable=False)

    async def put_access_policy(self, name: str, document: str) -> pb.Policy:
        """Creates a policy in IAM's JSON, or replaces its document."""
        with build.well_formed():
            request = pb.PutPolicyRequest(name=name, document=document)
        return (await self._caller.unary(self._access.PutPolicy, request)).policy

    async def list_access_policies(self, name: str = "") -> AsyncIterator[pb.Policy]:
        """All policies in order of their names, or the one that is named."""
        with build.well_formed():
            request = pb.ListPoliciesRequest(name=name)
        while True:
            answer = await self._caller.unary(self._access.ListPolicies, request)
            for policy in answer.policies:
                yield policy
            if not answer.next_page_token:
                return
            request.page_token = answer.next_page_token

    async def delete_access_policy(self, name: str) -> None:
        """Deletes a policy that is attached to nobody."""
        with build.well_formed():
            request = pb.DeletePolicyRequest(name=name)
        await self._caller.unary(self._access.DeletePolicy, request, repeatable=False)

    async def attach_policy(
        self, policy: str, *, user: str = "", group: str = "", queues: Sequence[str] = ()
    ) -> None:
        """Attaches a policy to a user or a group.

        Args:
            policy: its name.
            user: to whom.
            group: or to which group.
            queues: that `submitter` is about; none: all.
        """
        with build.well_formed():
            request = pb.AttachPolicyRequest(
                attachment=pb.PolicyAttachment(policy=policy, user=user, group=group, queues=queues)
            )
        await self._caller.unary(self._access.AttachPolicy, request)

    async def detach_policy(self, policy: str, *, user: str = "", group: str = "") -> None:
        """Detaches a policy from a user or a group."""
        with build.well_formed():
            request = pb.DetachPolicyRequest(
                attachment=pb.PolicyAttachment(policy=policy, user=user, group=group)
            )
        await self._caller.unary(self._access.DetachPolicy, request, repeatable=False)

    async def test_policy(
        self, user: str, action: str, resource: str = "", context: Mapping[str, str] | None = None
    ) -> pb.TestPolicyResponse:
        """Whether a user might do something, and which statement decides."""
        with build.well_formed():
            request = pb.TestPolicyRequest(
                user=user, action=action, resource=resource, context=context or {}
            )
        return await self._caller.unary(self._access.TestPolicy, request)
