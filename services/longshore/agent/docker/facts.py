"""What the engine says of a container, as the endpoint tells it."""

from collections.abc import Iterable
from typing import Any

from longshore.agent.docker.container import NEVER
from longshore.agent.endpoint.document import Facts

#: By the first word of what a container joins. The sandbox is what Amazon ECS calls `awsvpc`: a
#: network namespace that a paused container holds.
_MODES = {"container": "awsvpc", "host": "host", "none": "none"}


def facts_of(shown: dict[str, Any], addresses: Iterable[str]) -> Facts:
    """Facts of a container.

    Args:
        shown: what the engine says of it.
        addresses: where others reach it.
    """
    joined = str(shown["HostConfig"]["NetworkMode"]).partition(":")[0]
    started_at = str(shown["State"]["StartedAt"])
    return Facts(
        id=shown["Id"],
        name=str(shown["Name"]).removeprefix("/"),
        image_id=shown["Image"],
        created_at=shown["Created"],
        started_at="" if started_at == NEVER else started_at,
        network_mode=_MODES.get(joined, "bridge"),
        addresses=tuple(addresses),
        labels=shown["Config"]["Labels"] or {},
    )
