"""Compute environments and job queues: created, changed, deleted, described."""

import uuid
from collections.abc import Sequence
from datetime import UTC, datetime

from longshore.domain.arn import NAME
from longshore.domain.catalogue import Catalogue
from longshore.domain.checks import (
    NAMES_MAX,
    Json,
    check_count,
    check_name,
    check_tags,
    require,
)
from longshore.domain.environment import (
    QUEUE_HEALTHY,
    ComputeEnvironment,
    JobQueue,
)
from longshore.domain.errors import NotFound, PreconditionFailed
from longshore.domain.limits import Limits
from longshore.domain.page import Page, decode_token, encode_token, page_size
from longshore.domain.request.compute_environment import new_environment, updated_environment
from longshore.domain.request.queue import (
    TIME_LIMITS,
    changed_time_limits,
    check_environments,
    check_queue_request,
    environments_of,
    policy_of,
)
from longshore.state.pool import Connection, Pool, connection, transaction
from longshore.state.submission import compute_environment, job_queue, scheduling_policy
from longshore.state.views import queue_snapshot
from longshore.state.views.queue_snapshot import QueueSnapshot

#: Jobs of a queue's snapshot.
FRONT_MAX = 100
#: AWS's text is not published; this is believed to be it.
_EXISTS = "Object already exists"


class Environments:
    """Use cases of compute environments, by name: ARNs are for the servicer."""

    def __init__(self, pool: Pool, catalogue: Catalogue) -> None:
        self._pool = pool
        self._catalogue = catalogue

    async def create(self, request: Json) -> str:
        """Stores a compute environment and returns its name."""
        environment = new_environment(request, uuid.uuid4(), self._catalogue)
        async with transaction(self._pool) as conn:
            if not await compute_environment.insert_environment(conn, environment):
                raise PreconditionFailed(f"{_EXISTS}: compute environment {environment.name}.")
        return environment.name

    async def update(self, name: str, request: Json) -> None:
        """Changes the members given; the scaler replaces instances where they have to change."""
        async with transaction(self._pool) as conn:
            found = await compute_environment.lock_environments(conn, [name])
            environment = found.get(name)
            if environment is None:
                raise NotFound(f"{name} does not exist", member="computeEnvironment")
            changed = updated_environment(environment, request, datetime.now(UTC), self._catalogue)
            await compute_environment.update_environment(conn, changed)

    async def delete(self, name: str) -> None:
        """Deletes a compute environment that is DISABLED and in no queue."""
        async with transaction(self._pool) as conn:
            found = await compute_environment.lock_environments(conn, [name])
            environment = found.get(name)
            if environment is None:
                raise NotFound(f"{name} does not exist", member="computeEnvironment")
            if environment.status in ("CREATING", "UPDATING"):
                raise PreconditionFailed("Cannot delete, resource is being modified.")
            if environment.state != "DISABLED":
                raise PreconditionFailed(
                    f"Cannot delete, compute environment {name} is {environment.state}; "
                    "disable it first."
                )
            if await compute_environment.count_queues(conn, name):
                raise PreconditionFailed("Cannot delete, found existing JobQueue relationship")
            await compute_environment.delete_environment(conn, name)

    async def describe(
        self, names: Sequence[str], asked: int | None, token: str | None
    ) -> Page[ComputeEnvironment]:
        """The named ones, or all of them page by page."""
        _check_describe(names, asked, token, "ComputeEnvironments")
        async with connection(self._pool) as conn:
            if names:
                return Page(await compute_environment.read_environments(conn, names))
            size, after = page_size(asked, NAMES_MAX), _after(token, "environments")
            found = await compute_environment.list_environments(conn, after=after, limit=size + 1)
        return Page(found[:size], _next(found, size, "environments"))


