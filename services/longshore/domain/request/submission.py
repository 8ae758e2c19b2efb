"""What a submission asks for, and the job that it becomes."""

import re
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from longshore.domain.arn import DefinitionName
from longshore.domain.checks import Json, check_retry, check_timeout, require
from longshore.domain.consumable import Units
from longshore.domain.environment import FARGATE, QueueFacts, platform_of
from longshore.domain.errors import (
    InvalidRequest,
    LongshoreError,
    NotFound,
    PreconditionFailed,
)
from longshore.domain.job.dependency import DependencyCondition
from longshore.domain.job.job import WHOLE, JobKey
from longshore.domain.job.trace import TraceParent
from longshore.domain.limits import LONGSHORE, Limits
from longshore.domain.request.consumable import PROPERTIES, properties_of, sum_up
from longshore.domain.request.container import check_environment, check_resources, needs_of
from longshore.domain.request.ecs import (
    OVERRIDE_PATH,
    EcsOverrides,
    check_ecs_overrides,
    needs_of_task,
    resolve_ecs,
    task_of,
)
from longshore.domain.request.fargate import check_fargate_size, check_not_deprecated
from longshore.domain.request.merge import Overrides, check_length, merge_container
from longshore.domain.request.node_overrides import (
    NodeOverrides,
    ResolvedNodes,
    check_node_overrides,
    resolve_nodes,
)
from longshore.domain.request.policy import check_share
from longshore.domain.request.queue import QUEUE_TYPES
from longshore.domain.request.reference import has_references
from longshore.domain.resources import Resources

TOKEN_SECONDS = 24 * 3600
_TOKEN = re.compile(r"[!-~]{1,64}")

PLAIN = "PLAIN"
N_TO_N = "N_TO_N"
SEQUENTIAL = "SEQUENTIAL"
_NO_SHARES = (
    "Job with shareIdentifier or schedulingPriority can onlybe submitted to job queue with fair "
    "share scheduling policy."
)
_NEEDED = f"{PROPERTIES}Override"
_OVERRIDDEN = "containerOverrides.resourceRequirements"


@dataclass(frozen=True, slots=True)
class RequestedDependency:
    """One entry of dependsOn; no job for the children's own sequence."""

    job: JobKey | None
    type: str
    #: How it has to end.
    condition: DependencyCondition = DependencyCondition.SUCCESS


@dataclass(frozen=True, slots=True)
class Token:
    """What makes repeated calls the same call: the caller's token, and a digest of the request."""

    text: str
    request: bytes


@dataclass(frozen=True, slots=True)
class UsedToken:
    """What a token was used for: a digest of the request, and the job that it made."""

    request: bytes
    job_id: uuid.UUID


@dataclass(frozen=True, slots=True)
class Submission:
    """A SubmitJob request, its form checked, nothing looked up."""

    job_name: str
    job_queue: str
    definition: DefinitionName
    array_size: int | None = None
    depends_on: tuple[RequestedDependency, ...] = ()
    parameters: Mapping[str, str] | None = None
    overrides: Overrides | None = None
    ecs_overrides: EcsOverrides | None = None
    node_overrides: NodeOverrides | None = None
    retry: Json | None = None
    timeout: Json | None = None
    tags: Mapping[str, str] | None = None
    #: Whether tags go on to the job's containers; None: as the definition says.
    propagate_tags: bool | None = None
    #: The id that the caller chose for the job, so that the call can be repeated.
    request_id: uuid.UUID | None = None
    #: Whose job it is, in queues with a scheduling policy.
    share: str | None = None
    #: In place of the definition's.
    priority: int | None = None
    token: Token | None = None
    #: Of an array: how many children run at one time; None: any number.
    max_running: int | None = None
    #: consumableResourceProperties in place of the definition's; None: as it says.
    consumables: Json | None = None
    #: The span that it was submitted from. A call that is repeated may come from another one.
    trace: TraceParent | None = field(default=None, compare=False)
    #: The user who submits it; empty for who is none.
    submitted_by: str = field(default="", compare=False)
    #: Why a revision of a definition may not be used by who submits it; None: any may.
    refusal: Callable[[str, int], LongshoreError | None] | None = field(
        default=None, compare=False, repr=False
    )

    @property
    def is_plain(self) -> bool:
        """Whether everything about how the job runs is the definition's."""
        return not (
            self.parameters
            or self.overrides
            or self.ecs_overrides
            or self.node_overrides
            or self.retry
            or self.timeout
            or self.depends_on
            or self.propagate_tags is not None
            or self.priority is not None
            or self.max_running is not None
            or self.consumables is not None
        )

    @property
    def waits_for(self) -> list[RequestedDependency]:
        """What the job waits for, in order, each once: said twice it is still one thing.

        A single job has no children to run one by one: a job that it names with SEQUENTIAL is one
        to wait for, as with no type.
        """
        return list(dict.fromkeys(self._effective(entry) for entry in self.depends_on))

    def _effective(self, entry: RequestedDependency) -> RequestedDependency:
        if self.array_size is None and entry.type == SEQUENTIAL:
            return RequestedDependency(entry.job, PLAIN, entry.condition)
        return entry


