"""What the user who calls may do: asked by the interceptor, and by those who know more than it.

An rpc says by its option which action it is; what it is about, most requests say by themselves
(`resources_of`). Of jobs and of what is listed only the service knows enough: there the interceptor
asks no more than whether the user may do such a thing at all (`LATER`), and the service the rest.
Where nobody is asked who calls, everything is allowed.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from google.protobuf.message import Message

from longshore.domain.access.condition import SUBMITTED_BY
from longshore.domain.access.deciding import decide_any, denied, is_possible
from longshore.domain.access.principal import Principal
from longshore.domain.arn import (
    COMPUTE_ENVIRONMENT,
    CONSUMABLE_RESOURCE,
    JOB,
    JOB_QUEUE,
    SCHEDULING_POLICY,
    Arns,
    parse_definition,
    parse_name,
)
from longshore.domain.errors import PermissionDenied

#: Rpcs whose services look at each thing that they are about.
LATER = frozenset(
    {
        *("DescribeComputeEnvironments", "DescribeJobQueues", "DescribeJobDefinitions"),
        *("DescribeJobs", "ListJobs", "CancelJob", "CancelJobs", "TerminateJob", "TerminateJobs"),
        *("StopJobs", "RerunJob", "UpdateJob", "ExplainJob", "TailLogs", "GetLogEvents"),
    }
)

#: What is asked of a queue that a job gets into by another way.
SUBMIT = "batch:SubmitJob"
#: By the name of a member that names a thing of AWS Batch: its kind.
_KINDS = {
    "job_queue": JOB_QUEUE,
    "job_queue_name": JOB_QUEUE,
    "compute_environment": COMPUTE_ENVIRONMENT,
    "compute_environment_name": COMPUTE_ENVIRONMENT,
    "consumable_resource": CONSUMABLE_RESOURCE,
    "consumable_resource_name": CONSUMABLE_RESOURCE,
}
#: Members that name log groups.
_LOG_GROUPS = ("log_group_name", "log_group_identifier", "log_group_names")
#: Members that hold an ARN of any kind.
_ARNS = ("resource_arn", "arn")


@dataclass(frozen=True, slots=True)
class User:
    """Who makes a call, and what it is."""

    principal: Principal
    #: Where the call comes from.
    address: str
    #: As in `batch:SubmitJob`.
    action: str
    arns: Arns

    def context(self, more: Mapping[str, Sequence[str]]) -> dict[str, Sequence[str]]:
        """What the call says, by condition keys."""
        now = datetime.now(UTC)
        name = self.principal.user
        return {
            "aws:username": (name,),
            "aws:userid": (name,),
            "aws:principalarn": (self.arn,),
            "aws:sourceip": (self.address,),
            "aws:currenttime": (now.isoformat(),),
            "aws:epochtime": (str(int(now.timestamp())),),
            **more,
        }

    @property
    def arn(self) -> str:
        """The user's own."""
        return f"arn:aws:iam::{self.arns.account}:user/{self.principal.user}"


_user: ContextVar[User | None] = ContextVar("longshore_user", default=None)


def set_user(user: User) -> None:
    """Says who makes the call that is served from here on; the interceptor does."""
    _user.set(user)


def current_user() -> User | None:
    """Who makes the call that is served; None where nobody was asked, or a service calls."""
    return _user.get()


def demand(
    resources: Sequence[str],
    more: Mapping[str, Sequence[str]] | None = None,
    *,
    action: str = "",
) -> None:
    """Checks that the user may do what he asks for with one thing.

    Args:
        resources: its ARN; of what has several names, or is in something, those as well.
        more: what the call says besides, by condition keys.
        action: what he asks for besides; empty: what the rpc is.

    Raises:
        PermissionDenied: he may not.
    """
    user = _user.get()
    if user is not None and action:
        user = replace(user, action=action)
    if user is not None and (refusal := _refusal(user, resources, more or {})):
        raise refusal


def permits(resources: Sequence[str], more: Mapping[str, Sequence[str]] | None = None) -> bool:
    """Whether the user may do what he asks for with one thing, as `demand`."""
    user = _user.get()
    return user is None or _refusal(user, resources, more or {}) is None


def _refusal(
    user: User, resources: Sequence[str], more: Mapping[str, Sequence[str]]
) -> PermissionDenied | None:
    decision = decide_any(user.principal.policies, user.action, resources, user.context(more))
    if decision.allowed:
        return None
    return denied(user.arn, user.action, resources[0], decision)


def check(user: User, name: str, message: Message) -> None:
    """Checks a call as far as its request tells what it is about.

    Args:
        user: who calls.
        name: of the rpc.
        message: the request.

    Raises:
        PermissionDenied: he may not.
    """
    if name in LATER:
        if not is_possible(user.principal.policies, user.action):
            demand(["*"])
        return
    resources = list(resources_of(name, message, user.arns)) or [("*",)]
    for more in contexts_of(name, message):
        for names in resources:
            demand(names, more)