class Queues:
    """Use cases of job queues."""

    def __init__(self, pool: Pool, catalogue: Catalogue, limits: Limits) -> None:
        self._pool = pool
        self._catalogue = catalogue
        self._limits = limits

    async def create(self, request: Json) -> str:
        """Stores a queue and returns its name."""
        check_name(request["jobQueueName"], "jobQueueName")
        check_queue_request(request, self._limits)
        check_tags(request.get("tags", {}))
        environments = environments_of(request)
        require(
            environments,
            "computeEnvironmentOrder needs at least one compute environment.",
            "computeEnvironmentOrder",
        )
        policy = policy_of(request)
        async with transaction(self._pool) as conn:
            await _keep_policy(conn, policy)
            kind = await self._check_environments(conn, environments, request.get("jobQueueType"))
            queue = JobQueue(
                name=request["jobQueueName"],
                state=request.get("state", "ENABLED"),
                status="VALID",
                status_reason=QUEUE_HEALTHY,
                priority=request["priority"],
                detail={"jobQueueType": kind, TIME_LIMITS: request.get(TIME_LIMITS, [])},
                tags=request.get("tags", {}),
                environments=environments,
                scheduling_policy=policy,
                max_running=request.get("maxRunning", 0),
            )
            if not await job_queue.insert_queue(conn, queue):
                raise PreconditionFailed(f"{_EXISTS}: job queue {queue.name}.")
        return queue.name

    async def update(self, name: str, request: Json) -> None:
        """Changes the members given."""
        check_queue_request(request, self._limits)
        environments, policy = environments_of(request), policy_of(request)
        time_limits = changed_time_limits(request)
        async with transaction(self._pool) as conn:
            await _keep_policy(conn, policy)
            # Environments before the queue: everybody locks them in that order.
            locked = await self._lock_environments(conn, environments)
            found = await job_queue.lock_queue(conn, name)
            if found is None:
                raise NotFound(f"{request['jobQueue']} does not exist", member="jobQueue")
            if found.status == "DELETING":
                raise PreconditionFailed("Cannot update, resource is being modified")
            require(
                policy is None or found.is_shared,
                "A job queue that was created without a scheduling policy cannot get one; create "
                "another job queue.",
                "schedulingPolicyArn",
            )
            if environments:
                check_environments(
                    [entry for _, entry in environments], locked, found.type, self._catalogue
                )
            await job_queue.update_queue(
                conn,
                name,
                state=request.get("state"),
                priority=request.get("priority"),
                environments=environments,
                scheduling_policy=policy,
                time_limits=time_limits,
                max_running=request.get("maxRunning"),
            )

    async def delete(self, name: str) -> None:
        """Begins to delete a queue that is DISABLED."""
        async with transaction(self._pool) as conn:
            found = await job_queue.lock_queue(conn, name)
            if found is None:
                raise NotFound(f"{name} does not exist", member="jobQueue")
            if found.state != "DISABLED":
                raise PreconditionFailed(
                    f"Cannot delete, job queue {name} is {found.state}; disable it first."
                )
            await job_queue.delete_queue(conn, name)

    async def describe(
        self, names: Sequence[str], asked: int | None, token: str | None
    ) -> Page[JobQueue]:
        """The named ones, or all of them page by page."""
        _check_describe(names, asked, token, "JobQueues")
        async with connection(self._pool) as conn:
            if names:
                return Page(await job_queue.read_queues(conn, names))
            size, after = page_size(asked, NAMES_MAX), _after(token, "queues")
            found = await job_queue.list_queues(conn, after=after, limit=size + 1)
        return Page(found[:size], _next(found, size, "queues"))

    async def snapshot(self, name: str) -> QueueSnapshot:
        """The front of a queue."""
        async with connection(self._pool) as conn:
            if not await job_queue.read_queues(conn, [name]):
                raise NotFound(f"JobQueue {name} not found.", member="jobQueue")
            return await queue_snapshot.read_snapshot(conn, name, FRONT_MAX, datetime.now(UTC))

    async def _check_environments(
        self,
        conn: Connection,
        environments: Sequence[tuple[int, str]],
        queue_type: str | None,
    ) -> str:
        locked = await self._lock_environments(conn, environments)
        return check_environments(
            [name for _, name in environments], locked, queue_type, self._catalogue
        )

    @staticmethod
    async def _lock_environments(
        conn: Connection, environments: Sequence[tuple[int, str]]
    ) -> dict[str, ComputeEnvironment]:
        """Held still, so that none is deleted before the queue that names it is there."""
        if not environments:
            return {}
        names = [name for _, name in environments]
        return await compute_environment.lock_environments(conn, names)


async def _keep_policy(conn: Connection, policy: str | None) -> None:
    """Held still, so that it is not deleted before the queue that names it is there."""
    if policy is not None and not await scheduling_policy.keep_policy(conn, policy):
        raise NotFound(f"SchedulingPolicy {policy} not found.", member="schedulingPolicyArn")


def _check_describe(
    names: Sequence[str], asked: int | None, token: str | None, member: str
) -> None:
    check_count(names, NAMES_MAX, member[0].lower() + member[1:])
    require(
        not names or (asked is None and token is None),
        f"{member} and MaxResults cannot both be set",
        "maxResults",
    )


def _after(token: str | None, scope: str) -> str:
    return str(decode_token(token, scope, [NAME])[0]) if token else ""


def _next(
    found: Sequence[ComputeEnvironment] | Sequence[JobQueue], size: int, scope: str
) -> str | None:
    return encode_token(scope, [found[size - 1].name]) if len(found) > size else None
