"""Job definitions, job queues and compute environments."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from typing import Any

from longshore.backoff import Backoff
from longshore.v1 import (
    compute_environment_pb2,
    job_definition_pb2,
    job_queue_pb2,
    scheduling_policy_pb2,
    tag_pb2,
)
from longshore_client import build
from longshore_client.connection import Connection
from longshore_client.errors import NotFound, PreconditionFailed, Timeout

#: Times that a change of a part is tried on what others change meanwhile.
UPDATE_TRIES = 20


class ResourceCalls(Connection):
    """The calls about what jobs are made from and where they run."""

    # Job definitions

    async def register_definition(
        self, request: job_definition_pb2.RegisterJobDefinitionRequest
    ) -> str:
        """Registers a revision that is described by the whole message; returns `name:revision`."""
        response = await self._caller.unary(
            self._submission.RegisterJobDefinition, request, repeatable=False
        )
        return f"{response.job_definition_name}:{response.revision}"

    async def register_container_definition(
        self,
        name: str,
        container: job_definition_pb2.ContainerProperties,
        *,
        attempts: int | None = None,
        timeout_seconds: int | None = None,
        parameters: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> str:
        """Registers a revision of a single container (see `build.container`)."""
        with build.well_formed():
            request = job_definition_pb2.RegisterJobDefinitionRequest(
                job_definition_name=name,
                type="container",
                container_properties=container,
                parameters=parameters,
                tags=tags,
            )
        if attempts is not None:
            with build.well_formed("retryStrategy.attempts"):
                request.retry_strategy.attempts = attempts
        if timeout_seconds is not None:
            with build.well_formed("timeout.attemptDurationSeconds"):
                request.timeout.attempt_duration_seconds = timeout_seconds
        return await self.register_definition(request)

    async def list_definitions(
        self, name: str | None = None, *, status: str | None = "ACTIVE"
    ) -> AsyncIterator[job_definition_pb2.JobDefinition]:
        """Revisions of one name or of all, page after page.

        Args:
            name: the definition's name.
            status: ACTIVE or INACTIVE; None for both.
        """
        request = job_definition_pb2.DescribeJobDefinitionsRequest(
            job_definition_name=name, status=status
        )
        while True:
            response = await self._caller.unary(self._submission.DescribeJobDefinitions, request)
            for definition in response.job_definitions:
                yield definition
            if not response.next_token:
                return
            request.next_token = response.next_token

    async def deregister_definition(self, definition: str) -> None:
        """Makes a revision (`name:revision` or ARN) INACTIVE; of a name alone the newest ACTIVE."""
        await self._caller.unary(
            self._submission.DeregisterJobDefinition,
            job_definition_pb2.DeregisterJobDefinitionRequest(job_definition=definition),
        )

    # Job queues

    async def create_queue(
        self,
        name: str,
        compute_environments: Sequence[str],
        *,
        priority: int = 1,
        state: str = "ENABLED",
        scheduling_policy: str | None = None,
        max_running: int | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> str:
        """Creates a job queue on compute environments, tried in that order; returns its ARN.

        With a scheduling policy, an ARN or a name, all its jobs name a share. `max_running` of them
        run at one time; any number by default.
        """
        with build.well_formed():
            request = job_queue_pb2.CreateJobQueueRequest(
                job_queue_name=name,
                state=state,
                compute_environment_order=_order(compute_environments),
                scheduling_policy_arn=scheduling_policy,
                tags=tags,
            )
        with build.well_formed("priority"):
            request.priority = priority
        if max_running is not None:
            with build.well_formed("maxRunning"):
                request.max_running = max_running
        response = await self._caller.unary(
            self._submission.CreateJobQueue, request, repeatable=False
        )
        return response.job_queue_arn

    async def list_queues(
        self, names: Sequence[str] = ()
    ) -> AsyncIterator[job_queue_pb2.JobQueueDetail]:
        """The named job queues, or all of them; unknown names are left out."""
        request = job_queue_pb2.DescribeJobQueuesRequest(job_queues=names)
        while True:
            response = await self._caller.unary(self._submission.DescribeJobQueues, request)
            for queue in response.job_queues:
                yield queue
            if not response.next_token:
                return
            request.next_token = response.next_token

    async def queue_snapshot(self, name: str) -> job_queue_pb2.GetJobQueueSnapshotResponse:
        """The first RUNNABLE jobs of a queue in dispatch order, and what its jobs hold."""
        return await self._caller.unary(
            self._submission.GetJobQueueSnapshot,
            job_queue_pb2.GetJobQueueSnapshotRequest(job_queue=name),
        )

    async def update_queue(
        self,
        queue: str,
        *,
        state: str | None = None,
        priority: int | None = None,
        compute_environments: Sequence[str] = (),
        scheduling_policy: str | None = None,
        max_running: int | None = None,
    ) -> None:
        """Changes what is given and keeps the rest; with 0 for `max_running` any number runs."""
        with build.well_formed():
            request = job_queue_pb2.UpdateJobQueueRequest(
                job_queue=queue,
                state=state,
                compute_environment_order=_order(compute_environments),
                scheduling_policy_arn=scheduling_policy,
            )
        if priority is not None:
            with build.well_formed("priority"):
                request.priority = priority
        if max_running is not None:
            with build.well_formed("maxRunning"):
                request.max_running = max_running
        await self._caller.unary(self._submission.UpdateJobQueue, request)

    async def delete_queue(self, queue: str) -> None:
        """Begins to delete a DISABLED job queue."""
        await self._caller.unary(
            self._submission.DeleteJobQueue, job_queue_pb2.DeleteJobQueueRequest(job_queue=queue)
        )

    # Scheduling policies

    async def create_policy(
        self,
        name: str,
        *,
        weights: Mapping[str, float] | None = None,
        decay_seconds: int | None = None,
        reservation: int | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> str:
        """Creates a fair-share policy; returns its ARN.

        Args:
            name: the policy's name.
            weights: by share, or by the beginning of shares followed by `*`; the lower the more a
                share gets.
            decay_seconds: after which what was used counts half as much.
            reservation: percent that a single active share leaves to those to come.
            tags: the user's own labels.
        """
        with build.well_formed():
            request = scheduling_policy_pb2.CreateSchedulingPolicyRequest(
                name=name,
                fairshare_policy=_fairshare(weights or {}, decay_seconds, reservation),
                tags=tags,
            )
        response = await self._caller.unary(
            self._submission.CreateSchedulingPolicy, request, repeatable=False
        )
        return response.arn

    async def update_policy(
        self,
        policy: str,
        *,
        weights: Mapping[str, float] | None = None,
        decay_seconds: int | None = None,
        reservation: int | None = None,
    ) -> None:
        """Changes what is given of a policy (ARN or name); weights replace all there are.

        What others change at the same time stays as they have it.

        Raises:
            NotFound: there is no such policy.
            PreconditionFailed: others changed it again and again meanwhile.
        """
        with build.well_formed():
            changes = _fairshare(weights or {}, decay_seconds, reservation)
        for left in reversed(range(UPDATE_TRIES)):
            found = [item async for item in self.list_policies([policy])]
            if not found:
                raise NotFound(f"There is no scheduling policy {policy}.")
            fairshare = found[0].fairshare_policy
            known = fairshare.SerializeToString()
            if weights is not None:
                fairshare.ClearField("share_distribution")
            fairshare.MergeFrom(changes)
            try:
                await self._caller.unary(
                    self._submission.UpdateSchedulingPolicy,
                    scheduling_policy_pb2.UpdateSchedulingPolicyRequest(
                        arn=policy, fairshare_policy=fairshare
                    ),
                    metadata=(("x-longshore-expected-policy-bin", known),),
                )
            except PreconditionFailed:
                if not left:
                    raise
            else:
                return

    async def delete_policy(self, policy: str) -> None:
        """Deletes a policy (ARN or name) that no job queue uses."""
        await self._caller.unary(
            self._submission.DeleteSchedulingPolicy,
            scheduling_policy_pb2.DeleteSchedulingPolicyRequest(arn=policy),
        )

    async def list_policies(
        self, policies: Sequence[str] = ()
    ) -> AsyncIterator[scheduling_policy_pb2.SchedulingPolicyDetail]:
        """The named scheduling policies, or all of them; unknown ones are left out."""
        request = scheduling_policy_pb2.ListSchedulingPoliciesRequest()
        while True:
            arns = list(policies)
            if not policies:
                page = await self._caller.unary(self._submission.ListSchedulingPolicies, request)
                arns = [entry.arn for entry in page.scheduling_policies]
                request.next_token = page.next_token
            if arns:
                response = await self._caller.unary(
                    self._submission.DescribeSchedulingPolicies,
                    scheduling_policy_pb2.DescribeSchedulingPoliciesRequest(arns=arns),
                )
                for policy in response.scheduling_policies:
                    yield policy
            if not request.next_token:
                return

    # Compute environments

    async def create_environment(
        self, request: compute_environment_pb2.CreateComputeEnvironmentRequest
    ) -> str:
        """Creates a compute environment that is described by the whole message; returns its ARN."""
        response = await self._caller.unary(
            self._submission.CreateComputeEnvironment, request, repeatable=False
        )
        return response.compute_environment_arn

    async def list_environments(
        self, names: Sequence[str] = ()
    ) -> AsyncIterator[compute_environment_pb2.ComputeEnvironmentDetail]:
        """The named compute environments, or all of them; unknown names are left out."""
        request = compute_environment_pb2.DescribeComputeEnvironmentsRequest(
            compute_environments=names
        )
        while True:
            response = await self._caller.unary(
                self._submission.DescribeComputeEnvironments, request
            )
            for environment in response.compute_environments:
                yield environment
            if not response.next_token:
                return
            request.next_token = response.next_token

    async def update_environment(
        self, request: compute_environment_pb2.UpdateComputeEnvironmentRequest
    ) -> None:
        """Changes what is given and keeps the rest."""
        await self._caller.unary(self._submission.UpdateComputeEnvironment, request)

    async def delete_environment(self, environment: str) -> None:
        """Begins to delete a DISABLED compute environment that no queue refers to."""
        await self._caller.unary(
            self._submission.DeleteComputeEnvironment,
            compute_environment_pb2.DeleteComputeEnvironmentRequest(
                compute_environment=environment
            ),
        )

    # Tags

    async def tag(self, arn: str, tags: Mapping[str, str]) -> None:
        """Sets tags of a resource; its others stay."""
        await self._caller.unary(
            self._submission.TagResource, tag_pb2.TagResourceRequest(resource_arn=arn, tags=tags)
        )

    async def untag(self, arn: str, keys: Iterable[str]) -> None:
        """Removes tags of a resource, where it has them."""
        await self._caller.unary(
            self._submission.UntagResource,
            tag_pb2.UntagResourceRequest(resource_arn=arn, tag_keys=keys),
        )

    # Waiting

    async def wait_for_queue(
        self,
        name: str,
        *,
        timeout: float = 30,  # noqa: ASYNC109 - told in the error
    ) -> job_queue_pb2.JobQueueDetail:
        """Waits until a job queue is VALID.

        Raises:
            NotFound: no such queue.
            PreconditionFailed: it is INVALID; the message says why.
            Timeout: it is neither after `timeout` seconds.
        """
        queue: job_queue_pb2.JobQueueDetail = await _until_valid(
            f"job queue {name}", lambda: self.list_queues([name]), timeout
        )
        return queue

    async def wait_for_environment(
        self,
        name: str,
        *,
        timeout: float = 30,  # noqa: ASYNC109 - told in the error
    ) -> compute_environment_pb2.ComputeEnvironmentDetail:
        """Waits until a compute environment is VALID; raises as `wait_for_queue`."""
        environment: compute_environment_pb2.ComputeEnvironmentDetail = await _until_valid(
            f"compute environment {name}", lambda: self.list_environments([name]), timeout
        )
        return environment


def _fairshare(
    weights: Mapping[str, float], decay_seconds: int | None, reservation: int | None
) -> scheduling_policy_pb2.FairsharePolicy:
    return scheduling_policy_pb2.FairsharePolicy(
        share_decay_seconds=decay_seconds,
        compute_reservation=reservation,
        share_distribution=[
            scheduling_policy_pb2.ShareAttributes(share_identifier=share, weight_factor=weight)
            for share, weight in weights.items()
        ],
    )


def _order(names: Sequence[str]) -> list[job_queue_pb2.ComputeEnvironmentOrder]:
    return [
        job_queue_pb2.ComputeEnvironmentOrder(order=order, compute_environment=name)
        for order, name in enumerate(names, start=1)
    ]


async def _until_valid(
    what: str,
    describe: Callable[[], AsyncIterator[Any]],
    timeout: float,  # noqa: ASYNC109 - told in the error
) -> Any:
    pause = Backoff(0.05, 1.0)
    status = ""
    try:
        async with asyncio.timeout(timeout):
            while True:
                found = None
                async for found in describe():  # noqa: B007 - the one that was asked for
                    pass
                if found is None:
                    raise NotFound(f"There is no {what}.")
                if found.status == "VALID":
                    return found
                if found.status == "INVALID":
                    raise PreconditionFailed(f"The {what} is INVALID: {found.status_reason}")
                status = found.status
                await asyncio.sleep(pause.delay())
    except TimeoutError:
        raise Timeout(f"The {what} is still {status} after {timeout:g} s.") from None
