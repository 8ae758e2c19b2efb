"""Scheduling policies: created, changed, deleted, described, listed."""

from collections.abc import Sequence

from longshore.domain.arn import NAME
from longshore.domain.checks import NAMES_MAX, Json, check_count, check_name, check_tags, require
from longshore.domain.environment import SchedulingPolicy
from longshore.domain.errors import NotFound, PreconditionFailed
from longshore.domain.page import Page, decode_token, encode_token, page_size
from longshore.domain.request.policy import fairshare_of
from longshore.state.pool import Pool, connection, transaction
from longshore.state.submission import scheduling_policy

_SCOPE = "policies"


class Policies:
    """Use cases of scheduling policies, by name: ARNs are for the servicer."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def create(self, request: Json) -> str:
        """Stores a policy and returns its name."""
        check_name(request["name"], "name")
        check_tags(request.get("tags", {}))
        fairshare = fairshare_of(request) or {}
        policy = SchedulingPolicy(request["name"], fairshare, request.get("tags", {}))
        async with transaction(self._pool) as conn:
            if not await scheduling_policy.insert_policy(conn, policy):
                raise PreconditionFailed(f"Object already exists: scheduling policy {policy.name}.")
        return policy.name

    async def update(self, name: str, request: Json, expected: Json | None = None) -> None:
        """Replaces the policy given; it holds from the next placement on.

        Args:
            name: of the policy.
            request: what is asked for.
            expected: what the caller knows of it; None: whatever it is.

        Raises:
            NotFound: there is no such policy.
            PreconditionFailed: it is another one than the caller knows.
        """
        fairshare = fairshare_of(request)
        async with transaction(self._pool) as conn:
            if expected is not None and await scheduling_policy.lock_policy(conn, name):
                [known] = await scheduling_policy.read_policies(conn, [name])
                if known.fairshare != expected:
                    raise PreconditionFailed(
                        f"Scheduling policy {name} was changed meanwhile; look at it again."
                    )
            if not await scheduling_policy.update_policy(conn, name, fairshare):
                raise NotFound(f"{request['arn']} does not exist", member="arn")

    async def delete(self, name: str, arn: str) -> None:
        """Deletes a policy that no queue uses."""
        async with transaction(self._pool) as conn:
            if not await scheduling_policy.lock_policy(conn, name):
                raise NotFound(f"{arn} does not exist", member="arn")
            queue = await scheduling_policy.queue_of(conn, name)
            if queue is not None:
                raise PreconditionFailed(
                    f"Cannot delete, scheduling policy {name} is used by job queue {queue}; give "
                    "it another policy, or delete it first."
                )
            await scheduling_policy.delete_policy(conn, name)

    async def describe(self, names: Sequence[str]) -> list[SchedulingPolicy]:
        """The named ones."""
        require(names, "arns needs at least one scheduling policy.", "arns")
        check_count(names, NAMES_MAX, "arns")
        async with connection(self._pool) as conn:
            return await scheduling_policy.read_policies(conn, names)

    async def list_names(self, asked: int | None, token: str | None) -> Page[str]:
        """The names of all of them, page by page."""
        size = page_size(asked, NAMES_MAX)
        after = str(decode_token(token, _SCOPE, [NAME])[0]) if token else ""
        async with connection(self._pool) as conn:
            found = await scheduling_policy.list_policies(conn, after=after, limit=size + 1)
        more = encode_token(_SCOPE, [found[size - 1]]) if len(found) > size else None
        return Page(found[:size], more)