@dataclass(frozen=True, slots=True)
class Definition:
    """One revision, which never changes."""

    name: str
    revision: int
    detail: Json


@dataclass(frozen=True, slots=True)
class KnownJob:
    """What a submission needs to know of a job that is there already."""

    name: str
    job_queue: str
    definition_name: str
    definition_revision: int
    array_size: int | None


@dataclass(frozen=True, slots=True)
class ResolvedJob:
    """A job as it is stored: everything that never changes again."""

    #: AWS-shaped members of JobDetail.
    detail: Json
    needs: Resources
    attempts_max: int
    timeout_seconds: int | None
    #: Of a multi-node job.
    nodes: ResolvedNodes | None = None
    #: How soon it goes among the jobs of its share.
    priority: int = 0
    #: What it holds of consumable resources while it runs; of an array, each child.
    units: Units = ()


def check_submission(submission: Submission, limits: Limits = LONGSHORE) -> None:
    """Checks what can be checked without looking anything up.

    Raises:
        InvalidRequest: the first member found wrong.
    """
    size = submission.array_size
    require(
        size is None or limits.array_min <= size <= limits.array_max,
        f"arrayProperties.size must be from {limits.array_min} to {limits.array_max}.",
        "arrayProperties.size",
    )
    require(
        submission.max_running is None or (size is not None and submission.max_running > 0),
        "arrayProperties.maxRunning must be above 0, and is for arrays: arrayProperties.size.",
        "arrayProperties.maxRunning",
    )
    require(
        len(submission.depends_on) <= limits.dependencies_max,
        f"Job cannot have more than {limits.dependencies_max} dependencies",
        "dependsOn",
    )
    if submission.token is not None:
        check_token(submission.token.text)
    for index, dependency in enumerate(submission.depends_on):
        _check_dependency(dependency, size is not None, f"dependsOn[{index}]")
    if submission.share is not None:
        check_share(submission.share)
    check_retry(submission.retry)
    check_timeout(submission.timeout, limits)
    if submission.overrides:
        check_resources(
            submission.overrides.resource_requirements, _OVERRIDDEN, with_fractions=True
        )
        check_environment(submission.overrides.environment, "containerOverrides.environment")
        check_length([submission.overrides], "containerOverrides", limits)
    if submission.ecs_overrides:
        check_ecs_overrides(submission.ecs_overrides, limits=limits)
    if submission.node_overrides:
        check_node_overrides(submission.node_overrides, limits)
    if submission.consumables:
        properties_of(submission.consumables, _NEEDED)


def check_token(text: str) -> None:
    """The form of a token.

    Raises:
        InvalidRequest: it has another.
    """
    require(
        _TOKEN.fullmatch(text),
        "clientToken must have 1 to 64 printable ASCII characters and no spaces.",
        "clientToken",
    )


