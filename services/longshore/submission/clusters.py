"""Compute environments, instances and attempts, read as ECS has them."""

import uuid
from collections.abc import Sequence

from longshore.domain.arn import (
    container_instance_id,
    instance_of,
    parse_cluster,
    parse_of_cluster,
)
from longshore.domain.checks import require
from longshore.domain.cluster import ClusterRecord, ContainerInstanceRecord, TaskRecord
from longshore.domain.errors import NotFound
from longshore.domain.page import ANY_NAME, Page, decode_token, encode_token, page_size
from longshore.state.pool import Connection, Pool, connection
from longshore.state.views import cluster_report

DESCRIBE_MAX = 100
LIST_MAX = 100
#: The cluster of a request that names none.
DEFAULT = "default"

#: A compute environment's name and id.
Place = tuple[str, uuid.UUID]


class Clusters:
    """Use cases of ECS's reads."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def describe(self, texts: Sequence[str]) -> tuple[list[ClusterRecord], list[str]]:
        """Clusters by name or ARN, and which of the texts name none."""
        _check_count(texts, "clusters")
        wanted = {text: parse_cluster(text) for text in texts or [DEFAULT]}
        names = [found[0] for found in wanted.values() if found]
        async with connection(self._pool) as conn:
            records = await cluster_report.clusters(conn, names, limit=DESCRIBE_MAX)
        known = {(record.name, record.uuid) for record in records}
        meant = set(wanted.values())
        return (
            [record for record in records if (record.name, record.uuid) in meant],
            [text for text, found in wanted.items() if found not in known],
        )

    async def list_clusters(self, size: int | None, token: str | None) -> Page[ClusterRecord]:
        """All clusters, by name."""
        after, limit = _after(token, "clusters"), page_size(size, LIST_MAX)
        async with connection(self._pool) as conn:
            found = await cluster_report.clusters(conn, None, after=after, limit=limit + 1)
        more = len(found) > limit
        return Page(
            found[:limit], encode_token("clusters", [found[limit - 1].name]) if more else None
        )

    async def list_instances(
        self, cluster: str, status: str | None, size: int | None, token: str | None
    ) -> tuple[Place, Page[str]]:
        """A cluster, and ids of its instances that are there."""
        after, limit = _after(token, "instances"), page_size(size, LIST_MAX)
        async with connection(self._pool) as conn:
            place = await _place(conn, cluster)
            found = await cluster_report.list_instances(
                conn, place[0], status, after=after, limit=limit + 1
            )
        return place, _page("instances", found, limit)

    async def instances(
        self, cluster: str, texts: Sequence[str]
    ) -> tuple[Place, list[ContainerInstanceRecord], list[str]]:
        """A cluster, instances by id or ARN as asked for, and ids of those that are not there."""
        require(bool(texts), "Container instances cannot be empty.", "containerInstances")
        _check_count(texts, "containerInstances")
        digits = _ids("container-instance", texts)
        ids = [instance for text in digits if (instance := instance_of(text))]
        async with connection(self._pool) as conn:
            place = await _place(conn, cluster)
            records = await cluster_report.instances(conn, place[0], ids)
        known = {container_instance_id(record.instance_id): record for record in records}
        found = [known[text] for text in digits if text in known]
        return place, found, [text for text in digits if text not in known]

    async def list_tasks(
        self,
        cluster: str,
        *,
        instance: str | None,
        family: str | None,
        fargate: bool | None,
        size: int | None,
        token: str | None,
    ) -> tuple[Place, Page[str]]:
        """A cluster, and ids of its live attempts."""
        after, limit = _after(token, "tasks"), page_size(size, LIST_MAX)
        on = None
        if instance is not None:
            on = instance_of(_ids("container-instance", [instance])[0])
            require(on is not None, "The container instance is not valid.", "containerInstance")
        async with connection(self._pool) as conn:
            place = await _place(conn, cluster)
            found = await cluster_report.list_tasks(
                conn,
                place[0],
                instance=on,
                definition=family,
                fargate=fargate,
                after=after,
                limit=limit + 1,
            )
        return place, _page("tasks", found, limit)

    async def tasks(
        self, cluster: str, texts: Sequence[str]
    ) -> tuple[Place, list[TaskRecord], list[str]]:
        """A cluster, attempts by id or ARN as asked for, and ids of those that are not there."""
        require(bool(texts), "Tasks cannot be empty.", "tasks")
        _check_count(texts, "tasks")
        ids = _ids("task", texts)
        async with connection(self._pool) as conn:
            place = await _place(conn, cluster)
            records = await cluster_report.tasks(conn, place[0], ids)
        known = {record.attempt_id: record for record in records}
        found = [known[text] for text in ids if text in known]
        return place, found, [text for text in ids if text not in known]


async def _place(conn: Connection, cluster: str) -> Place:
    """The compute environment that a cluster stands for.

    Raises:
        NotFound: there is none.
    """
    place = parse_cluster(cluster)
    if place is None or await cluster_report.identity(conn, place[0]) != place[1]:
        raise NotFound("Cluster not found.", member="cluster")
    return place


def _ids(kind: str, texts: Sequence[str]) -> list[str]:
    """Ids in ids and ARNs, each once. Whatever cluster an ARN tells, the request's is looked in."""
    return list(dict.fromkeys(parse_of_cluster(kind, text) for text in texts))


def _after(token: str | None, scope: str) -> str:
    return str(decode_token(token, scope, [ANY_NAME])[0]) if token else ""


def _page(scope: str, found: list[str], limit: int) -> Page[str]:
    more = len(found) > limit
    return Page(found[:limit], encode_token(scope, [found[limit - 1]]) if more else None)


def _check_count(texts: Sequence[str], member: str) -> None:
    require(
        len(texts) <= DESCRIBE_MAX,
        f"{member} has {len(texts)} entries; at most {DESCRIBE_MAX} can be asked for.",
        member,
    )
