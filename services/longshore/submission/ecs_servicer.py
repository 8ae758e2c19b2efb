"""EcsService on the wire: check, call, convert."""

from typing import Any

import grpc
from google.protobuf.json_format import ParseDict

from longshore.domain import cluster
from longshore.domain.arn import Arns
from longshore.domain.checks import Json
from longshore.rpc.caller import arns_for
from longshore.submission.check import check_request
from longshore.submission.clusters import DEFAULT, Clusters
from longshore.v1 import ecs_service_pb2 as pb
from longshore.v1 import ecs_service_pb2_grpc

Context = grpc.aio.ServicerContext[Any, Any]

_INSTANCE, _TASK = "container-instance", "task"


class EcsServicer(ecs_service_pb2_grpc.EcsServiceServicer):
    """One method per operation of ECS."""

    def __init__(self, arns: Arns, clusters: Clusters) -> None:
        self._arns = arns
        self._clusters = clusters

    async def DescribeClusters(
        self, request: pb.DescribeClustersRequest, context: Context
    ) -> pb.DescribeClustersResponse:
        """Answers the named clusters."""
        check_request(request)
        arns = arns_for(context, self._arns)
        found, missing = await self._clusters.describe(request.clusters)
        answer: Json = {
            "clusters": [cluster.cluster(entry, arns, request.include) for entry in found],
            "failures": [_missing(arns.cluster_named(text)) for text in missing],
        }
        return ParseDict(answer, pb.DescribeClustersResponse())

    async def ListClusters(
        self, request: pb.ListClustersRequest, context: Context
    ) -> pb.ListClustersResponse:
        """Answers a page of clusters."""
        check_request(request)
        arns = arns_for(context, self._arns)
        page = await self._clusters.list_clusters(_size(request), request.next_token or None)
        return pb.ListClustersResponse(
            cluster_arns=[arns.cluster(entry.name, entry.uuid) for entry in page.items],
            next_token=page.next_token,
        )

    async def ListContainerInstances(
        self, request: pb.ListContainerInstancesRequest, context: Context
    ) -> pb.ListContainerInstancesResponse:
        """Answers a page of the instances that are there."""
        check_request(request)
        arns = arns_for(context, self._arns)
        place, page = await self._clusters.list_instances(
            request.cluster or DEFAULT,
            request.status or None,
            _size(request),
            request.next_token or None,
        )
        return pb.ListContainerInstancesResponse(
            container_instance_arns=[arns.container_instance(*place, i) for i in page.items],
            next_token=page.next_token,
        )

    async def DescribeContainerInstances(
        self, request: pb.DescribeContainerInstancesRequest, context: Context
    ) -> pb.DescribeContainerInstancesResponse:
        """Answers instances."""
        check_request(request)
        arns = arns_for(context, self._arns)
        place, found, missing = await self._clusters.instances(
            request.cluster or DEFAULT, request.container_instances
        )
        answer: Json = {
            "containerInstances": [cluster.container_instance(entry, arns) for entry in found],
            "failures": [_missing(arns.of_cluster(_INSTANCE, *place, text)) for text in missing],
        }
        return ParseDict(answer, pb.DescribeContainerInstancesResponse())

    async def ListTasks(
        self, request: pb.ListTasksRequest, context: Context
    ) -> pb.ListTasksResponse:
        """Answers a page of the attempts that are live."""
        check_request(request)
        arns = arns_for(context, self._arns)
        if request.launch_type in ("EXTERNAL", "MANAGED_INSTANCES"):
            return pb.ListTasksResponse()
        place, page = await self._clusters.list_tasks(
            request.cluster or DEFAULT,
            instance=request.container_instance or None,
            family=request.family or None,
            fargate=request.launch_type == "FARGATE" if request.launch_type else None,
            size=_size(request),
            token=request.next_token or None,
        )
        return pb.ListTasksResponse(
            task_arns=[arns.attempt(*place, attempt) for attempt in page.items],
            next_token=page.next_token,
        )

    async def DescribeTasks(
        self, request: pb.DescribeTasksRequest, context: Context
    ) -> pb.DescribeTasksResponse:
        """Answers attempts."""
        check_request(request)
        arns = arns_for(context, self._arns)
        place, found, missing = await self._clusters.tasks(
            request.cluster or DEFAULT, request.tasks
        )
        answer: Json = {
            "tasks": [cluster.task(entry, arns) for entry in found],
            "failures": [_missing(arns.of_cluster(_TASK, *place, text)) for text in missing],
        }
        return ParseDict(answer, pb.DescribeTasksResponse())


def _size(request: Any) -> int | None:
    return request.max_results if request.HasField("max_results") else None


def _missing(arn: str) -> Json:
    return {"arn": arn, "reason": "MISSING"}