def repeated_job(token: Token, used: UsedToken) -> uuid.UUID:
    """The job that a token has made, for a call that repeats the request.

    Raises:
        PreconditionFailed: it is another request.
    """
    if token.request != used.request:
        raise PreconditionFailed(
            f"clientToken {token.text} has made job {used.job_id} of another request; use a new "
            "token for another job.",
            member="clientToken",
        )
    return used.job_id


def _check_dependency(dependency: RequestedDependency, is_array: bool, member: str) -> None:
    if dependency.job is not None and dependency.job.is_node:
        raise InvalidRequest(
            f"{member}.jobId is a node; give {dependency.job.parent}, the id of its multi-node "
            "job.",
            member=f"{member}.jobId",
        )
    if is_array and dependency.type == SEQUENTIAL:
        # Each child that did not run would have failed, and let the next one run.
        require(
            dependency.condition is not DependencyCondition.FAILURE,
            f"{member}.condition is FAILURE, and {member}.type SEQUENTIAL: children in a sequence "
            "run after the SUCCESS of the one before, or once it is COMPLETE.",
            f"{member}.condition",
        )
    if dependency.type == PLAIN:
        require(dependency.job, f"{member} needs a jobId.", f"{member}.jobId")
        return
    if dependency.type == SEQUENTIAL and dependency.job:
        return
    require(
        is_array, f"{member} has type {dependency.type}, which is for array jobs.", f"{member}.type"
    )
    if dependency.type == N_TO_N:
        require(dependency.job, f"{member} has type N_TO_N and needs a jobId.", f"{member}.jobId")
        require(
            dependency.job and dependency.job.array_index == WHOLE,
            f"{member} has type N_TO_N and needs the id of an array job, not of a child.",
            f"{member}.jobId",
        )


def check_dependencies(submission: Submission, known: Mapping[uuid.UUID, KnownJob]) -> None:
    """Checks that dependencies are there, and of the same size where they go side by side.

    Raises:
        NotFound: one is not there.
        InvalidRequest: sizes differ.
    """
    for index, dependency in enumerate(submission.depends_on):
        key, member = dependency.job, f"dependsOn[{index}].jobId"
        if key is None:
            continue
        job = known.get(key.job_id)
        exists = job is not None and (
            key.array_index == WHOLE or key.array_index < (job.array_size or 0)
        )
        if not exists:
            raise NotFound(f"Job {key} not found, on which the job depends.", member=member)
        if dependency.type == N_TO_N:
            size = job.array_size if job else None
            require(
                size == submission.array_size,
                f"An N_TO_N dependency needs an array job of size {submission.array_size}; "
                f"{key} has {size or 'no children'}.",
                member,
            )


def check_repetition(submission: Submission, job: KnownJob) -> None:
    """Checks that a call which repeats a request id asks for the job that is there.

    Raises:
        PreconditionFailed: it asks for another one.
    """
    revision = submission.definition.revision
    if (
        job.name != submission.job_name
        or job.job_queue != submission.job_queue
        or job.definition_name != submission.definition.name
        or revision not in (None, job.definition_revision)
        or job.array_size != submission.array_size
    ):
        raise PreconditionFailed(
            f"Job {submission.request_id} exists already with another name, queue, definition or "
            "size; use a new x-longshore-request-id for another job."
        )


def is_constant(definition: Definition) -> bool:
    """Whether all plain submissions of a definition resolve to the same."""
    return not any(has_references(c.get("command", ())) for c in _containers(definition.detail))


def _containers(detail: Json) -> list[Json]:
    if "nodeProperties" in detail:
        entries = detail["nodeProperties"]["nodeRangeProperties"]
        return [container for entry in entries for container in _containers_of(entry, "container")]
    return _containers_of(detail, "containerProperties")


def _containers_of(properties: Json, single: str) -> list[Json]:
    """The containers of a definition or a range of nodes; `single` has the only one."""
    if "ecsProperties" in properties:
        return list(task_of(properties["ecsProperties"])["containers"])
    return [properties[single]]


def needs_of_job(detail: Json) -> Resources:
    """What an attempt of a job takes that runs on one instance, of its stored detail."""
    if "ecsProperties" in detail:
        return needs_of_task(task_of(detail["ecsProperties"]))
    return needs_of(detail["container"])


