"""Checks of job queues."""

from collections.abc import Sequence

from longshore.domain.arn import COMPUTE_ENVIRONMENT, parse_name
from longshore.domain.errors import NotFound, PreconditionFailed
from longshore.domain.validation import Json, require, unsupported

ENVIRONMENTS_MAX = 3
_UNSUPPORTED = ("schedulingPolicyArn", "serviceEnvironmentOrder", "jobStateTimeLimitActions")


def check_queue_request(request: Json) -> None:
    """Checks what creating and updating a queue have in common.

    Raises:
        InvalidRequest: a member is wrong.
        Unimplemented: it asks for a kind of queue that longshore does not do.
    """
    for name in _UNSUPPORTED:
        if request.get(name):
            raise unsupported(name)
    if request.get("jobQueueType", "ECS") != "ECS":
        raise unsupported("jobQueueType", f" with the value {request['jobQueueType']}: use ECS")
    require(request.get("priority", 0) >= 0, "priority must not be below 0.", "priority")


def environments_of(request: Json) -> tuple[tuple[int, str], ...]:
    """Order and names of the compute environments in a request, ascending; empty if it has none.

    Raises:
        InvalidRequest: there are too many, or one or a place occurs twice.
    """
    member = "computeEnvironmentOrder"
    entries: Sequence[Json] = request.get(member, [])
    require(
        len(entries) <= ENVIRONMENTS_MAX,
        f"{member} has more than {ENVIRONMENTS_MAX} entries.",
        member,
    )
    found = sorted(
        (
            entry["order"],
            parse_name(
                COMPUTE_ENVIRONMENT,
                entry["computeEnvironment"],
                member=f"{member}[{index}].computeEnvironment",
            ),
        )
        for index, entry in enumerate(entries)
    )
    require(
        len({order for order, _ in found}) == len(found),
        f"{member} has the same order twice.",
        member,
    )
    require(
        len({name for _, name in found}) == len(found),
        f"{member} names a compute environment twice.",
        member,
    )
    return tuple(found)


def check_environments(names: Sequence[str], statuses: dict[str, str]) -> None:
    """Checks that the compute environments of a queue are there and VALID.

    Raises:
        NotFound: one is not there.
        PreconditionFailed: one is not VALID.
    """
    for name in names:
        if name not in statuses:
            raise NotFound(
                f"ComputeEnvironment {name} not found.", member="computeEnvironmentOrder"
            )
        if statuses[name] != "VALID":
            raise PreconditionFailed(f"ComputeEnvironment {name} is {statuses[name]}, not VALID.")
