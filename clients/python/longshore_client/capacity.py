"""Capacity: what compute environments have, why, and what it costs."""

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime

from longshore.v1 import (
    image_service_pb2,
    join_service_pb2,
    provisioning_service_pb2,
    scaler_service_pb2,
)
from longshore_client import build
from longshore_client.connection import Connection
from longshore_client.errors import NotFound


class CapacityCalls(Connection):
    """The calls about instances and the decisions about them."""

    async def describe_capacity(
        self, environments: Sequence[str] = ()
    ) -> list[scaler_service_pb2.EnvironmentCapacity]:
        """What the named compute environments have, or all of them, by name.

        Unknown names are left out.
        """
        response = await self._caller.unary(
            self._scaler.DescribeCapacity,
            scaler_service_pb2.DescribeCapacityRequest(compute_environments=environments),
        )
        return list(response.compute_environments)

    async def list_activities(
        self, environment: str | None = None, *, page_size: int | None = None
    ) -> AsyncIterator[scaler_service_pb2.ScalingActivity]:
        """Decisions that changed something, newest first, page after page.

        Args:
            environment: only those about this compute environment.
            page_size: entries of a page.
        """
        with build.well_formed():
            request = scaler_service_pb2.ListScalingActivitiesRequest(
                compute_environment=environment or "", max_results=page_size
            )
        while True:
            response = await self._caller.unary(self._scaler.ListScalingActivities, request)
            for activity in response.activities:
                yield activity
            if not response.next_token:
                return
            request.next_token = response.next_token

    async def list_image_starts(
        self, image: str | None = None, *, limit: int = 100
    ) -> list[image_service_pb2.ImageStarts]:
        """How attempts came by their images, by image and instance type, the busiest first.

        Args:
            image: of this one alone, as jobs name it.
            limit: most entries, up to 1,000.
        """
        with build.well_formed():
            request = image_service_pb2.ListImageStartsRequest(image=image, max_results=limit)
        response = await self._caller.unary(self._images.ListImageStarts, request)
        return list(response.starts)

    async def evaluate_capacity(self) -> list[scaler_service_pb2.ScalingDecision]:
        """Asks for a decision now, and says what was decided."""
        response = await self._caller.unary(
            self._scaler.Evaluate, scaler_service_pb2.EvaluateRequest()
        )
        return list(response.decisions)

    async def list_instances(
        self, environment: str | None = None, *, ended: bool = False, page_size: int | None = None
    ) -> AsyncIterator[provisioning_service_pb2.InstanceDetail]:
        """Instances on record, the newest order first, page after page.

        Args:
            environment: only those of this compute environment.
            ended: whether to include those that are over.
            page_size: entries of a page.
        """
        with build.well_formed():
            request = provisioning_service_pb2.ListInstancesRequest(
                compute_environment=environment or "", ended=ended, max_results=page_size
            )
        while True:
            response = await self._caller.unary(self._provisioning.ListInstances, request)
            for instance in response.instances:
                yield instance
            if not response.next_token:
                return
            request.next_token = response.next_token

    async def describe_instance(self, instance_id: str) -> provisioning_service_pb2.InstanceDetail:
        """Everything on record of one instance, live or over.

        Raises:
            NotFound: no such instance.
        """
        response = await self._caller.unary(
            self._provisioning.ListInstances,
            provisioning_service_pb2.ListInstancesRequest(instance_id=instance_id, ended=True),
        )
        for instance in response.instances:
            return instance
        raise NotFound(f"There is no instance {instance_id}.", instance_id=instance_id)

    async def interrupt_instance(
        self, instance_id: str, *, notice_seconds: int | None = None
    ) -> datetime:
        """Plays an interruption: the instance drains, and ends when the notice is over.

        Args:
            instance_id: any instance, on demand or spot.
            notice_seconds: time until its end, 0 to 600; None takes 120, as on EC2.

        Returns:
            When it ends.

        Raises:
            NotFound: no such instance.
            PreconditionFailed: it is over, or on its way out already.
        """
        with build.well_formed():
            request = provisioning_service_pb2.InterruptInstanceRequest(
                instance_id=instance_id, notice_seconds=notice_seconds
            )
        response = await self._caller.unary(
            self._provisioning.InterruptInstance, request, repeatable=False
        )
        return response.end_time.ToDatetime(UTC)

    async def create_join_token(
        self, environment: str, *, uses: int = 1, ttl_seconds: int = 3600
    ) -> join_service_pb2.CreateJoinTokenResponse:
        """Makes a token by which machines join an UNMANAGED compute environment.

        Args:
            environment: its name.
            uses: how many machines may join with it, 1 to 1,000.
            ttl_seconds: for how long, a minute to 30 days.

        Raises:
            NotFound: no such environment.
            PreconditionFailed: it is MANAGED.
        """
        with build.well_formed():
            request = join_service_pb2.CreateJoinTokenRequest(
                compute_environment=environment, uses=uses
            )
            request.ttl.FromSeconds(ttl_seconds)
        return await self._caller.unary(self._tokens.CreateJoinToken, request, repeatable=False)

    async def list_join_tokens(
        self, environment: str | None = None
    ) -> list[join_service_pb2.JoinToken]:
        """Tokens that may be used still, the newest first."""
        with build.well_formed():
            request = join_service_pb2.ListJoinTokensRequest(compute_environment=environment or "")
        response = await self._caller.unary(self._tokens.ListJoinTokens, request)
        return list(response.tokens)

    async def delete_join_token(self, token_id: str) -> None:
        """Makes a token good for nothing more.

        Raises:
            NotFound: no such token.
        """
        with build.well_formed():
            request = join_service_pb2.DeleteJoinTokenRequest(token_id=token_id)
        await self._caller.unary(self._tokens.DeleteJoinToken, request, repeatable=False)

    async def describe_costs(
        self,
        *,
        environments: Sequence[str] = (),
        queues: Sequence[str] = (),
        job_ids: Sequence[str] = (),
    ) -> provisioning_service_pb2.DescribeCostsResponse:
        """What instances cost so far, in US dollars.

        Args:
            environments: compute environments, all of their instances; empty for all.
            queues: job queues, what their jobs held; empty for all.
            job_ids: jobs, what their attempts held; an array job's id stands for all its children.
        """
        return await self._caller.unary(
            self._provisioning.DescribeCosts,
            provisioning_service_pb2.DescribeCostsRequest(
                compute_environments=environments, job_queues=queues, job_ids=job_ids
            ),
        )
