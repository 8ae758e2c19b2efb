"""Checks of job queues."""

from collections.abc import Mapping, Sequence

from longshore.domain.arn import COMPUTE_ENVIRONMENT, SCHEDULING_POLICY, parse_name
from longshore.domain.catalogue import Catalogue
from longshore.domain.checks import Json, require
from longshore.domain.environment import EC2, FARGATE, ComputeEnvironment
from longshore.domain.errors import NotFound, PreconditionFailed
from longshore.domain.limits import Limits

ENVIRONMENTS_MAX = 3
#: What AWS calls a queue by the platform of its compute environments.
QUEUE_TYPES = {EC2: "ECS", FARGATE: "ECS_FARGATE"}
_MEMBER = "computeEnvironmentOrder"
#: What may block a job for so long that it is ended: the reasons that AWS takes.
TIME_LIMIT_REASONS = (
    "CAPACITY:INSUFFICIENT_INSTANCE_CAPACITY",
    "MISCONFIGURATION:COMPUTE_ENVIRONMENT_MAX_RESOURCE",
    "MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT",
    "MISCONFIGURATION:EC2_INSTANCE_CONFIGURATION_UNSUPPORTED",
)
_TIME_LIMIT_MOST_SECONDS = 86_400
#: The member that says what is done then.
TIME_LIMITS = "jobStateTimeLimitActions"
_CLEAR_TIME_LIMITS = "clearJobStateTimeLimitActions"


def check_queue_request(request: Json, limits: Limits) -> None:
    """Checks what creating and updating a queue have in common.

    Raises:
        InvalidRequest: a member is wrong.
    """
    for name in ("priority", "maxRunning"):
        require(request.get(name, 0) >= 0, f"{name} must not be below 0.", name)
    _check_time_limits(request.get(TIME_LIMITS, ()), limits)


def _check_time_limits(actions: Sequence[Json], limits: Limits) -> None:
    least = limits.state_time_limit_min_seconds
    for index, action in enumerate(actions):
        member = f"{TIME_LIMITS}[{index}]"
        require(
            action["reason"] in TIME_LIMIT_REASONS,
            f"{member}.reason must be one of {', '.join(TIME_LIMIT_REASONS)}.",
            f"{member}.reason",
        )
        require(
            least <= action["maxTimeSeconds"] <= _TIME_LIMIT_MOST_SECONDS,
            f"{member}.maxTimeSeconds must be from {least} to {_TIME_LIMIT_MOST_SECONDS}.",
            f"{member}.maxTimeSeconds",
        )
        require(
            action["action"] == "CANCEL" or limits.takes_state_time_limit_terminate,
            f"{member}.action must be CANCEL; TERMINATE is for the jobs of service environments.",
            f"{member}.action",
        )
    reasons = [action["reason"] for action in actions]
    require(
        len(set(reasons)) == len(reasons),
        f"{TIME_LIMITS} names a reason twice; give each reason one action.",
        TIME_LIMITS,
    )


def changed_time_limits(request: Json) -> Sequence[Json] | None:
    """The time limits that a queue has after an update; None if it leaves them as they are.

    Raises:
        InvalidRequest: some are given, and they are cleared.
    """
    limits: Sequence[Json] | None = request.get(TIME_LIMITS)
    if not request.get(_CLEAR_TIME_LIMITS):
        return limits
    require(
        not limits,
        f"{_CLEAR_TIME_LIMITS} does not go together with {TIME_LIMITS}; give one of them.",
        _CLEAR_TIME_LIMITS,
    )
    return ()


def policy_of(request: Json) -> str | None:
    """Name of the scheduling policy in a request; None if it has none.

    Raises:
        InvalidRequest: it is no ARN of a scheduling policy, nor a name.
    """
    text = request.get("schedulingPolicyArn")
    if text is None:
        return None
    return parse_name(SCHEDULING_POLICY, text, member="schedulingPolicyArn")


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


def check_environments(
    names: Sequence[str],
    found: Mapping[str, ComputeEnvironment],
    queue_type: str | None,
    catalogue: Catalogue,
) -> str:
    """Checks that the compute environments of a queue are there, VALID and of one kind.

    Args:
        names: of the compute environments.
        found: those that there are.
        queue_type: what the queue is or is asked to be; None: what they make it.
        catalogue: the instance types that there are.

    Returns:
        The type of the queue.

    Raises:
        NotFound: one is not there.
        PreconditionFailed: one is not VALID.
        InvalidRequest: they mix platforms or CPU architectures, or do not fit the queue.
    """
    for name in names:
        if name not in found:
            raise NotFound(f"ComputeEnvironment {name} not found.", member=_MEMBER)
        if found[name].status != "VALID":
            raise PreconditionFailed(
                f"ComputeEnvironment {name} is {found[name].status}, not VALID."
            )
    platforms = sorted({found[name].platform for name in names})
    require(
        len(platforms) == 1,
        "The compute environments of a job queue must all be EC2 and SPOT, or all be FARGATE and "
        "FARGATE_SPOT.",
        _MEMBER,
    )
    kind = QUEUE_TYPES[platforms[0]]
    require(
        queue_type in (None, kind),
        f"A job queue of type {queue_type} cannot have compute environments of {platforms[0]}.",
        _MEMBER,
    )
    architectures = {arch for name in names for arch in _architectures(found[name], catalogue)}
    require(
        len(architectures) <= 1,
        "The compute environments of a job queue must have one CPU architecture; these have "
        f"{' and '.join(sorted(architectures))}.",
        _MEMBER,
    )
    return kind


def _architectures(environment: ComputeEnvironment, catalogue: Catalogue) -> set[str]:
    """As far as the names of instance types tell; those of machines that join are not known."""
    resources: Json = environment.detail.get("computeResources", {})
    names = resources.get("instanceTypes", [])
    return {kind.architecture for kind in catalogue.resolve(names)}