def resolve(
    definition: Definition, submission: Submission, limits: Limits = LONGSHORE
) -> ResolvedJob:
    """Makes a submission and its definition one.

    Raises:
        InvalidRequest: a placeholder has no parameter, resources are too small, or what the
            submission asks for is for definitions of the other type.
    """
    detail = definition.detail
    parameters = {**detail.get("parameters", {}), **(submission.parameters or {})}
    retry = submission.retry or detail.get("retryStrategy") or {"attempts": 1}
    timeout = submission.timeout or detail.get("timeout")
    resolved: Json = {
        "parameters": parameters,
        "retryStrategy": {"evaluateOnExit": [], **retry},
        "dependsOn": [dependency_json(entry) for entry in submission.depends_on],
        "propagateTags": (
            detail.get("propagateTags", False)
            if submission.propagate_tags is None
            else submission.propagate_tags
        ),
        "platformCapabilities": detail.get("platformCapabilities", []),
    }
    if timeout:
        resolved["timeout"] = timeout
    if submission.max_running is not None:
        resolved["arrayProperties"] = {"maxRunning": submission.max_running}
    priority = detail.get("schedulingPriority")
    if submission.priority is not None:
        priority = submission.priority
    if priority is not None:
        resolved["schedulingPriority"] = priority
    needed = detail.get(PROPERTIES)
    if submission.consumables is not None:
        needed = properties_of(submission.consumables, _NEEDED)
    if needed:
        resolved[PROPERTIES] = needed
    nodes = None
    if "nodeProperties" in detail:
        _refuse_overrides(submission, "nodeOverrides")
        nodes = resolve_nodes(
            detail["nodeProperties"], submission.node_overrides, parameters, limits
        )
        resolved["nodeProperties"], needs = nodes.properties, nodes.needs
    elif "ecsProperties" in detail:
        _refuse_overrides(submission, "ecsPropertiesOverride")
        resolved["ecsProperties"], needs = resolve_ecs(
            detail["ecsProperties"],
            submission.ecs_overrides,
            parameters,
            platform_of(detail),
            limits=limits,
        )
    else:
        _refuse_overrides(submission, "containerOverrides")
        resolved["container"], needs = _resolve_container(detail, submission, parameters, limits)
    _check_growth(retry, resolved, needs)
    return ResolvedJob(
        detail=resolved,
        needs=needs,
        attempts_max=retry["attempts"],
        timeout_seconds=timeout["attemptDurationSeconds"] if timeout else None,
        nodes=nodes,
        priority=priority or 0,
        units=sum_up([(needed, 1), *(nodes.consumables if nodes else ())]),
    )


def _refuse_overrides(submission: Submission, wanted: str) -> None:
    """Refuses overrides that are for job definitions of another kind."""
    given = {
        "containerOverrides": (submission.overrides, Overrides(), "containerProperties"),
        OVERRIDE_PATH: (submission.ecs_overrides, EcsOverrides(), "ecsProperties"),
        "nodeOverrides": (submission.node_overrides, NodeOverrides(), "nodeProperties"),
    }
    for name, (overrides, empty, kind) in given.items():
        require(
            name == wanted or overrides in (None, empty),
            f"{name} is for job definitions with {kind}; use {wanted}.",
            name,
        )


def _check_growth(retry: Json, resolved: Json, needs: Resources) -> None:
    """Checks that a job may get more memory where it is asked to, and that there is room for it."""
    if "oomMemoryFactor" not in retry:
        return
    member = "retryStrategy.oomMemoryFactor"
    require("nodeProperties" not in resolved, f"{member} is not for multi-node jobs.", member)
    require(
        "ecsProperties" not in resolved,
        f"{member} is not for jobs of several containers: each has memory of its own. Give the "
        "container that needs it more by resourceRequirements.",
        member,
    )
    require(
        FARGATE not in resolved["platformCapabilities"], f"{member} is not for Fargate.", member
    )
    require(
        retry["oomMemoryMaxMib"] >= needs.memory_mib,
        f"retryStrategy.oomMemoryMaxMib is {retry['oomMemoryMaxMib']}, less than the "
        f"{needs.memory_mib} MiB that the job has at first.",
        "retryStrategy.oomMemoryMaxMib",
    )