def of_definition(arns: Arns, name: str, revision: int | None) -> tuple[str, ...]:
    """ARNs of a definition: of all its revisions, and of one."""
    whole = f"{arns.job_definition(name, 0).removesuffix(':0')}"
    return (arns.job_definition(name, revision), whole) if revision else (whole,)


def of_job(arns: Arns, job_id: str, queue: str) -> tuple[str, ...]:
    """ARNs that stand for a job: its own, and that of its queue."""
    return (arns.job(job_id), arns.job_queue(queue))


def by(submitter: str) -> dict[str, Sequence[str]]:
    """What is said of who has submitted a job."""
    return {SUBMITTED_BY: (submitter,)} if submitter else {}


def tagged(tags: Mapping[str, str]) -> dict[str, Sequence[str]]:
    """What is said of a thing's tags."""
    return {f"aws:resourcetag/{key.lower()}": (value,) for key, value in tags.items()}


def definition_check() -> Callable[[str, int], PermissionDenied | None] | None:
    """For those who find out only later which revision a call means: whether it may be used.

    None: any may.
    """
    user = _user.get()
    if user is None:
        return None

    def refusal(name: str, revision: int) -> PermissionDenied | None:
        return _refusal(user, of_definition(user.arns, name, revision), {})

    return refusal


def resources_of(name: str, message: Any, arns: Arns) -> Iterator[tuple[str, ...]]:
    """ARNs of the things that a request names, each with its other names.

    Raises:
        InvalidRequest: a name is none.
    """
    members = message.DESCRIPTOR.fields_by_name
    for member in members:
        value = getattr(message, member)
        if not isinstance(value, str) or not value:
            continue
        if member in _KINDS:
            kind = _KINDS[member]
            place = members[member].json_name
            yield (_batch(arns, kind, parse_name(kind, value, member=place)),)
        elif member in ("job_definition", "job_definition_name") and name != "SubmitJob":
            found = parse_definition(value, member=members[member].json_name)
            yield of_definition(arns, found.name, found.revision)
        elif member in _LOG_GROUPS:
            yield (value.removesuffix(":*") if value.startswith("arn:") else arns.log_group(value),)
        elif member in _ARNS:
            yield (value,)
        elif member == "job_id":
            yield (arns.job(value),)
        elif name == "CreateSchedulingPolicy" and member == "name":
            yield (_batch(arns, SCHEDULING_POLICY, value),)
        elif "Rule" in name and member in ("name", "rule"):
            yield (arns.event_rule("default", value),)


def _batch(arns: Arns, kind: str, name: str) -> str:
    return f"{arns.job(name).rpartition(JOB + '/')[0]}{kind}/{name}"


def contexts_of(name: str, message: Any) -> list[dict[str, Sequence[str]]]:
    """What a request says by condition keys; of several containers each for itself."""
    shared: dict[str, Sequence[str]] = {}
    tags = getattr(message, "tags", None)
    if tags and hasattr(tags, "items"):
        shared |= {f"aws:requesttag/{key.lower()}": (value,) for key, value in tags.items()}
        shared["aws:tagkeys"] = tuple(tags)
    if name == "UntagResource":
        shared["aws:tagkeys"] = tuple(message.tag_keys)
    if share := getattr(message, "share_identifier", ""):
        shared["batch:shareidentifier"] = (share,)
    if name != "RegisterJobDefinition":
        return [shared]
    found = [shared | _of_container(one) for one in _containers(message)]
    return found or [shared]


def _containers(message: Any) -> Iterator[Any]:
    """All containers of a definition."""
    if message.HasField("container_properties"):
        yield message.container_properties
    for node in message.node_properties.node_range_properties:
        if node.HasField("container"):
            yield node.container
        for task in node.ecs_properties.task_properties:
            yield from task.containers
    for task in message.ecs_properties.task_properties:
        yield from task.containers


def _of_container(container: Any) -> dict[str, Sequence[str]]:
    said: dict[str, Sequence[str]] = {
        "batch:image": (container.image,),
        "batch:privileged": ("true" if container.privileged else "false",),
    }
    if container.user:
        said["batch:user"] = (container.user,)
    logs = container.log_configuration
    if logs.log_driver:
        said["batch:logdriver"] = (logs.log_driver,)
    for option, key in (
        ("awslogs-create-group", "batch:awslogscreategroup"),
        ("awslogs-group", "batch:awslogsgroup"),
        ("awslogs-region", "batch:awslogsregion"),
        ("awslogs-stream-prefix", "batch:awslogsstreamprefix"),
    ):
        if option in logs.options:
            said[key] = (logs.options[option],)
    return said
