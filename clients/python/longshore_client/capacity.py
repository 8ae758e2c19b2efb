"""Capacity: what compute environments have, why, and what it costs."""

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime

from longshore.v1 import image_service_pb2, provisioning_service_pb2, scaler_service_pb2
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