def _resolve_container(
    detail: Json, submission: Submission, parameters: Mapping[str, str], limits: Limits
) -> tuple[Json, Resources]:
    overrides = submission.overrides
    require(
        overrides is None or not overrides.instance_type,
        "containerOverrides.instanceType is for multi-node jobs alone.",
        "containerOverrides.instanceType",
    )
    is_fargate = platform_of(detail) == FARGATE
    if overrides:
        _check_overrides(overrides, limits, is_fargate=is_fargate)
    container = merge_container(detail["containerProperties"], overrides, parameters)
    needs = needs_of(container)
    if is_fargate:
        check_fargate_size(needs, _OVERRIDDEN)
    return container, needs


def _check_overrides(overrides: Overrides, limits: Limits, *, is_fargate: bool) -> None:
    """What only the definition tells to be wrong."""
    if is_fargate:
        check_not_deprecated(overrides.vcpus, overrides.memory)
    else:
        check_resources(overrides.resource_requirements, _OVERRIDDEN, limits=limits)


def dependency_json(dependency: RequestedDependency) -> Json:
    """A dependency as jobs show it."""
    entry: Json = {}
    if dependency.job is not None:
        entry["jobId"] = str(dependency.job)
    if dependency.type != PLAIN:
        entry["type"] = dependency.type
    if dependency.condition is not DependencyCondition.SUCCESS:
        entry["condition"] = dependency.condition.value
    return entry


def missing_definition(name: DefinitionName) -> NotFound:
    """The refusal of a definition that is not there or not ACTIVE, in AWS's words."""
    if name.is_arn:
        return NotFound(f"JobDefinition {name.text} not found.", member="jobDefinition")
    return NotFound(
        f"JobDefinition name {name.text} does not exist or is not in ACTIVE status",
        member="jobDefinition",
    )


def check_queue(name: str, found: QueueFacts | None) -> QueueFacts:
    """Checks that a queue takes jobs, and returns it.

    Args:
        name: of the queue.
        found: the queue, None if there is no such queue.

    Raises:
        NotFound: there is no such queue.
        PreconditionFailed: it is DISABLED or not VALID.
    """
    if found is None:
        raise NotFound(f"JobQueue {name} not found.", member="jobQueue")
    if found.state != "ENABLED":
        raise PreconditionFailed(f"JobQueue {name} is {found.state} and takes no jobs.")
    if found.status != "VALID":
        raise PreconditionFailed(f"JobQueue {name} is {found.status} and takes no jobs.")
    return found


def check_sharing(submission: Submission, queue: QueueFacts) -> None:
    """Checks that a job names a share where the queue has a policy, and only there.

    Raises:
        InvalidRequest: it does not; in AWS's words.
    """
    if queue.is_shared:
        require(submission.share, "shareIdentifier must be specified.", "shareIdentifier")
        return
    require(submission.share is None, _NO_SHARES, "shareIdentifier")
    require(submission.priority is None, _NO_SHARES, "schedulingPriorityOverride")


def check_array(definition: Definition, submission: Submission) -> None:
    """Checks that jobs of a definition may be an array, if that is what is asked for.

    Raises:
        InvalidRequest: it is of type multinode.
    """
    require(
        submission.array_size is None or "nodeProperties" not in definition.detail,
        "arrayProperties is not applicable for multi-node parallel jobs.",
        "arrayProperties",
    )


def check_platform(definition: Definition, queue: QueueFacts) -> None:
    """Checks that the compute environments of a queue run jobs of a definition.

    Raises:
        InvalidRequest: it is for the other platform.
    """
    platform = platform_of(definition.detail)
    require(
        QUEUE_TYPES[platform] == queue.type,
        "Job Queue is attached to Compute Environment that can not run Jobs with capability "
        f"{platform}.",
        "jobQueue",
    )
